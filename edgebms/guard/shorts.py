"""A cell that falls away from its pack: what an internal short shows before it is hot.

Three looks, each against the pack's median, so that load and charge, which all cells share, drop out:

- under load: the departure from the median follows current (resistance differs from cell to cell) and
  drifts slowly (capacity, imbalance). A straight line in current, forgotten over SLOW_S, is what the cell
  usually does; what it has done otherwise over the last FAST_S is its fall.
- at rest: the slope of the departure, once the cells have relaxed, is self-discharge.
- heat: a falling cell whose probe warms against the pack is shorted inside; a falling cell that stays
  cool is out of balance or has a bad sensor; of one whose probe is lost nobody knows that it stays cool.

What a fall means in charge is ``leak``'s.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig, probe_of_cell
from edgebms.guard.leak import Leak
from edgebms.guard.plausibility import BROADCASTS, Clean, median

Floats = NDArray[np.float64]

EVERY_S = 1.0
SLOW_S = 3600.0
FAST_S = 60.0

LEARN_S = 300.0
"""Nothing is said before so much time was seen: the line is not known yet."""

LEAST_KEPT = 1e-9
"""... and however long the pack slept, so much of it stays: something must be divided by."""

PEERS = 4
"""Fewer cells have no median worth the name: unknown."""

SPREAD_FACTOR = 3.0
"""A fall counts by what it exceeds so many robust sigmas of the whole pack's: at the knees of the curve all cells spread."""
SIGMA_OF_MAD = 1.4826
TAIL, SIGMAS_TO_TAIL = 0.1, 1.2816
"""... judged on the falling side too: near empty the weaker tenth of a sound pack falls away, one cell further than the next. The
lowest cell itself is never counted: it may be the one that is shorted. (Normal distribution: a tenth lies beyond 1.28 sigma.)"""

FALL_V = 0.015
"""A fall that makes the warming of its probe count."""

CURRENT_PRIOR = 0.01
"""Ridge on the current's factor, in units of (C-rate)^2: without excitation it stays near zero."""

REST_C_RATE = 0.02
RELAX_S = 1200.0
REST_SPAN_S = 1800.0
"""At rest below C/50; judged over at least half an hour that begins twenty minutes after the load."""

REST_FALL_V_PER_H = 0.01
"""A slope that is told must be so large anyway (``self_discharge``): only what the pack's cells part by beyond it is taken off."""

GAP_S = 60.0
"""After a hole in the data a rest begins anew."""


class Falls(NamedTuple):
    """(cells + BROADCASTS,), NaN = unknown. cell_fall_v: how far the cell fell below what it usually does.
    cell_leak: share of its capacity that it lost so, beyond what a weak cell may. unwatched_fall_v: its fall while its
    probe, seen before, is lost, else 0. rest_fall_v_per_h: its self-discharge at rest. falling_cell_warming_k: how far its
    probe warmed against the pack while it falls, 0 while it does not."""

    cell_fall_v: Floats
    cell_leak: Floats
    unwatched_fall_v: Floats
    rest_fall_v_per_h: Floats
    falling_cell_warming_k: Floats


def spread_of(rise: Floats) -> float:
    """What a sound pack's cells spread by as one sigma: of the middle, or of the falling tenth where that is more. rise: (cells,) of any unit,
    NaN = unknown."""
    known = rise[np.isfinite(rise)]
    middle = median(known)
    sigma = SIGMA_OF_MAD * median(np.abs(known - middle))
    tail = max(1, math.ceil(TAIL * known.size))
    return max(sigma, (middle - float(np.partition(known, tail)[tail])) / SIGMAS_TO_TAIL)


class Shorts:
    """One pack's cells against their median. ``step`` after the plausibility filters."""

    def __init__(self, card: CellCard, pack: PackConfig) -> None:
        self._cells, self._probes = pack.cells, pack.probes
        self._one_c_a = card.capacity_ah * pack.parallel
        self._probe_of_cell = np.array(probe_of_cell(pack), dtype=np.int64)
        self._last_ns: int | None = None
        self._seen_s = 0.0
        # decayed sums of 1, current, current^2; of the departure and departure * current by cell
        self._n, self._x, self._xx = 1e-6, 0.0, 0.0
        self._y, self._xy = np.zeros(pack.cells), np.zeros(pack.cells)
        self._fast = np.zeros(pack.cells)
        self._warm_usual = np.full(pack.probes, np.nan)
        self._rest, self._leak = _Rest(pack.cells), Leak(card)
        self._out = self._unknown = Falls(*(np.full(pack.cells + BROADCASTS, np.nan) for _ in Falls._fields))

    def step(self, clean: Clean, current_a: float, balancing: NDArray[np.bool_] | None, now_ns: int) -> Falls:
        """now_ns: the snapshot's own time."""
        if self._cells < PEERS or math.isnan(current_a) or math.isnan(clean.voltage_median_v):
            return self._unknown
        if self._last_ns is None:
            self._last_ns = now_ns - round(EVERY_S * 1e9)
        elapsed_s = (now_ns - self._last_ns) / 1e9
        if elapsed_s < EVERY_S:
            return self._out
        self._last_ns = now_ns
        if elapsed_s > FAST_S:
            self._forget(elapsed_s - FAST_S)
        departure_v = clean.voltage_v[: self._cells] - clean.voltage_median_v
        c_rate = current_a / self._one_c_a
        fall_v = self._fall(departure_v, c_rate, min(elapsed_s, FAST_S))
        leak = self._leak.step(fall_v, clean.voltage_v[: self._cells], c_rate, min(elapsed_s, FAST_S))
        out = Falls(*(np.full(self._cells + BROADCASTS, np.nan) for _ in Falls._fields))
        out.rest_fall_v_per_h[: self._cells] = self._rest.step(departure_v, balancing, abs(c_rate) < REST_C_RATE, elapsed_s, now_ns)
        warming_k = self._warming(clean, min(elapsed_s, FAST_S))
        if self._seen_s >= LEARN_S:
            out.cell_fall_v[: self._cells] = fall_v
            out.cell_leak[: self._cells] = leak
            # of a cell whose voltage is unknown neither is 0: that would clear what stands
            quiet = np.where(np.isnan(fall_v), np.nan, 0.0)
            out.unwatched_fall_v[: self._cells] = np.where(self._unwatched(clean), fall_v, quiet)
            out.falling_cell_warming_k[: self._cells] = np.where(fall_v >= FALL_V, warming_k, quiet)
        self._out = out
        return out

    def _forget(self, unseen_s: float) -> None:
        """Of a pack that slept what it did before is no longer usual: near full and near empty cells relax by different amounts."""
        kept = max(math.exp(-unseen_s / SLOW_S), LEAST_KEPT)
        self._seen_s *= kept
        self._n, self._x, self._xx = self._n * kept, self._x * kept, self._xx * kept
        self._y, self._xy = self._y * kept, self._xy * kept
        self._leak.forget(kept)

    def _fall(self, departure_v: Floats, c_rate: float, elapsed_s: float) -> Floats:
        """How far each cell is below its usual departure at this current, less what the pack spreads."""
        self._seen_s += elapsed_s
        spread = self._xx - self._x * self._x / self._n + CURRENT_PRIOR * self._n
        slope = (self._xy - self._x * self._y / self._n) / spread
        usual = (self._y - slope * self._x) / self._n + slope * c_rate
        # an unknown departure teaches nothing: it counts as the usual one
        seen = np.where(np.isnan(departure_v), usual, departure_v)
        self._fast += elapsed_s / FAST_S * (seen - usual - self._fast)
        decay = math.exp(-elapsed_s / SLOW_S)
        self._n = self._n * decay + elapsed_s
        self._x = self._x * decay + elapsed_s * c_rate
        self._xx = self._xx * decay + elapsed_s * c_rate * c_rate
        self._y = self._y * decay + elapsed_s * seen
        self._xy = self._xy * decay + elapsed_s * seen * c_rate
        fall_v: Floats = np.where(np.isnan(departure_v), np.nan, -self._fast - SPREAD_FACTOR * spread_of(self._fast))
        return fall_v

    def _warming(self, clean: Clean, elapsed_s: float) -> Floats:
        """K that each cell's probe stands over its usual departure from the median; NaN without one."""
        if not self._probes:
            return np.full(self._cells, np.nan)
        departure_k = clean.temperature_c[: self._probes] - clean.temperature_median_c
        known = np.isfinite(departure_k)
        np.copyto(self._warm_usual, departure_k, where=known & np.isnan(self._warm_usual))
        warmed_k = departure_k - self._warm_usual
        self._warm_usual += np.where(known, elapsed_s / SLOW_S * warmed_k, 0.0)
        out: Floats = warmed_k[self._probe_of_cell]
        return out

    def _unwatched(self, clean: Clean) -> NDArray[np.bool_]:
        """Cells whose probe was seen before and is not now."""
        if not self._probes:
            return np.zeros(self._cells, dtype=bool)
        lost = np.isfinite(self._warm_usual) & np.isnan(clean.temperature_c[: self._probes])
        out: NDArray[np.bool_] = lost[self._probe_of_cell]
        return out


class _Rest:
    """Slope of each cell's departure over a rest, by running sums."""

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._unknown = np.full(cells, np.nan)
        self._since_ns: int | None = None
        self._clear()

    def _clear(self) -> None:
        self._first_s = math.inf
        self._n, self._t, self._tt = (np.zeros(self._cells) for _ in range(3))
        self._y, self._ty = np.zeros(self._cells), np.zeros(self._cells)

    def step(self, departure_v: Floats, balancing: NDArray[np.bool_] | None, resting: bool, elapsed_s: float, now_ns: int) -> Floats:
        """V/h that each cell falls; NaN while it cannot be said."""
        if not resting or elapsed_s > GAP_S or self._since_ns is None:
            self._since_ns = now_ns if resting else None
            self._clear()
            return self._unknown
        rest_s = (now_ns - self._since_ns) / 1e9
        if rest_s < RELAX_S:
            return self._unknown
        known = np.isfinite(departure_v)
        if balancing is not None:
            known &= ~balancing
        self._first_s = min(self._first_s, rest_s)
        hours = (rest_s - self._first_s) / 3600.0
        self._n += known
        self._t += known * hours
        self._tt += known * hours * hours
        self._y += np.where(known, departure_v, 0.0)
        self._ty += np.where(known, departure_v * hours, 0.0)
        if hours * 3600.0 < REST_SPAN_S:
            return self._unknown
        spread = self._n * self._tt - self._t * self._t
        # a cell that was unknown or bled for most of the rest has no slope of its own
        told = known & (self._n >= 0.9 * self._n.max())
        slope: Floats = np.where(told, (self._n * self._ty - self._t * self._y) / np.where(told, spread, 1.0), np.nan)
        # at a knee of the curve sound cells go on parting for hours; by how much, cells that are bled do not tell
        parting = SPREAD_FACTOR * spread_of(slope) if np.count_nonzero(told) >= PEERS else 0.0
        return -slope - max(parting - REST_FALL_V_PER_H, 0.0)
