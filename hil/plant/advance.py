"""One step of every pack at once: currents and voltages, heat, decomposition. Changes a ``State`` in place.

Charge and temperature are added up in float64, all else is float32 (REAL). The curves are looked up every few seconds (``look``) and carried on between by their slope: at 2C the SOC moves by
0.3 % in 5 s. Heat is explicit: ``packs`` takes short steps where a cell warms or flows fast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hil.plant import loops
from hil.plant.curves import ENTROPIC, EXCHANGE, HYSTERESIS, KELVIN, PAIRS, R0, RC, ROWS, TWO_GAS_OVER_FARADAY, Curves
from hil.plant.kinetics import ANODE_0, INERT_BELOW_C, decompose
from hil.plant.rows import REAL, TRANSFER, Build, Effects, Reals, State

Floats = NDArray[np.float64]
Cells = NDArray[np.intp]

SEPARATOR_SHORT_S_PER_AH = 6.7
"""A cell whose separator is gone is shorted over its whole area: 50 mOhm for 3 Ah."""
EMPTY_SOC = 0.05
"""A shorted cell's voltage goes to 0 over its last charge."""
OVERCHARGED_SOC = 1.05
"""From here charge turns into heat by side reactions, all of it 10 % later."""
PLATES_BELOW_C = 12.0
PLATEAU_V = 0.012
"""Plated lithium holds the rest voltage up while it goes back into the graphite."""
PLATEAU_FULL = 0.004
"""Share of capacity plated for the whole plateau."""
STRIP_S = 2400.0
VENTILATION_S = 900.0
"""The gas in the pack's air is replaced in this time."""


def look(curves: Curves, build: Build, effects: Effects, state: State) -> None:
    """Look the curves up anew, and let the hysteresis and the coolant along the string follow
    what has passed since the last time."""
    moved = state.soc - state.looked_soc
    if moved.any():
        state.branch += (np.sign(moved) - state.branch) * -np.expm1(-np.abs(moved) / curves.hysteresis_swing)
    state.looked_soc = state.soc.copy()
    emf, slope = curves.ocv(state.soc, state.temperature_c)
    kelvin = state.temperature_c + KELVIN
    looked = np.empty((ROWS + 1, *state.soc.shape), REAL)
    looked[:ROWS] = curves.look(state.soc, state.temperature_c)
    looked[R0] *= build.resistance
    looked[RC : RC + PAIRS] *= build.resistance
    looked[ENTROPIC] *= kelvin
    looked[TRANSFER] = TWO_GAS_OVER_FARADAY * kelvin * build.resistance
    emf += looked[HYSTERESIS] * state.branch
    state.looked, state.looked_v, state.looked_slope_v = looked, emf.astype(REAL), slope.astype(REAL)
    # the stream warms on its way along the string; ``flow_w_per_k`` above all conductances to it keeps this from swinging
    to_coolant_w = (state.temperature_c - state.stream_c) * (build.coolant_w_per_k * effects.cooling * effects.pump)
    warmed_k = np.cumsum(to_coolant_w, axis=1)
    warmed_k -= to_coolant_w
    warmed_k /= build.flow_w_per_k * np.maximum(effects.pump, REAL(1e-3))
    state.stream_c = (warmed_k + state.loop_c).astype(REAL)


def time_constants_s(curves: Curves, build: Build, state: State) -> Floats:
    """Of the RC pairs, at each pack's mean temperature; (PAIRS, p, 1)."""
    tau_s = curves.time_constants_s(state.temperature_c.mean(axis=1)) * build.tau
    return tau_s[:, :, None].swapaxes(0, 1)


def gains(tau_s: Floats, step_s: float) -> Reals:
    """How far each RC pair goes towards its end in ``step_s``; (PAIRS, p, 1)."""
    return np.ascontiguousarray(-np.expm1(-step_s / tau_s), REAL)


def advance(curves: Curves, build: Build, effects: Effects, state: State, current_a: Floats, step_s: float, gain: Reals) -> None:
    """Let ``step_s`` pass at ``current_a`` (p, 1) through the string, positive while charging. gain: see ``gains``."""
    through_a = np.ascontiguousarray(current_a / build.parallel, REAL)
    reacted = reactions(curves, build, state, step_s)
    heat_w = electric(curves, build, effects, state, through_a, step_s, gain)
    if reacted is not None:
        cells, react_w, ejected_w = reacted
        heat_w[cells] += react_w
        state.generated_j += ejected_w * step_s
        state.lost_j += ejected_w * step_s
    thermal(build, effects, state, heat_w, step_s)


def electric(curves: Curves, build: Build, effects: Effects, state: State, through_a: Reals, step_s: float, gain: Reals) -> Reals:
    """Voltages, charge, RC pairs; returns the heat in each cell, W per card cell."""
    looked = state.looked
    rc_ohm = looked[RC : RC + PAIRS]
    floor_a = REAL(1e-3 * curves.capacity_ah)
    level_a, argument, emf_v = loops.source(
        through_a,
        state.leak_a,
        floor_a,
        looked[EXCHANGE],
        rc_ohm,
        state.pair_a,
        state.soc,
        state.looked_soc,
        state.looked_v,
        state.looked_slope_v,
    )
    np.log(argument, out=argument)  # numpy's is the quicker one
    plating = np.flatnonzero(loops.lowest_highest(effects.plating)[1])
    if plating.size:
        plate(build, effects, state, through_a - state.leak_a, step_s, emf_v, plating)
    state.voltage_v, state.leak_a, state.cell_a, heat_w, state.soc = loops.terminals(
        through_a, level_a, argument, emf_v, looked[TRANSFER], looked[R0], looked[ENTROPIC],
        rc_ohm, state.pair_a, gain, build.parallel, effects.short_s, effects.outside_s, effects.bleed_s, effects.joint_ohm, effects.heater_w,
        state.failed, REAL(SEPARATOR_SHORT_S_PER_AH * curves.capacity_ah), REAL(EMPTY_SOC), REAL(OVERCHARGED_SOC), state.soc,
        build.capacity_as, REAL(step_s),
    )  # fmt: skip
    return heat_w


def plate(build: Build, effects: Effects, state: State, into_a: Reals, step_s: float, emf: Reals, rows: NDArray[np.intp]) -> None:
    """Lithium plates while a cold cell is charged, and strips afterwards: ``emf`` rises by its plateau."""
    cold = np.clip((PLATES_BELOW_C - state.temperature_c[rows]) / PLATES_BELOW_C, 0.0, 1.0)
    onto_a = effects.plating[rows] * cold * np.maximum(into_a[rows], 0.0)
    plated_as = state.plated_as[rows]
    plated_as += (onto_a - plated_as / STRIP_S) * step_s
    state.plated_as[rows] = plated_as
    capacity_as = build.capacity_as[rows]
    # a fifth of what is plated stays lost
    state.soc[rows] -= 0.2 * onto_a * step_s / capacity_as
    emf[rows] += PLATEAU_V * np.minimum(plated_as / capacity_as / PLATEAU_FULL, 1.0)


def reactions(curves: Curves, build: Build, state: State, step_s: float) -> tuple[tuple[Cells, Cells], Floats, Floats] | None:
    """(which cells react, the heat that stays in each of them, W per card cell; what leaves with the gas, W per pack); None = all are cool."""
    gas = state.gas.any()
    if gas:
        state.gas = state.gas * np.exp(-step_s / VENTILATION_S)
    hot = state.temperature_c > INERT_BELOW_C
    if not hot.any():
        return None
    cells = hot.nonzero()
    soc = state.soc[cells]
    lithium = ANODE_0 * np.clip(soc, 0.0, 1.0)
    before = lithium.copy()
    parts = [state.sei[cells], state.film[cells], state.cathode[cells], state.electrolyte[cells]]
    sei, film, cathode, electrolyte = parts
    temperature_c = state.temperature_c[cells]
    watts = decompose(curves.chemistry, sei, lithium, film, cathode, electrolyte, temperature_c, step_s) * build.volume_m3[cells[0], 0]
    state.sei[cells], state.film[cells], state.cathode[cells], state.electrolyte[cells] = parts
    # lithium that has reacted is charge that is gone
    state.soc[cells] = soc - (before - lithium) / ANODE_0
    vented = state.vented[cells]
    vents = (temperature_c > build.vent_c[cells]) & ~vented
    if vents.any():
        vented |= vents
        state.vented[cells] = vented
        np.add.at(state.gas[:, 0], cells[0][vents], 1.0)
    ejected_w = watts * build.ejected[cells[0], 0] * vented
    per_pack_w = np.bincount(cells[0], ejected_w, minlength=len(state.soc))[:, None]
    return (cells[0], cells[1]), watts - ejected_w, per_pack_w


def thermal(build: Build, effects: Effects, state: State, heat_w: Reals, step_s: float) -> None:
    """Heat to the neighbours, the coolant and the air; then the coolant in its loop."""
    state.temperature_c, state.heat_k_per_s, made_w, given_w, air_w = loops.warm(
        state.temperature_c, heat_w, state.stream_c, build.coolant_w_per_k, effects.cooling, effects.pump, effects.ambient_c,
        build.ambient_w_per_k, build.link_w_per_k, build.heat_j_per_k, build.separator_c, state.failed, REAL(step_s),
    )  # fmt: skip
    state.generated_j += made_w * step_s
    radiated_w = build.radiator_w_per_k * (state.loop_c - effects.ambient_c)
    chilled_w = effects.chill * effects.pump * build.chiller_w * np.clip((state.loop_c - build.chiller_c) / 3.0, 0.0, 1.0)
    state.loop_c = state.loop_c + (given_w - radiated_w - chilled_w) * step_s / build.loop_j_per_k
    state.lost_j += (air_w + radiated_w + chilled_w) * step_s
