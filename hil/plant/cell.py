"""A cell's equivalent circuit and body: what the plant needs of a card, as plain tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard, Table
from edgebms.vocabulary import Chemistry
from hil.plant.kinetics import GAS_J_PER_MOL_K, HEAT_CAPACITY_J_PER_M3_K, KELVIN

Floats = NDArray[np.float64]

FARADAY_C_PER_MOL = 96485.33
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
class Grid:
    """A quantity over temperature and SOC: value (m, k) at temperature_c (m,) and soc (k,), both rising.

    Bilinear between, the nearest value beyond. log: linear in the logarithm (resistances).
    """

    soc: Floats
    temperature_c: Floats
    value: Floats
    log: bool = False

    def at(self, soc: Floats, temperature_c: Floats) -> Floats:
        """Values at ``soc`` and ``temperature_c``, both (cells,)."""
        i, share_t = place(temperature_c, self.temperature_c)
        j, share_s = place(soc, self.soc)
        i1, j1 = np.minimum(i + 1, len(self.temperature_c) - 1), np.minimum(j + 1, len(self.soc) - 1)
        value = np.log(self.value) if self.log else self.value
        low = value[i, j] + share_s * (value[i, j1] - value[i, j])
        high = value[i1, j] + share_s * (value[i1, j1] - value[i1, j])
        mixed = low + share_t * (high - low)
        return np.exp(mixed) if self.log else mixed


def place(at: Floats, axis: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Index of the axis value at or below ``at``, and the share of the way to the next."""
    along = np.interp(at, axis, np.arange(len(axis)))
    index = np.minimum(along.astype(np.int64), max(len(axis) - 2, 0))
    return index, along - index


def grid(table: Table, *, log: bool = False) -> Grid:
    return Grid(np.array(table.soc), np.array(table.temperature_c), np.array(table.value), log)


@dataclass(frozen=True, slots=True, eq=False)
class Circuit:
    """OCV, resistance, charge transfer and RC pairs of one series group, before spread.

    exchange_a: exchange current of the transfer term 2RT/F asinh(I / 2 I0); None = no such term.
    relaxation: (resistance, time constants in s at the resistance's temperatures) per pair.
    Neither hysteresis nor entropy: the plant is for faults.
    """

    chemistry: Chemistry
    capacity_ah: float
    ocv_v: Grid
    r0_ohm: Grid
    exchange_a: Grid | None
    relaxation: tuple[tuple[Grid, Floats], ...]

    def ocv(self, soc: Floats, temperature_c: Floats) -> Floats:
        """OCV; beyond the table's SOC it goes on as steeply as the table's end."""
        axis, value = self.ocv_v.soc, self.ocv_v.value[len(self.ocv_v.temperature_c) // 2]
        below = (value[1] - value[0]) / (axis[1] - axis[0])
        above = (value[-1] - value[-2]) / (axis[-1] - axis[-2])
        return self.ocv_v.at(soc, temperature_c) + np.minimum(soc - axis[0], 0) * below + np.maximum(soc - axis[-1], 0) * above

    def resistance(self, soc: Floats, temperature_c: Floats, cell_a: Floats) -> Floats:
        """What the voltage moves at once per ampere when ``cell_a`` flows, ohm."""
        ohmic = self.r0_ohm.at(soc, temperature_c)
        if self.exchange_a is None:
            return ohmic
        level = np.maximum(np.abs(cell_a), 1e-3 * self.capacity_ah)
        thermal_v = 2 * GAS_J_PER_MOL_K / FARADAY_C_PER_MOL * (temperature_c + KELVIN)
        return ohmic + thermal_v * np.arcsinh(0.5 * level / self.exchange_a.at(soc, temperature_c)) / level


def from_card(card: CellCard, parallel: int = 1) -> Circuit:
    """The circuit of ``parallel`` cells of ``card`` side by side."""
    relaxation = tuple((scaled(grid(pair.resistance_ohm, log=True), 1 / parallel), np.array(pair.tau_s)) for pair in card.relaxation)
    return Circuit(
        card.chemistry,
        card.capacity_ah * parallel,
        grid(card.ocv.voltage),
        scaled(grid(card.resistance_ohm, log=True), 1 / parallel),
        scaled(grid(card.exchange_a, log=True), parallel),
        relaxation,
    )


def scaled(grid: Grid, factor: float) -> Grid:
    return Grid(grid.soc, grid.temperature_c, grid.value * factor, grid.log)


def plain_circuit(capacity_ah: float = 3.0, r0_ohm: float = 0.030, chemistry: Chemistry = Chemistry.LCO) -> Circuit:
    """A textbook cell for checks against published figures: one resistance, a smooth OCV from 3.0 to 4.18 V.

    >>> circuit = plain_circuit()
    >>> circuit.ocv(np.array([0.0, 0.5, 1.0]), np.full(3, 25.0)).round(2).tolist()
    [3.0, 3.7, 4.18]
    """
    soc = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    ocv = np.array([3.0, 3.33, 3.45, 3.54, 3.60, 3.645, 3.70, 3.79, 3.88, 3.97, 4.07, 4.18])
    room, everywhere = np.array([25.0]), np.array([0.5])
    pair = (Grid(everywhere, room, np.array([[0.5 * r0_ohm]])), np.array([30.0]))
    return Circuit(chemistry, capacity_ah, Grid(soc, room, ocv[None, :]), Grid(everywhere, room, np.array([[r0_ohm]])), None, (pair,))
