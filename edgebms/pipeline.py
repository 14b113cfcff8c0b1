"""One snapshot's way from telemetry to decision. No clock, no I/O: both are the loop's."""

from __future__ import annotations

import msgspec

from edgebms.cellcard import CellCard
from edgebms.config import Config, PackConfig
from edgebms.decision.arbiter import Arbiter
from edgebms.decision.types import Decision, UnknownSignal
from edgebms.estimator.estimator import Estimator
from edgebms.estimator.student import load_student
from edgebms.evidence.past import Scale
from edgebms.gateway_fault import GatewayFault
from edgebms.guard.finding import Finding
from edgebms.guard.guard import Guard
from edgebms.guard.limits import load_limits
from edgebms.history.history import History
from edgebms.order import Order, Outcome, SendCells
from edgebms.reasoner.reasoner import Reasoner
from edgebms.reasoner.student import load_reasoner
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Action, Cause, Level, ReasonerStatus
from edgebms.worker import Ask, Late, never


class Pipeline:
    """guard -> estimator -> (reasoner, over the history) -> decision, for one pack."""

    def __init__(self, history: History, guard: Guard, estimator: Estimator, arbiter: Arbiter, reasoner: Reasoner | None = None) -> None:
        self.history = history
        self.guard = guard
        self.estimator = estimator
        self.arbiter = arbiter
        self.reasoner = reasoner

    def step(self, snapshot: Snapshot, now_ns: int, utc_ns: int | None = None, faults: tuple[GatewayFault, ...] = ()) -> Decision:
        """The guard has spoken before any student starts; a student's failure is a status, not an error.

        The reasoner reads the history as it stood before this snapshot: what it is likely to ask was worked out in ``settle``.
        faults: what is wrong with the gateway itself.
        """
        findings = self.guard.step(snapshot, now_ns)
        state = self.estimator.step(snapshot, now_ns)
        if faults:
            findings += tuple(finding_of(fault) for fault in faults if fault.level > Level.NONE)
        status, verdict = ReasonerStatus.ABSENT, None
        if self.reasoner is not None:
            status, verdict = self.reasoner.step(self.history, snapshot.time_ns)
        decision = self.arbiter.decide(snapshot, findings, state, verdict, status, now_ns, utc_ns)
        self.history.push(snapshot)
        return with_warnings(decision, faults) if faults else decision

    def take(self, order: Order, now_ns: int) -> Outcome | None:
        """Carry out ``order`` between two snapshots; what became of an acknowledgement."""
        if isinstance(order, SendCells):
            self.arbiter.request_cells()
            return None
        before = len(self.guard.state().get(order.rule, ()))
        self.guard.acknowledge(order.rule, now_ns)
        stands = len(self.guard.state().get(order.rule, ()))
        return Outcome(order.rule, before - stands, stands)

    def settle(self, now_ns: int) -> None:
        """What the next decision builds on, once this one has left."""
        self.estimator.settle(now_ns)
        if self.reasoner is not None:
            self.reasoner.settle(self.history, now_ns)


def finding_of(fault: GatewayFault) -> Finding:
    """A gateway fault as the arbiter takes it. It asks for service, at most."""
    return Finding(
        rule=fault.rule,
        level=fault.level,
        hazard=Cause.GATEWAY_FAULT,
        action=Action.SERVICE,
        kind="pack",
        where=-1,
        value=fault.value,
        limit=fault.limit,
        unit=fault.unit,
        window_s=0.0,
        since_ns=fault.since_ns,
        latched=False,
        by="gateway",
    )


def with_warnings(decision: Decision, faults: tuple[GatewayFault, ...]) -> Decision:
    """``decision`` with a line in ``quality.warnings`` for each fault: ``gateway.can0``, ``link_down``."""
    told = []
    for fault in faults:
        reason, _, part = fault.rule.partition(".")
        told.append(UnknownSignal(f"gateway.{part}" if part else "gateway", reason, (), fault.count))
    quality = msgspec.structs.replace(decision.quality, warnings=(*decision.quality.warnings, *told))
    return msgspec.structs.replace(decision, quality=quality)


def build(config: Config, pack: PackConfig, card: CellCard, period_s: float, ask: Ask, late: Late = never) -> Pipeline:
    """The pipeline of ``pack``, whose snapshots come every ``period_s``. Raises ConfigError, ModelError."""
    student = load_student(config.students.state) if config.students.state else None
    reasoning = load_reasoner(config.students.reasoner) if config.students.reasoner else None
    return Pipeline(
        History(pack.cells, pack.probes),
        Guard(card, pack, load_limits(pack.limits, card, pack)),
        Estimator(card, pack, student, ask),
        Arbiter(
            config.site,
            pack,
            card,
            cells_every_s=config.output.cells_every_s,
            period_s=period_s,
            state_model=student.digest if student is not None else None,
            reasoner_model=reasoning.digest if reasoning is not None else None,
        ),
        Reasoner(reasoning, Scale.of(card, pack), ask, late) if reasoning is not None else None,
    )
