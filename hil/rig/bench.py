"""The plant under test: one pack of ``hil/plant`` stepped in time, its sensors, its faults, and the frames that its BMS sends."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import load_card
from edgebms.errors import ConfigError
from edgebms.inlet.frame import Frame
from edgebms.telemetry.encode import Encoder
from edgebms.vocabulary import Contactor
from hil.plant.control import Control
from hil.plant.curves import from_card
from hil.plant.draws import BatchDraw, Ranges, draw_pack
from hil.plant.faults import KINDS, Fault
from hil.plant.loads import LOADS
from hil.plant.packs import Packs
from hil.plant.sense import Schedule, Senses
from hil.plant.world import World
from hil.rig.foxbms import FoxBms
from hil.rig.hardware import Emulator
from hil.rig.run_log import Truth
from hil.rig.site import Orders
from hil.scenario import PackSpec, PlantFault, Scenario

Floats = NDArray[np.float64]

STEP_S = 1.0
"""The plant's longest step."""
PLAIN = Ranges(
    sweep=(0.1, 0.1),
    capacity_left=(1.0, 1.0),
    resistance_grown=(1.0, 1.0),
    tau=(1.0, 1.0),
    spread_capacity=(0.005, 0.005),
    spread_resistance=(0.03, 0.03),
    spread_soc=(0.003, 0.003),
    cooled=("air",),
    heat_capacity=(1.0, 1.0),
    link_w_per_k=(0.05, 0.05),
    ambient_share=(0.25, 0.25),
    air_w_per_k=(0.05, 0.05),
    voltage_offset_v=(0.001, 0.001),
    voltage_noise_v=(0.0003, 0.0003),
    voltage_lsb_v=(0.001,),
    temperature_offset_c=(0.3, 0.3),
    temperature_noise_c=(0.05, 0.05),
    temperature_lsb_c=(0.1,),
    temperature_lag_s=(4.0, 4.0),
    current_offset_c_rate=(0.0005, 0.0005),
    current_noise_c_rate=(0.001, 0.001),
    current_lsb_a=(0.01,),
    insulation_ohm=(5e6, 5e6),
    load_strength=(1.0, 1.0),
)
"""An ordinary pack in good order: a scenario is about its fault, not about its luck."""


class Bench:
    """``step`` lets time pass, ``frames`` is the sweep that the BMS sends then."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        spec = scenario.pack
        self._spec, self._period_s = spec, spec.period_s
        rng = np.random.default_rng([seed, 0])
        curves = from_card(load_card(spec.card))
        ranges = dataclasses.replace(
            PLAIN,
            parallel=(spec.parallel, spec.parallel),
            soc=(spec.soc, spec.soc),
            ambient_c=(spec.ambient_c, spec.ambient_c),
            cooled=(spec.cooled,),
        )
        draw = draw_pack(rng, curves, BatchDraw(spec.card, spec.cells, spec.probes, spec.period_s), ranges)
        packs = Packs(curves, draw.build, draw.soc[None, :], np.full((1, spec.cells), spec.ambient_c), np.array([spec.ambient_c]))
        packs.effects.insulation_ohm[:, 0] = draw.insulation_ohm
        schedule = Schedule.even(spec.period_s, spec.cells, spec.probes, draw.sweep_s)
        senses = Senses(packs, [draw.sensors], [schedule], [rng], np.array([0]))
        self._world = World(packs, senses, Control(packs))
        self._world.control.closed[:] = float(spec.contactors is Contactor.CLOSED)
        # what holds the current back in heat and cold is the daemon under test, and nothing else
        self._world.control.hot_cut[:], self._world.control.cold_charge[:] = 0.0, 1.0
        self._wanted_a = load_a(scenario, curves.capacity_ah * spec.parallel, np.random.default_rng([seed, 3]))
        self._faults = [fault_of(fault, spec, i, seed) for i, fault in enumerate(scenario.faults)]
        self._due_s = [fault.onset_s for fault in self._faults]
        self._time_s = 0.0
        self._orders = Orders(0.0, True, False, (), 0.0)
        self._current_a = 0.0
        self.emulator: Emulator | None = None
        """Where the cells are shown as well; None = nowhere."""
        self._encoder = encoder(spec)
        self.ids = (
            frozenset(frame.arbitration_id for frame in self.frames(0)) if spec.profile != "foxbms2" else frozenset(range(0x200, 0x280))
        )
        """Arbitration ids of the pack's own frames."""

    @property
    def runaways_s(self) -> list[float]:
        """When each cell's runaway began by the event rule, the first one first."""
        begun = self._world.packs.state.event_s
        return sorted(float(at_s) for at_s in begun[np.isfinite(begun)])

    def wanted_a(self, now_s: float) -> float:
        """What the load asks for at ``now_s``, A, positive while charging."""
        return float(self._wanted_a[min(int(now_s), len(self._wanted_a) - 1)])

    def step(self, seconds: float, orders: Orders) -> None:
        world, self._orders = self._world, orders
        packs, control = world.packs, world.control
        control.closed[:] = np.where(control.closed > 0, float(orders.closed), 0.0)
        control.cool[:] = float(orders.cooling)
        left_s = seconds
        while left_s > 1e-9:
            step_s = min(left_s, STEP_S)
            for i, fault in enumerate(self._faults):
                if self._due_s[i] <= self._time_s:
                    self._due_s[i] = KINDS[fault.kind].act(world, 0, fault, self._time_s)
            current_a = control.current(packs, np.array([orders.current_a]), step_s)
            packs.step(step_s, current_a)
            world.senses.follow(packs, control.shunt_a(current_a))
            self._current_a = float(current_a[0])
            self._time_s += step_s
            left_s -= step_s

    def frames(self, time_ns: int) -> list[Frame]:
        """The sweep that the BMS sends now."""
        sampled = self._world.senses.sample(self._world.packs)
        closed = bool(self._world.control.closed[0, 0] > 0)
        if self.emulator is not None:
            self.emulator.contactors(closed)
            self.emulator.show(sampled.cell_voltage_v[0], sampled.temperature_c[0], float(sampled.current_a[0]))
        return self._encoder(
            time_ns,
            sampled.cell_voltage_v[0],
            sampled.temperature_c[0],
            float(sampled.current_a[0]),
            float(sampled.voltage_v[0]),
            contactors=Contactor.CLOSED if closed else Contactor.OPEN,
            reported_soc=float(self._world.packs.state.soc.mean()),
            insulation_ohm=float(sampled.insulation_ohm[0]),
            **({} if self._spec.profile == "foxbms2" else {"gas": float(sampled.gas[0])}),
        )

    def truth(self, now_s: float, orders: Orders) -> Truth:
        state = self._world.packs.state
        volts = state.voltage_v[0]
        cell = next((fault.cell for fault in self._faults if fault.cell >= 0), 0)
        return Truth(
            now_s,
            self._current_a,
            float(volts.sum()),
            float(volts.min()),
            float(volts.max()),
            float(volts[cell]),
            float(state.temperature_c.min()),
            float(state.temperature_c.max()),
            bool(self._world.control.closed[0, 0] > 0),
            orders.cooling,
            bool(self.runaways_s),
            orders.unmet_a,
        )


def encoder(spec: PackSpec):  # type: ignore[no-untyped-def]
    if spec.profile == "foxbms2":
        return FoxBms(spec.cells, spec.probes, spec.firmware or "1.8.0").encode
    return partial(Encoder(spec.profile, spec.cells, spec.probes).encode)


def load_a(scenario: Scenario, capacity_ah: float, rng: np.random.Generator) -> Floats:
    """The load's wish for each second, A."""
    seconds = int(scenario.duration_s) + 2
    load = scenario.load
    if load.kind == "constant":
        return np.full(seconds, load.c_rate * capacity_ah)
    return LOADS[load.kind](rng, seconds) * load.strength * capacity_ah


def fault_of(spec: PlantFault, pack: PackSpec, number: int, seed: int) -> Fault:
    """The plant's fault for a scenario's. Raises ConfigError for a kind that there is not."""
    row = KINDS.get(spec.kind)
    if row is None:
        raise ConfigError(f"no fault is called {spec.kind!r}", where=f"faults[{number}]", mend=f"known: {', '.join(sorted(KINDS))}")
    if row.where != "pack" and spec.cell is None and spec.probe is None:
        raise ConfigError(f"{spec.kind} has no place", where=f"faults[{number}]", mend="give its cell or probe")
    cell = spec.cell - 1 if spec.cell is not None else -1
    probe = spec.probe - 1 if spec.probe is not None else cell * pack.probes // pack.cells if cell >= 0 else -1
    low, high = row.size
    size = spec.size if spec.size is not None else (low * high) ** 0.5 if row.log else (low + high) / 2
    return Fault(
        spec.kind, row.cause, cell, probe, spec.at_s, size, row.unit, spec.tau_s if spec.tau_s is not None else row.tau_s[0], seed + number
    )
