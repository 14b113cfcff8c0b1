"""One pack of our circuit plant, stepped by the rig: a ``PlantPack``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgebms.cellcard import load_card
from edgebms.errors import ConfigError
from edgebms.vocabulary import Contactor
from hil.plant.control import LINK_READY, Control
from hil.plant.curves import from_card
from hil.plant.draws import BatchDraw, Ranges, draw_pack
from hil.plant.fault import Fault
from hil.plant.faults import KINDS, draw_fault
from hil.plant.interface import Commands, Measured, Truth
from hil.plant.packs import Packs
from hil.plant.sense import Schedule, Senses
from hil.plant.world import World

BLEED_C_RATE = 0.03
"""A balancer's current over the group's capacity."""
TYPICAL = Ranges(
    capacity_left=(0.97, 1.0), resistance_grown=(1.0, 1.05), tau=(1.0, 1.0), spread_capacity=(0.004, 0.004), spread_resistance=(0.02, 0.02),
    spread_soc=(0.002, 0.002), spread_cooling=(0.05, 0.05), heat_capacity=(1.0, 1.0), link_w_per_k=(0.08, 0.08), module_cells=(12,),
    ambient_share=(0.2, 0.2), air_w_per_k=(0.05, 0.05), liquid_w_per_k=(0.15, 0.15), flow=(3.0, 3.0), radiator=(0.8, 0.8),
    chiller_w_per_ah=(0.08, 0.08), vent_c=(125.0, 135.0), separator_c=(145.0, 155.0), ejected=(0.15, 0.15), ejected_lfp=(0.45, 0.45), voltage_offset_v=(0.001, 0.001),
    voltage_noise_v=(0.0004, 0.0004), voltage_lsb_v=(0.001,), temperature_offset_c=(0.3, 0.3), temperature_noise_c=(0.05, 0.05),
    temperature_lsb_c=(0.1,), temperature_lag_s=(4.0, 4.0), current_offset_c_rate=(0.0003, 0.0003), current_noise_c_rate=(0.001, 0.001),
    current_lsb_a=(0.01,), insulation_ohm=(5e6, 5e6), load_strength=(1.0, 1.0),
)  # fmt: skip
"""A pack as built today: what a scenario gets unless it says otherwise. Cells still differ, by the seed."""


@dataclass(frozen=True, slots=True)
class PackSpec:
    """A pack for the rig. probes: evenly spread. schedule: when the profile's sweep reads what; None = all at once each second.
    cooled: "still", "air" or "liquid". ranges: what is not stated is drawn from these with ``seed``."""

    card: str
    cells: int
    probes: int
    seed: int
    parallel: float = 1.0
    soc: float = 0.8
    ambient_c: float = 25.0
    cooled: str = "air"
    schedule: Schedule | None = None
    ranges: Ranges = TYPICAL


class LivePack:
    """See ``PlantPack``. The pack's own hardware keeps its cells within their voltage limits while it is in order, and no more.
    Errors of the card are CardErrors."""

    def __init__(self, spec: PackSpec) -> None:
        if not 1 <= spec.probes <= spec.cells or spec.cells < 2:
            raise ConfigError(
                "a simulated pack has at least 2 cells and from 1 probe to one a cell", where="pack", mend="change cells or probes"
            )
        if spec.cooled not in ("still", "air", "liquid"):
            raise ConfigError(f"no cooling called {spec.cooled!r}", where="pack.cooled", mend="use still, air or liquid")
        curves = from_card(load_card(spec.card))
        ranges = replace(
            spec.ranges,
            parallel=(spec.parallel, spec.parallel),
            soc=(spec.soc, spec.soc),
            ambient_c=(spec.ambient_c,) * 2,
            cooled=(spec.cooled,),
        )
        period_s = spec.schedule.period_s if spec.schedule is not None else 1.0
        rng = np.random.default_rng(spec.seed)
        draw = draw_pack(rng, curves, BatchDraw(spec.card, spec.cells, spec.probes, period_s), ranges)
        packs = Packs(curves, draw.build, draw.soc[None], np.full((1, spec.cells), spec.ambient_c), np.array([spec.ambient_c]))
        packs.effects.insulation_ohm[0, 0] = draw.insulation_ohm
        schedule = spec.schedule or Schedule.even(1.0, spec.cells, spec.probes, 0.0)
        senses = Senses(packs, [draw.sensors], [schedule], [rng], np.zeros(1, np.intp))
        self.spec = spec
        self._world = World(packs, senses, Control(packs))
        # what holds the current back in heat and cold is the BMS that commands this pack
        self._world.control.hot_cut[:], self._world.control.cold_charge[:] = 0.0, 1.0
        self._rng = np.random.default_rng([spec.seed, 1])
        self._due: list[tuple[float, Fault]] = []
        self._commands = Commands()
        self._current_a = 0.0
        packs.effects.ambient_c[0, 0] = spec.ambient_c

    @property
    def cells(self) -> int:
        return self.spec.cells

    @property
    def probe_cell(self) -> tuple[int, ...]:
        return tuple(int(cell) for cell in self._world.senses.probe_cell)

    @property
    def time_s(self) -> float:
        return self._world.packs.time_s

    @property
    def capacity_ah(self) -> float:
        return self._world.packs.curves.capacity_ah * self.spec.parallel

    def ambient(self, celsius: float) -> None:
        self._world.packs.effects.ambient_c[0, 0] = celsius

    def command(self, commands: Commands) -> None:
        control = self._world.control
        self._commands = commands
        control.closed[0, 0] = float(commands.closed)
        control.charge_a[0, 0], control.discharge_a[0, 0] = max(commands.charge_a, 0.0), max(commands.discharge_a, 0.0)
        control.cool[0, 0] = float(commands.cool)
        bleed_s = self._world.packs.effects.bleed_s
        bleed_s[0] = 0.0
        bleed_s[0, list(commands.balance)] = BLEED_C_RATE * self.capacity_ah / self._world.packs.curves.voltage_max_v

    def weld(self, stuck: bool = True) -> None:
        """Contactors that do not open."""
        self._world.control.welded[0, 0] = float(stuck)

    def inject(self, kind: str, *, onset_s: float, cell: int = -1, size: float | None = None, tau_s: float | None = None) -> Fault:
        """The fault as drawn or stated; see ``PlantPack``."""
        if kind not in KINDS:
            raise ConfigError(f"no fault called {kind!r}", where="fault.kind", mend=f"known: {', '.join(KINDS)}")
        if not -1 <= cell < self.cells:
            raise ConfigError(f"cell {cell + 1} of {self.cells}", where="fault.cell", mend="name a cell of the pack")
        probes = self.spec.probes
        probe_of = tuple(index * probes // self.cells for index in range(self.cells))
        fault = draw_fault(self._rng, kind, self.cells, probe_of, self.spec.parallel, 3600.0)
        if cell >= 0 and KINDS[kind].where != "pack":
            fault = replace(fault, cell=cell if KINDS[kind].where == "cell" else -1, probe=probe_of[cell])
        fault = replace(fault, onset_s=onset_s, size=fault.size if size is None else size, tau_s=fault.tau_s if tau_s is None else tau_s)
        self._due.append((onset_s, fault))
        return fault

    def step(self, seconds: float, request_a: float) -> None:
        world = self._world
        for place, (due_s, fault) in enumerate(self._due):
            if due_s <= world.packs.time_s + 1e-9:
                self._due[place] = (KINDS[fault.kind].act(world, 0, fault, world.packs.time_s), fault)
        self._due = [entry for entry in self._due if np.isfinite(entry[0])]
        current_a = world.control.current(world.packs, np.array([request_a]), seconds)
        world.packs.step(seconds, current_a)
        self._current_a = float(current_a[0])
        world.senses.follow(world.packs, world.control.shunt_a(current_a))

    def measure(self) -> Measured:
        packs = self._world.packs
        seen = self._world.senses.sample(packs)
        return Measured(
            seen.time_s, seen.cell_voltage_v[0].astype(float), seen.temperature_c[0].astype(float), float(seen.current_a[0]), float(seen.voltage_v[0]),
            float(seen.insulation_ohm[0]), float(seen.gas[0]), float(packs.state.loop_c[0, 0]), self.contactors, packs.effects.bleed_s[0] > 0,
        )  # fmt: skip

    @property
    def contactors(self) -> Contactor:
        control = self._world.control
        if control.fused[0, 0] or not (control.closed[0, 0] or control.welded[0, 0]):
            return Contactor.OPEN
        return Contactor.CLOSED if control.link[0, 0] > LINK_READY else Contactor.PRECHARGE

    def truth(self) -> Truth:
        state = self._world.packs.state
        return Truth(
            self.time_s, state.soc[0].copy(), state.voltage_v[0].astype(float), state.temperature_c[0].copy(), self._current_a, state.event_s[0].copy(),
            state.vented[0].copy(),
        )  # fmt: skip
