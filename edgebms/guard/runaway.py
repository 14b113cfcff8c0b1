"""The runaway event rule of GB 38031-2025 C.5.3.7, on every probe and its cells.

Runaway has begun when (a cell voltage fell by more than 25 % of its initial voltage, or the temperature
reached the maker's maximum) and the temperature rises by at least 1 K/s for more than 3 s.

The rise is followed sample by sample, whatever their spacing: with g = T - rate * t, a rise of at least
``rate`` is a g that does not fall. A run starts at g's lowest point, has lasted until g's highest, and is
over when g falls by more than RESOLUTION_K below that: so a 1 K probe's steps do not break it, and a lone
step (a loose plug) lasts one sample. A run needs INTERVALS samples after its first: a slow sweep is never
judged on one value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig, probe_of_cell
from edgebms.guard.plausibility import BROADCASTS, Clean
from edgebms.vocabulary import Reason

SATURATED = int(Reason.SATURATED)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RATE_K_PER_S = 1.0
HOLD_S = 3.0
VOLTAGE_LEFT = 0.75
"""GB 38031-2025 C.5.3.7: a fall of more than 25 %."""

RESOLUTION_K = 1.2
SAME_K = 1e-3
"""Rounding of times since 1970 in a float, with room to spare."""

INTERVALS = 2

INITIAL_TAU_S = 600.0
"""A cell's initial voltage: its mean over ten minutes, held while its probe rises."""
INITIAL_EVERY_S = 1.0

FORGET_S = 600.0
"""A rise that was cut off (probe lost or saturated) counts for so long; after that it is unknown."""


class Heat(NamedTuple):
    """fast_rise_s, saturated_s: (probes + BROADCASTS,), how long the probe has been rising by RATE_K_PER_S
    or more (0 = it does not), and standing at its saturation. cell_runaway_k_per_s, probe_runaway_k_per_s:
    the rate of the rise where the event rule holds, else 0; at the cell where one is identified,
    else at the probe. NaN = unknown."""

    fast_rise_s: Floats
    saturated_s: Floats
    cell_runaway_k_per_s: Floats
    probe_runaway_k_per_s: Floats


class Runaway:
    """One pack's rises. ``step`` after the plausibility filters."""

    def __init__(self, card: CellCard, pack: PackConfig) -> None:
        places = pack.probes + BROADCASTS
        self._maximum_c = card.limits.temperature_runaway_c
        self._cells, self._probes = pack.cells, pack.probes
        mapped = np.array(probe_of_cell(pack), dtype=np.int64)
        # a cell without a probe of its own has only the broadcast maximum that does not say where
        self._probe_of_cell = np.where(mapped < 0, places - 1, mapped)
        self._start_ns = np.zeros(places, dtype=np.int64)
        self._start_c = np.full(places, np.nan)
        self._low = np.full(places, np.inf)
        self._high = np.full(places, -np.inf)
        self._high_ns = np.zeros(places, dtype=np.int64)
        self._high_c = np.full(places, np.nan)
        self._intervals = np.zeros(places, dtype=np.int64)
        self._last_ns = np.zeros(places, dtype=np.int64)
        self._last_c = np.full(places, np.nan)
        self._saturated_ns = np.full(places, -1, dtype=np.int64)
        self._initial_v = np.full(pack.cells, np.nan)
        self._seen_v = np.full(pack.cells, np.nan)
        self._initial_ns = 0

    def step(self, clean: Clean, temperature_reason: NDArray[np.uint8], now_ns: int) -> Heat:
        """now_ns: the snapshot's own time."""
        self._follow(clean)
        saturated = self._saturation(temperature_reason, now_ns)
        # what is not sampled any more goes on as it was cut off
        until_ns = np.where(saturated, now_ns, self._high_ns)
        duration_s = (until_ns - self._start_ns) / 1e9
        rising = (self._intervals >= INTERVALS) & (duration_s > HOLD_S)
        fresh_v = clean.voltage_v[: self._cells]
        np.copyto(self._seen_v, fresh_v, where=np.isfinite(fresh_v))
        self._learn_initial(rising, now_ns)
        unknown = np.isnan(clean.temperature_c) & ~rising & ~saturated
        nothing = np.where(unknown, np.nan, 0.0)
        nothing_cells = np.append(nothing[self._probe_of_cell], np.full(BROADCASTS, np.nan))
        saturated_s = np.where(saturated, (now_ns - self._saturated_ns) / 1e9, nothing)
        if not rising.any():
            return Heat(nothing, saturated_s, nothing_cells, nothing)
        known = (now_ns - self._last_ns) / 1e9 <= FORGET_S
        rise_s = np.where(rising, np.where(known | saturated, duration_s, np.nan), nothing)
        rate = np.zeros(len(rise_s))
        np.divide(self._high_c - self._start_c, (self._high_ns - self._start_ns) / 1e9, out=rate, where=rising & known)
        # a run is as steep as the rule asks by its making; its quotient may fall short by a rounding
        np.maximum(rate, RATE_K_PER_S, out=rate, where=rising & known)
        initial_v = np.fmax(self._initial_v, clean.voltage_median_v)
        fallen = self._seen_v < VOLTAGE_LEFT * initial_v
        hot = (self._last_c >= self._maximum_c) | saturated
        cells, probes = nothing_cells, nothing.copy()
        for probe in np.flatnonzero(rate > 0):
            watched = np.flatnonzero(self._probe_of_cell == probe)
            there = watched[fallen[watched]]
            if there.size:
                cells[there] = rate[probe]
            elif hot[probe] and watched.size == 1:
                cells[watched] = rate[probe]
            elif hot[probe]:
                probes[probe] = rate[probe]
        return Heat(rise_s, saturated_s, cells, probes)

    def _follow(self, clean: Clean) -> None:
        """Take the new temperature samples into their runs."""
        temperature_c, sample_ns = clean.temperature_c, clean.temperature_sample_ns
        new = clean.temperature_fresh & np.isfinite(temperature_c)
        g = temperature_c - RATE_K_PER_S * sample_ns / 1e9
        restart = new & ((g < self._low - SAME_K) | (g < self._high - RESOLUTION_K))
        goes_on = new & ~restart
        self._intervals += goes_on
        for state, value in ((self._low, g), (self._start_c, temperature_c), (self._start_ns, sample_ns)):
            np.copyto(state, value, where=restart)
        highest = restart | (goes_on & (g >= self._high - SAME_K))
        for state, value in ((self._high, g), (self._high_c, temperature_c), (self._high_ns, sample_ns)):
            np.copyto(state, value, where=highest)
        self._intervals[restart] = 0
        np.copyto(self._last_ns, sample_ns, where=new)
        np.copyto(self._last_c, temperature_c, where=new)

    def _saturation(self, reason: NDArray[np.uint8], now_ns: int) -> Flags:
        saturated = np.zeros(len(self._last_ns), dtype=bool)
        saturated[: self._probes] = reason == SATURATED
        self._saturated_ns[~saturated] = -1
        self._saturated_ns[saturated & (self._saturated_ns < 0)] = now_ns
        return saturated

    def _learn_initial(self, rising: Flags, now_ns: int) -> None:
        elapsed_s = (now_ns - self._initial_ns) / 1e9
        if elapsed_s < INITIAL_EVERY_S:
            return
        self._initial_ns = now_ns
        unknown = np.isnan(self._initial_v)
        np.copyto(self._initial_v, self._seen_v, where=unknown)
        share = 1.0 - np.exp(-elapsed_s / INITIAL_TAU_S)
        step_v = share * (self._seen_v - self._initial_v)
        # a cell that is being heated keeps the voltage it had before
        step_v[rising[self._probe_of_cell]] = 0.0
        self._initial_v += step_v
