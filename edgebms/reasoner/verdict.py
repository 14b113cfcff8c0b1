"""What the reasoner concludes: the fourth frozen type of the line."""

from __future__ import annotations

from dataclasses import dataclass

from edgebms.vocabulary import Cause, Level


@dataclass(frozen=True, slots=True)
class Observed:
    """One number of an observation: physical value in ``unit`` and its pack-relative size."""

    name: str
    value: float
    unit: str
    relative: float


@dataclass(frozen=True, slots=True)
class Asked:
    """One query and what the runtime read from the telemetry for it. cell: 0-based, -1 = pack."""

    query: str
    cell: int
    window_s: float
    observed: tuple[Observed, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """cell: 0-based, -1 = the whole pack. confidence 0..1, time_to_critical_s inf = not foreseen."""

    cause: Cause
    cell: int
    severity: Level
    time_to_critical_s: float
    confidence: float
    trace: tuple[Asked, ...]
