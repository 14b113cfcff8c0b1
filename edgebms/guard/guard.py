"""The guard: it sees telemetry alone and has spoken before any student starts.

plausibility -> runaway rule and trackers -> limit rows. All state of a pack is in one ``Guard``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.guard.alarms import Alarm
from edgebms.guard.finding import Finding
from edgebms.guard.limits import LimitRow
from edgebms.guard.measure import Measure, Measured
from edgebms.guard.plausibility import BROADCASTS, Plausibility
from edgebms.guard.quantities import QUANTITIES, SAMPLED
from edgebms.guard.runaway import Runaway
from edgebms.guard.shorts import Shorts
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Cause, Level

HEAT = frozenset({Cause.OVER_TEMPERATURE, Cause.INTERNAL_SHORT, Cause.EXTERNAL_SHORT, Cause.THERMAL_RUNAWAY, Cause.VENTING})
"""Hazards that destroy their own wires: a pack that goes blind after one of them is not just unplugged."""

STARTUP = "startup_wait_s"
BLIND_IN_ALERT = "blind_in_alert_s"


class Guard:
    """One pack's guard. ``step`` each snapshot once."""

    def __init__(self, card: CellCard, pack: PackConfig, rows: tuple[LimitRow, ...]) -> None:
        places = {"cell": pack.cells + BROADCASTS, "probe": pack.probes + BROADCASTS, "pack": 1}
        self._startup_ns = round(pack.startup_s * 1e9)
        self._plausibility = Plausibility(pack.cells, pack.probes)
        self._measure = Measure(card, pack)
        self._runaway = Runaway(card, pack)
        self._shorts = Shorts(card, pack)
        self._alarms = tuple(Alarm(row, places[row.kind], QUANTITIES[row.quantity].window_s) for row in rows)
        self._counts = {"cell": pack.cells, "probe": pack.probes}
        self._watches = tuple(
            _Watch(quantity, side, group[0].row.kind, np.ones(places[group[0].row.kind], dtype=bool), tuple(group))
            for (quantity, side), group in _grouped(self._alarms).items()
        )
        self._first_ns: int | None = None
        self._valid = False
        self._alert_before_blind = False

    def step(self, snapshot: Snapshot, now_ns: int) -> tuple[Finding, ...]:
        """What stands after this snapshot, in the rows' order."""
        if self._first_ns is None:
            self._first_ns = now_ns
        self._valid = self._valid or (snapshot.complete and snapshot.watched)
        clean = self._plausibility.clean(snapshot)
        measured = self._measure.step(snapshot, clean, now_ns)
        values = measured.values
        values.update(self._runaway.step(clean, snapshot.temperature_reason, snapshot.time_ns)._asdict())
        values.update(self._shorts.step(clean, snapshot.current_a.value, snapshot.balancing, snapshot.time_ns)._asdict())
        waited_ns = now_ns - self._first_ns
        values[STARTUP] = 0.0 if self._valid else waited_ns / 1e9
        values[BLIND_IN_ALERT] = values["blind_s"] if self._alert_before_blind else 0.0
        # before the first valid snapshot nothing is known; a pack that never gets one is judged on what it shows
        speaks = self._valid or waited_ns >= self._startup_ns
        for watch in self._watches:
            if speaks or watch.quantity == STARTUP:
                _judge(watch, measured, now_ns)
        findings = tuple(finding for alarm in self._alarms if alarm.busy for finding in alarm.findings(self._counts))
        if values["blind_s"] == 0.0:
            self._alert_before_blind = any(finding.level >= Level.WARNING and finding.hazard in HEAT for finding in findings)
        return findings

    def acknowledge(self, rule: str, now_ns: int) -> bool:
        """A person has seen the latched ``rule``: its latch opens where the value has been back inside for
        long enough. True = nothing of it stands any more."""
        for alarm in self._alarms:
            if alarm.row.name == rule:
                alarm.acknowledge(now_ns)
                return not alarm.active.any()
        return True

    def latched(self) -> tuple[LimitRow, ...]:
        """The rows whose latch is shut: a person may acknowledge them."""
        return tuple(alarm.row for alarm in self._alarms if alarm.row.latch and alarm.active.any())

    def state(self) -> dict[str, Any]:
        """What must survive a restart, as plain JSON: the alarms that stand."""
        return {alarm.row.name: alarm.state() for alarm in self._alarms if alarm.active.any()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put ``state()`` back. Rows and places that are no longer there are left out."""
        for alarm in self._alarms:
            alarm.restore(state.get(alarm.row.name, {}))


class _Watch(NamedTuple):
    """The alarms of one quantity on one side: one look at its extreme serves them all."""

    quantity: str
    side: str
    kind: str
    always: NDArray[np.bool_]
    alarms: tuple[Alarm, ...]


def _grouped(alarms: tuple[Alarm, ...]) -> dict[tuple[str, str], list[Alarm]]:
    groups: dict[tuple[str, str], list[Alarm]] = {}
    for alarm in alarms:
        groups.setdefault((alarm.row.quantity, alarm.row.side), []).append(alarm)
    return groups


def _judge(watch: _Watch, measured: Measured, now_ns: int) -> None:
    value = measured.values[watch.quantity]
    extreme = value if isinstance(value, float) else (np.fmax if watch.side == "above" else np.fmin).reduce(value)
    for alarm in watch.alarms:
        if not (alarm.busy or alarm.beyond(extreme)):
            continue
        when = alarm.row.when
        gate = when == "always" or (measured.charging if when == "charging" else measured.discharging)
        fresh = watch.always
        if watch.quantity in SAMPLED:
            fresh = measured.cell_fresh if watch.kind == "cell" else measured.probe_fresh
        alarm.step(np.array([value]) if isinstance(value, float) else value, fresh, gate, now_ns)
