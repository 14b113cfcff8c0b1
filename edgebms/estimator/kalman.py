"""State of charge of every cell of a pack: one extended Kalman filter per cell, all cells in one array.

States of a cell: SOC; the currents through the resistors of the RC pairs; a voltage bias (what the
card's curve is off at this SOC); the logarithm of the resistance scale; the current sensor's offset.
The error of a card is no white noise: at 1 Hz one sample tells little that the one before did not.
So the bias is a process over SOC and time, and measurement noise counts per second, not per sample.
Cells are independent: no figure of one depends on another's. Plett, J. Power Sources 134 (2004)
252-292 for the equations of the filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.estimator.cell_model import ERROR, EXCHANGE, GAS_OVER_FARADAY, HYSTERESIS, KELVIN, PAIRS, R0, RATE, RC, CellModel
from edgebms.vocabulary import Source

Floats = NDArray[np.float64]

SOC, I1, BIAS, SCALE, OFFSET, STATES = 0, 1, 1 + PAIRS, 2 + PAIRS, 3 + PAIRS, 4 + PAIRS
SOC_MIN, SOC_MAX = -0.08, 1.04


@dataclass(frozen=True, slots=True)
class Tuning:
    """The filter's constants: one set for all cells, tuned on train (export/recipes/tune_kalman.py).

    bias: standard deviation of the voltage bias over the card's stated voltage error. bias_swing: change
    of SOC, bias_s: time over which the bias is forgotten. noise: standard deviation of what the model
    leaves unexplained from moment to moment over the card's error, noise_s: its correlation time.
    drop: error per volt of overpotential. scale: prior of the resistance scale over the card's,
    scale_s: time in which it wanders by its prior. offset_c: prior of the current offset (1/h).
    relaxed_c: prior of the RC currents after a start (1/h). current_c: uncertainty of an unmeasured current.
    """

    bias: float = 1.0
    bias_swing: float = 0.1
    bias_s: float = 20_000.0
    noise: float = 1.0
    noise_s: float = 20.0
    drop: float = 0.1
    scale: float = 1.0
    scale_s: float = 10_000.0
    offset_c: float = 0.02
    offset_s: float = 50_000.0
    relaxed_c: float = 0.3
    counting: float = 0.01
    current_c: float = 0.5


TUNED = Tuning()

REST_C = 0.02
"""A cell rests below this current (1/h)."""
ANCHOR_REST_S = 600.0
ANCHOR_SIGMA = 0.03
GAP_S = 120.0
"""Longer than the slowest sampling that is one: what flowed meanwhile is not known."""


class Kalman:
    """The filter of one pack. ``step`` at each snapshot; then read the arrays, (cells,) each.

    soc, soc_sigma: fraction; NaN before a first voltage. innovation_v, innovation_sigma_v: measured minus
    expected voltage of this step (NaN where not measured) and its standard deviation.
    resistance_scale, resistance_scale_sigma: to the card's. polarisation_v: the RC pairs' voltage.
    since_anchor_s: time since the open-circuit voltage last told the SOC. source: codes of ``Source``.
    """

    def __init__(self, card: CellCard, cells: int, tuning: Tuning = TUNED) -> None:
        self.card, self.cells, self.tuning = card, cells, tuning
        self.model = CellModel(card, cells)
        self._coulomb = 1.0 / (3600.0 * card.capacity_ah)
        self._x = np.zeros((STATES, cells))
        self._p = np.zeros((STATES, STATES, cells))
        self._h = np.zeros((STATES, cells))
        self._h[BIAS] = 1.0
        self._a = np.ones((STATES, cells))
        self._g = np.zeros((STATES, cells))
        self._started = np.zeros(cells, dtype=bool)
        self._temperature_c = np.full(cells, np.nan)
        self._time_s = math.nan
        self._current_a = math.nan
        self._hysteresis = 0.0
        self._hysteresis_known = 0.0
        self._rest_s = 0.0
        self.soc = np.full(cells, np.nan)
        self.soc_sigma = np.full(cells, np.nan)
        self.innovation_v = np.full(cells, np.nan)
        self.innovation_sigma_v = np.full(cells, np.nan)
        self.resistance_scale = np.full(cells, np.nan)
        self.resistance_scale_sigma = np.full(cells, np.nan)
        self.polarisation_v = np.full(cells, np.nan)
        self.since_anchor_s = np.full(cells, np.inf)
        self.source = np.full(cells, Source.UNKNOWN, dtype=np.uint8)

    def step(self, time_s: float, current_a: float, voltage_v: Floats, temperature_c: Floats) -> None:
        """One snapshot: ``current_a`` of one cell since the last one (positive while charging, NaN =
        unknown), ``voltage_v`` and ``temperature_c`` of shape (cells,), NaN = unknown."""
        dt_s = time_s - self._time_s
        dt_s = max(dt_s, 0.0) if dt_s == dt_s else 0.0
        self._time_s = time_s
        temperature = self._temperatures(temperature_c)
        known = np.isfinite(voltage_v)
        current = current_a if math.isfinite(current_a) else 0.0
        if dt_s > 0.0:
            self._predict(dt_s, current_a)
        self.model.look(self._x[SOC], temperature)
        fresh = known & ~self._started
        if fresh.any():
            self._start(fresh, voltage_v, current, temperature)
        self._update(dt_s, current_a, current, voltage_v, temperature, known & self._started)
        self._publish(dt_s)

    def _temperatures(self, temperature_c: Floats) -> Floats:
        """The last known temperature of each cell; 25 degC where there never was one."""
        np.copyto(self._temperature_c, temperature_c, where=np.isfinite(temperature_c))
        temperature: Floats = np.nan_to_num(self._temperature_c, nan=25.0)
        return temperature

    def _predict(self, dt_s: float, current_a: float) -> None:
        tuning, x, p = self.tuning, self._x, self._p
        capacity = self.card.capacity_ah
        before = self._current_a
        self._current_a = current_a
        if dt_s > GAP_S:
            # What flowed in the gap is not known; that little flowed before and after makes a rest likely.
            ends = [abs(a) for a in (before, current_a) if math.isfinite(a)]
            flowing = min(ends) if ends else capacity
            sigma_a = 0.002 * capacity + flowing if flowing < REST_C * capacity else tuning.current_c * capacity
            current = 0.0
        elif math.isfinite(current_a):
            current, sigma_a = current_a, tuning.counting * abs(current_a)
        else:
            current, sigma_a = 0.0, tuning.current_c * capacity
        charge = dt_s * self._coulomb
        swing = abs(current) * charge
        # RC pairs, exactly for a constant current.
        rates = self.model.map[RATE : RATE + PAIRS]
        a, g = self._a, self._g
        decay = np.exp(rates * -dt_s)
        a[I1 : I1 + PAIRS] = decay
        g[I1 : I1 + PAIRS] = decay - 1.0
        g[SOC] = -charge
        forget = math.exp(-swing / tuning.bias_swing - dt_s / tuning.bias_s)
        a[BIAS] = forget
        real = current - x[OFFSET]
        x[SOC] += charge * real
        x[I1 : I1 + PAIRS] = decay * x[I1 : I1 + PAIRS] + (1.0 - decay) * real
        x[BIAS] *= forget
        # P <- F P F' with F = diag(a) + g e_offset'
        cross = a * p[OFFSET] + (0.5 * p[OFFSET, OFFSET]) * g
        cross[OFFSET] = p[OFFSET, OFFSET]
        p *= a[:, None]
        p *= a[None, :]
        p += g[:, None] * cross[None, :]
        p += cross[:, None] * g[None, :]
        error = self.model.map[ERROR]
        p[BIAS, BIAS] += (1.0 - forget * forget) * (tuning.bias * error) ** 2
        scale = tuning.scale * self.card.accuracy.resistance
        p[SCALE, SCALE] += 2.0 * scale * scale * dt_s / tuning.scale_s
        offset = tuning.offset_c * capacity
        p[OFFSET, OFFSET] += 2.0 * offset * offset * dt_s / tuning.offset_s
        p[SOC, SOC] += (sigma_a * charge) ** 2
        if sigma_a > REST_C * capacity:
            p[I1, I1] += ((1.0 - decay[0]) * sigma_a) ** 2
            for k in range(1, PAIRS):
                p[I1 + k, I1 + k] += ((1.0 - decay[k]) * sigma_a) ** 2
        fade = math.exp(-swing / self.card.ocv.hysteresis_swing)
        self._hysteresis = fade * self._hysteresis + (1.0 - fade) * math.copysign(1.0, current)
        self._hysteresis_known = 1.0 - (1.0 - self._hysteresis_known) * fade
        self._rest_s = self._rest_s + dt_s if abs(current) < REST_C * capacity and sigma_a < tuning.current_c * capacity else 0.0

    def _drop(self, current_a: float, temperature_c: Floats) -> tuple[Floats, Floats]:
        """Overpotential of R0 and charge transfer at the card's scale, V, and its slope, ohm."""
        table = self.model.map
        thermal = (2.0 * GAS_OVER_FARADAY) * (temperature_c + KELVIN)
        ratio = (0.5 * current_a) / table[EXCHANGE]
        drop = table[R0] * current_a + thermal * np.arcsinh(ratio)
        slope = table[R0] + 0.5 * thermal / (table[EXCHANGE] * np.sqrt(1.0 + ratio * ratio))
        return drop, slope

    def _start(self, fresh: NDArray[np.bool_], voltage_v: Floats, current_a: float, temperature_c: Floats) -> None:
        """First guess from the first voltage: open-circuit voltage with the drop taken off, iterated."""
        tuning, x, p = self.tuning, self._x, self._p
        voltage = np.where(fresh, voltage_v, 3.0)
        soc = np.full(self.cells, 0.5)
        for _ in range(4):
            self.model.look(soc, temperature_c)
            drop, _ = self._drop(current_a, temperature_c)
            soc = np.clip(self.model.soc_of_ocv(voltage - drop, temperature_c), SOC_MIN, SOC_MAX)
        capacity = self.card.capacity_ah
        prior = np.zeros((STATES, self.cells))
        prior[SOC] = 0.5
        prior[I1 : I1 + PAIRS] = tuning.relaxed_c * capacity
        prior[BIAS] = tuning.bias * self.model.map[ERROR]
        prior[SCALE] = tuning.scale * self.card.accuracy.resistance
        prior[OFFSET] = tuning.offset_c * capacity
        first = np.zeros((STATES, self.cells))
        first[SOC] = soc
        x[:, fresh] = first[:, fresh]
        for i in range(STATES):
            p[i][:, fresh] = 0.0
            p[i, i, fresh] = prior[i, fresh] ** 2
        self._started |= fresh

    def _update(
        self, dt_s: float, measured_a: float, current_a: float, voltage_v: Floats, temperature_c: Floats, known: NDArray[np.bool_]
    ) -> None:
        tuning, x, p, h = self.tuning, self._x, self._p, self._h
        table = self.model.map
        scale = np.exp(x[SCALE])
        drop, slope = self._drop(current_a, temperature_c)
        pairs = table[RC : RC + PAIRS]
        polarisation = (pairs * x[I1 : I1 + PAIRS]).sum(axis=0)
        total = scale * (drop + polarisation)
        # The slope of the curve as far as the SOC is uncertain: on a plateau a tangent would claim too little.
        spread = np.clip(np.sqrt(p[SOC, SOC]), 0.005, 0.25)
        around = self.model.ocv_v(np.stack((x[SOC], x[SOC] - spread, x[SOC] + spread)), temperature_c)
        h[SOC] = (around[2] - around[1]) / (2.0 * spread)
        np.multiply(scale, pairs, out=h[I1 : I1 + PAIRS])
        h[SCALE] = total
        h[OFFSET] = -scale * slope
        expected = around[0] + self._hysteresis * table[HYSTERESIS] + x[BIAS] + total
        innovation = voltage_v - expected
        error = table[ERROR]
        noise = (tuning.noise * error) ** 2 + (tuning.drop * total) ** 2
        noise += (table[HYSTERESIS] * (1.0 - self._hysteresis_known)) ** 2
        if not math.isfinite(measured_a):
            noise += (tuning.current_c * self.card.capacity_ah * scale * slope) ** 2
        # Neighbouring samples share their error: together they count once in noise_s.
        noise *= max(tuning.noise_s / dt_s, 1.0) if dt_s > 0.0 else 1.0
        noise += self.card.accuracy.sensor_v**2
        ph = np.einsum("ijc,jc->ic", p, h)
        variance = np.einsum("ic,ic->c", h, ph) + noise
        gain = ph / variance
        gain *= known
        x += gain * np.where(known, innovation, 0.0)
        p -= gain[:, None] * ph[None, :]
        np.clip(x[SOC], SOC_MIN, SOC_MAX, out=x[SOC])
        np.clip(x[SCALE], -1.5, 1.5, out=x[SCALE])
        self.innovation_v = np.where(known, innovation, np.nan)
        self.innovation_sigma_v = np.sqrt(variance)
        self.polarisation_v = scale * polarisation

    def _publish(self, dt_s: float) -> None:
        x, p = self._x, self._p
        self.soc = np.where(self._started, x[SOC], np.nan)
        self.soc_sigma = np.where(self._started, np.sqrt(p[SOC, SOC]), np.nan)
        self.resistance_scale = np.where(self._started, np.exp(x[SCALE]), np.nan)
        self.resistance_scale_sigma = self.resistance_scale * np.sqrt(p[SCALE, SCALE])
        self.since_anchor_s += dt_s
        rested = self._rest_s >= ANCHOR_REST_S
        if rested:
            anchored = self.soc_sigma < ANCHOR_SIGMA
            self.since_anchor_s[anchored] = 0.0
        self.source[self._started] = Source.FILTER
        if rested:
            self.source[self._started & (self.since_anchor_s == 0.0)] = Source.OCV

    @property
    def current_offset_a(self) -> float:
        """The sensor's offset (measured minus real), of one cell, A: the median over the cells, each of
        which has its own opinion. NaN before a start."""
        return float(np.median(self._x[OFFSET, self._started])) if self._started.any() else math.nan

    @property
    def current_offset_sigma_a(self) -> float:
        return float(np.sqrt(np.median(self._p[OFFSET, OFFSET, self._started]))) if self._started.any() else math.nan

    @property
    def anchored(self) -> NDArray[np.bool_]:
        """Cells that rest now with an SOC that the open-circuit voltage tells, (cells,)."""
        rested: NDArray[np.bool_] = self.since_anchor_s == 0.0
        return rested

    def state(self) -> dict[str, Floats]:
        """All that ``restore`` needs, as arrays."""
        scalars = [self._time_s, self._current_a, self._hysteresis, self._hysteresis_known, self._rest_s]
        return {
            "x": self._x.copy(),
            "p": self._p.copy(),
            "started": self._started.astype(float),
            "temperature_c": self._temperature_c.copy(),
            "since_anchor_s": self.since_anchor_s.copy(),
            "map": self.model.map.copy(),
            "scalars": np.array(scalars),
        }

    def restore(self, arrays: dict[str, Floats]) -> None:
        """Take back what ``state`` gave. Raises ValueError when it is another pack's."""
        if arrays["x"].shape != self._x.shape or arrays["p"].shape != self._p.shape:
            raise ValueError(f"saved for {arrays['x'].shape[-1]} cells, this pack has {self.cells}")
        self._x[:], self._p[:] = arrays["x"], arrays["p"]
        self._started[:] = arrays["started"] > 0.5
        self._temperature_c[:] = arrays["temperature_c"]
        self.since_anchor_s[:] = arrays["since_anchor_s"]
        self.model.map[:] = arrays["map"]
        self._time_s, self._current_a, self._hysteresis, self._hysteresis_known, self._rest_s = map(float, arrays["scalars"])
        self._publish(0.0)
