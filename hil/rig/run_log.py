"""What a run of a scenario left behind: the truth, the decisions, when what happened. The judge and the report read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgebms.decision.types import Decision
from edgebms.inlet.frame import Frame
from hil.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Truth:
    """The plant at one moment. runaway: some cell's has begun by the event rule."""

    time_s: float
    current_a: float
    voltage_v: float
    cell_min_v: float
    cell_max_v: float
    fault_cell_v: float
    temperature_min_c: float
    temperature_max_c: float
    closed: bool
    cooling: bool
    runaway: bool
    unmet_a: float
    """|current| above what the daemon's limits allowed at that time; 0 where they held."""


@dataclass(frozen=True, slots=True)
class McuTold:
    """What the microcontroller said of itself at one moment, by its codes' names in small letters. counts: messages refused since its
    reset, by reason. lapse_s: see ``McuSpec``."""

    time_s: float
    state: str
    closed: bool
    faults: frozenset[str]
    charge_a: float
    discharge_a: float
    session: int
    counts: Mapping[str, int]
    lapse_s: float


@dataclass(slots=True)
class RunLog:
    """One run. Times are the scenario's seconds. events: name -> when, by the judge's names. exit_code: the daemon's."""

    scenario: Scenario
    seed: int
    truth: list[Truth] = field(default_factory=list)
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    sent: list[tuple[float, Frame]] = field(default_factory=list)
    """What the daemon sent on the bus, and when."""
    mcu: list[McuTold] = field(default_factory=list)
    openings: list[tuple[float, float]] = field(default_factory=list)
    """When a microcontroller opened contactors, and what they carried then, A: it takes less time than a step of the plant."""
    events: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    log: str = ""
    exit_code: int | None = None
    bad_lines: int = 0
    broken: str = ""
    """Why the run ended before its time; "" = it did not."""
    wall_s: float = 0.0
