"""A pack of series cells in truth: circuit, heat, decomposition, shorts. No sensors, no noise (see ``sensors``).

Nothing leaves a cell with its gas, so temperatures after runaway stand higher than measured ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil.plant.cell import Body, Circuit
from hil.plant.kinetics import Kinetics

Floats = NDArray[np.float64]

STEP_K = 1.0
"""A step may warm no cell by more than this."""
STEP_MIN_S = 0.002
SEPARATOR_FAILS_C = 150.0
SEPARATOR_SHORT_OHM = 0.05
"""A separator of polyethylene and polypropylene shrinks near 150 degC; the cell then shorts over its whole area."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Cell to cell, one standard deviation: capacity and resistance as fractions, SOC absolute."""

    capacity: float = 0.005
    resistance: float = 0.03
    soc: float = 0.003


@dataclass(frozen=True, slots=True)
class InternalShort:
    """A resistance across one cell (0-based) from ``onset_s`` on: floor + (resistance - floor) exp(-t/decay)."""

    cell: int
    onset_s: float
    resistance_ohm: float
    decay_s: float = float("inf")
    floor_ohm: float = 0.0

    def conductance_s(self, time_s: float) -> float:
        if time_s < self.onset_s:
            return 0.0
        fade = np.exp(-(time_s - self.onset_s) / self.decay_s)
        return float(1.0 / (self.floor_ohm + (self.resistance_ohm - self.floor_ohm) * fade))


class Pack:
    """``cells`` cells in a row, each a neighbour of the next, in air at ``ambient_c``.

    All arrays are (cells,) and hold the truth after the last ``step``: soc, temperature_c, voltage_v
    (at the terminals), short_w (heat of shorts), heat_rate_k_per_s.
    """

    def __init__(
        self,
        circuit: Circuit,
        cells: int,
        rng: np.random.Generator,
        *,
        soc: float = 1.0,
        ambient_c: float = 25.0,
        spread: Spread = Spread(),
        neighbour_w_per_k: float = 0.05,
        separator_fails_c: float = SEPARATOR_FAILS_C,
        shorts: tuple[InternalShort, ...] = (),
        body: Body | None = None,
    ) -> None:
        self._circuit = circuit
        self._body = body or Body.of_18650s(circuit.capacity_ah)
        self._kinetics = Kinetics(circuit.chemistry, cells)
        self._neighbour_w_per_k = neighbour_w_per_k
        self._shorts = shorts
        self._separator_fails_c = separator_fails_c
        self._failed = np.zeros(cells, dtype=bool)
        self.ambient_c = ambient_c
        self.time_s = 0.0
        self.capacity_ah = circuit.capacity_ah * (1 + spread.capacity * rng.standard_normal(cells))
        self.resistance_scale = np.maximum(0.5, 1 + spread.resistance * rng.standard_normal(cells))
        self.soc = np.clip(soc + spread.soc * rng.standard_normal(cells), 0.0, 1.0)
        self.temperature_c = np.full(cells, float(ambient_c))
        self.heat_rate_k_per_s = np.zeros(cells)
        self.short_w = np.zeros(cells)
        self._rc_v = np.zeros((len(circuit.relaxation), cells))
        self._cell_a = np.zeros(cells)
        self.voltage_v = circuit.ocv(self.soc, self.temperature_c)

    def step(self, seconds: float, current_a: float) -> None:
        """Let ``seconds`` pass at the pack's ``current_a`` (positive while charging), in as many steps as heat needs."""
        left_s = seconds
        while left_s > 1e-9:
            fastest = float(np.abs(self.heat_rate_k_per_s).max())
            step_s = min(left_s, max(STEP_MIN_S, STEP_K / fastest if fastest > STEP_K / left_s else left_s))
            self._step(step_s, current_a)
            left_s -= step_s

    def _step(self, step_s: float, current_a: float) -> None:
        circuit, body = self._circuit, self._body
        conductance = np.where(self._failed, 1 / SEPARATOR_SHORT_OHM, 0.0)
        for short in self._shorts:
            conductance[short.cell] += short.conductance_s(self.time_s)
        soc, temperature_c = self.soc, self.temperature_c
        r0 = circuit.resistance(soc, temperature_c, self._cell_a) * self.resistance_scale
        # An emptied cell whose separator has gone holds no voltage.
        emf = np.where(self._failed & (soc <= 0), 0.0, circuit.ocv(soc, temperature_c) + self._rc_v.sum(axis=0))
        self.voltage_v = (emf + r0 * current_a) / (1 + r0 * conductance)
        cell_a = self._cell_a = current_a - self.voltage_v * conductance
        self.short_w = self.voltage_v**2 * conductance
        ohmic_w = cell_a**2 * r0
        for i, (resistance, tau_s) in enumerate(circuit.relaxation):
            ohmic_w = ohmic_w + np.abs(self._rc_v[i] * cell_a)
            settled_v = cell_a * resistance.at(soc, temperature_c) * self.resistance_scale
            self._rc_v[i] += (settled_v - self._rc_v[i]) * -np.expm1(-step_s / np.interp(temperature_c, resistance.temperature_c, tau_s))
        self.soc = self.soc + cell_a * step_s / 3600 / self.capacity_ah
        reaction_w = self._kinetics.advance(self.temperature_c, step_s) * body.volume_m3
        steps = np.diff(self.temperature_c) * self._neighbour_w_per_k
        from_neighbours_w = np.append(steps, 0.0) - np.append(0.0, steps)
        cooling_w = (self.temperature_c - self.ambient_c) * body.cooling_w_per_k
        self.heat_rate_k_per_s = (ohmic_w + self.short_w + reaction_w + from_neighbours_w - cooling_w) / body.heat_capacity_j_per_k
        self.temperature_c = self.temperature_c + self.heat_rate_k_per_s * step_s
        self._failed |= self.temperature_c > self._separator_fails_c
        self.time_s += step_s
