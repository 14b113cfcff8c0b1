"""One pack of PyBaMM cells, stepped by the rig: a ``PlantPack`` beside the circuit plant's.

A few cells are simulated and every other one is a mix of them, as in ``compose``; a cell with a fault is one of its own.
There is no runaway and no bleeding: beyond 80 degC the plant refuses to go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import ConfigError
from edgebms.vocabulary import Contactor
from hil.plant import faults as circuit
from hil.plant.fault import Fault
from hil.plant.faults import draw_fault
from hil.plant.interface import Commands, Measured, Truth
from hil.plant_pybamm.compose import KINDS, MIX, Sensing, quantise
from hil.plant_pybamm.sets import HEAT_S, CellSet, library
from hil.plant_pybamm.simulate import ENDS_C, KELVIN, Draw, cell_model, heat_capacity_j_per_k, prepared

Floats = NDArray[np.float64]

SIMULATED = 3
OWN_CELL = ("short_constant", "joint_loose", "cooling_blocked")
"""Faults for which the cell is simulated by itself."""
PRECHARGE_S = 0.5
INSULATION_OHM = 5e6
BEYOND_V = 0.4
INPUTS = (
    "Current function [A]",
    "Contact resistance [Ohm]",
    "Total heat transfer coefficient [W.m-2.K-1]",
    "Ambient temperature [K]",
)
"""Of the model, told anew at each step."""


@dataclass(frozen=True, slots=True)
class PackSpec:
    """parallel: cells of the set in a group. Probes are evenly spread."""

    cell_set: CellSet
    cells: int
    probes: int
    seed: int
    parallel: int = 1
    soc: float = 0.7
    ambient_c: float = 25.0


@dataclass(slots=True)
class Ailing:
    """What is wrong with one simulated cell now. short_ohm: across the cell. contact_ohm: more of it. cooling: factor."""

    short_ohm: float = float("inf")
    contact_ohm: float = 0.0
    cooling: float = 1.0


class SteppedCell:
    """One cell of the set in PyBaMM, stepped. Its state is that of the last step."""

    def __init__(self, cell_set: CellSet, draw: Draw, soc: float, ambient_c: float) -> None:
        pybamm = library()
        self._draw = draw
        found = prepared(cell_set, draw, soc, ambient_c + draw.warmer_k + KELVIN)
        self._contact_ohm = float(found["Contact resistance [Ohm]"])
        self._cooling_w_per_k = draw.cooling * heat_capacity_j_per_k(found) / HEAT_S
        self._surface_m2 = float(found["Cell cooling surface area [m2]"])
        # the pack's hardware acts at the set's limits one step later: the solver must bear what comes before
        found["Upper voltage cut-off [V]"] += BEYOND_V
        found["Lower voltage cut-off [V]"] -= BEYOND_V
        for name in INPUTS:
            found[name] = "[input]"
        self._simulation = pybamm.Simulation(cell_model(), parameter_values=found, solver=pybamm.IDAKLUSolver(rtol=1e-4, atol=1e-6))
        self.temperature_c = ambient_c + draw.warmer_k
        self.capacity_ah = cell_set.capacity_ah * draw.capacity
        self.soc = float(np.clip(soc + draw.soc, 0.0, 1.0))
        self.ailing = Ailing()
        self.voltage_v = float("nan")
        self.step(1e-3, 0.0, ambient_c)

    def step(self, seconds: float, current_a: float, ambient_c: float) -> None:
        """``current_a``: positive while charging. A short takes its share by the voltage before. Raises ConfigError."""
        leak_a = self.voltage_v / self.ailing.short_ohm if np.isfinite(self.ailing.short_ohm) else 0.0
        cooling_w_per_k = self._cooling_w_per_k * self.ailing.cooling
        ambient_k = ambient_c + self._draw.warmer_k + KELVIN + (self.voltage_v * leak_a / cooling_w_per_k if leak_a else 0.0)
        told = (leak_a - current_a, self._contact_ohm + self.ailing.contact_ohm, cooling_w_per_k / self._surface_m2, ambient_k)
        try:
            solution = self._simulation.step(seconds, inputs=dict(zip(INPUTS, told, strict=True)), save=False)
            self.voltage_v = float(solution["Terminal voltage [V]"].entries[-1])
            self.temperature_c = float(solution["Volume-averaged cell temperature [C]"].entries[-1])
        except library().SolverError as error:
            raise ConfigError(f"PyBaMM found no solution: {error}", where="pack.plant", mend="take a gentler load or fault") from None
        self.soc += (current_a - leak_a) * seconds / 3600.0 / self.capacity_ah
        if self.temperature_c > ENDS_C:
            raise ConfigError(
                f"a cell of the PyBaMM pack passed {ENDS_C:g} degC",
                where="pack.plant",
                mend="end the scenario before, or use plant: circuit",
            )


@dataclass(slots=True)
class Errors:
    """Of the sensors, once a pack: offsets, and what drifts add (a step)."""

    volts: Floats
    degrees: Floats
    current_a: float
    sensing: Sensing = field(default_factory=Sensing)


class PybammPack:
    """See ``PlantPack``. The pack's own hardware holds the current back at the set's voltage limits. Raises ConfigError, MissingExtra."""

    def __init__(self, spec: PackSpec) -> None:
        if not 1 <= spec.probes <= spec.cells or spec.cells < 2:
            raise ConfigError(
                "a simulated pack has at least 2 cells and from 1 probe to one a cell", where="pack", mend="change cells or probes"
            )
        self.spec = spec
        self._rng = np.random.default_rng([spec.seed, 0x9B])
        self._library = [self._new_cell() for _ in range(SIMULATED)]
        first = self._rng.integers(SIMULATED, size=spec.cells)
        second = (first + self._rng.integers(1, SIMULATED, size=spec.cells)) % SIMULATED
        weight = self._rng.uniform(-MIX, 1 + MIX, spec.cells)
        self._mix = np.zeros((SIMULATED, spec.cells))
        self._mix[first, np.arange(spec.cells)] = weight
        self._mix[second, np.arange(spec.cells)] += 1 - weight
        self._own: dict[int, SteppedCell] = {}
        sensing, pack_ah = Sensing(), self.capacity_ah
        self._errors = Errors(
            sensing.voltage_offset_v * self._rng.standard_normal(spec.cells),
            sensing.temperature_offset_c * self._rng.standard_normal(spec.probes),
            float(sensing.current_offset_c * pack_ah * self._rng.standard_normal()),
        )
        self._due: list[Fault] = []
        self._commands = Commands()
        self._ambient_c = spec.ambient_c
        self._time_s = self._current_a = 0.0
        self._closed_s = PRECHARGE_S

    def _new_cell(self) -> SteppedCell:
        return SteppedCell(self.spec.cell_set, Draw.random(self._rng), self.spec.soc, self.spec.ambient_c)

    @property
    def cells(self) -> int:
        return self.spec.cells

    @property
    def probe_cell(self) -> tuple[int, ...]:
        return tuple(-(-probe * self.cells // self.spec.probes) for probe in range(self.spec.probes))

    @property
    def time_s(self) -> float:
        return self._time_s

    @property
    def capacity_ah(self) -> float:
        return self.spec.cell_set.capacity_ah * self.spec.parallel

    def ambient(self, celsius: float) -> None:
        self._ambient_c = celsius

    def command(self, commands: Commands) -> None:
        self._commands = commands

    def inject(self, kind: str, *, onset_s: float, cell: int = -1, size: float | None = None, tau_s: float | None = None) -> Fault:
        """See ``PlantPack``; sizes are the circuit plant's. Every fault comes at once (tau_s is not had here), and one of a cell has to
        be told before the first step."""
        del tau_s
        if kind not in KINDS:
            raise ConfigError(f"no fault called {kind!r} on PyBaMM", where="fault.kind", mend=f"known: {', '.join(KINDS)}")
        if not -1 <= cell < self.cells:
            raise ConfigError(f"cell {cell + 1} of {self.cells}", where="fault.cell", mend="name a cell of the pack")
        if kind in OWN_CELL and self._time_s > 0:
            raise ConfigError(f"{kind} comes after the first step", where="fault", mend="inject it before, with its onset_s")
        probes = self.spec.probes
        probe_of = tuple(index * probes // self.cells for index in range(self.cells))
        fault = draw_fault(self._rng, kind, self.cells, probe_of, float(self.spec.parallel), 3600.0)
        if cell >= 0 and circuit.KINDS[kind].where != "pack":
            fault = replace(fault, cell=cell if circuit.KINDS[kind].where == "cell" else -1, probe=probe_of[cell])
        fault = replace(fault, onset_s=onset_s, size=fault.size if size is None else size)
        if kind in OWN_CELL and fault.cell not in self._own:
            self._own[fault.cell] = self._new_cell()
        self._due.append(fault)
        return fault

    def _begin(self, fault: Fault) -> None:
        if fault.kind == "short_constant":
            # of the group's parallel cells each takes its share
            self._own[fault.cell].ailing.short_ohm = fault.size * self.spec.parallel
        elif fault.kind == "joint_loose":
            self._own[fault.cell].ailing.contact_ohm = fault.size * self.spec.parallel
        elif fault.kind == "cooling_blocked":
            self._own[fault.cell].ailing.cooling = fault.size
        elif fault.kind == "cooling_failure":
            for one in (*self._library, *self._own.values()):
                one.ailing.cooling *= fault.size
        elif fault.kind == "voltage_drift":
            self._errors.volts[fault.cell] += fault.size
        elif fault.kind == "probe_drift":
            self._errors.degrees[fault.probe] += fault.size
        else:
            self._errors.current_a += fault.size

    def step(self, seconds: float, request_a: float) -> None:
        for fault in self._due:
            if fault.onset_s <= self._time_s + 1e-9:
                self._begin(fault)
        self._due = [fault for fault in self._due if fault.onset_s > self._time_s + 1e-9]
        self._current_a = self._allowed(request_a) if self.contactors is Contactor.CLOSED else 0.0
        per_cell_a = self._current_a / self.spec.parallel
        for one in (*self._library, *self._own.values()):
            one.step(seconds, per_cell_a, self._ambient_c)
        self._time_s += seconds
        self._closed_s = self._closed_s + seconds if self._commands.closed else 0.0

    def _allowed(self, request_a: float) -> float:
        """What the limits, and the pack's own hardware at the cells' voltage limits, leave of the request."""
        volts, limits = self._voltages(), self.spec.cell_set
        current_a = min(max(request_a, -max(self._commands.discharge_a, 0.0)), max(self._commands.charge_a, 0.0))
        if (current_a > 0 and volts.max() >= limits.voltage_max_v) or (current_a < 0 and volts.min() <= limits.voltage_min_v):
            return 0.0
        return current_a

    def _mixed(self, of_library: list[float], own: dict[int, float]) -> Floats:
        values = np.array(of_library) @ self._mix
        for cell, value in own.items():
            values[cell] = value
        return values

    def _voltages(self) -> Floats:
        return self._mixed([one.voltage_v for one in self._library], {cell: one.voltage_v for cell, one in self._own.items()})

    def _degrees(self) -> Floats:
        return self._mixed([one.temperature_c for one in self._library], {cell: one.temperature_c for cell, one in self._own.items()})

    def measure(self) -> Measured:
        """Everything at once. Balancing is never seen: nothing bleeds here."""
        errors, sensing, rng = self._errors, self._errors.sensing, self._rng
        volts = self._voltages()
        seen_v = volts + errors.volts + sensing.voltage_noise_v * rng.standard_normal(self.cells)
        seen_c = self._degrees()[list(self.probe_cell)] + errors.degrees
        seen_c = seen_c + sensing.temperature_noise_c * rng.standard_normal(self.spec.probes)
        seen_a = self._current_a + errors.current_a + sensing.current_noise_c * self.capacity_ah * rng.standard_normal()
        return Measured(
            self._time_s,
            quantise(seen_v, sensing.voltage_lsb_v),
            quantise(seen_c, sensing.temperature_lsb_c),
            float(np.round(seen_a / sensing.current_lsb_a) * sensing.current_lsb_a),
            float(np.round(volts.sum() / 0.1) * 0.1),
            INSULATION_OHM,
            0.0,
            self._ambient_c,
            self.contactors,
            np.zeros(self.cells, dtype=np.bool_),
        )

    @property
    def contactors(self) -> Contactor:
        if not self._commands.closed:
            return Contactor.OPEN
        return Contactor.CLOSED if self._closed_s >= PRECHARGE_S else Contactor.PRECHARGE

    def truth(self) -> Truth:
        soc = self._mixed([one.soc for one in self._library], {cell: one.soc for cell, one in self._own.items()})
        return Truth(
            self._time_s,
            soc,
            self._voltages(),
            self._degrees(),
            self._current_a,
            np.full(self.cells, np.nan),
            np.zeros(self.cells, dtype=np.bool_),
        )
