"""Capacity from the charge between marks of voltage, as aged cells of the same model showed it (``CellCard.aged_charge``).

A cell that ages also changes the shape of its charge: between two voltages it takes less than its capacity would say,
for its resistance has grown. Who has aged cells of a model can put what they did into its card.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import AgedCharge

Floats = NDArray[np.float64]

RATE_SHARE = 0.1
TEMPERATURE_K = 8.0
"""A charge at another current or temperature than the card's is not that charge."""
RIDGE = 1e-6


class AgedCharges:
    """One pack's charge in progress, against the marks of ``table``."""

    def __init__(self, table: AgedCharge, capacity_ah: float, cells: int) -> None:
        self._table, self._capacity_ah, self._cells = table, capacity_ah, cells
        self._marks_v = np.array(table.marks_v)[:, None]
        self._points, self._spread = np.array(table.filled), np.array(table.spread)
        self._weight = np.array(table.weight)
        self._inverse = np.linalg.inv(kernel(self._points, self._points, self._spread) + RIDGE * np.eye(len(self._points)))
        self.begin(0.0)

    def begin(self, current_a: float) -> None:
        """A charge begins at ``current_a`` of one cell."""
        rate = current_a / self._capacity_ah
        self._fits = np.full(self._cells, abs(rate - self._table.current_c) <= RATE_SHARE * self._table.current_c)
        self._ah = 0.0
        self._top_v = np.full(self._cells, np.nan)
        self._at_ah = np.full((len(self._marks_v), self._cells), np.nan)

    def take(self, ah: float, voltage_v: Floats, temperature_c: Floats) -> None:
        """``ah`` of one cell since the charge began, voltage and temperature (cells,), NaN = not known."""
        warm = np.abs(temperature_c - self._table.temperature_c) <= TEMPERATURE_K
        self._fits &= warm | np.isnan(temperature_c)
        top_v = np.fmax(self._top_v, voltage_v)
        passed = (self._top_v < self._marks_v) & (top_v >= self._marks_v)
        if passed.any():
            share = (self._marks_v - self._top_v) / np.maximum(top_v - self._top_v, 1e-6)
            self._at_ah = np.where(passed, self._ah + share * (ah - self._ah), self._at_ah)
        self._top_v, self._ah = top_v, ah

    def close(self) -> tuple[Floats, Floats]:
        """Capacity, ratio to the card's, and its variance, (cells,); NaN where a cell did not pass all marks from below."""
        filled = np.diff(self._at_ah, axis=0).T / self._capacity_ah
        told = np.isfinite(filled).all(axis=1) & self._fits
        near = kernel(np.where(told[:, None], filled, 0.0), self._points, self._spread)
        capacity = self._table.mean + near @ self._weight
        strange = np.maximum(1.0 - np.einsum("ij,jk,ik->i", near, self._inverse, near), 0.0)
        variance = self._table.error**2 + self._table.width**2 * strange
        told &= (capacity > 0.3) & (capacity < 1.5)
        return np.where(told, capacity, np.nan), np.where(told, variance, np.nan)


def kernel(a: Floats, b: Floats, spread: Floats) -> Floats:
    """Nearness of charges ``a`` (n, parts) and ``b`` (m, parts): 1 where they are alike; (n, m)."""
    distance = (((a[:, None, :] - b[None, :, :]) / spread) ** 2).sum(axis=2)
    result: Floats = np.exp(-0.5 * distance)
    return result
