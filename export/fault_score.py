"""One log through one method: what it said and when, held against what is true."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgebms.clock import LogClock
from edgebms.config import probe_of_cell
from edgebms.decision.types import Alert, Decision
from edgebms.loop import Loop, replay_snapshots
from edgebms.telemetry import bdf
from edgebms.vocabulary import Cause
from export.fault_logs import FaultLog, after_broken, thinned
from export.fault_methods import METHODS

DAY_S = 86400.0
LEVELS = ("none", "watch", "warning", "critical")
ALARM = LEVELS.index("warning")
UNSEEN = (Cause.LOSS_OF_DATA, Cause.GATEWAY_FAULT)
"""Hazards that say that data are missing: true of a log with holes, and no word on the cell."""
ROW = (
    "file",
    "set",
    "method",
    "cause_true",
    "cause",
    "detectable",
    "cell_right",
    "level",
    "onset_s",
    "event_s",
    "first_warning_s",
    "first_critical_s",
    "lead_s",
    "false_alarms",
    "exposure_days",
    "queries",
    # beyond the keys of every evaluation of faults: what the summary needs
    "watches",
    "listed_apart",
    "broken_limits",
    "unseen",
    "abuse",
    "runaway_label_s",
    "runaway_said_s",
    "placed",
    "place_named_s",
    "cause_named_s",
    "rules",
)


@dataclass(slots=True)
class Alarm:
    """An alert while it stood. reached: level -> seconds since the log's first row. rules: those that held, in their order."""

    hazard: Cause
    cell: int | None
    probe: int | None
    reached: dict[int, float] = field(default_factory=dict)
    rules: dict[str, None] = field(default_factory=dict)

    def at(self, level: int) -> float | None:
        """When it reached ``level`` or a higher one."""
        return min((at for reached, at in self.reached.items() if reached >= level), default=None)

    @property
    def level(self) -> int:
        return max(self.reached)


class Alarms:
    """Collects the alerts of a replay: one that clears and comes back counts again."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._open: dict[str, Alarm] = {}
        self.all: list[Alarm] = []

    def take(self, decision: Decision) -> None:
        standing: dict[str, Alarm] = {}
        for alert in decision.alerts:
            alarm = self._open.get(alert.id)
            if alarm is None:
                alarm = Alarm(alert.hazard, alert.cell, alert.probe)
                self.all.append(alarm)
            standing[alert.id] = alarm
            self._note(alarm, alert, decision.mono_ns * 1e-9 - self._start_s)
        self._open = standing

    @staticmethod
    def _note(alarm: Alarm, alert: Alert, at_s: float) -> None:
        alarm.reached.setdefault(LEVELS.index(alert.level), at_s)
        for evidence in alert.evidence:
            alarm.rules.setdefault(evidence.rule)


def replayed(log: FaultLog, method: str, period_s: float) -> list[Alarm]:
    """The alerts that ``method`` raises on ``log``. Raises EdgebmsError."""
    line = METHODS[method](log.pack)
    alarms = Alarms(log.start_s)
    clock = LogClock()
    loop = Loop([line], clock, alarms.take, lambda: 0)
    with tempfile.TemporaryDirectory() as folder:
        path = thinned(log.path, period_s, Path(folder))
        replay_snapshots(bdf.snapshots(path, log.pack), line, loop, clock)
    return alarms.all


def scored(log: FaultLog, method: str, alarms: list[Alarm]) -> dict[str, Any]:
    """One row of the table (keys of ``ROW``)."""
    truth = log.truth
    from_s = float("inf") if truth.onset_s is None else truth.onset_s - log.slack_s
    speaking = [alarm for alarm in alarms if alarm.hazard not in UNSEEN]
    apart = [alarm for alarm in speaking if alarm.cell is not None and alarm.cell - 1 in log.known_faulty]
    rest = [alarm for alarm in speaking if alarm not in apart]
    early = [alarm for alarm in rest if (at_s := alarm.at(0)) is not None and at_s < from_s]
    false = [alarm for alarm in early if alarm.level >= ALARM and (first := alarm.at(ALARM)) is not None and first < from_s]
    right = [alarm for alarm in rest if alarm not in false and max(alarm.reached.values()) >= from_s]
    at_false_s = np.array([alarm.at(ALARM) for alarm in false], dtype=float)
    due = after_broken(log.broken_s, at_false_s).tolist()
    broken, false = ([alarm for alarm, is_due in zip(false, due, strict=True) if is_due is side] for side in (True, False))
    warning_s, critical_s = (first_at(right, level, from_s) for level in (ALARM, ALARM + 1))
    loud = [alarm for alarm in right if alarm.level >= ALARM]
    gravest = max(loud or right, key=lambda alarm: (alarm.level, -max(alarm.reached.values())), default=None)
    placed = max(truth.cell, truth.probe) >= 0 and log.pack.cells > 1
    there = [alarm for alarm in loud if names_place(log, [alarm])] if placed else []
    runaway = [at_s for alarm in speaking if alarm.hazard is Cause.THERMAL_RUNAWAY and (at_s := alarm.at(ALARM)) is not None]
    return {
        "file": log.path.name,
        "set": log.set,
        "method": method,
        "cause_true": truth.cause,
        "cause": str(gravest.hazard) if gravest is not None else "healthy",
        "detectable": truth.detectable,
        "cell_right": bool(there) if placed and loud else None,
        "level": LEVELS[max((alarm.level for alarm in right), default=0)],
        "onset_s": truth.onset_s,
        "event_s": truth.event_s,
        "first_warning_s": warning_s,
        "first_critical_s": critical_s,
        "lead_s": truth.event_s - warning_s if truth.event_s is not None and warning_s is not None else None,
        "false_alarms": len(false),
        "exposure_days": log.healthy_s / DAY_S,
        "queries": None,
        "watches": sum(alarm.level < ALARM for alarm in early),
        "listed_apart": len([alarm for alarm in apart if alarm.level >= ALARM]),
        "broken_limits": len(broken),
        "unseen": len({alarm.at(ALARM) for alarm in alarms if alarm.hazard in UNSEEN and alarm.level >= ALARM}),
        "abuse": truth.abuse,
        "runaway_label_s": truth.runaway_label_s,
        "runaway_said_s": min(runaway, default=None),
        "placed": placed,
        "place_named_s": first_at(there, ALARM, from_s),
        "cause_named_s": first_at([alarm for alarm in there if alarm.hazard == truth.cause], ALARM, from_s),
        "rules": dict(Counter(next(iter(alarm.rules)) for alarm in false)),
    }


def first_at(alarms: list[Alarm], level: int, from_s: float) -> float | None:
    """When the first of ``alarms`` reached ``level``, at ``from_s`` or later."""
    times = [at_s for alarm in alarms for reached, at_s in alarm.reached.items() if reached >= level and at_s >= from_s]
    return min(times, default=None)


def names_place(log: FaultLog, alarms: list[Alarm]) -> bool:
    """Whether one of ``alarms`` names the true cell, or the probe that watches it; the true probe where the fault is its own."""
    truth = log.truth
    probe = (truth.probe if truth.probe >= 0 else probe_of_cell(log.pack)[truth.cell]) + 1
    return any(alarm.cell == truth.cell + 1 or (alarm.cell is None and alarm.probe == probe > 0) for alarm in alarms)
