"""The plant under test: one pack of ``hil/plant`` stepped in time, its sensors, its faults, and the frames that its BMS sends."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import ConfigError
from edgebms.inlet.frame import Frame
from edgebms.telemetry.encode import Encoder
from edgebms.vocabulary import Contactor
from hil.plant.faults import KINDS
from hil.plant.interface import Commands, Measured, PlantPack
from hil.plant.loads import LOADS
from hil.rig.foxbms import FoxBms
from hil.rig.hardware import Emulator
from hil.rig.plant import build
from hil.rig.run_log import Truth
from hil.rig.site import Orders
from hil.scenario import PackSpec, PlantFault, Scenario

Floats = NDArray[np.float64]

STEP_S = 1.0
"""The plant's longest step."""


class Bench:
    """``step`` lets time pass, ``frames`` is the sweep that the BMS sends then."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        spec = self._spec = scenario.pack
        self._pack = build(spec, seed)
        self._wanted_a = load_a(scenario, self._pack.capacity_ah, np.random.default_rng([seed, 3]))
        places = [inject(self._pack, fault, i, spec) for i, fault in enumerate(scenario.faults)]
        self._shown_cell = next((cell for cell in places if cell >= 0), 0)
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
        begun = self._pack.truth().event_s
        return sorted(float(at_s) for at_s in begun[np.isfinite(begun)])

    def wanted_a(self, now_s: float) -> float:
        """What the load asks for at ``now_s``, A, positive while charging."""
        return float(self._wanted_a[min(int(now_s), len(self._wanted_a) - 1)])

    def step(self, seconds: float, orders: Orders) -> None:
        # what holds the current back is the site, by the limits of the daemon under test, and nothing else
        self._pack.command(Commands(closed=orders.closed, cool=orders.cooling, balance=orders.balance))
        left_s = seconds
        while left_s > 1e-9:
            step_s = min(left_s, STEP_S)
            self._pack.step(step_s, orders.current_a)
            left_s -= step_s

    def at_start(self) -> tuple[list[float], list[float]]:
        """What the cells and probes have before the first step, when no sweep has been yet."""
        true = self._pack.truth()
        return [float(volt) for volt in true.voltage_v], [float(true.temperature_c[cell]) for cell in self._pack.probe_cell]

    def measure(self) -> Measured:
        """What the sensors say now."""
        return self._pack.measure()

    def frames(self, time_ns: int) -> list[Frame]:
        """The sweep that the BMS sends now."""
        seen = self._pack.measure()
        if self.emulator is not None:
            self.emulator.contactors(seen.contactors is Contactor.CLOSED)
            self.emulator.show(seen.cell_voltage_v, seen.temperature_c, seen.current_a)
        more: dict[str, Any] = {} if self._spec.profile == "foxbms2" else {"gas": seen.gas, "balancing": seen.balancing}
        return self._encoder(
            time_ns,
            seen.cell_voltage_v,
            seen.temperature_c,
            seen.current_a,
            seen.voltage_v,
            contactors=seen.contactors,
            reported_soc=float(self._pack.truth().soc.mean()),
            insulation_ohm=seen.insulation_ohm,
            **more,
        )

    def truth(self, now_s: float, orders: Orders) -> Truth:
        true = self._pack.truth()
        volts, degrees = true.voltage_v, true.temperature_c
        return Truth(
            now_s,
            true.current_a,
            float(volts.sum()),
            float(volts.min()),
            float(volts.max()),
            float(volts[self._shown_cell]),
            float(degrees.min()),
            float(degrees.max()),
            self._pack.contactors is not Contactor.OPEN,
            orders.cooling,
            bool(np.isfinite(true.event_s).any()),
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


def inject(live: PlantPack, spec: PlantFault, number: int, pack: PackSpec) -> int:
    """Put a scenario's fault into the plant; its 0-based cell, -1 = none. Raises ConfigError for a kind that there is not."""
    where = f"faults[{number}]"
    row = KINDS.get(spec.kind)
    if row is None:
        raise ConfigError(f"no fault is called {spec.kind!r}", where=where, mend=f"known: {', '.join(sorted(KINDS))}")
    if row.where != "pack" and spec.cell is None and spec.probe is None:
        raise ConfigError(f"{spec.kind} has no place", where=where, mend="give its cell or probe")
    if (spec.cell or 1) > pack.cells or (spec.probe or 1) > pack.probes:
        raise ConfigError("is beyond the pack", where=where, mend=f"it has {pack.cells} cells and {pack.probes} probes")
    # the first cell that the probe stands for (cell * probes // cells == probe)
    cell = spec.cell - 1 if spec.cell is not None else -(-(spec.probe - 1) * pack.cells // pack.probes) if spec.probe is not None else -1
    low, high = row.size
    size = spec.size if spec.size is not None else (low * high) ** 0.5 if row.log else (low + high) / 2
    live.inject(spec.kind, onset_s=spec.at_s, cell=cell, size=size, tau_s=spec.tau_s if spec.tau_s is not None else row.tau_s[0])
    return cell
