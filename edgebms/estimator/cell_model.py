"""A card's curves for all cells at once: bilinear look-ups on uniform grids, made once from the card.

V = OCV(s, T) + h M(s) + r (R0 I + 2RT/F asinh(I / 2 I0) + sum_k R_k i_k), where i_k is the current
through the resistor of RC pair k: di_k/dt = (I - i_k) / tau_k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard, Table

Floats = NDArray[np.float64]

PAIRS = 3
"""RC pairs at run time; a card with fewer has pairs of no resistance."""
GAS_OVER_FARADAY = 8.314462618 / 96485.33212
"""R/F, V/K (CODATA 2018)."""
KELVIN = 273.15

SOC_LOW, SOC_HIGH = -0.1, 1.1
OCV_STEP = 0.0025
MAP_STEP = 0.02
T_LOW_C, T_HIGH_C, T_STEP_K = -40.0, 80.0, 2.5

R0, EXCHANGE, RC, RATE, HYSTERESIS, ERROR = 0, 1, 2, 2 + PAIRS, 2 + 2 * PAIRS, 3 + 2 * PAIRS
"""Rows of the parameter map: ohm, A, PAIRS x ohm, PAIRS x 1/s, V, V."""
ROWS = 4 + 2 * PAIRS


def resample(table: Table, soc: Floats, temperature_c: Floats, log: bool) -> Floats:
    """``table`` on a grid: shape (temperatures, socs). Linear in SOC; over temperature linear, or with
    ``log`` linear in the logarithm over 1/T (Arrhenius); the nearest value beyond the table."""
    value = np.array(table.value)
    if log:
        value = np.log(value)
    along_soc = np.array([np.interp(soc, table.soc, row) for row in value])
    axis = np.array(table.temperature_c)
    at = temperature_c
    if log:
        axis, at = -1.0 / (axis + KELVIN), -1.0 / (at + KELVIN)
    out = np.array([np.interp(at, axis, column) for column in along_soc.T]).T
    return np.exp(out) if log else out


class CellModel:
    """Curves of ``card`` for ``cells`` cells. ``look`` fills the arrays in place and returns nothing.

    After ``look(soc, temperature_c)``: map (ROWS, cells) with the rows named above, slope likewise per unit of SOC.
    """

    def __init__(self, card: CellCard, cells: int) -> None:
        self.card, self.cells = card, cells
        self.capacity_ah = card.capacity_ah
        fine = np.arange(SOC_LOW, SOC_HIGH + OCV_STEP / 2, OCV_STEP)
        soc = np.arange(SOC_LOW, SOC_HIGH + MAP_STEP / 2, MAP_STEP)
        grid_c = np.arange(T_LOW_C, T_HIGH_C + T_STEP_K / 2, T_STEP_K)
        self._ocv = ocv_grid(card, fine, grid_c).ravel()
        self._fine_soc, self._ocv_width, self._map_width = fine, fine.size, soc.size
        grid = np.zeros((ROWS, grid_c.size, soc.size))
        grid[R0] = resample(card.resistance_ohm, soc, grid_c, log=True)
        grid[EXCHANGE] = resample(card.exchange_a, soc, grid_c, log=True)
        grid[RATE : RATE + PAIRS] = 1.0
        for k, pair in enumerate(card.relaxation):
            table = pair.resistance_ohm
            grid[RC + k] = resample(table, soc, grid_c, log=True)
            log_tau = np.interp(-1.0 / (grid_c + KELVIN), -1.0 / (np.array(table.temperature_c) + KELVIN), np.log(pair.tau_s))
            grid[RATE + k] = np.exp(-log_tau)[:, None]
        grid[HYSTERESIS] = np.interp(soc, card.ocv.voltage.soc, card.ocv.hysteresis_v)
        grid[ERROR] = resample(card.accuracy.voltage_v, soc, grid_c, log=True)
        self._map = grid.reshape(ROWS, -1)
        self.map = np.zeros((ROWS, cells))
        self.slope = np.zeros((ROWS, cells))

    def look(self, soc: Floats, temperature_c: Floats) -> None:
        """Fill ``map`` and ``slope`` (its derivative over SOC) at ``soc`` and ``temperature_c``, (cells,), finite."""
        row, weight_t = place(temperature_c, T_LOW_C, T_STEP_K, self._map.shape[1] // self._map_width)
        column, weight_s = place(soc, SOC_LOW, MAP_STEP, self._map_width)
        base = row * self._map_width + column
        flat = self._map
        low, low_step = flat.take(base, axis=1), flat.take(base + 1, axis=1)
        base += self._map_width
        high, high_step = flat.take(base, axis=1), flat.take(base + 1, axis=1)
        low_step -= low
        high_step -= high
        high -= low
        high *= weight_t
        low += high
        high_step -= low_step
        high_step *= weight_t
        low_step += high_step
        np.multiply(low_step, 1.0 / MAP_STEP, out=self.slope)
        low_step *= weight_s
        np.add(low, low_step, out=self.map)

    def ocv_v(self, soc: Floats, temperature_c: Floats) -> Floats:
        """Open-circuit voltage, V. soc (..., cells), temperature_c (cells,)."""
        row, weight_t = place(temperature_c, T_LOW_C, T_STEP_K, self._ocv.size // self._ocv_width)
        column, weight_s = place(soc, SOC_LOW, OCV_STEP, self._ocv_width)
        base = row * self._ocv_width + column
        flat = self._ocv
        low, low_step = flat.take(base), flat.take(base + 1)
        base += self._ocv_width
        high, high_step = flat.take(base), flat.take(base + 1)
        low_step -= low
        low_step *= weight_s
        low += low_step
        high_step -= high
        high_step *= weight_s
        high += high_step
        high -= low
        high *= weight_t
        low += high
        return low

    def soc_of_ocv(self, voltage_v: Floats, temperature_c: Floats) -> Floats:
        """SOC at which the open-circuit voltage is ``voltage_v``; (cells,). Clipped to the card's curve."""
        low, high = np.full(voltage_v.shape, SOC_LOW), np.full(voltage_v.shape, SOC_HIGH)
        for _ in range(18):  # halving: a step of 5e-6 at the end, whatever the slope
            middle = 0.5 * (low + high)
            above = self.ocv_v(middle, temperature_c) > voltage_v
            high = np.where(above, middle, high)
            low = np.where(above, low, middle)
        soc: Floats = 0.5 * (low + high)
        return soc

    def resistance_ohm(self, soc: Floats, temperature_c: Floats, current_a: float, horizon_s: float) -> Floats:
        """What the voltage moves per ampere within ``horizon_s`` of a step to ``current_a``; (cells,)."""
        self.look(soc, temperature_c)
        level = max(abs(current_a), 1e-3 * self.capacity_ah)
        relaxed = self.map[RC : RC + PAIRS] * -np.expm1(-horizon_s * self.map[RATE : RATE + PAIRS])
        transfer = 2.0 * GAS_OVER_FARADAY * (temperature_c + KELVIN) * np.arcsinh(0.5 * level / self.map[EXCHANGE]) / level
        result: Floats = self.map[R0] + transfer + relaxed.sum(axis=0)
        return result


def ocv_grid(card: CellCard, soc: Floats, temperature_c: Floats) -> Floats:
    """Open-circuit voltage over temperature and SOC, (temperatures, socs). Beyond the table's SOC its end
    slope goes on (at least 0.5 V per unit of SOC), so that a voltage always tells where to go."""
    table = card.ocv.voltage
    columns = []
    for row in table.value:
        curve = np.interp(soc, table.soc, row)
        low_slope = max((row[1] - row[0]) / (table.soc[1] - table.soc[0]), 0.5)
        high_slope = max((row[-1] - row[-2]) / (table.soc[-1] - table.soc[-2]), 0.5)
        curve += low_slope * np.minimum(soc - table.soc[0], 0.0) + high_slope * np.maximum(soc - table.soc[-1], 0.0)
        columns.append(curve)
    inside = np.clip(temperature_c, table.temperature_c[0], table.temperature_c[-1])
    voltage = np.array([np.interp(inside, table.temperature_c, column) for column in np.array(columns).T]).T
    entropic = np.interp(soc, table.soc, card.ocv.entropic_v_per_k)
    result: Floats = voltage + (temperature_c - inside)[:, None] * entropic
    return result


def place(x: Floats, low: float, step: float, count: int) -> tuple[NDArray[np.intp], Floats]:
    """Index of the grid point below ``x`` and the weight of the one above; clipped to the grid."""
    at = (x - low) * (1.0 / step)
    np.maximum(at, 0.0, out=at)
    np.minimum(at, count - 1.000001, out=at)
    index = at.astype(np.intp)
    at -= index
    return index, at
