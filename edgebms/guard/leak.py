"""Charge that a cell lost against its pack, for a short without heat that a probe could see.

A fall in volts says little by itself: near empty a cell of a little less capacity falls by a quarter of a volt. Over the slope of the card's
open-circuit voltage it is charge. What a weak cell can have lost more than the others is a share of what the pack gave; a short takes the rest,
and takes it at rest and while charging as well.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard

Floats = NDArray[np.float64]

SLOPE_AT_C = 25.0
"""Of the card's rows over temperature the one nearest to this."""
LEAST_SLOPE_V = 0.8
"""V per whole capacity, 8 mV/%. On a plateau a millivolt of noise would be a tenth of the capacity."""
WEAK = 0.2
"""A cell with a fifth less capacity, more than packs are built with or age to before they are retired, falls behind by that share of what is drawn."""
LEARNT_S = 3600.0
"""As long as the fall's own reference: what was drawn before is in it."""


class Leak:
    """One pack's cells. ``step`` with each new fall. ocv_v, slope_v: the card's, V and V per whole capacity, rising with SOC."""

    def __init__(self, card: CellCard) -> None:
        table = card.ocv.voltage
        row = min(range(len(table.temperature_c)), key=lambda at: abs(table.temperature_c[at] - SLOPE_AT_C))
        soc, self.ocv_v = np.array(table.soc), np.array(table.value[row])
        self.slope_v = np.maximum(np.gradient(self.ocv_v, soc), LEAST_SLOPE_V)
        self._drawn = 0.0

    def step(self, fall_v: Floats, voltage_v: Floats, c_rate: float, elapsed_s: float) -> Floats:
        """(cells,) share of the capacity; below 0 = less than a weak cell may. fall_v, voltage_v: (cells,), NaN = unknown. c_rate: 1/h, positive while
        charging."""
        self._drawn = self._drawn * math.exp(-elapsed_s / LEARNT_S) + elapsed_s * max(-c_rate, 0.0) / 3600.0
        lost: Floats = fall_v / np.interp(voltage_v, self.ocv_v, self.slope_v) - WEAK * self._drawn
        return lost

    def forget(self, kept: float) -> None:
        """Keep a share of what was drawn, where the fall's reference keeps as much."""
        self._drawn *= kept
