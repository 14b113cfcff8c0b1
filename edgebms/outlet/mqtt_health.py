"""How the way to the broker fares: the faults that stand, the sentence for the journal, how long to wait before the next attempt."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Callable

from edgebms.gateway_fault import GatewayFault
from edgebms.notify import NOTICE, WARNING, say
from edgebms.outlet.mqtt_link import TakenOver
from edgebms.vocabulary import Level

BACKOFF_S, BACKOFF_MOST_S = 0.5, 10.0
TAKEN_BACKOFF_S = 5.0
"""Two clients of one name would otherwise throw each other out twice a second."""
DOWN_S, STEADY_S = 3.0, 10.0
"""Down for so long is a fault, which stands until the connection has held for so long."""
TAKEN, TAKEN_S = 2, 600.0
UNSTEADY, UNSTEADY_S = 3, 60.0
"""So many connections lost within the time: mosquitto 2.0.11 says nothing to a client whose id another one took."""
LOST_S = 60.0


class Health:
    """``up`` and ``lost`` in the sender's thread, ``faults`` in the loop's."""

    def __init__(self, client_id: str, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._client_id, self._now_ns = client_id, now_ns
        self._problem = ""
        self._down_ns: int | None = now_ns()
        self._up_ns = 0
        self._alarmed = False
        self._taken_ns: deque[int] = deque(maxlen=100)
        self._lost_ns: deque[int] = deque(maxlen=100)
        self._bad_ns: int | None = None
        self._delay_s = BACKOFF_S

    @property
    def connected(self) -> bool:
        return self._down_ns is None

    def up(self, at: str) -> None:
        self._up_ns, self._down_ns = self._now_ns(), None
        self.say_once("", f"connected to {at} as {self._client_id}")

    def lost(self, error: Exception) -> float:
        """The connection ended, or did not come about; returns the seconds to wait before the next attempt."""
        now_ns = self._now_ns()
        if self._down_ns is None:
            if now_ns - self._up_ns > UNSTEADY_S * 1e9:
                self._delay_s = BACKOFF_S
            self._down_ns = now_ns
            self._lost_ns.append(now_ns)
        if isinstance(error, TakenOver):
            self._taken_ns.append(now_ns)
            self._delay_s = max(self._delay_s, TAKEN_BACKOFF_S)
        self.say_once(self._sentence(error, now_ns))
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, BACKOFF_MOST_S)
        return delay_s * random.uniform(0.8, 1.2)

    def message_lost(self) -> None:
        self._bad_ns = self._now_ns()

    def say_once(self, problem: str, good: str = "") -> None:
        if problem != self._problem or good:
            say(f"outlet mqtt: {good or problem}", NOTICE if good else WARNING)
        self._problem = problem

    def _sentence(self, error: Exception, now_ns: int) -> str:
        if isinstance(error, TakenOver):
            return f"{error}: another client has our client id {self._client_id}; give each gateway one of its own"
        if sum(now_ns - at_ns < UNSTEADY_S * 1e9 for at_ns in self._lost_ns) >= UNSTEADY:
            return f"{error}, again and again: has another client our client id {self._client_id}?"
        return str(error)

    def faults(self, now_ns: int, lost_changes: int, failed: int) -> tuple[GatewayFault, ...]:
        """What stands now; the counts: changes of alerts that were lost, messages that were refused."""
        out = []
        down_ns = self._down_ns
        if down_ns is not None and now_ns - down_ns > DOWN_S * 1e9:
            self._alarmed = True
        elif down_ns is None and now_ns - self._up_ns > STEADY_S * 1e9:
            self._alarmed = False
        if self._alarmed:
            since_ns = down_ns if down_ns is not None else self._up_ns
            down_s = (now_ns - down_ns) / 1e9 if down_ns is not None else 0.0
            out.append(GatewayFault("outlet_down.mqtt", Level.WARNING, down_s, DOWN_S, "s", since_ns))
        taken = [at_ns for at_ns in list(self._taken_ns) if now_ns - at_ns < TAKEN_S * 1e9]
        if len(taken) >= TAKEN:
            out.append(GatewayFault("client_id_taken.mqtt", Level.WARNING, float(len(taken)), float(TAKEN), "times", taken[0]))
        lost = [at_ns for at_ns in list(self._lost_ns) if now_ns - at_ns < UNSTEADY_S * 1e9]
        if len(lost) >= UNSTEADY:
            out.append(GatewayFault("outlet_unsteady.mqtt", Level.WARNING, float(len(lost)), float(UNSTEADY), "times", lost[0]))
        bad_ns = self._bad_ns
        if bad_ns is not None and now_ns - bad_ns < LOST_S * 1e9:
            count = lost_changes + failed
            level = Level.WARNING if lost_changes else Level.WATCH
            out.append(GatewayFault("outlet_lost.mqtt", level, float(count), math.nan, "messages", bad_ns, None, count))
        return tuple(out)
