"""What the rig and the corpus need of a pack, whichever plant simulates it (our circuit, PyBaMM, later real hardware)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import Contactor

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Commands:
    """What the BMS asks for; stays until the next. charge_a, discharge_a: limits >= 0 (inf = none).
    balance: 0-based cells to bleed."""

    closed: bool = True
    charge_a: float = float("inf")
    discharge_a: float = float("inf")
    cool: bool = False
    balance: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the sensors hold now: cell_voltage_v (cells,), temperature_c (probes,); NaN = nothing comes.
    gas: 0 = clean air. balancing (cells,)."""

    time_s: float
    cell_voltage_v: Floats
    temperature_c: Floats
    current_a: float
    voltage_v: float
    insulation_ohm: float
    gas: float
    coolant_c: float
    contactors: Contactor
    balancing: Flags


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """As it is: arrays (cells,). current_a: through the string. event_s: instant of the runaway event rule, NaN = none."""

    time_s: float
    soc: Floats
    voltage_v: Floats
    temperature_c: Floats
    current_a: float
    event_s: Floats
    vented: Flags


class PlantPack(Protocol):
    """One pack that is stepped in time, with what the BMS commands fed back."""

    @property
    def cells(self) -> int: ...

    @property
    def probe_cell(self) -> tuple[int, ...]:
        """0-based cell that each probe sits on."""

    @property
    def time_s(self) -> float: ...

    @property
    def capacity_ah(self) -> float:
        """Of a series group, when new."""

    @property
    def contactors(self) -> Contactor: ...

    def command(self, commands: Commands) -> None:
        """Holds until the next command."""

    def step(self, seconds: float, request_a: float) -> None:
        """Let ``seconds`` pass while the application asks for ``request_a`` (positive while charging); limits, contactors and
        faults that are due have their say."""

    def measure(self) -> Measured:
        """Call once a sweep: each call draws its noise."""

    def truth(self) -> Truth: ...

    def inject(self, kind: str, *, onset_s: float, cell: int = -1, size: float | None = None, tau_s: float | None = None) -> None:
        """A fault or look-alike by its name in ``hil.plant.faults.KINDS``, from ``onset_s`` on. cell: 0-based; -1 = drawn, or the whole
        pack. size, tau_s: in the kind's units; None = drawn from its range. Raises ConfigError for a kind that this plant has not."""
