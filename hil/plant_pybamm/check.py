"""The two plants against each other: one drive cycle a parameter set, PyBaMM and our circuit with the card fitted to it.

The circuit gets the same current, the same heat capacity and the same cooling; open-circuit voltage, resistances and capacity
come from the card. A cycle of its own: the cards were fitted to other loads. The circuit turns all of I(U - V) into heat, PyBaMM none
of what the gradients inside the particles cost, so the circuit runs warmer where those are large (Chen2020).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hil.plant.curves import from_card
from hil.plant.packs import Packs
from hil.plant.rows import Build
from hil.plant_pybamm.characterise import read_card
from hil.plant_pybamm.days import STEP_S, drive
from hil.plant_pybamm.sets import HEAT_S, SETS, CellSet, values
from hil.plant_pybamm.simulate import heat_capacity_j_per_k, simulate

Floats = NDArray[np.float64]

SEED = 7
SOC = 0.9
DRIVE_S, REST_S, CHARGE_S = 4800.0, 1800.0, 3600.0
CHARGE_C = 0.3
CIRCUIT_STEP_S = 1.0


def cycle() -> tuple[Floats, Floats]:
    """(time in s, C-rate): a drive, a rest, a charge, a rest."""
    rng = np.random.default_rng(SEED)
    parts = (
        drive(round(DRIVE_S / STEP_S), rng),
        np.zeros(round(REST_S / STEP_S)),
        np.full(round(CHARGE_S / STEP_S), CHARGE_C),
        np.zeros(round(REST_S / STEP_S)),
    )
    rate = np.concatenate(parts)
    rate[0] = 0.0  # both begin at rest
    return STEP_S * np.arange(len(rate)), rate


def circuit(cell_set: CellSet, time_s: Floats, current_a: Floats, ambient_c: float, soc: float) -> tuple[Floats, Floats]:
    """(voltage, temperature) of our circuit at ``time_s``. Raises CardError, MissingExtra."""
    curves = from_card(read_card(cell_set))
    heat_j_per_k = heat_capacity_j_per_k(values(cell_set))

    def one(value: float) -> Floats:
        return np.array([[value]])

    build = Build(
        parallel=one(1.0),
        capacity_as=one(3600.0 * curves.capacity_ah),
        resistance=one(1.0),
        tau=one(1.0),
        volume_m3=one(1e-5),
        heat_j_per_k=one(heat_j_per_k),
        link_w_per_k=np.zeros((1, 0)),
        ambient_w_per_k=one(heat_j_per_k / HEAT_S),
        coolant_w_per_k=one(0.0),
        flow_w_per_k=one(1.0),
        loop_j_per_k=one(1.0),
        radiator_w_per_k=one(0.0),
        chiller_w=one(0.0),
        chiller_c=one(20.0),
        vent_c=one(130.0),
        separator_c=one(150.0),
        ejected=one(0.5),
    )
    packs = Packs(curves, build, one(soc), one(ambient_c), np.array([ambient_c]))
    volts, warmth = np.empty(len(time_s)), np.empty(len(time_s))
    for i, until_s in enumerate(time_s):
        while packs.time_s < until_s - 1e-9:
            packs.step(CIRCUIT_STEP_S, np.array([np.interp(packs.time_s + CIRCUIT_STEP_S, time_s, current_a)]))
        volts[i], warmth[i] = packs.state.voltage_v[0, 0], packs.state.temperature_c[0, 0]
    return volts, warmth


def lines(ambient_c: tuple[float, ...] = (25.0, 10.0)) -> Iterator[str]:
    """The table: RMSE and greatest difference of voltage and temperature."""
    time_s, rate = cycle()
    yield "| set | chemistry | air, degC | rows | voltage RMSE, mV | greatest, mV | temperature RMSE, K | greatest, K | warmed by, K |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell_set in SETS.values():
        # the sets' rated capacities fall short of what they hold: the cycle counts in the card's
        current_a = rate * read_card(cell_set).capacity_ah
        for air_c in ambient_c:
            truth = simulate(cell_set, time_s, current_a, np.full(len(time_s), air_c), SOC)
            rows = len(truth.time_s)
            volts, warmth = circuit(cell_set, time_s[:rows], current_a[:rows], air_c, SOC)
            off_mv, off_k = 1e3 * (volts - truth.voltage_v), warmth - truth.temperature_c
            figures = (rms(off_mv), np.abs(off_mv).max(), rms(off_k), np.abs(off_k).max(), truth.temperature_c.max() - air_c)
            told = " | ".join(f"{value:.{digits}f}" for value, digits in zip(figures, (1, 0, 2, 2, 1), strict=True))
            yield f"| {cell_set.name} | {cell_set.chemistry} | {air_c:g} | {rows} of {len(time_s)} | {told} |"


def rms(values_: Floats) -> float:
    return float(np.sqrt(np.mean(values_**2)))
