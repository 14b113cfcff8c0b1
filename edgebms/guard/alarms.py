"""Debounce, delay, latch and recovery of one limit row, at every place it watches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.guard.finding import Finding
from edgebms.guard.limits import LimitRow

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SHOWN = 8
"""At most so many places of a row are told, the longest standing first: a pack where every cell is
beyond a limit needs one alert, not four hundred."""

NEVER = -1


class Alarm:
    """One row's state over its ``places`` (cells, probes, or 1 for the pack).

    NaN neither trips nor clears: an alert is not resolved by loss of data.
    """

    def __init__(self, row: LimitRow, places: int, window_s: float) -> None:
        self.row = row
        self.window_s = window_s
        self._above = row.side == "above"
        self._limit = row.limit
        self._delay_ns = round(row.delay_s * 1e9)
        self._recovery_ns = round(row.recovery_s * 1e9)
        self._count = np.zeros(places, dtype=np.int32)
        self._first_ns = np.zeros(places, dtype=np.int64)
        self._clear_ns = np.full(places, NEVER, dtype=np.int64)
        self._since_ns = np.zeros(places, dtype=np.int64)
        self._value = np.full(places, np.nan)
        self.active = np.zeros(places, dtype=bool)
        self.busy = False
        """Something is counted or stands: the quick look at the extremes is not enough."""

    def beyond(self, value: float) -> bool:
        """Would ``value`` trip? NaN does not."""
        return value >= self._limit if self._above else value <= self._limit

    def step(self, values: Floats, fresh: Flags, gate: bool, now_ns: int) -> None:
        """Take one step's values, (places,). fresh: samples not seen before. gate: the row's ``when``."""
        row = self.row
        beyond = values >= row.limit if self._above else values <= row.limit
        inside = values < row.recovery if self._above else values > row.recovery
        tripped = beyond & fresh & gate
        known = ~np.isnan(values)
        self._first_ns[tripped & (self._count == 0)] = now_ns
        self._count[tripped] += 1
        self._count[known & ~(beyond & gate)] = 0
        held = (self._count >= row.debounce) & (now_ns - self._first_ns >= self._delay_ns)
        rising = tripped & held & ~self.active
        self._since_ns[rising] = now_ns
        self.active |= rising
        np.copyto(self._value, values, where=self.active & known)
        self._clear_ns[~inside] = NEVER
        self._clear_ns[inside & (self._clear_ns == NEVER)] = now_ns
        if not row.latch:
            self.active &= ~self._recovered(now_ns)
        self.busy = bool(self.active.any() or self._count.any())

    def _recovered(self, now_ns: int) -> Flags:
        recovered: Flags = (self._clear_ns != NEVER) & (now_ns - self._clear_ns >= self._recovery_ns)
        return recovered

    def acknowledge(self, now_ns: int) -> None:
        """A person has seen it: a latch opens where the value has been back inside for long enough."""
        self.active &= ~self._recovered(now_ns)

    def findings(self, counts: dict[str, int]) -> list[Finding]:
        """counts: cells and probes by kind; places behind them belong to the pack."""
        row = self.row
        places = np.flatnonzero(self.active)
        places = places[np.argsort(self._since_ns[places], kind="stable")][:SHOWN]
        count = counts.get(row.kind, 0)
        return [
            Finding(
                rule=row.name,
                level=row.level,
                hazard=row.hazard,
                action=row.action,
                kind=row.kind if place < count else "pack",
                where=int(place) if place < count else -1,
                value=float(self._value[place]),
                limit=row.limit,
                unit=row.unit,
                window_s=self.window_s,
                since_ns=int(self._since_ns[place]),
                latched=row.latch,
            )
            for place in places
        ]

    def state(self) -> dict[str, Any]:
        """What must survive a restart: where it stands, since when and on what value."""
        return {
            str(place): {
                "since_ns": int(self._since_ns[place]),
                "value": None if np.isnan(self._value[place]) else float(self._value[place]),
            }
            for place in np.flatnonzero(self.active)
        }

    def restore(self, state: dict[str, Any]) -> None:
        for place, kept in state.items():
            at = int(place)
            if not 0 <= at < len(self.active):
                continue
            self.active[at] = True
            self._since_ns[at] = kept["since_ns"]
            self._value[at] = np.nan if kept["value"] is None else kept["value"]
            self.busy = True
