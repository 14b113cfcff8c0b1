"""State of charge of every cell of a pack: one extended Kalman filter per cell, all cells in one array.

States of a cell: SOC; the currents through the resistors of the RC pairs; a voltage bias (what the
card's curve is off at this SOC); the logarithm of the resistance scale; the current sensor's offset.
The error of a card is no white noise: at 1 Hz one sample tells little that the one before did not.
So the bias is a process over SOC and time, and measurement noise counts per second, not per sample.
A start is fast because its covariance is wide, and slows as that shrinks. Cells are independent: no
figure of one depends on another's. Plett, J. Power Sources 134 (2004) 252-292 for the filter's equations.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.estimator.cell_model import (
    ERROR,
    EXCHANGE,
    GAS_OVER_FARADAY,
    HYSTERESIS,
    KELVIN,
    PAIRS,
    R0,
    RATE,
    RC,
    T_HIGH_C,
    T_LOW_C,
    CellModel,
)
from edgebms.estimator.first_guess import first_guess
from edgebms.estimator.tuning import TUNED, Tuning
from edgebms.vocabulary import Source

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SOC, PAIR, BIAS, SCALE, OFFSET, STATES = 0, 1, 1 + PAIRS, 2 + PAIRS, 3 + PAIRS, 4 + PAIRS
MOVED = 1 + PAIRS
"""The states that the current moves: SOC and the pairs."""
SOC_MIN, SOC_MAX = -0.08, 1.05
SCALE_MAX = 1.5
SLOPE_SIGMA = 0.02
LEAST_VARIANCE = 1e-10
"""Rounding must not make a variance negative."""

REST_C = 0.02
"""A cell rests below this current (1/h)."""
SLEEP_C = 0.002
"""Prior of the current in a gap with rest on both sides (1/h)."""
ANCHOR_REST_S = 600.0
ANCHOR_SIGMA = 0.03
START_SIGMA = 0.5
"""Of a SOC of which nothing is known but the first voltage."""
GAP_S = 120.0
"""Longer than the slowest sampling that is one: what flowed meanwhile is not known."""


class Kalman:
    """The filter of one pack. ``step`` at each snapshot; then read the arrays, (cells,) each.

    soc, soc_sigma: fraction; NaN before a first voltage. innovation_v, innovation_sigma_v: measured minus
    expected voltage of this step (NaN where not measured) and its standard deviation, as one sample's.
    resistance_scale, resistance_scale_sigma: to the card's. polarisation_v: the RC pairs' voltage.
    since_anchor_s: time since the open-circuit voltage last told the SOC. source: codes of ``Source``.
    since_start_s: time since the first voltage; step_s: since the snapshot before. For the student, which
    sees what the filter sees: bias_v, offset_a, slope_v, overpotential_v, temperature_c.
    """

    def __init__(self, card: CellCard, cells: int, tuning: Tuning = TUNED) -> None:
        self.card, self.cells, self.tuning = card, cells, tuning
        self.model = CellModel(card, cells)
        self._coulomb = 1.0 / (3600.0 * card.capacity_ah)
        self._rest_a = REST_C * card.capacity_ah
        self._x = np.zeros((STATES, cells))
        self._p = np.zeros((STATES, STATES, cells))
        self._variances = np.einsum("iic->ic", self._p)  # a view of the diagonal
        self._h = np.ones((STATES, cells))
        self._keep = np.ones((STATES, cells))
        self._gain_a = np.zeros((MOVED, cells))
        self._outer = np.zeros((STATES, STATES, cells))
        self._started = np.zeros(cells, dtype=bool)
        self._running = False
        self._temperature_c = np.full(cells, np.nan)
        self._hysteresis = np.zeros(cells)
        self._hysteresis_open = np.ones(cells)
        self._rest_s = np.zeros(cells)
        self._time_s = math.nan
        self._current_a = math.nan
        self._currents_a = np.full(cells, np.nan)
        self._unknown_s: float | Floats = 0.0
        self.soc = np.full(cells, np.nan)
        self.soc_sigma = np.full(cells, np.nan)
        self.innovation_v = np.full(cells, np.nan)
        self.innovation_sigma_v = np.full(cells, np.nan)
        self.resistance_scale = np.full(cells, np.nan)
        self.resistance_scale_sigma = np.full(cells, np.nan)
        self.polarisation_v = np.full(cells, np.nan)
        self.since_anchor_s = np.full(cells, np.inf)
        self.since_start_s = np.zeros(cells)
        self.step_s: float | Floats = 0.0
        self.source = np.full(cells, Source.UNKNOWN, dtype=np.uint8)

    def step(self, time_s: float, current_a: float, voltage_v: Floats, temperature_c: Floats) -> None:
        """One snapshot: ``current_a`` of one cell since the last one (positive while charging, NaN =
        unknown), ``voltage_v`` and ``temperature_c`` of shape (cells,), NaN = unknown."""
        dt_s = time_s - self._time_s
        dt_s = max(dt_s, 0.0) if math.isfinite(dt_s) else 0.0
        if math.isfinite(time_s):
            self._time_s = time_s
        sigma_c = 0.0
        flowing = current_a
        if dt_s > GAP_S:
            # What flowed in the gap is not known; that little flowed before and after makes a rest likely.
            rested = abs(self._current_a) < self._rest_a and abs(current_a) < self._rest_a
            sigma_c, flowing = (SLEEP_C if rested else self.tuning.current_c), 0.0
            # more than a start knows nothing of cannot be unknown
            sigma_c = min(sigma_c, START_SIGMA * 3600.0 / dt_s)
        elif not math.isfinite(current_a):
            sigma_c, flowing = self.tuning.current_c, 0.0
        self._current_a = current_a
        self._advance(dt_s, flowing, sigma_c, voltage_v, temperature_c, current_a)
        self._unknown_s = 0.0 if math.isfinite(current_a) else self._unknown_s + dt_s

    def step_many(self, dt_s: Floats, current_a: Floats, voltage_v: Floats, temperature_c: Floats) -> None:
        """The same for cells that are no pack: each with its own time step and current, (cells,). A cell that was not
        seen before starts at its first finite voltage. For evaluation and tuning, where many logs run beside each other."""
        gap, unknown = dt_s > GAP_S, ~np.isfinite(current_a)
        sigma_c: float | Floats = 0.0
        flowing = current_a
        doubtful = gap | unknown
        if doubtful.any():
            rested = (np.abs(self._currents_a) < self._rest_a) & (np.abs(current_a) < self._rest_a)
            missed = np.minimum(np.where(rested, SLEEP_C, self.tuning.current_c), START_SIGMA * 3600.0 / np.maximum(dt_s, 1e-3))
            sigma_c = np.where(gap, missed, np.where(unknown, self.tuning.current_c, 0.0))
            flowing = np.where(doubtful, 0.0, current_a)
        self._currents_a = current_a
        self._advance(dt_s, flowing, sigma_c, voltage_v, temperature_c, current_a)
        self._unknown_s = np.where(unknown, self._unknown_s + dt_s, 0.0) if doubtful.any() else 0.0

    def _advance(
        self,
        dt_s: float | Floats,
        flowing_a: float | Floats,
        sigma_c: float | Floats,
        voltage_v: Floats,
        temperature_c: Floats,
        current_a: float | Floats,
    ) -> None:
        known = np.isfinite(voltage_v)
        measured_c = np.isfinite(temperature_c)
        np.copyto(self._temperature_c, np.minimum(np.maximum(temperature_c, T_LOW_C), T_HIGH_C), where=measured_c)
        temperature = self._temperature_c
        if not measured_c.all():
            temperature = np.nan_to_num(temperature, nan=25.0)
        if self._running:
            self._predict(dt_s, flowing_a, sigma_c)
        unknown_a: bool | Flags
        if isinstance(current_a, float):
            unknown_a = not math.isfinite(current_a)
            now_a: float | Floats = 0.0 if unknown_a else current_a
        else:
            missing = ~np.isfinite(current_a)
            unknown_a = missing if missing.any() else False
            now_a = np.where(missing, 0.0, current_a)
        fresh = known > self._started
        since_s = dt_s
        if fresh.any():
            self._start(fresh, voltage_v, now_a, temperature)
            # A first sample has no neighbour before it that it shares its error with.
            since_s = np.where(fresh, self.tuning.noise_s, dt_s)
        if self._running:
            self.model.look(self._x[SOC], temperature)
            self._update(since_s, now_a, unknown_a, voltage_v, temperature, known)
        self._publish(dt_s)

    def _predict(self, dt_s: float | Floats, current_a: float | Floats, sigma_c: float | Floats) -> None:
        tuning, x, p, model = self.tuning, self._x, self._p, self.model
        capacity = self.card.capacity_ah
        charge = dt_s * self._coulomb
        unseen = bool(np.any(sigma_c))
        # The sensor's offset is in what it measured: what nobody measured has none.
        measured = np.asarray(sigma_c) == 0.0 if unseen else 1.0
        real_a = current_a - measured * x[OFFSET]
        swing = np.abs(real_a) * charge
        # RC pairs, exactly for a constant current.
        keep, gain = self._keep, self._gain_a
        decay = np.exp(model.map[RATE : RATE + PAIRS] * -dt_s)
        keep[PAIR : PAIR + PAIRS] = decay
        gain[PAIR:] = 1.0 - decay
        gain[SOC] = charge
        forget = np.exp(-(swing / tuning.bias_swing + dt_s / tuning.bias_s))
        keep[BIAS] = forget
        biased = gain * measured if unseen else gain
        moved = gain * real_a
        x *= keep
        x[:MOVED] += moved
        # P <- F P F' with F = diag(keep) - (biased, 0...) e_offset'
        cross = keep * p[OFFSET]
        cross[:MOVED] -= (0.5 * p[OFFSET, OFFSET]) * biased
        p *= np.multiply(keep[:, None], keep[None, :], out=self._outer)
        p[:MOVED] -= biased[:, None] * cross[None, :]
        p[:, :MOVED] -= cross[:, None] * biased[None, :]
        p[BIAS, BIAS] += (1.0 - forget * forget) * (tuning.bias * model.map[ERROR]) ** 2
        scale = self._scale_sigma(self._temperature_c)
        p[SCALE, SCALE] += (2.0 * scale * scale / tuning.scale_s) * dt_s
        offset = tuning.offset_c * capacity
        p[OFFSET, OFFSET] += (2.0 * offset * offset / tuning.offset_s) * dt_s
        p[SOC, SOC] += tuning.counting**2 * swing
        wander = (1.0 - decay * decay) * (tuning.pair * real_a) ** 2
        if unseen:
            # One unknown current all the while: its charge adds up in step, its share of a pair for a time constant.
            spread = (sigma_c * capacity) * gain
            spread[SOC] *= np.sqrt(1.0 + 2.0 * self._unknown_s / np.maximum(dt_s, 1e-3))
            spread[PAIR:] *= np.sqrt(1.0 + 2.0 * np.minimum(self._unknown_s, 1.0 / model.map[RATE : RATE + PAIRS]) / np.maximum(dt_s, 1e-3))
            p[:MOVED, :MOVED] += spread[:, None] * spread[None, :]
        self._variances[PAIR : PAIR + PAIRS] += wander
        fade = np.exp(swing * (-1.0 / self.card.ocv.hysteresis_swing))
        self._hysteresis *= fade
        # By the sensor's sign a discharge smaller than its offset would run on the branch of a charge.
        self._hysteresis += (1.0 - fade) * np.sign(real_a)
        self._hysteresis_open *= fade
        self._rest_s += dt_s
        self._rest_s *= (np.abs(current_a) < self._rest_a) * (sigma_c <= SLEEP_C)

    def _drop(self, current_a: float | Floats, temperature_c: Floats) -> tuple[Floats, Floats, Floats]:
        """Overpotential of R0 and charge transfer at the card's scale, V; its slopes over current, ohm, and SOC, V."""
        table, slope = self.model.map, self.model.slope
        thermal = (2.0 * GAS_OVER_FARADAY) * (temperature_c + KELVIN)
        ratio = (0.5 * current_a) / table[EXCHANGE]
        root = thermal / np.sqrt(1.0 + ratio * ratio)
        drop = table[R0] * current_a + thermal * np.arcsinh(ratio)
        over_current = table[R0] + 0.5 * root / table[EXCHANGE]
        over_soc = slope[R0] * current_a - root * ratio * slope[EXCHANGE] / table[EXCHANGE]
        return drop, over_current, over_soc

    def _scale_sigma(self, temperature_c: Floats) -> Floats:
        """Prior of the resistance scale: resistances are the less known the colder."""
        cold = np.maximum(np.nan_to_num(25.0 - temperature_c), 0.0) * (self.tuning.scale_cold / 25.0)
        sigma: Floats = (1.0 + cold) * (self.tuning.scale * self.card.accuracy.resistance)
        return sigma

    def _start(self, fresh: Flags, voltage_v: Floats, current_a: float | Floats, temperature_c: Floats) -> None:
        """First guess from the first voltage: open-circuit voltage with the drop taken off, iterated; where that is vague,
        the mean of what the voltage allows."""
        tuning, capacity = self.tuning, self.card.capacity_ah
        soc = np.full(self.cells, 0.5)
        voltage = np.where(fresh, voltage_v, 3.0)
        # A cell under load has most likely been so for a while: without this the guess starts too low,
        # where resistances are high, and in the cold does not find its way back.
        most_a = tuning.relaxed_most * capacity
        share = np.array([tuning.relaxed_share] * (PAIRS - 1) + [tuning.slow_share])[:, None]
        share_a = np.clip(share * np.broadcast_to(current_a, (self.cells,)), -most_a, most_a)
        for _ in range(4):
            self.model.look(soc, temperature_c)
            drop, _, _ = self._drop(current_a, temperature_c)
            drop = drop + np.add.reduce(share_a * self.model.map[RC : RC + PAIRS], axis=0)
            soc = np.clip(self.model.soc_of_ocv(voltage - drop, temperature_c), SOC_MIN, SOC_MAX)
        sigma = np.empty((STATES, self.cells))
        loaded = np.broadcast_to(current_a, (self.cells,))
        mean, sigma[SOC] = first_guess(self.model, tuning, voltage, loaded, share_a, temperature_c, self._scale_sigma(temperature_c))
        soc = np.where(np.isfinite(mean), mean, soc)
        self.model.look(soc, temperature_c)
        sigma[PAIR : PAIR + PAIRS] = tuning.relaxed_c * capacity
        sigma[PAIR + PAIRS - 1] = tuning.slow_c * capacity
        sigma[BIAS] = tuning.bias * self.model.map[ERROR]
        sigma[SCALE] = self._scale_sigma(temperature_c)
        sigma[OFFSET] = tuning.offset_c * capacity
        self._x[:, fresh] = 0.0
        self._x[SOC, fresh] = soc[fresh]
        self._x[PAIR : PAIR + PAIRS, fresh] = share_a[:, fresh]
        self._p[:, :, fresh] = 0.0
        for i in range(STATES):
            self._p[i, i, fresh] = sigma[i, fresh] ** 2
        self._hysteresis[fresh] = 0.0
        self._hysteresis_open[fresh] = 1.0
        self._rest_s[fresh] = 0.0
        self._started |= fresh
        self._running = True

    def _update(
        self,
        dt_s: float | Floats,
        current_a: float | Floats,
        unknown_a: bool | Flags,
        voltage_v: Floats,
        temperature_c: Floats,
        known: Flags,
    ) -> None:
        tuning, x, p, h, model = self.tuning, self._x, self._p, self._h, self.model
        table = model.map
        scale = np.exp(x[SCALE])
        real_a = current_a - x[OFFSET] if unknown_a is False else np.where(unknown_a, 0.0, current_a - x[OFFSET])
        drop, over_current, over_soc = self._drop(real_a, temperature_c)
        pair_v = table[RC : RC + PAIRS] * x[PAIR : PAIR + PAIRS]
        polarisation = np.add.reduce(pair_v, axis=0)
        total = scale * (drop + polarisation)
        over_soc += np.add.reduce(model.slope[RC : RC + PAIRS] * x[PAIR : PAIR + PAIRS], axis=0)
        # The slope of the curve as far as the SOC is uncertain: on a plateau a tangent would claim too little.
        spread = np.sqrt(p[SOC, SOC])
        np.maximum(spread, 0.004, out=spread)
        np.minimum(spread, 0.25, out=spread)
        around = np.empty((3, self.cells))
        around[0] = x[SOC]
        np.subtract(x[SOC], spread, out=around[1])
        np.add(x[SOC], spread, out=around[2])
        around = model.ocv_v(around, temperature_c)
        np.divide(around[2] - around[1], 2.0 * spread, out=h[SOC])
        # How the drop changes with SOC counts only once the SOC is known: far off, its slope misleads the start.
        h[SOC] += scale * over_soc * np.minimum(1.0, (SLOPE_SIGMA / spread) ** 2)
        np.maximum(h[SOC], 0.0, out=h[SOC])
        np.multiply(scale, table[RC : RC + PAIRS], out=h[PAIR : PAIR + PAIRS])
        h[SCALE] = total
        np.multiply(scale, over_current, out=h[OFFSET])
        noise = (tuning.noise * table[ERROR]) ** 2 + (tuning.drop * total) ** 2 + (table[HYSTERESIS] * self._hysteresis_open) ** 2
        if unknown_a is not False:
            noise += unknown_a * (tuning.current_c * self.card.capacity_ah * h[OFFSET]) ** 2
        np.negative(h[OFFSET], out=h[OFFSET])
        sensor = self.card.accuracy.sensor_v**2
        once = noise + sensor
        # Neighbouring samples share their error: together they count once in noise_s.
        noise *= np.maximum(tuning.noise_s / np.maximum(dt_s, 1e-3), 1.0)
        noise += sensor
        innovation = voltage_v - (around[0] + self._hysteresis * table[HYSTERESIS] + x[BIAS] + total)
        ph = np.einsum("ijc,jc->ic", p, h)
        variance = np.einsum("ic,ic->c", h, ph)
        self.innovation_sigma_v = np.sqrt(variance + once)
        sigma = np.sqrt(variance + noise)
        ph *= known / sigma
        self.innovation_v = innovation.copy()
        innovation /= sigma
        np.maximum(innovation, -tuning.clip, out=innovation)
        np.minimum(innovation, tuning.clip, out=innovation)
        innovation[~known] = 0.0
        x += ph * innovation
        p -= np.multiply(ph[:, None], ph[None, :], out=self._outer)
        np.maximum(self._variances, LEAST_VARIANCE, out=self._variances)
        np.maximum(x[SOC], SOC_MIN, out=x[SOC])
        np.minimum(x[SOC], SOC_MAX, out=x[SOC])
        np.maximum(x[SCALE], -SCALE_MAX, out=x[SCALE])
        np.minimum(x[SCALE], SCALE_MAX, out=x[SCALE])
        self.polarisation_v = scale * polarisation

    def _publish(self, dt_s: float | Floats) -> None:
        x, p = self._x, self._p
        # Arrays of their own at every step: what was handed out must not change later.
        self.soc = x[SOC].copy()
        self.soc_sigma = np.sqrt(p[SOC, SOC])
        self.resistance_scale = np.exp(x[SCALE])
        self.resistance_scale_sigma = self.resistance_scale * np.sqrt(p[SCALE, SCALE])
        self.since_anchor_s = self.since_anchor_s + dt_s
        self.since_start_s += dt_s
        self.step_s = dt_s
        rested = self._rest_s >= ANCHOR_REST_S
        self.source[:] = Source.FILTER
        if rested.any():
            rested &= self.soc_sigma < ANCHOR_SIGMA
            self.since_anchor_s[rested] = 0.0
            self.source[rested] = Source.OCV
        if not self._started.all():
            waiting = ~self._started
            for array in (
                self.soc,
                self.soc_sigma,
                self.innovation_v,
                self.innovation_sigma_v,
                self.resistance_scale,
                self.resistance_scale_sigma,
                self.polarisation_v,
            ):
                array[waiting] = np.nan
            self.since_anchor_s[waiting] = np.inf
            self.since_start_s[waiting] = 0.0
            self.source[waiting] = Source.UNKNOWN

    @property
    def current_offset_a(self) -> float:
        """The sensor's offset (measured minus real), of one cell, A: the median over the cells, each of
        which has its own opinion. NaN before a start."""
        return float(np.median(self._x[OFFSET, self._started])) if self._started.any() else math.nan

    @property
    def current_offset_sigma_a(self) -> float:
        return float(np.sqrt(np.median(self._p[OFFSET, OFFSET, self._started]))) if self._started.any() else math.nan

    @property
    def bias_v(self) -> Floats:
        """What the card's curve is off at this SOC, as the filter has it, V."""
        row: Floats = self._x[BIAS]
        return row

    @property
    def offset_a(self) -> Floats:
        """Each cell's own opinion of the current sensor's offset, A."""
        row: Floats = self._x[OFFSET]
        return row

    @property
    def offset_sigma_a(self) -> Floats:
        """Its standard deviation, A."""
        row: Floats = np.sqrt(self._p[OFFSET, OFFSET])
        return row

    @property
    def slope_v(self) -> Floats:
        """What the voltage moves per unit of SOC, V, at the last update."""
        row: Floats = self._h[SOC]
        return row

    @property
    def overpotential_v(self) -> Floats:
        """All that current does to the voltage, V, at the last update."""
        row: Floats = self._h[SCALE]
        return row

    @property
    def temperature_c(self) -> Floats:
        """The last known temperature; NaN where there never was one."""
        return self._temperature_c

    @property
    def anchored(self) -> Flags:
        """Cells that rest now with an SOC that the open-circuit voltage tells, (cells,)."""
        rested: Flags = self.since_anchor_s == 0.0
        return rested

    _SAVED = ("x", "p", "temperature_c", "hysteresis", "hysteresis_open", "rest_s")

    def state(self) -> dict[str, Floats]:
        """All that ``restore`` needs, as arrays."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in self._SAVED}
        return arrays | {
            "started": self._started.astype(float),
            "since_anchor_s": self.since_anchor_s.copy(),
            "since_start_s": self.since_start_s.copy(),
            "map": self.model.map.copy(),
            "clock": np.array([self._time_s, self._current_a, float(np.max(self._unknown_s))]),
        }

    def restore(self, arrays: dict[str, Floats]) -> None:
        """Take back what ``state`` gave. Raises ValueError when it is another pack's."""
        if arrays["x"].shape != self._x.shape or arrays["map"].shape != self.model.map.shape:
            raise ValueError(f"saved for {arrays['x'].shape[-1]} cells, this pack has {self.cells}")
        for name in self._SAVED:
            getattr(self, f"_{name}")[:] = arrays[name]
        self._started[:] = arrays["started"] > 0.5
        self._running = bool(self._started.any())
        self.since_anchor_s[:] = arrays["since_anchor_s"]
        self.since_start_s[:] = arrays["since_start_s"]
        self.model.map[:] = arrays["map"]
        self._time_s, self._current_a, self._unknown_s = (float(value) for value in arrays["clock"])
        self._publish(0.0)

    def resume(self, time_s: float, current_a: float) -> None:
        """After ``restore``: when, on the clock of the steps to come, the last step before it was, and the current of
        one cell then (NaN = not known). What lies between is a gap like any other."""
        self._time_s, self._current_a = time_s, current_a
