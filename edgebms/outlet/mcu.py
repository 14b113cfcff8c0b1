"""Advice to a BMS microcontroller, over its serial line or a CAN bus, while a decision holds (docs/firmware-bridge.md).

A thread of its own answers what the line's thread hears and sends what is due. The heartbeat says whether a decision
holds, so a loop that hangs ends the advice like a process that died; and each advice carries its decision's own expiry.
"""

from __future__ import annotations

import math
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edgebms import __version__
from edgebms.config import BusConfig, McuOutlet, PackConfig
from edgebms.decision.types import Decision
from edgebms.errors import ConfigError
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.bus import Bus
from edgebms.inlet.frame import Frame
from edgebms.outlet.mcu_carrier import CanCarrier, Carrier, SerialCarrier
from edgebms.outlet.mcu_command import command_of
from edgebms.outlet.outlet import Gateway
from edgebms.vocabulary import Level
from edgebms.wallclock import synchronised
from firmware_bridge.adviser import Adviser
from firmware_bridge.codec import FRAME_MAX
from firmware_bridge.codes import ADVICE_BYTES, FRESHNESS_MAX, Verdict
from firmware_bridge.freshness import Freshness
from firmware_bridge.gateway import Expected, Self, SerialGateway
from firmware_bridge.gateway_can import CanGateway, segments, whole
from firmware_bridge.keys import Key, KeyProblem, read_key

TICK_S = 0.05
COUNTER_RETRY_S = 1.0
SILENT_S = 3.0
"""A microcontroller that says nothing for so long is told of; it drops our advice after 1 s itself."""
UNANSWERED_S = 2.0
HELD_S = 10.0
"""A refusal is told for so long after the last."""
HEARD_MOST = 256
SYNC_S = 10.0


class Mcu:
    """An ``Outlet``. Raises ConfigError where the key may not be used."""

    def __init__(
        self, settings: McuOutlet, pack: PackConfig, bus: BusConfig, gateway: Gateway, *, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.name = f"mcu-{settings.bus}"
        self.dropped = self.lost_changes = self.failed = 0
        self._settings, self._pack, self._gateway, self._now_ns = settings, pack, gateway, now_ns
        self._concerns = frozenset((pack.name,))
        try:
            self._key = read_key(Path(settings.key_file))
        except KeyProblem as problem:
            raise ConfigError(problem.what, where=f"outlet.mcu: key_file: {problem.where}", mend=problem.mend) from None
        self._freshness: Freshness | None = None
        self._adviser = Adviser(
            settings.gateway_id,
            settings.mcu_id,
            self._key,
            self._next_freshness,
            every_ms=round(1000 * settings.every_s),
            wire_ms=wire_ms(bus),
        )
        self._carrier = carrier_of(settings, pack, bus, self._key, self._adviser)
        self._heard: deque[Frame] = deque(maxlen=HEARD_MOST)
        self._wake = threading.Event()
        self._put = self._on_frame
        self._bus: Bus | None = None
        self._was_up = False
        self._alive_ns = now_ns()
        """When the microcontroller was last alive, or its line not open."""
        self._counter_due_ns = 0
        self._counter_problem, self._counter_since_ns = "", now_ns()
        self._mismatch: tuple[str, float, float, int] | None = None
        self._protection_ns: int | None = None
        self._synchronised, self._sync_due_ns = False, 0
        self._said = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"edgebms-{self.name}", daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """Messages of advice."""
        return self._adviser.sent

    @property
    def advice_counts(self) -> dict[str, int]:
        """What became of them (for metrics): accepted, unanswered, and refused by the microcontroller's reason."""
        adviser = self._adviser
        refused = {Verdict(code).name.lower() if code in set(Verdict) else str(code): count for code, count in adviser.refused.items()}
        return {"accepted": adviser.accepted, "unanswered": adviser.unanswered} | refused

    def offer(self, decision: Decision, line: bytes) -> None:
        """Take one decision; its thread sends it at once where it asks for more than the last, else with the next renewal."""
        del line
        if decision.pack == self._pack.name:
            self._adviser.tell(command_of(decision))
            self._wake.set()

    def close(self) -> None:
        """Nothing is said any more; the microcontroller drops the advice a second later."""
        self._stop.set()
        self._wake.set()
        self._thread.join(2.0)

    # ---- the line's thread

    def _on_frame(self, frame: Frame) -> None:
        self._heard.append(frame)
        self._wake.set()

    # ---- the outlet's thread

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(TICK_S)
            self._wake.clear()
            try:
                self._turn()
            except Exception as error:  # whatever it is, the next turn is tried
                self.failed += 1
                self._say(f"{type(error).__name__}: {error}")
        for bus in tuple(self._gateway.buses().values()):
            bus.untap(self._put)
            bus.release(self)
        if self._freshness is not None:
            self._freshness.close()

    def _turn(self) -> None:
        now_ns = self._now_ns()
        bus = self._look_at_bus(now_ns)
        while self._heard:
            self._carrier.hear(self._heard.popleft())
        if bus is None or self._open_counter(now_ns) is None:
            return
        now_ms, upcoming = now_ns // 1_000_000, self._upcoming()
        if self._carrier.alive(now_ms):
            self._alive_ns = now_ns
        self._look_at_mcu(upcoming, now_ns)
        for frame in self._carrier.due(now_ms, upcoming, self._utc_ms(now_ns)):
            if not bus.send(frame):
                self.dropped += 1

    def _look_at_bus(self, now_ns: int) -> Bus | None:
        """The bus while it is open. Each time that it opens, all starts anew."""
        bus = self._gateway.buses().get(self._settings.bus)
        if bus is not self._bus:
            self._bus, self._was_up = bus, False
        if bus is None or not bus.up:
            self._was_up = False
            self._alive_ns = now_ns
            return None
        if not self._was_up:
            self._was_up = True
            self._heard.clear()
            self._carrier.line_opened()
            bus.tap(self._carrier.ids, self._put)
            bus.claim(self._carrier.own_ids, self)
        return bus

    def _open_counter(self, now_ns: int) -> Freshness | None:
        """A reload may find the outlet before it still holding the counter: it is tried again."""
        if self._freshness is None and now_ns >= self._counter_due_ns:
            self._counter_due_ns = now_ns + round(COUNTER_RETRY_S * 1e9)
            try:
                self._freshness = Freshness(Path(self._settings.counter_file), self._key.fingerprint, FRESHNESS_MAX)
                self._counter_problem = ""
            except KeyProblem as problem:
                if not self._counter_problem:
                    self._counter_since_ns = now_ns
                self._counter_problem = str(problem)
                if now_ns - self._counter_since_ns > 2 * COUNTER_RETRY_S * 1e9:
                    self._say(str(problem))
        return self._freshness

    def _upcoming(self) -> int:
        return self._freshness.upcoming if self._freshness is not None else 1

    def _next_freshness(self) -> int:
        assert self._freshness is not None, "advice is due only with a counter"
        return self._freshness.next()

    def _look_at_mcu(self, upcoming: int, now_ns: int) -> None:
        found = self._carrier.mismatch(upcoming)
        if found is None:
            self._mismatch = None
        else:
            since_ns = self._mismatch[3] if self._mismatch is not None and self._mismatch[0] == found.word else now_ns
            self._mismatch = (found.word, found.is_, found.wanted, since_ns)
            self._say(f"no advice is sent: {found.text}")
        if not self._carrier.protection:
            self._protection_ns = None
        elif self._protection_ns is None:
            self._protection_ns = now_ns
        if self._adviser.problem:
            self._say(self._adviser.problem)

    def _utc_ms(self, now_ns: int) -> int | None:
        if now_ns >= self._sync_due_ns:
            self._sync_due_ns = now_ns + round(SYNC_S * 1e9)
            self._synchronised = synchronised()
        return time.time_ns() // 1_000_000 if self._synchronised else None

    def _say(self, problem: str) -> None:
        if problem != self._said:
            print(f"edgebms: warning: outlet {self.name}: {problem}", file=sys.stderr, flush=True)
        self._said = problem

    # ---- the loop's thread

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        """It is silent, is another than configured, refuses, does not answer, protects itself; our counter cannot be used."""
        found: list[GatewayFault] = []
        bus = self._settings.bus

        def fault(rule: str, level: Level, value: float, limit: float, unit: str, since_ns: int, count: int = 0) -> None:
            found.append(GatewayFault(f"{rule}.{bus}", level, value, limit, unit, since_ns, self._concerns, count))

        silent_s = (now_ns - self._alive_ns) / 1e9
        if silent_s > SILENT_S and not self._counter_problem:
            fault("mcu_silent", Level.WARNING, silent_s, SILENT_S, "s", self._alive_ns)
        mismatch, protection_ns = self._mismatch, self._protection_ns
        if mismatch is not None:
            fault(f"mcu_{mismatch[0]}", Level.WARNING, mismatch[1], mismatch[2], "", mismatch[3])
        counter_s = (now_ns - self._counter_since_ns) / 1e9
        if (self._counter_problem and counter_s > 2 * COUNTER_RETRY_S) or self._adviser.problem:
            fault("mcu_counter", Level.WARNING, counter_s, math.nan, "s", self._counter_since_ns)
        refusal, waiting_ms = self._adviser.last_refusal, self._adviser.waiting_since_ms
        if refusal is not None and now_ns - refusal[1] * 1_000_000 < HELD_S * 1e9:
            count = self._adviser.refused.total()
            fault("mcu_refuses", Level.WARNING, float(refusal[0]), 0.0, "verdict", refusal[1] * 1_000_000, count)
        if waiting_ms is not None and now_ns - waiting_ms * 1_000_000 > UNANSWERED_S * 1e9:
            waiting_s = now_ns / 1e9 - waiting_ms / 1e3
            fault("mcu_unanswered", Level.WARNING, waiting_s, UNANSWERED_S, "s", waiting_ms * 1_000_000, self._adviser.unanswered)
        if protection_ns is not None:
            fault("mcu_protection", Level.WARNING, float(self._carrier.protection), 0.0, "bits", protection_ns)
        return tuple(found)


def carrier_of(settings: McuOutlet, pack: PackConfig, bus: BusConfig, key: Key, adviser: Adviser) -> Carrier:
    """The protocol's end for the kind of line that ``bus`` is."""
    if bus.interface != "edgebms_mcu":
        return CanCarrier(CanGateway(settings.gateway_id, adviser, whole if bus.fd else segments))
    own = Self(settings.gateway_id, version(__version__), secrets.randbits(32), key.number)
    expected = Expected(settings.mcu_id, settings.profile, version(settings.firmware), pack.cells, pack.probes)
    return SerialCarrier(SerialGateway(own, expected, adviser))


def wire_ms(bus: BusConfig) -> int:
    """What advice, the longest message before its answer and that answer take on the line, in ms."""
    from edgebms.inlet.mcu import BAUD

    bits = 10 * (ADVICE_BYTES + 2 * FRAME_MAX)
    return math.ceil(1000 * bits / (bus.bitrate or BAUD)) if bus.interface == "edgebms_mcu" else 0


def version(text: str) -> tuple[int, int, int]:
    """
    >>> version("1.20")
    (1, 20, 0)
    """
    major, minor, patch = ([int("".join(filter(str.isdigit, part)) or 0) for part in text.split(".")] + [0, 0, 0])[:3]
    return min(major, 255), min(minor, 255), min(patch, 255)
