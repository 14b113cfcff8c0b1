"""A cell's equivalent circuit and body: what the plant needs of a card, as plain tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import Chemistry
from hil.plant.kinetics import HEAT_CAPACITY_J_PER_M3_K

Floats = NDArray[np.float64]

CELL_18650_M3 = np.pi * 0.009**2 * 0.065
CELL_18650_M2 = np.pi * 0.018 * 0.065 + 2 * np.pi * 0.009**2
CELL_18650_AH = 3.0
COOLING_W_PER_M3_K = 1816.0
"""h*A/V of an 18650 in free air (h = 7.2 W/(m2 K))."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Volume and cooling of one series group: so many 18650s as its capacity takes."""

    volume_m3: float
    heat_capacity_j_per_k: float
    cooling_w_per_k: float

    @classmethod
    def of_18650s(cls, capacity_ah: float) -> Body:
        volume_m3 = CELL_18650_M3 * capacity_ah / CELL_18650_AH
        return cls(volume_m3, volume_m3 * HEAT_CAPACITY_J_PER_M3_K, volume_m3 * COOLING_W_PER_M3_K)


@dataclass(frozen=True, slots=True, eq=False)
class Circuit:
    """OCV, R0 and RC pairs of one cell (or series group), before spread.

    soc: (k,) rising. ocv_v: (k,). temperature_c: (m,) rising. r0_ohm: (m, k).
    rc: pairs of (resistance as a multiple of R0, time constant in s).
    """

    chemistry: Chemistry
    capacity_ah: float
    soc: Floats
    ocv_v: Floats
    temperature_c: Floats
    r0_ohm: Floats
    rc: tuple[tuple[float, float], ...]

    def ocv(self, soc: Floats) -> Floats:
        """OCV at ``soc``; beyond the table it goes on as steeply as the table's end."""
        inside = np.interp(soc, self.soc, self.ocv_v)
        below = (self.ocv_v[1] - self.ocv_v[0]) / (self.soc[1] - self.soc[0])
        above = (self.ocv_v[-1] - self.ocv_v[-2]) / (self.soc[-1] - self.soc[-2])
        return inside + np.minimum(soc - self.soc[0], 0) * below + np.maximum(soc - self.soc[-1], 0) * above

    def r0(self, soc: Floats, temperature_c: Floats) -> Floats:
        """Resistance, log-linear in temperature and linear in SOC; the table's edge beyond it."""
        if len(self.temperature_c) == 1:
            return np.interp(soc, self.soc, self.r0_ohm[0])
        place = np.clip(
            np.interp(temperature_c, self.temperature_c, np.arange(len(self.temperature_c))), 0, len(self.temperature_c) - 1 - 1e-9
        )
        row = place.astype(int)
        share = place - row
        lower = np.array([np.interp(s, self.soc, self.r0_ohm[i]) for s, i in zip(soc, row, strict=True)])
        upper = np.array([np.interp(s, self.soc, self.r0_ohm[i + 1]) for s, i in zip(soc, row, strict=True)])
        return np.exp((1 - share) * np.log(lower) + share * np.log(upper))


def plain_circuit(capacity_ah: float = 3.0, r0_ohm: float = 0.030, chemistry: Chemistry = Chemistry.LCO) -> Circuit:
    """A textbook cell for checks against published figures: one resistance, a smooth OCV from 3.0 to 4.2 V.

    >>> circuit = plain_circuit()
    >>> circuit.ocv(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [3.0, 3.7, 4.18]
    """
    soc = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    ocv = np.array([3.0, 3.33, 3.45, 3.54, 3.60, 3.645, 3.70, 3.79, 3.88, 3.97, 4.07, 4.18])
    return Circuit(chemistry, capacity_ah, soc, ocv, np.array([25.0]), np.full((1, len(soc)), r0_ohm), ((0.5, 30.0),))
