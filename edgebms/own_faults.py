"""What is wrong with the daemon itself: a refused reload, a pack's line that failed."""

from __future__ import annotations

import math

from edgebms.clock import Clock
from edgebms.gateway_fault import GatewayFault
from edgebms.vocabulary import Level

FAILURES, FAILURES_S = 3, 60.0
"""So many failures of the packs' lines within the time end the process: systemd starts it afresh."""

OLD_FRAMES_S = 60.0
"""Frames that came too late to be taken are told for so long."""


class OwnFaults:
    """All in the loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._standing: dict[str, GatewayFault] = {}
        self._failures_ns: list[int] = []
        self._old_frames, self._old_ns = 0, 0

    def standing(self) -> tuple[GatewayFault, ...]:
        return tuple(self._standing.values())

    def begin(self, rule: str, level: Level, value: float = math.nan, limit: float = math.nan, unit: str = "") -> None:
        known = self._standing.get(rule)
        since_ns = known.since_ns if known is not None else self._clock.now_ns()
        self._standing[rule] = GatewayFault(rule, level, value, limit, unit, since_ns)

    def end(self, rule: str) -> None:
        self._standing.pop(rule, None)

    def line_failed(self) -> None:
        """Raises RuntimeError where a line has failed too often."""
        now_ns = self._clock.now_ns()
        self._failures_ns = [at_ns for at_ns in self._failures_ns if now_ns - at_ns < FAILURES_S * 1e9] + [now_ns]
        if len(self._failures_ns) >= FAILURES:
            raise RuntimeError(f"{FAILURES} failures within {FAILURES_S:g} s")
        self.begin("line_failed", Level.WARNING, float(len(self._failures_ns)), float(FAILURES), "times")

    def frame_old(self, now_ns: int) -> None:
        """A frame waited too long for the loop and was left out."""
        self._old_frames += 1
        self._old_ns = now_ns
        self.begin("frames_old", Level.WATCH, float(self._old_frames), 0.0, "frames")

    def look(self, now_ns: int) -> None:
        """Lines that have held for long enough are well again, a loop that keeps up is too."""
        if self._old_frames and now_ns - self._old_ns > OLD_FRAMES_S * 1e9:
            self._old_frames = 0
            self.end("frames_old")
        if self._failures_ns and now_ns - self._failures_ns[-1] > FAILURES_S * 1e9:
            self._failures_ns = []
            self.end("line_failed")
