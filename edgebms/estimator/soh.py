"""Capacity and resistance of each cell as slow states, in ratio to the card's.

Capacity: between two rested moments the open-circuit voltage gives two states of charge without
counting; the ampere-hours between them over their difference are the capacity. Each such pair is one
measurement with its own variance, folded in by a scalar Kalman update. A part of a charge is another
(``edgebms.estimator.charge_window``). Resistance: the filter's fast
resistance scale, averaged over hours of load.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard

Floats = NDArray[np.float64]

PRIOR_SIGMA = {"fitted": 0.05, "declared": 0.10, "generic": 0.20}
"""How far a new pack's capacity and resistance may lie from the card's, by the card's quality."""
MIN_SWING = 0.25
"""Least difference of SOC between two anchors that makes a pair; below, anchor errors dominate."""
MAX_ANCHOR_SIGMA = 0.03
GROWTH_PER_SQRT_DAY = 0.002
"""Random walk of the capacity: about 4 % in a year (calendar ageing), per square root of a day."""
RESISTANCE_TIME_S = 2 * 3600.0
WINDOWS = 9.0
"""Charges that the running mean of their capacities goes over: a cell ages."""
WINDOW_STATES = ("window", "window_variance", "windows")


class Soh:
    """Slow states of one pack; arrays of shape (cells,). ``state``/``restore`` for the checkpoint."""

    def __init__(self, card: CellCard, cells: int) -> None:
        sigma = PRIOR_SIGMA[card.quality]
        self._capacity_ah = card.capacity_ah
        self.capacity = np.ones(cells)
        self.capacity_sigma = np.full(cells, sigma)
        self.resistance = np.full(cells, np.nan)
        self.resistance_sigma = np.full(cells, np.nan)
        self._loaded_s = np.zeros(cells)
        self._anchor_soc = np.full(cells, np.nan)
        self._anchor_variance = np.full(cells, np.nan)
        self._anchor_ah = np.full(cells, np.nan)
        self._anchor_h = np.full(cells, np.nan)
        self._window = np.full(cells, np.nan)
        self._window_variance = np.full(cells, np.nan)
        self._windows = np.zeros(cells)
        self._ah = 0.0
        self._hours = 0.0
        self.measured = np.zeros(cells, dtype=bool)
        """Cells whose capacity was measured at least once; the others lean on the card alone."""

    def count(self, dt_s: float, current_a: float) -> None:
        """Let ``dt_s`` pass at ``current_a`` of one cell. A gap in the current (NaN) breaks every pair."""
        self._hours += dt_s / 3600.0
        if math.isfinite(current_a):
            self._ah += current_a * dt_s / 3600.0
        else:
            self._anchor_soc.fill(np.nan)
        self.capacity_sigma = np.sqrt(self.capacity_sigma**2 + GROWTH_PER_SQRT_DAY**2 * dt_s / 86400.0)

    def anchor(self, soc: Floats, sigma: Floats, offset_sigma_a: float) -> None:
        """Rested cells: SOC by the open-circuit voltage (NaN where a cell is not rested) with its sigma.

        offset_sigma_a: uncertainty of the current sensor's offset, for the ampere-hours between anchors.
        """
        good = np.isfinite(soc) & (sigma < MAX_ANCHOR_SIGMA)
        if not good.any():
            return
        swing = soc - self._anchor_soc
        paired = good & (np.abs(np.nan_to_num(swing)) >= MIN_SWING)
        if paired.any():
            self._fold(paired, swing, sigma, offset_sigma_a)
        # A new anchor replaces the old one where it made a pair, where there was none, or where it is sharper.
        renew = good & (paired | np.isnan(self._anchor_soc) | (sigma**2 < self._anchor_variance))
        self._anchor_soc[renew] = soc[renew]
        self._anchor_variance[renew] = sigma[renew] ** 2
        self._anchor_ah[renew] = self._ah
        self._anchor_h[renew] = self._hours

    def _fold(self, paired: NDArray[np.bool_], swing: Floats, sigma: Floats, offset_sigma_a: float) -> None:
        delta = swing[paired]
        measured = (self._ah - self._anchor_ah[paired]) / self._capacity_ah / delta
        drift = offset_sigma_a * (self._hours - self._anchor_h[paired]) / self._capacity_ah / delta
        variance = measured**2 * (sigma[paired] ** 2 + self._anchor_variance[paired]) / delta**2 + drift**2
        prior = self.capacity_sigma[paired] ** 2
        plausible = (measured > 0.3) & (measured < 1.5)
        gain = np.where(plausible, prior / (prior + variance), 0.0)
        self.capacity[paired] += gain * (measured - self.capacity[paired])
        self.capacity_sigma[paired] = np.sqrt((1.0 - gain) * prior)
        self.measured[paired] |= plausible

    def window(self, capacity: Floats, variance: Floats) -> None:
        """Fold in what a part of a charge told, (cells,), NaN where nothing. Charges share the error of the card's curve:
        many of them move the estimate to their mean and make it hardly surer than one does."""
        told = np.isfinite(capacity)
        measured, spread = capacity[told], variance[told]
        known = self._windows[told] > 0
        count = np.minimum(self._windows[told] + 1.0, WINDOWS)
        mean = np.where(known, self._window[told] + (measured - self._window[told]) / count, measured)
        shared = np.where(known, self._window_variance[told] + (spread - self._window_variance[told]) / count, spread)
        # The mean moves as the charges say; what it weighs against rests measured before, the first of them decides once.
        # Without any, what was held is an assumption about a new cell, and gives way.
        prior = np.where(self.measured[told], self.capacity_sigma[told], np.inf) ** 2
        with np.errstate(invalid="ignore"):
            share = np.where(np.isinf(prior), 1.0, prior / (prior + spread))
        gain = np.where(known, 1.0, share)
        self.capacity[told] += gain * (mean - np.where(known, self._window[told], self.capacity[told]))
        self.capacity_sigma[told] = np.sqrt(np.where(known, np.minimum(prior, shared), share * spread))
        self._window[told], self._window_variance[told], self._windows[told] = mean, shared, count
        self.measured |= told

    def resist(self, dt_s: float, scale: Floats, sigma: Floats) -> None:
        """Average the filter's resistance scale (to the card's, with its sigma) over time under load."""
        known = np.isfinite(scale)
        self._loaded_s += np.where(known, dt_s, 0.0)
        # A plain mean at first, so that no single sample leads; an exponential one from then on.
        weight = dt_s / np.clip(self._loaded_s, max(dt_s, 1e-9), RESISTANCE_TIME_S)
        for slow, seen in ((self.resistance, scale), (self.resistance_sigma, sigma)):
            base = np.where(np.isnan(slow), seen, slow)
            np.copyto(slow, base + weight * (seen - base), where=known)

    def state(self) -> dict[str, Floats]:
        names = (
            "capacity",
            "capacity_sigma",
            "resistance",
            "resistance_sigma",
            "_loaded_s",
            "_anchor_soc",
            "_anchor_variance",
            "_anchor_ah",
            "_anchor_h",
            *(f"_{name}" for name in WINDOW_STATES),
        )
        arrays = {name.lstrip("_"): getattr(self, name).copy() for name in names}
        return arrays | {"counters": np.array([self._ah, self._hours]), "measured": self.measured.astype(float)}

    def restore(self, arrays: dict[str, Floats]) -> None:
        """Take back what ``state`` gave. Raises ValueError when it is another pack's."""
        if arrays["capacity"].shape != self.capacity.shape:
            raise ValueError(f"saved for {arrays['capacity'].size} cells, this pack has {self.capacity.size}")
        for name in ("capacity", "capacity_sigma", "resistance", "resistance_sigma"):
            setattr(self, name, arrays[name].copy())
        for name in ("loaded_s", "anchor_soc", "anchor_variance", "anchor_ah", "anchor_h"):
            setattr(self, f"_{name}", arrays[name].copy())
        for name in WINDOW_STATES:
            if name in arrays:  # runtimes before took nothing from a charge
                setattr(self, f"_{name}", arrays[name].copy())
        self._ah, self._hours = map(float, arrays["counters"])
        self.measured = arrays["measured"] > 0.5
