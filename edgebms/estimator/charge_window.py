"""Capacity from a part of a charge: what went in between two voltages, over the card's change of SOC between them.

At a steady charging current the voltage less what the filter holds for overpotential is close to the open-circuit
voltage of the charging branch. Its SOC on the card's curve is taken twice, a while after the charge began and where
the current begins to fall or the charge ends; between lie counted ampere-hours. Each half knows its own doubt: the card's stated error,
the sensor's, that of the resistance, over the slope of the curve. What does not pass a quarter of the SOC says nothing.
Where the card knows how its cells age (``aged_charge``), that tells instead: an aged cell's curve is not a new one's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.estimator.aged_charge import AgedCharges
from edgebms.estimator.anchor import STEP
from edgebms.estimator.cell_model import ERROR, HYSTERESIS, CellModel
from edgebms.estimator.kalman import Kalman

Floats = NDArray[np.float64]

CHARGING_C = 0.05
"""Above this current (1/h) a cell charges."""
STEADY = 0.1
"""A current that departs from the first by this share ends the window."""
SETTLED_S = 300.0
"""Before, the relaxations are not those of the charge."""
MIN_SWING = 0.25
SLOPE_MIN_V = 0.05
"""A flatter curve tells no SOC (LFP)."""
SHAPE, AGED = 0.03, 0.1
"""How far a cell's curve between two voltages departs from the card's, as a share of its capacity, and how much more
for each share of the capacity that is lost: an aged curve has another shape."""
MOST_SIGMA = 0.12
"""A window that tells less is none: the capacity stays unknown."""


class Measured(NamedTuple):
    """capacity: ratio to the card's, variance: of it, (cells,); NaN where the charge does not tell."""

    capacity: Floats
    variance: Floats


class _Seen(NamedTuple):
    """A steady sample: Ah counted since the charge began, voltage without the drop, the doubt of it, of the drop alone, temperature."""

    ah: float
    open_v: Floats
    error_v: Floats
    drop_error_v: Floats
    temperature_c: Floats


class ChargeWindow:
    """One pack's charge in progress. Nothing is kept over a restart: a charge that was interrupted is no window."""

    def __init__(self, model: CellModel) -> None:
        self._model = model
        self._first_a = math.nan
        self._since_s = 0.0
        self._ah = 0.0
        # The resistances as they were before the charge: within one, the filter takes a lost capacity for resistance.
        self._scale = self._scale_sigma = np.full(model.cells, np.nan)
        self._begin: _Seen | None = None
        self._last: _Seen | None = None
        table = model.card.aged_charge
        self._aged = AgedCharges(table, model.capacity_ah, model.cells) if table is not None else None

    def take(self, elapsed_s: float, current_a: float, kalman: Kalman, voltage_v: Floats, temperature_c: Floats) -> Measured | None:
        """``elapsed_s`` passed at ``current_a`` of one cell, ``voltage_v`` (cells,) at its end; what the window told, once, when it ends."""
        charging = current_a > CHARGING_C * self._model.capacity_ah
        if not charging or not abs(current_a - self._first_a) <= STEADY * self._first_a:
            told = self.close()
            if charging:
                self._first_a = current_a
                self._scale, self._scale_sigma = kalman.resistance_scale, kalman.resistance_scale_sigma
                if self._aged is not None:
                    self._aged.begin(current_a)
            return told
        self._since_s += elapsed_s
        self._ah += current_a * elapsed_s / 3600.0
        if self._aged is not None:
            self._aged.take(self._ah, voltage_v, temperature_c)
            return None
        if self._since_s >= SETTLED_S:
            seen = self._look(kalman, voltage_v, temperature_c)
            if self._begin is None:
                self._begin = seen
            self._last = seen
        return None

    def close(self) -> Measured | None:
        """End the window; None where it says nothing of any cell."""
        if self._aged is not None:
            capacity, variance = self._aged.close()
            self._first_a = math.nan
            self._since_s = self._ah = 0.0
            self._aged.begin(0.0)
            return Measured(capacity, variance) if np.isfinite(capacity).any() else None
        begin, last = self._begin, self._last
        self._first_a, self._since_s, self._ah = math.nan, 0.0, 0.0
        self._begin = self._last = None
        if begin is None or last is None or last.ah - begin.ah < 0.3 * MIN_SWING * self._model.capacity_ah:
            return None
        from_soc, from_slope = self._soc(begin)
        to_soc, to_slope = self._soc(last)
        swing = to_soc - from_soc
        with np.errstate(invalid="ignore", divide="ignore"):
            capacity = (last.ah - begin.ah) / self._model.capacity_ah / swing
            # A resistance that is off moves both ends to one side.
            ends = (begin.error_v / from_slope) ** 2 + (last.error_v / to_slope) ** 2
            ends += (last.drop_error_v / to_slope - begin.drop_error_v / from_slope) ** 2
            # Not in proportion to what was found: a capacity that is read too small would be too sure of it.
            whole = np.maximum(capacity, 1.0)
            variance = whole**2 * ends / swing**2 + (SHAPE + AGED * np.abs(1.0 - capacity)) ** 2
            good = (swing >= MIN_SWING) & (capacity > 0.3) & (capacity < 1.5) & (variance < MOST_SIGMA**2)
        if not good.any():
            return None
        return Measured(np.where(good, capacity, np.nan), np.where(good, variance, np.nan))

    def _look(self, kalman: Kalman, voltage_v: Floats, temperature_c: Floats) -> _Seen:
        unscaled = kalman.overpotential_v / kalman.resistance_scale
        doubt = self._scale_sigma * unscaled
        table, card = kalman.model.map, kalman.card
        error = np.sqrt(card.accuracy.sensor_v**2 + table[ERROR] ** 2)
        return _Seen(self._ah, voltage_v - self._scale * unscaled - table[HYSTERESIS], error, doubt, temperature_c.copy())

    def _soc(self, seen: _Seen) -> tuple[Floats, Floats]:
        """SOC on the card's curve, NaN where that is too flat or nothing was measured, and its slope there, V."""
        model, temperature = self._model, np.nan_to_num(seen.temperature_c, nan=25.0)
        known = np.isfinite(seen.open_v)
        soc = model.soc_of_ocv(np.where(known, seen.open_v, 3.7), temperature)
        slope = (model.ocv_v(soc + STEP, temperature) - model.ocv_v(soc - STEP, temperature)) / (2.0 * STEP)
        known &= slope >= SLOPE_MIN_V
        return np.where(known, soc, np.nan), np.maximum(slope, SLOPE_MIN_V)
