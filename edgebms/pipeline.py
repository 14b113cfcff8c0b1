"""One snapshot's way from telemetry to decision. No clock, no I/O: both are the loop's."""

from __future__ import annotations

from edgebms.cellcard import CellCard
from edgebms.config import Config, PackConfig
from edgebms.decision.arbiter import Arbiter
from edgebms.decision.types import Decision
from edgebms.estimator.estimator import Estimator
from edgebms.estimator.student import load_student
from edgebms.guard.guard import Guard
from edgebms.guard.limits import load_limits
from edgebms.history.history import History
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import ReasonerStatus
from edgebms.worker import Ask


class Pipeline:
    """history -> guard -> estimator -> (reasoner) -> decision, for one pack."""

    def __init__(self, history: History, guard: Guard, estimator: Estimator, arbiter: Arbiter) -> None:
        self.history = history
        self.guard = guard
        self.estimator = estimator
        self.arbiter = arbiter

    def step(self, snapshot: Snapshot, now_ns: int, utc_ns: int | None = None) -> Decision:
        """The guard has spoken before any student starts; a student's failure is a status, not an error."""
        self.history.push(snapshot)
        findings = self.guard.step(snapshot, self.history, now_ns)
        state = self.estimator.step(snapshot, now_ns)
        return self.arbiter.decide(snapshot, findings, state, None, ReasonerStatus.ABSENT, now_ns, utc_ns)


def build(config: Config, pack: PackConfig, card: CellCard, ask: Ask) -> Pipeline:
    """The pipeline of ``pack``. Raises ConfigError, ModelError."""
    student = load_student(config.students.state) if config.students.state else None
    return Pipeline(
        History(pack.cells, pack.probes),
        Guard(card, pack, load_limits(pack.limits, card, pack)),
        Estimator(card, pack, student, ask),
        Arbiter(
            config.site,
            pack,
            card,
            cells_every_s=config.output.cells_every_s,
            period_s=pack.period_s,
            state_model=student.digest if student is not None else None,
        ),
    )
