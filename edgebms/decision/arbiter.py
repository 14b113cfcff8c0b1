"""One decision from what guard, estimator and reasoner say. Levels only rise; actions follow the authority table."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from edgebms import __version__
from edgebms.cellcard import CellCard
from edgebms.config import PackConfig, Site
from edgebms.decision import figures
from edgebms.decision.alerts import Alerts, Place, moment
from edgebms.decision.authority import CHARGING_STAYS, RANK, SUSPECTS_A_SHORT, WANTS_COOLING, By, permit, student_asks
from edgebms.decision.contactor_sequence import Opener
from edgebms.decision.limits import Limiter
from edgebms.decision.types import (
    SCHEMA,
    Alert,
    Asked,
    Command,
    Decision,
    LevelWord,
    MeasuredValues,
    ObservedValue,
    Provenance,
    Query,
    Reasoning,
    known,
)
from edgebms.estimator.state import CellState
from edgebms.guard.finding import Finding
from edgebms.reasoner.verdict import Verdict
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Action, Level, Mode, ReasonerStatus, Restraint, SequenceStep

EXPIRES_S = 2.0
EXPIRES_PERIODS = 3
"""A decision holds for EXPIRES_S, or for so many periods of a slower pack: one lost sweep is no expiry."""

SEVERITY: dict[Level, LevelWord] = {Level.NONE: "none", Level.WATCH: "watch", Level.WARNING: "warning", Level.CRITICAL: "critical"}


class Outcome(NamedTuple):
    """What becomes of the actions asked for, before the contactor sequence. action, mode: the strongest."""

    action: Action
    mode: Mode
    stop_charge: bool
    stop_discharge: bool
    derate: bool
    open_contactors: bool
    asked: list[Asked]


class Arbiter:
    """One pack's arbiter. ``decide`` at each snapshot.

    period_s: time between two snapshots where it is known; a decision's expiry follows from it.
    cells_every_s: how often the per-cell values travel (0 = in every decision). The models' names go
    into the provenance as they are.
    """

    def __init__(
        self,
        site: Site,
        pack: PackConfig,
        card: CellCard,
        *,
        cells_every_s: float = 60.0,
        period_s: float | None = None,
        state_model: str | None = None,
        reasoner_model: str | None = None,
    ) -> None:
        self._site = site
        self._pack = pack.name
        self._cells = pack.cells
        self._charge_temperature_min_c = card.limits.charge_temperature_min_c
        self._alerts = Alerts(pack.name)
        self._limiter = Limiter(card, pack)
        self._opener = Opener(card, pack)
        period_s = pack.period_s or period_s or 0.0
        self._expires_ms = round(1000 * max(EXPIRES_S, EXPIRES_PERIODS * period_s))
        self._cells_every_ns = round(cells_every_s * 1e9)
        self._cells_due_ns: int | None = None
        self._card = f"{card.name} ({card.quality})"
        self._state_model = state_model
        self._reasoner_model = reasoner_model

    def request_cells(self) -> None:
        """The next decision carries the per-cell values."""
        self._cells_due_ns = None

    def state(self) -> list[dict[str, Any]]:
        """What must survive a restart: see ``Alerts.state``."""
        return self._alerts.state()

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Put ``state()`` back before the first decision."""
        self._alerts.restore(state)

    def decide(
        self,
        snapshot: Snapshot,
        findings: tuple[Finding, ...],
        state: CellState,
        verdict: Verdict | None,
        reasoner_status: ReasonerStatus,
        now_ns: int,
        utc_ns: int | None,
    ) -> Decision:
        """latency_us is 0 in here: the loop puts it in. A verdict that is not one of this pack, or comes with
        another status than OK, is left out."""
        if (
            verdict is not None
            and reasoner_status is ReasonerStatus.OK
            and not (-1 <= verdict.cell < self._cells and math.isfinite(verdict.confidence))
        ):
            reasoner_status = ReasonerStatus.REFUSED
        if reasoner_status is not ReasonerStatus.OK:
            verdict = None
        measured = figures.measured(snapshot)
        alerts = self._alerts.step(findings, verdict, now_ns, utc_ns)
        return Decision(
            schema=SCHEMA,
            pack=self._pack,
            seq=snapshot.seq,
            time=moment(utc_ns) if utc_ns is not None else None,
            mono_ns=now_ns,
            expires_ms=self._expires_ms,
            measured=measured,
            soc=figures.soc(state),
            soh=figures.soh(state),
            cells=figures.cell_values(snapshot, state) if self._cells_are_due(now_ns) else None,
            alerts=tuple(alerts.values()),
            reasoning=reasoning_of(verdict) if verdict is not None else None,
            command=self._command(snapshot, measured, findings, state, verdict, alerts, now_ns),
            quality=figures.quality(snapshot, utc_ns is not None),
            provenance=Provenance(
                state_model=self._state_model,
                state_student=state.student,
                reasoner_model=self._reasoner_model,
                reasoner=reasoner_status,
                card=self._card,
                runtime=__version__,
                latency_us=0,
            ),
        )

    def _cells_are_due(self, now_ns: int) -> bool:
        if self._cells_due_ns is not None and now_ns < self._cells_due_ns:
            return False
        self._cells_due_ns = now_ns + self._cells_every_ns
        return True

    def _command(
        self,
        snapshot: Snapshot,
        measured: MeasuredValues,
        findings: tuple[Finding, ...],
        state: CellState,
        verdict: Verdict | None,
        alerts: dict[Place, Alert],
        now_ns: int,
    ) -> Command:
        suspects = {place for place in alerts if place.hazard in SUSPECTS_A_SHORT}
        if verdict is not None and verdict.cause in SUSPECTS_A_SHORT:
            suspects.add(Place(verdict.cause, "cell" if verdict.cell >= 0 else "pack", verdict.cell))
        balance = tuple(cell + 1 for cell in state.balance if not suspected(cell, suspects))
        outcome = self._outcome(findings, alerts, len(state.balance), balance)
        sequence = self._opener.step(outcome.open_contactors, snapshot.current_a, snapshot.contactors, now_ns)
        action, mode = outcome.action, outcome.mode
        if sequence is not None and sequence.step is SequenceStep.LOWERING:
            action, mode = Action.STOP_DISCHARGE, Mode.COMMAND
        limits = self._limiter.step(
            state.limits,
            now_ns,
            stop_charge=outcome.stop_charge or sequence is not None,
            stop_discharge=outcome.stop_discharge or sequence is not None,
            derate=outcome.derate,
            charge_reason=self._charge_forbidden(measured),
        )
        asked = outcome.asked
        return Command(
            action=action,
            mode=mode,
            limits=limits,
            cool=any(place.hazard in WANTS_COOLING for place in alerts) or any(entry.given is Action.COOL for entry in asked),
            balance=balance,
            sequence=sequence,
            asked=tuple(entry if entry.action is not Action.OPEN_CONTACTORS else in_sequence(entry, action) for entry in asked),
        )

    def _charge_forbidden(self, measured: MeasuredValues) -> str | None:
        """Charging below the card's minimum temperature is forbidden whatever anyone says; UNKNOWN is below."""
        coldest_c = measured.temperature_c.min
        if coldest_c is None:
            return "charge_temperature_unknown"
        return "charge_too_cold" if coldest_c < self._charge_temperature_min_c else None

    def _outcome(self, findings: tuple[Finding, ...], alerts: dict[Place, Alert], proposed: int, balance: tuple[int, ...]) -> Outcome:
        """Every ask through the authority table; ``asked`` keeps one entry for each action and asker."""
        asks = [(finding.action, By(finding.by), Place(finding.hazard, finding.kind, finding.where)) for finding in findings]
        asks += [(student_asks(claim.cause, claim.severity), By.REASONER, place) for place, claim in self._alerts.claims().items()]
        rank = {place: number for number, place in enumerate(alerts)}
        asks.sort(key=lambda ask: (-RANK[ask[0]], ask[1], rank.get(ask[2], len(rank))))
        entries: dict[tuple[Action, By], Asked] = {}
        stop_charge = stop_discharge = derate = open_contactors = False
        strongest, mode = Action.NONE, Mode.COMMAND
        for action, by, place in asks:
            given, given_mode, restraint = permit(action, by, self._site)
            if given_mode is Mode.COMMAND:
                stop_charge = stop_charge or given is Action.STOP_CHARGE
                stop_discharge = stop_discharge or given is Action.STOP_DISCHARGE
                derate = derate or given is Action.LIMIT
                open_contactors = open_contactors or given is Action.OPEN_CONTACTORS
            elif given is Action.OPEN_CONTACTORS and place.hazard not in CHARGING_STAYS:
                stop_charge = True
            if RANK[given] > RANK[strongest]:
                strongest, mode = given, given_mode or Mode.COMMAND
            if action is not Action.NONE and (action, by) not in entries:
                alert = alerts.get(place)
                entries[action, by] = Asked(action, by.value, alert.id if alert is not None else None, given, given_mode, restraint)
        asked = list(entries.values())
        if proposed:
            given = Action.BALANCE if balance else Action.NONE
            asked.append(
                Asked(
                    action=Action.BALANCE,
                    by="estimator",
                    alert=None,
                    given=given,
                    mode=Mode.COMMAND if balance else None,
                    reason=None if len(balance) == proposed else Restraint.SUSPECTED_SHORT,
                )
            )
            if RANK[given] > RANK[strongest]:
                strongest, mode = given, Mode.COMMAND
        return Outcome(strongest, mode, stop_charge, stop_discharge, derate, open_contactors, asked)


def in_sequence(entry: Asked, action: Action) -> Asked:
    """The guard's ask to open by command, while the current is still being taken away."""
    if entry.given is Action.OPEN_CONTACTORS and entry.mode is Mode.COMMAND and action is Action.STOP_DISCHARGE:
        return Asked(entry.action, entry.by, entry.alert, action, Mode.COMMAND, Restraint.LOWERING_CURRENT)
    return entry


def suspected(cell: int, suspects: set[Place]) -> bool:
    """Is 0-based ``cell`` under one of ``suspects``? A suspicion that is not at one cell is at every cell."""
    return any(place.kind != "cell" or place.where == cell for place in suspects)


def reasoning_of(verdict: Verdict) -> Reasoning:
    return Reasoning(
        cause=verdict.cause,
        cell=verdict.cell + 1 if verdict.cell >= 0 else None,
        severity=SEVERITY[verdict.severity],
        time_to_critical_s=known(verdict.time_to_critical_s),
        confidence=known(verdict.confidence),
        trace=tuple(
            Query(
                query=asked.query,
                cell=asked.cell + 1 if asked.cell >= 0 else None,
                window_s=known(asked.window_s),
                observed=tuple(ObservedValue(o.name, known(o.value), o.unit, known(o.relative)) for o in asked.observed),
            )
            for asked in verdict.trace
        ),
    )
