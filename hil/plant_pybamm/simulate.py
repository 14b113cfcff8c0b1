"""One cell through one load, by PyBaMM: SPMe, lumped temperature, tabs with a resistance.

A short is a current beside the cell: the load is shifted by V/R and the cell heated by V^2/R, with V from the run
before, three times over. A short of more than half an ohm per 5 Ah moves the voltage by a few per cent, so that is
within a millivolt of the implicit solution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import LogError
from hil.plant_pybamm.sets import HEAT_S, CellSet, library, values

Floats = NDArray[np.float64]

KELVIN = 273.15
ENDS_C = 80.0
"""Beyond this a real cell decomposes, and the model does not."""
MARGIN_V = 0.01
"""A run ends so far beyond the set's voltage limits: a full cell stands on the upper one."""
STRIDE_S, FINE_STRIDE_S = 10.0, 4.0
"""The solver's longest step, for rows 10 s apart or more and for finer ones. Without it the solver strides over a load that
follows a long rest: 60 mV RMS on a day with two drives; with it, 0.1 mV against a solver stopped at every row."""
PASSES = 3
RAMP_S = 1.0


@dataclass(frozen=True, slots=True)
class Draw:
    """How one cell departs from its set: factors on capacity, contact resistance and cooling; K on the air around it;
    SOC at the start beside the others'."""

    capacity: float = 1.0
    contact: float = 1.0
    cooling: float = 1.0
    warmer_k: float = 0.0
    soc: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Draw:
        """A cell of one batch: 1 % of capacity, a quarter of the contacts, a tenth of the cooling, 1 K, 0.5 % of SOC (one sigma)."""
        n = rng.standard_normal(5)
        return cls(1 + 0.01 * n[0], float(np.exp(0.25 * n[1])), float(np.exp(0.1 * n[2])), float(np.clip(n[3], -2.5, 2.5)), 0.005 * n[4])


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done to the cell from ``onset_s`` on. short_ohm: across it (inf = none). joint: factor on its contact
    resistance. cooling: factor on its cooling."""

    onset_s: float = 0.0
    short_ohm: float = float("inf")
    joint: float = 1.0
    cooling: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """(rows,) arrays; what came after 80 degC or a voltage limit is cut off."""

    time_s: Floats
    voltage_v: Floats
    temperature_c: Floats
    whole: bool


def simulate(
    cell_set: CellSet, time_s: Floats, current_a: Floats, ambient_c: Floats, soc: float, draw: Draw = Draw(), deed: Deed | None = None
) -> Run:
    """The cell at ``time_s`` (rising, from 0) under ``current_a`` (positive while charging), in air of ``ambient_c``; linear between.

    Raises MissingExtra; LogError where the solver fails.
    """
    if deed is None:
        return solve(cell_set, time_s, current_a, np.zeros(len(time_s)), ambient_c, soc, draw, Deed(np.inf))
    on = np.clip((time_s - deed.onset_s) / RAMP_S, 0.0, 1.0)
    if not np.isfinite(deed.short_ohm):
        return solve(cell_set, time_s, current_a, np.zeros(len(time_s)), ambient_c, soc, draw, deed)
    run = solve(cell_set, time_s, current_a, np.zeros(len(time_s)), ambient_c, soc, draw, deed)
    for _ in range(PASSES):
        # after its end the short goes on with the last voltage: only the time before is kept
        voltage_v = np.interp(time_s, run.time_s, run.voltage_v) * on
        leak_a = voltage_v / deed.short_ohm
        run = solve(cell_set, time_s, current_a - leak_a, voltage_v * leak_a, ambient_c, soc, draw, deed)
    return run


def solve(cell_set: CellSet, time_s: Floats, cell_a: Floats, heat_w: Floats, ambient_c: Floats, soc: float, draw: Draw, deed: Deed) -> Run:
    """One pass: ``cell_a`` into the cell, ``heat_w`` into its body from outside."""
    pybamm = library()
    ambient_k = ambient_c + draw.warmer_k + KELVIN
    found = prepared(cell_set, draw, soc, float(ambient_k[0]))
    model = cell_model()
    cooling_w_per_k = draw.cooling * heat_capacity_j_per_k(found) / HEAT_S
    faded = np.where(time_s >= deed.onset_s, deed.cooling, 1.0)

    def course(series: Floats) -> Any:
        return pybamm.Interpolant(time_s, series, pybamm.t, interpolator="linear")

    def where_it_moves(series: Floats) -> Any:
        return course(series) if np.ptp(series) else float(series[0])

    found["Current function [A]"] = course(-cell_a)
    found["Total heat transfer coefficient [W.m-2.K-1]"] = where_it_moves(faded * cooling_w_per_k / found["Cell cooling surface area [m2]"])
    # heat from outside enters as warmer surroundings: hA (T - Ta) is all that the lumped body exchanges
    found["Ambient temperature [K]"] = where_it_moves(ambient_k + heat_w / (cooling_w_per_k * faded))
    found["Contact resistance [Ohm]"] = where_it_moves(
        found["Contact resistance [Ohm]"] * np.where(time_s >= deed.onset_s, deed.joint, 1.0)
    )
    stride_s = STRIDE_S if np.diff(time_s).min() >= STRIDE_S else FINE_STRIDE_S
    solver = pybamm.IDAKLUSolver(rtol=1e-4, atol=1e-6, options={"dt_max": stride_s})
    simulation = pybamm.Simulation(model, parameter_values=found, solver=solver)
    try:
        solution = simulation.solve(t_eval=[0.0, float(time_s[-1])], t_interp=time_s)
    except pybamm.SolverError as error:
        raise LogError(f"PyBaMM found no solution: {error}", where=cell_set.name, mend="take a gentler load") from None
    at_s = np.asarray(solution.t, dtype=float)
    voltage_v = np.asarray(solution["Terminal voltage [V]"].entries, dtype=float)
    warmth_c = np.asarray(solution["Volume-averaged cell temperature [C]"].entries, dtype=float)
    on_grid = np.isin(at_s, time_s)
    run = Run(at_s[on_grid], voltage_v[on_grid], warmth_c[on_grid], bool(at_s[-1] >= time_s[-1]))
    hot = np.flatnonzero(run.temperature_c >= ENDS_C)
    if hot.size:
        end = int(hot[0])
        run = replace(run, time_s=run.time_s[:end], voltage_v=run.voltage_v[:end], temperature_c=run.temperature_c[:end], whole=False)
    return run


def cell_model() -> Any:
    """Single particles with electrolyte, one temperature, tabs that warm it. Raises MissingExtra."""
    return library().lithium_ion.SPMe({"thermal": "lumped", "cell geometry": "arbitrary", "contact resistance": "true"})


def prepared(cell_set: CellSet, draw: Draw, soc: float, ambient_k: float) -> Any:
    """The set's parameters for one cell that starts at ``soc`` and ``ambient_k``. Raises MissingExtra."""
    found = values(cell_set)
    found["Electrode width [m]"] = found["Electrode width [m]"] * draw.capacity
    found["Cell volume [m3]"] = stack_m3(found)
    found["Contact resistance [Ohm]"] = found["Contact resistance [Ohm]"] * draw.contact
    found["Initial temperature [K]"] = found["Ambient temperature [K]"] = ambient_k
    found.set_initial_state(float(np.clip(soc + draw.soc, 0.0, 1.0)))
    found["Upper voltage cut-off [V]"] += MARGIN_V
    found["Lower voltage cut-off [V]"] -= MARGIN_V
    return found


LAYERS = ("Negative current collector", "Negative electrode", "Separator", "Positive electrode", "Positive current collector")


def stack_m3(found: Any) -> float:
    """Volume of the layers. The sets' own cell volumes hold the can too, and the model, which makes its heat per volume of layers,
    would heat them with more than they make (Chen2020: 17 %)."""
    thick_m = sum(found[f"{layer} thickness [m]"] for layer in LAYERS)
    return float(thick_m * found["Electrode width [m]"] * found["Electrode height [m]"])


def heat_capacity_j_per_k(found: Any) -> float:
    """Of the layers: their volumetric heat capacities by their thickness, times their volume."""
    thick, heat = 0.0, 0.0
    for layer in LAYERS:
        thickness = found[f"{layer} thickness [m]"]
        thick += thickness
        heat += thickness * found[f"{layer} density [kg.m-3]"] * found[f"{layer} specific heat capacity [J.kg-1.K-1]"]
    return float(heat / thick * stack_m3(found))
