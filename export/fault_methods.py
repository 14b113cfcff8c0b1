"""Who is asked for alarms: each method is a pack's line through the real pipeline. Students join here."""

from __future__ import annotations

from collections.abc import Callable

from edgebms.assembly import build_lines
from edgebms.config import Config, PackConfig, Site, Students
from edgebms.estimator.estimator import Estimator
from edgebms.estimator.state import CellState
from edgebms.guard.finding import Finding
from edgebms.guard.guard import Guard
from edgebms.guard.limits import load_limits
from edgebms.loop import PackLine
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import SiteKind
from edgebms.worker import ask_inline

LIMITED = ("cell_voltage_v", "pack_voltage_v", "temperature_c", "charge_current_a", "discharge_current_a")
"""Quantities whose limits the card states."""


def guard(pack: PackConfig) -> PackLine:
    """All rows of the guard."""
    config = Config(pack=(pack,), site=Site(kind=SiteKind.GRID_TIED), students=Students(state=""))
    line = build_lines(config, ask_inline)[pack.name]
    line.pipeline.estimator = FirstStateOnly(line.pipeline.estimator)  # type: ignore[assignment]
    return line


class FirstStateOnly:
    """The estimator, asked once. Cell states have no say in the guard's alarms, and cost half of a replay."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._state: CellState | None = None

    def step(self, snapshot: Snapshot, now_ns: int) -> CellState:
        if self._state is None:
            self._state = self._estimator.step(snapshot, now_ns)
        return self._state

    def settle(self, now_ns: int) -> None:
        """Nothing is left over."""


def limits(pack: PackConfig) -> PackLine:
    """The card's limits alone, behind the guard's filter for lone spikes."""
    line = guard(pack)
    rows = tuple(row for row in load_limits(pack.limits, line.card, pack) if row.quantity in LIMITED)
    line.pipeline.guard = Guard(line.card, pack, rows)
    return line


def student(pack: PackConfig) -> PackLine:
    """The guard and the reasoning student that ships, as a gateway runs them. Raises ModelError where there is none."""
    config = Config(pack=(pack,), site=Site(kind=SiteKind.GRID_TIED), students=Students(state="", reasoner="reasoner"))
    line = build_lines(config, ask_inline)[pack.name]
    line.pipeline.estimator = FirstStateOnly(line.pipeline.estimator)  # type: ignore[assignment]
    return line


class Silent:
    """A guard that finds nothing."""

    def step(self, snapshot: Snapshot, now_ns: int) -> tuple[Finding, ...]:
        del snapshot, now_ns
        return ()


def student_alone(pack: PackConfig) -> PackLine:
    """The student that ships without the guard: whose alarms are its own. No gateway runs so. Raises ModelError where there is none."""
    line = student(pack)
    line.pipeline.guard = Silent()  # type: ignore[assignment]
    return line


METHODS: dict[str, Callable[[PackConfig], PackLine]] = {
    "limits": limits,
    "guard": guard,
    "student_int8": student,
    "student_alone": student_alone,
}
USUAL = ("limits", "guard")
KNOWN = (
    *METHODS,
    "student_float",
    "student_sft",
    "student_shuffled",
    "teacher",
    "direct",
    "trees",
    "trees_8",
    "transformer",
    "cusum",
)
"""Every name a row may carry; those without a method are not installed."""
