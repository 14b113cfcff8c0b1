"""The loop around the packs' lines: one for live and replay, with source and clock passed in.

It takes frames (or None: nothing came), gives each to the packs it belongs to, lets time pass for
packs that fell silent, and hands every decision on. It reads no clock but the one given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from edgebms.cellcard import CellCard
from edgebms.clock import Clock, LogClock
from edgebms.decision.types import Decision
from edgebms.gateway_fault import Faults, GatewayFault, no_faults
from edgebms.inlet.frame import Frame
from edgebms.order import Order, Outcome
from edgebms.pipeline import Pipeline
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.shunt import Shunt
from edgebms.telemetry.silence import TICK_NS, silence_ticks_ns
from edgebms.telemetry.snapshot import Snapshot


class Tape(Protocol):
    """Who writes down all that a pack's line is given, in the order in which it is given, so that it can be run again:
    each frame before it is taken, each look at a silent pack, each order, and what a step is given besides its snapshot."""

    def frame(self, frame: Frame) -> None: ...

    def tick(self, now_ns: int) -> None: ...

    def order(self, order: Order, now_ns: int) -> None: ...

    def step(self, now_ns: int, utc_ns: int | None, faults: tuple[GatewayFault, ...]) -> None: ...


@dataclass(frozen=True, slots=True)
class PackLine:
    """One pack's way through the house."""

    card: CellCard
    assembler: Assembler
    pipeline: Pipeline
    tape: Tape | None = None
    shunt: Shunt | None = None


class Loop:
    """``emit(decision)`` is called for each decision. stopwatch_ns: for ``latency_us`` alone, zero in
    tests that want equal bytes. faults: what is wrong with the gateway itself."""

    def __init__(
        self,
        lines: Iterable[PackLine],
        clock: Clock,
        emit: Callable[[Decision], None],
        stopwatch_ns: Callable[[], int],
        faults: Faults = no_faults,
    ) -> None:
        self._lines = tuple(lines)
        self._clock = clock
        self._emit = emit
        self._stopwatch_ns = stopwatch_ns
        self._faults = faults
        self._next_tick_ns: int | None = None
        self.at: PackLine | None = None
        """The line that was worked on last: whose it was when something is raised."""
        self._unsettled: list[PackLine] = []
        routes: dict[tuple[int, bool], list[PackLine]] = {}
        for line in self._lines:
            for key in line.assembler.accepts():
                routes.setdefault(key, []).append(line)
        self._routes = {key: tuple(lines) for key, lines in routes.items()}
        self._shunts = [(line, line.shunt, line.shunt.accepts()) for line in self._lines if line.shunt is not None]

    def frame(self, frame: Frame, since_ns: int | None = None) -> None:
        """Take one frame whose time the clock already shows. since_ns: when it came, on the stopwatch; left out, now."""
        started_ns = self._stopwatch_ns() if since_ns is None else since_ns
        for line, shunt, ids in self._shunts:
            if (frame.arbitration_id, frame.extended) in ids:
                if line.tape is not None:
                    line.tape.frame(frame)
                shunt.push(frame)
        for line in self._routes.get((frame.arbitration_id, frame.extended), ()):
            self.at = line
            if line.tape is not None:
                line.tape.frame(frame)
            snapshot = line.assembler.push(frame)
            if snapshot is not None:
                self._decide(line, snapshot, started_ns)

    def snapshot(self, line: PackLine, snapshot: Snapshot) -> None:
        """Take a snapshot that came ready-made (BDF parquet or CSV), past the assembler."""
        self._decide(line, snapshot, self._stopwatch_ns())

    def tick(self) -> None:
        """Let time pass: packs whose sweep is over send what they have. Cheap before it is due."""
        now_ns = self._clock.now_ns()
        if self._next_tick_ns is not None and now_ns < self._next_tick_ns:
            return
        self._next_tick_ns = now_ns + TICK_NS
        for line in self._lines:
            self.look(line, now_ns)

    def look(self, line: PackLine, now_ns: int) -> None:
        """Let one pack send what it has when its sweep is over."""
        self.at = line
        started_ns = self._stopwatch_ns()
        if line.tape is not None:
            line.tape.tick(now_ns)
        snapshot = line.assembler.poll(now_ns)
        if snapshot is not None:
            self._decide(line, snapshot, started_ns)

    def order(self, line: PackLine, order: Order) -> Outcome | None:
        """Give ``order`` to a pack between two frames."""
        now_ns = self._clock.now_ns()
        if line.tape is not None:
            line.tape.order(order, now_ns)
        return line.pipeline.take(order, now_ns)

    def _decide(self, line: PackLine, snapshot: Snapshot, started_ns: int) -> None:
        if line.shunt is not None:
            snapshot = line.shunt.over(snapshot)
        now_ns, utc_ns, faults = self._clock.now_ns(), self._clock.utc_ns(), self._faults(snapshot.pack)
        if line.tape is not None:
            line.tape.step(now_ns, utc_ns, faults)
        decision = line.pipeline.step(snapshot, now_ns, utc_ns, faults)
        latency_us = (self._stopwatch_ns() - started_ns) // 1000
        self._emit(msgspec.structs.replace(decision, provenance=msgspec.structs.replace(decision.provenance, latency_us=latency_us)))
        if line not in self._unsettled:
            self._unsettled.append(line)

    def settle(self) -> None:
        """Use the time after a decision has left for what only the next one needs. A loop that nobody tells to
        (a replay) does it on the next decision's way."""
        for line in self._unsettled:
            line.pipeline.settle(self._clock.now_ns())
        self._unsettled.clear()


def replay_snapshots(
    snapshots: Iterable[Snapshot], line: PackLine, loop: Loop, clock: LogClock, *, pace: Callable[[int], None] | None = None
) -> int:
    """Run ready-made snapshots through ``loop`` on their own time. Returns their number."""
    count = 0
    for snapshot in snapshots:
        if pace is not None:
            pace(snapshot.time_ns)
        clock.set_ns(snapshot.time_ns, wall_clock_ns(snapshot.time_ns))
        loop.snapshot(line, snapshot)
        count += 1
    return count


def wall_clock_ns(stamp_ns: int) -> int | None:
    """UTC of a recorded stamp, None for one that counts from a log's start: no bus was recorded before 2001."""
    return stamp_ns if stamp_ns >= 1_000_000_000_000_000_000 else None


def replay(frames: Iterable[Frame], loop: Loop, clock: LogClock, *, pace: Callable[[int], None] | None = None) -> int:
    """Run recorded frames through ``loop`` on their own time. Returns the number of frames.

    Stamps are taken for wall-clock times (candump) where they can be, for seconds since the log's start else.
    pace: called with each frame's time before it is taken; sleeps where the recorded speed is wanted.
    """
    count = 0
    last_ns: int | None = None
    for frame in frames:
        time_ns = frame.time_ns
        if last_ns is None or time_ns - last_ns > TICK_NS:
            for at_ns in silence_ticks_ns(last_ns, time_ns) if last_ns is not None else ():
                if pace is not None:
                    pace(at_ns)
                clock.set_ns(at_ns, wall_clock_ns(at_ns))
                loop.tick()
        if pace is not None:
            pace(time_ns)
        clock.set_ns(time_ns, wall_clock_ns(time_ns))
        loop.tick()
        loop.frame(frame)
        last_ns = time_ns if last_ns is None else max(last_ns, time_ns)
        count += 1
    return count
