"""What a bus's counts and states amount to: its faults, each with when it began."""

from __future__ import annotations

from collections import deque

from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.link import Counts
from edgebms.vocabulary import Level

DOWN_S = 1.0
"""A link that is back within this time was not down for anyone."""
HELD_S = 10.0
"""A fault stands so long after its end: a link that flaps is one alert, not a hundred."""
WINDOW_S = 60.0
LOST_FRAMES, ERRORS, DOWNS = 10, 100, 3
"""So many frames lost, error frames, or times that the link broke, within the window are an alert; fewer stand in quality.warnings."""


class BusFaults:
    """Which faults of a bus stand: looked at in the loop's thread, but for ``bus_off``."""

    def __init__(self) -> None:
        self._bus_off_ns: tuple[int, int] | None = None
        self._down: tuple[int, int] | None = None
        """(since, last seen)"""
        self._longest_down_s = 0.0
        self._lost, self._errors, self._downs = _Window(LOST_FRAMES), _Window(ERRORS), _Window(DOWNS)

    def bus_off(self, now_ns: int) -> None:
        since_ns = self._bus_off_ns[0] if self._bus_off_ns is not None and now_ns - self._bus_off_ns[1] < HELD_S * 1e9 else now_ns
        self._bus_off_ns = (since_ns, now_ns)

    def look(self, bus: str, packs: frozenset[str] | None, counts: Counts, down_since_ns: int | None, now_ns: int) -> list[GatewayFault]:
        found = []
        down_s = (now_ns - down_since_ns) / 1e9 if down_since_ns is not None else 0.0
        if down_since_ns is not None and down_s >= DOWN_S:
            since_ns = self._down[0] if self._down is not None else down_since_ns
            self._down = (since_ns, now_ns)
            self._longest_down_s = max(self._longest_down_s, down_s)
        if self._down is not None:
            if now_ns - self._down[1] > HELD_S * 1e9:
                self._down, self._longest_down_s = None, 0.0
            else:
                found.append(
                    GatewayFault(
                        f"link_down.{bus}",
                        Level.WARNING,
                        round(self._longest_down_s, 3),
                        DOWN_S,
                        "s",
                        self._down[0],
                        packs,
                        counts.reconnects,
                    )
                )
        if self._bus_off_ns is not None:
            if now_ns - self._bus_off_ns[1] > HELD_S * 1e9:
                self._bus_off_ns = None
            else:
                found.append(
                    GatewayFault(f"bus_off.{bus}", Level.WARNING, counts.bus_off, 1.0, "times", self._bus_off_ns[0], packs, counts.bus_off)
                )
        for rule, window, total, unit in (
            ("frames_lost", self._lost, counts.lost, "frames"),
            ("bus_errors", self._errors, counts.error_frames, "frames"),
            ("link_unsteady", self._downs, counts.downs, "times"),
        ):
            recent, since_ns = window.look(total, now_ns)
            if recent:
                level = Level.WATCH if recent >= window.limit else Level.NONE
                found.append(GatewayFault(f"{rule}.{bus}", level, float(recent), float(window.limit), unit, since_ns, packs, total))
        return found


class _Window:
    """How much a count rose within the last ``WINDOW_S``, and since when it has been so."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._total = 0
        self._rises: deque[tuple[int, int]] = deque()
        self._since_ns = 0

    def look(self, total: int, now_ns: int) -> tuple[int, int]:
        if not self._rises:
            self._since_ns = now_ns
        if total != self._total:
            self._rises.append((now_ns, total - self._total))
            self._total = total
        while self._rises and now_ns - self._rises[0][0] > WINDOW_S * 1e9:
            self._rises.popleft()
        return sum(rise for _, rise in self._rises), self._since_ns
