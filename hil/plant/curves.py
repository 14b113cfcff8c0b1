"""A card's curves on uniform grids, made once, so that a look-up for all cells of all packs is a few gathers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard, Table
from edgebms.vocabulary import Chemistry
from hil.plant import loops

Floats = NDArray[np.float64]

PAIRS = 3
"""RC pairs; a card with fewer has pairs of no resistance."""
KELVIN = 273.15
TWO_GAS_OVER_FARADAY = 2 * 8.314462618 / 96485.33212
"""V/K (CODATA 2018)."""

SOC_LOW, SOC_HIGH, OCV_STEP, MAP_STEP = -0.2, 1.4, 0.0025, 0.01
T_LOW_C, T_HIGH_C, T_STEP_K = -40.0, 80.0, 1.0
"""Beyond its last temperature a resistance stays as it is."""
END_SLOPE_V = 2.0
"""Least slope of the OCV per unit of SOC beyond its table: an overcharged cell's voltage goes on rising."""

R0, EXCHANGE, RC, HYSTERESIS, ENTROPIC = 0, 1, 2, 2 + PAIRS, 3 + PAIRS
ROWS = 4 + PAIRS
"""Rows of the map: ohm, A, PAIRS x ohm, V, V/K."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """One cell of ``card``. ocv_v: (temperatures, socs) raveled; map: (ROWS, grid points); tau_s: (PAIRS,) over ``tau_c``."""

    chemistry: Chemistry
    capacity_ah: float
    ocv_v: Floats
    map: NDArray[np.float32]
    tau_c: Floats
    tau_s: Floats
    hysteresis_swing: float
    voltage_min_v: float
    voltage_max_v: float
    temperature_runaway_c: float

    def ocv(self, soc: Floats, temperature_c: Floats) -> tuple[Floats, Floats]:
        """(open-circuit voltage, V, without hysteresis; its slope, V per unit of SOC), both of the shape of ``soc``."""
        places = soc.ravel(), temperature_c.ravel()
        emf_v, slope_v = loops.open_circuit(self.ocv_v, OCV_WIDTH, TEMPERATURES, *places, SOC_LOW, OCV_STEP, T_LOW_C, T_STEP_K)
        return emf_v.reshape(soc.shape), slope_v.reshape(soc.shape)

    def look(self, soc: Floats, temperature_c: Floats) -> NDArray[np.float32]:
        """The rows of the map for each cell, shape (ROWS, *soc.shape)."""
        places = soc.ravel(), temperature_c.ravel()
        found = loops.from_map(self.map, MAP_WIDTH, TEMPERATURES, *places, SOC_LOW, MAP_STEP, T_LOW_C, T_STEP_K)
        return found.reshape(ROWS, *soc.shape)

    def time_constants_s(self, temperature_c: Floats) -> Floats:
        """Of the RC pairs at one temperature a pack: (packs,) -> (packs, PAIRS)."""
        return np.exp(np.array([np.interp(temperature_c, self.tau_c, np.log(row)) for row in self.tau_s]).T)


TEMPERATURES = round((T_HIGH_C - T_LOW_C) / T_STEP_K) + 1
OCV_WIDTH = round((SOC_HIGH - SOC_LOW) / OCV_STEP) + 1
MAP_WIDTH = round((SOC_HIGH - SOC_LOW) / MAP_STEP) + 1


def from_card(card: CellCard) -> Curves:
    """The curves of one cell of ``card``; a pack scales them by its parallel count and its spread."""
    grid_c = T_LOW_C + T_STEP_K * np.arange(TEMPERATURES)
    soc = SOC_LOW + MAP_STEP * np.arange(MAP_WIDTH)
    rows = np.zeros((ROWS, TEMPERATURES, MAP_WIDTH))
    rows[R0] = resample(card.resistance_ohm, soc, grid_c)
    rows[EXCHANGE] = resample(card.exchange_a, soc, grid_c)
    tau_c = np.array(card.relaxation[0].resistance_ohm.temperature_c)
    tau_s = np.ones((PAIRS, tau_c.size))
    for k, pair in enumerate(card.relaxation):
        rows[RC + k] = resample(pair.resistance_ohm, soc, grid_c)
        tau_s[k] = np.interp(tau_c, pair.resistance_ohm.temperature_c, pair.tau_s)
    rows[HYSTERESIS] = np.interp(soc, card.ocv.voltage.soc, card.ocv.hysteresis_v)
    rows[ENTROPIC] = np.interp(soc, card.ocv.voltage.soc, card.ocv.entropic_v_per_k)
    return Curves(
        card.chemistry,
        card.capacity_ah,
        ocv_grid(card, SOC_LOW + OCV_STEP * np.arange(OCV_WIDTH), grid_c).ravel(),
        rows.reshape(ROWS, -1).astype(np.float32),
        tau_c,
        tau_s,
        card.ocv.hysteresis_swing,
        card.limits.voltage_min_v,
        card.limits.voltage_max_v,
        card.limits.temperature_runaway_c,
    )


def plain(capacity_ah: float = 3.0, r0_ohm: float = 0.030, chemistry: Chemistry = Chemistry.LCO, runaway_c: float = 80.0) -> Curves:
    """A textbook cell for checks against published figures: one resistance, a smooth OCV from 3.0 to 4.18 V."""
    soc = [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    ocv = [3.0, 3.33, 3.45, 3.54, 3.60, 3.645, 3.70, 3.79, 3.88, 3.97, 4.07, 4.18]
    fine = SOC_LOW + OCV_STEP * np.arange(OCV_WIDTH)
    curve = np.interp(fine, soc, ocv) + 6.6 * np.minimum(fine, 0.0) + END_SLOPE_V * np.maximum(fine - 1.0, 0.0)
    rows = np.zeros((ROWS, TEMPERATURES * MAP_WIDTH))
    rows[R0] = r0_ohm
    rows[EXCHANGE] = 1e6
    rows[RC] = 0.5 * r0_ohm
    tau_s = np.array([[30.0], [1.0], [1.0]])
    return Curves(
        chemistry, capacity_ah, np.tile(curve, TEMPERATURES), rows.astype(np.float32), np.array([25.0]), tau_s, 0.05, 2.7, 4.2, runaway_c
    )


def resample(table: Table, soc: Floats, temperature_c: Floats) -> Floats:
    """A resistance or exchange current on a grid (temperatures, socs): its logarithm is linear in SOC and over 1/T (Arrhenius);
    the nearest value beyond the table."""
    value = np.log(np.array(table.value))
    along_soc = np.array([np.interp(soc, table.soc, row) for row in value])
    axis, at = -1.0 / (np.array(table.temperature_c) + KELVIN), -1.0 / (temperature_c + KELVIN)
    return np.exp(np.array([np.interp(at, axis, column) for column in along_soc.T]).T)


def ocv_grid(card: CellCard, soc: Floats, temperature_c: Floats) -> Floats:
    """Open-circuit voltage (temperatures, socs); beyond the table its end slope goes on, at least END_SLOPE_V."""
    table = card.ocv.voltage
    columns = []
    for row in table.value:
        low_slope = max((row[1] - row[0]) / (table.soc[1] - table.soc[0]), END_SLOPE_V)
        high_slope = max((row[-1] - row[-2]) / (table.soc[-1] - table.soc[-2]), END_SLOPE_V)
        beyond = low_slope * np.minimum(soc - table.soc[0], 0.0) + high_slope * np.maximum(soc - table.soc[-1], 0.0)
        columns.append(np.interp(soc, table.soc, row) + beyond)
    inside = np.clip(temperature_c, table.temperature_c[0], table.temperature_c[-1])
    voltage = np.array([np.interp(inside, table.temperature_c, column) for column in np.array(columns).T]).T
    entropic = np.interp(soc, table.soc, card.ocv.entropic_v_per_k)
    return voltage + (temperature_c - inside)[:, None] * entropic
