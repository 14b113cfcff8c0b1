"""Packs from the library: a string of cells that saw one load, each a mix of two simulated ones, behind its own sensors.

A mix is w*a + (1 - w)*b with w uniform in -0.37 ... 1.37: a cell's voltage and temperature are nearly linear in the
small draws of a batch, and with that range the mixes spread as widely as the cells themselves. A cell with a fault
is simulated anew with it, never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import Cause
from hil.plant_pybamm.library import LibraryDay
from hil.plant_pybamm.simulate import Deed, Draw, Run, simulate

Floats = NDArray[np.float64]

MIX = 0.37
"""E[w^2 + (1-w)^2] = 1 for w uniform in -d ... 1 + d with (1 + 2d)^2 = 3."""


@dataclass(frozen=True, slots=True)
class Sensing:
    """One standard deviation each: offsets once a sensor, noise each sample; lsb: the step. Current as C-rate of the pack."""

    voltage_offset_v: float = 0.001
    voltage_noise_v: float = 0.0005
    voltage_lsb_v: float = 0.001
    temperature_offset_c: float = 0.3
    temperature_noise_c: float = 0.05
    temperature_lsb_c: float = 0.1
    current_offset_c: float = 0.0005
    current_noise_c: float = 0.001
    current_lsb_a: float = 0.1


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: a name in ``KINDS``. cell, probe: 0-based, -1 = none. size: in the kind's unit."""

    kind: str
    cause: Cause
    cell: int
    probe: int
    onset_s: float
    size: float


@dataclass(frozen=True, slots=True)
class Kind:
    """where: "cell", "pack" or "probe". low, high: of the size, drawn in the logarithm; unit: of the size."""

    cause: Cause
    where: str
    low: float
    high: float
    unit: str


KINDS = {
    "short_constant": Kind(Cause.INTERNAL_SHORT, "cell", 2.0, 500.0, "ohm of 1 Ah"),
    "joint_loose": Kind(Cause.LOOSE_JOINT, "cell", 3.0, 30.0, "times the contact resistance"),
    "cooling_blocked": Kind(Cause.COOLING_FAILURE, "cell", 0.1, 0.5, "of the cooling"),
    "cooling_failure": Kind(Cause.COOLING_FAILURE, "pack", 0.1, 0.5, "of the cooling"),
    "voltage_drift": Kind(Cause.VOLTAGE_SENSOR, "cell", 0.005, 0.05, "V"),
    "probe_drift": Kind(Cause.TEMPERATURE_SENSOR, "probe", 2.0, 20.0, "K"),
    "current_offset": Kind(Cause.CURRENT_OFFSET, "pack", 0.005, 0.1, "1/h"),
}
"""Electrical, thermal and sensor faults, by the circuit plant's names; a drift is a step here. PyBaMM has no runaway."""


@dataclass(frozen=True, slots=True, eq=False)
class PackLog:
    """What a BMS would have recorded. cell_voltage_v (rows, cells), temperature_c (rows, probes), current_a and voltage_v (rows,)."""

    time_s: Floats
    cell_voltage_v: Floats
    temperature_c: Floats
    current_a: Floats
    voltage_v: Floats
    probe_of_cell: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """Which library cells each cell mixes, and its sensors' errors: all that a pack and its healthy twin share."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    weight: Floats
    probes: int
    sensing: Sensing
    seed: int


def draw_recipe(day: LibraryDay, rng: np.random.Generator, cells: int, probes: int) -> Recipe:
    there = day.voltage_v.shape[1]
    first = rng.integers(there, size=cells)
    second = (first + rng.integers(1, there, size=cells)) % there if there > 1 else first
    coarse = replace(Sensing(), temperature_lsb_c=float(rng.choice([0.1, 0.5, 1.0])))
    return Recipe(first, second, rng.uniform(-MIX, 1 + MIX, cells), probes, coarse, int(rng.integers(2**62)))


def draw_fault(rng: np.random.Generator, kind: str, cells: int, probes: int, seconds: float) -> Fault:
    row = KINDS[kind]
    size = float(np.exp(rng.uniform(np.log(row.low), np.log(row.high))))
    if row.where == "probe" or kind in ("voltage_drift", "current_offset"):
        size *= float(rng.choice([-1.0, 1.0]))
    onset_s = round(float(rng.uniform(0.1, 0.6)) * seconds)
    return Fault(
        kind,
        row.cause,
        int(rng.integers(cells)) if row.where == "cell" else -1,
        int(rng.integers(probes)) if row.where == "probe" else -1,
        float(onset_s),
        size,
    )


def compose(day: LibraryDay, recipe: Recipe, fault: Fault | None = None) -> PackLog:
    """The pack's log, cut off where a faulty cell passes 80 degC. Raises MissingExtra, LogError where PyBaMM is needed for it."""
    volts = mixed(day.voltage_v, recipe)
    warmth = mixed(day.temperature_c, recipe)
    rows = len(day.time_s)
    if fault is not None and fault.kind in ("short_constant", "joint_loose", "cooling_blocked"):
        run = faulty_cell(day, int(recipe.first[fault.cell]), deed_of(fault, day))
        rows = len(run.time_s)
        volts, warmth = volts[:rows].copy(), warmth[:rows].copy()
        volts[:, fault.cell], warmth[:, fault.cell] = run.voltage_v, run.temperature_c
    elif fault is not None and fault.kind == "cooling_failure":
        runs = [faulty_cell(day, which, deed_of(fault, day)) for which in range(day.voltage_v.shape[1])]
        rows = min(len(run.time_s) for run in runs)
        hot = replace(
            day,
            voltage_v=np.column_stack([run.voltage_v[:rows] for run in runs]),
            temperature_c=np.column_stack([run.temperature_c[:rows] for run in runs]),
        )
        volts, warmth = mixed(hot.voltage_v, recipe), mixed(hot.temperature_c, recipe)
    return sensed(day, recipe, fault, volts, warmth, rows)


def mixed(library: Floats, recipe: Recipe) -> Floats:
    return library[:, recipe.first] * recipe.weight + library[:, recipe.second] * (1 - recipe.weight)


def deed_of(fault: Fault, day: LibraryDay) -> Deed:
    if fault.kind == "short_constant":
        return Deed(fault.onset_s, short_ohm=fault.size / day.cell_set.capacity_ah)
    return Deed(fault.onset_s, joint=fault.size) if fault.kind == "joint_loose" else Deed(fault.onset_s, cooling=fault.size)


def faulty_cell(day: LibraryDay, which: int, deed: Deed) -> Run:
    return simulate(day.cell_set, day.time_s, day.current_a, day.ambient_c, day.soc, Draw(*day.draws[which].tolist()), deed)


def sensed(day: LibraryDay, recipe: Recipe, fault: Fault | None, volts: Floats, warmth: Floats, rows: int) -> PackLog:
    """The same seed gives the same errors with and without the fault."""
    sensing, cells = recipe.sensing, volts.shape[1]
    rng = np.random.default_rng(recipe.seed)
    fixed = rng.standard_normal(cells + recipe.probes + 1)
    noise = rng.standard_normal((len(day.time_s), cells + recipe.probes + 1))[:rows]
    pack_ah = day.cell_set.capacity_ah * day.cell_set.parallel
    probe_of_cell = tuple(cell * recipe.probes // cells for cell in range(cells))
    seats = [probe_of_cell.index(probe) for probe in range(recipe.probes)]
    after = (day.time_s[:rows] >= fault.onset_s) if fault is not None else np.zeros(rows, dtype=bool)
    seen_v = volts[:rows] + sensing.voltage_offset_v * fixed[:cells] + sensing.voltage_noise_v * noise[:, :cells]
    seen_c = warmth[:rows][:, seats] + sensing.temperature_offset_c * fixed[cells:-1] + sensing.temperature_noise_c * noise[:, cells:-1]
    current_a = day.current_a[:rows] * day.cell_set.parallel
    seen_a = current_a + pack_ah * (sensing.current_offset_c * fixed[-1] + sensing.current_noise_c * noise[:, -1])
    if fault is not None and fault.kind == "voltage_drift":
        seen_v[after, fault.cell] += fault.size
    if fault is not None and fault.kind == "probe_drift":
        seen_c[after, fault.probe] += fault.size
    if fault is not None and fault.kind == "current_offset":
        seen_a = seen_a + fault.size * pack_ah * after
    return PackLog(
        day.time_s[:rows],
        quantise(seen_v, sensing.voltage_lsb_v),
        quantise(seen_c, sensing.temperature_lsb_c),
        quantise(seen_a, sensing.current_lsb_a),
        quantise(volts[:rows].sum(axis=1), 0.1),
        probe_of_cell,
    )


def quantise(value: Floats, lsb: float) -> Floats:
    return np.round(value / lsb) * lsb
