"""A bounded queue with a thread behind it, between the loop and an outlet that may be slow or dead.

``offer`` never waits. When the queue is full the oldest cyclic decision goes and is counted; a decision in which an
alert begins, rises, falls or ends, or the action changes, stays.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.vocabulary import Level

LIMIT = 600
"""Cyclic decisions: a minute of ten a second."""
LIMIT_CHANGES = 20_000
"""Decisions that say something new. Beyond it memory counts for more; what goes then is told as lost alerts."""
CLOSE_S = 3.0
STUCK_S = 5.0
"""One write that takes longer is an outlet that hangs."""
WINDOW_S = 60.0

Standing = tuple[object, ...]


class Sink:
    """``write(decision, line)`` runs in a thread of its own; what it raises is counted, told, and the next decision is tried.

    name: for faults and messages. ``dropped`` counts cyclic decisions, ``lost_changes`` those that said something new.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Decision, bytes], None],
        close: Callable[[], None] | None = None,
        *,
        limit: int = LIMIT,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = name
        self.dropped = self.lost_changes = self.failed = 0
        self.problem = ""
        self._write, self._close, self._limit, self._now_ns = write, close, limit, now_ns
        self._changes: deque[tuple[int, Decision, bytes]] = deque()
        self._cyclic: deque[tuple[int, Decision, bytes]] = deque()
        self._standing: dict[str, Standing] = {}
        self._number = 0
        self._bad_ns: tuple[int, int] | None = None
        """(first, last) time that something was dropped or failed, while the trouble lasts."""
        self._writing_since_ns: int | None = None
        self._closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=f"edgebms-{name}", daemon=True)
        self._thread.start()

    def offer(self, decision: Decision, line: bytes) -> None:
        """Take one decision. Returns at once."""
        standing = standing_of(decision)
        changed = self._standing.get(decision.pack) != standing
        self._standing[decision.pack] = standing
        with self._wake:
            self._number += 1
            (self._changes if changed else self._cyclic).append((self._number, decision, line))
            if len(self._cyclic) > self._limit:
                self._cyclic.popleft()
                self.dropped += 1
                self._bad()
            if len(self._changes) > LIMIT_CHANGES:
                self._changes.popleft()
                self.lost_changes += 1
            self._wake.notify()

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        """What is wrong with this outlet now."""
        since_ns = self._writing_since_ns
        out = []
        if since_ns is not None and now_ns - since_ns > STUCK_S * 1e9:
            out.append(
                GatewayFault(
                    f"outlet_stuck.{self.name}", Level.WARNING, (now_ns - since_ns) / 1e9, STUCK_S, "s", since_ns, None, self.dropped
                )
            )
        bad = self._bad_ns
        if bad is not None:
            if now_ns - bad[1] > WINDOW_S * 1e9:
                self._bad_ns = None
            else:
                count = self.dropped + self.failed
                out.append(GatewayFault(f"outlet_lost.{self.name}", Level.WATCH, float(count), math.nan, "decisions", bad[0], None, count))
        return tuple(out)

    def close(self) -> None:
        """Write what is queued, for CLOSE_S at most, then close the outlet."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_S)
        left = len(self._changes) + len(self._cyclic)
        if left or self.dropped or self.failed:
            print(
                f"edgebms: warning: outlet {self.name}: {self.dropped} decisions dropped, {self.failed} failed, {left} not written at the end",
                file=sys.stderr,
            )

    def _bad(self) -> None:
        now_ns = self._now_ns()
        self._bad_ns = (self._bad_ns[0] if self._bad_ns is not None else now_ns, now_ns)

    def _take(self) -> tuple[int, Decision, bytes] | None:
        """The oldest; None when the outlet is to be closed."""
        with self._wake:
            while not (self._changes or self._cyclic):
                if self._closing:
                    return None
                self._wake.wait()
            if self._changes and (not self._cyclic or self._changes[0][0] < self._cyclic[0][0]):
                return self._changes.popleft()
            return self._cyclic.popleft()

    def _serve(self) -> None:
        while (taken := self._take()) is not None:
            self._writing_since_ns = self._now_ns()
            try:
                self._write(taken[1], taken[2])
                self.problem = ""
            except Exception as error:  # whatever an outlet raises, the next decision may find it well again
                self.failed += 1
                self._bad()
                text = str(error) or type(error).__name__
                if text != self.problem:
                    print(f"edgebms: warning: outlet {self.name}: {text}", file=sys.stderr)
                self.problem = text
            self._writing_since_ns = None
        if self._close is not None:
            self._close()


def standing_of(decision: Decision) -> Standing:
    """What makes a decision more than one of many: alerts with their levels, the action and its mode."""
    return (*((alert.id, alert.level) for alert in decision.alerts), decision.command.action, decision.command.mode)
