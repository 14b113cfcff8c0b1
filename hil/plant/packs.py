"""Packs of one card and one number of series groups, stepped together. The truth: no sensors (see ``sense``).

A step is as long as the caller asks (1 s in ordinary use). Packs in which a cell warms or flows fast are done again
in short steps, and only those.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hil.plant.advance import advance, gains, look, time_constants_s
from hil.plant.curves import Curves
from hil.plant.kinetics import cathode_0
from hil.plant.loops import extremes
from hil.plant.rows import Build, Effects, State, narrowed, put, take

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

LOOK_S = 5.0
"""Ordinary packs look their curves up this often."""
FAST_C_RATE = 15.0
"""Packs with more current through a cell are stepped finely."""
REACTS_C, HOT_C = 90.0, 180.0
STEP_COLD_K, STEP_K, STEP_HOT_K = 6.0, 4.0, 25.0
"""No step warms a cell by more, below REACTS_C, up to HOT_C, and beyond, where nothing is left that a finer one would change."""
STEP_MIN_S = 0.02
STEP_SOC = 0.004
EVENT_K_PER_S, EVENT_S, EVENT_VOLTAGE_LEFT = 1.0, 3.0, 0.75
"""GB 38031-2025 C.5.3.7: see ``_events``."""


class Packs:
    """``state`` holds the truth, ``effects`` what is done to the packs; both may be changed between steps.

    soc (p, c) and temperature_c (p, c): the cells at the start, rested long.
    """

    def __init__(self, curves: Curves, build: Build, soc: Floats, temperature_c: Floats, ambient_c: Floats) -> None:
        self.curves, self.build = curves, narrowed(build)
        packs, cells = soc.shape
        self.effects = Effects.none(packs, cells, ambient_c)
        self.state = State.at_rest(soc, temperature_c, np.asarray(ambient_c, float).reshape(packs, 1), cathode_0(curves.chemistry))
        self.time_s = 0.0
        self.fine_steps = 0
        look(curves, self.build, self.effects, self.state)
        self.state.voltage_v = self.state.looked_v.copy()
        self.initial_v = self.state.voltage_v.copy()
        self._looked_s = 0.0
        self._rising = False
        self._gain: tuple[float, Floats] = (0.0, np.zeros(0))

    def step(self, seconds: float, current_a: Floats) -> None:
        """Let ``seconds`` pass at ``current_a`` (packs,) through each string, A, positive while charging."""
        state = self.state
        through = np.asarray(current_a, float).reshape(-1, 1)
        if self.time_s - self._looked_s >= LOOK_S:
            look(self.curves, self.build, self.effects, state)
            self._looked_s = self.time_s
            self._gain = (0.0, self._gain[1])
        if self._gain[0] != seconds:
            self._gain = (seconds, gains(time_constants_s(self.curves, self.build, state), seconds))
        warming, fast = self._fast(through)
        start_c = state.temperature_c[warming]
        before = take(state, fast) if fast.size else None
        if fast.size < len(through):
            advance(self.curves, self.build, self.effects, state, through, seconds, self._gain[1])
        if before is not None:
            self._finely(before, take(self.build, fast), take(self.effects, fast), through[fast], seconds)
            put(state, fast, before)
        self._events(warming, start_c, seconds)
        self.time_s += seconds

    def _fast(self, through: Floats) -> tuple[Rows, Rows]:
        """(packs in which a cell warms or cools by EVENT_K_PER_S or more, packs to be stepped finely)."""
        state = self.state
        limit_a = FAST_C_RATE * self.curves.capacity_ah
        # a short that has just begun shows first in what it is going to draw
        drawn_a, fastest = extremes(self.effects.short_s, self.effects.outside_s, state.voltage_v, state.heat_k_per_s)
        flows = (drawn_a / self.build.parallel[:, 0] > limit_a) | (np.abs(through[:, 0]) > limit_a * self.build.parallel[:, 0])
        warming = np.flatnonzero(fastest >= EVENT_K_PER_S)
        if warming.size:
            flows[warming] |= (np.abs(state.heat_k_per_s[warming]) > allowed_k(state.temperature_c[warming])).any(axis=1)
        return warming, np.flatnonzero(flows)

    def _finely(self, state: State, build: Build, effects: Effects, through: Floats, seconds: float) -> None:
        left_s = seconds
        tau_s = time_constants_s(self.curves, build, state)
        look(self.curves, build, effects, state)
        while left_s > 1e-9:
            thermal_s = float((allowed_k(state.temperature_c) / np.maximum(np.abs(state.heat_k_per_s), 1e-9)).min())
            charge_s = float(STEP_SOC / max(float((np.abs(state.cell_a) / build.capacity_as).max()), 1e-9))
            step_s = min(left_s, max(STEP_MIN_S, min(thermal_s, charge_s)))
            advance(self.curves, build, effects, state, through, step_s, gains(tau_s, step_s))
            self.fine_steps += 1
            left_s -= step_s
            if charge_s < 1.0:
                look(self.curves, build, effects, state)

    def _events(self, warming: Rows, start_c: Floats, seconds: float) -> None:
        """Runaway has begun when (a cell voltage fell by more than 25 % of its initial voltage, or the temperature reached
        the maker's maximum) and the temperature has risen by at least 1 K/s for more than 3 s."""
        state = self.state
        kept_s = state.rising_s[warming]
        if self._rising:
            state.rising_s.fill(0.0)
        self._rising = warming.size > 0
        if not self._rising:
            return
        rising = (state.temperature_c[warming] - start_c) / seconds >= EVENT_K_PER_S
        rising_s = np.where(rising, kept_s + seconds, 0.0)
        state.rising_s[warming] = rising_s
        fallen = state.voltage_v[warming] < EVENT_VOLTAGE_LEFT * self.initial_v[warming]
        begun = (rising_s > EVENT_S) & (fallen | (state.temperature_c[warming] >= self.curves.temperature_runaway_c))
        events_s = state.event_s[warming]
        events_s[begun & np.isnan(events_s)] = self.time_s + seconds
        state.event_s[warming] = events_s


def allowed_k(temperature_c: Floats) -> Floats:
    """How much a step may warm or cool a cell, K: least where reactions accelerate."""
    return np.where(temperature_c > HOT_C, STEP_HOT_K, np.where(temperature_c > REACTS_C, STEP_K, STEP_COLD_K))
