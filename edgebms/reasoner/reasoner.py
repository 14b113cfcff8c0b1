"""One pack's reasoner: when to ask, and what to make of one interrogation after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from edgebms.evidence.baseline import WATCHED, Baseline
from edgebms.evidence.measure import Bundle
from edgebms.evidence.past import Past, Scale
from edgebms.evidence.queries import ANSWERS
from edgebms.history.history import History
from edgebms.reasoner.decoder import Interrogation, interrogate
from edgebms.reasoner.glance import Glance, Heard, glance
from edgebms.reasoner.language import CAUSES
from edgebms.reasoner.standing import Standing
from edgebms.reasoner.student import ReasonerCard, ReasoningStudent
from edgebms.reasoner.verdict import Asked, Observed, Verdict
from edgebms.vocabulary import Cause, Level, ReasonerStatus
from edgebms.worker import Ask, Late, never

CALM_S, SUSPICIOUS_S = 5.0, 2.0
"""Time until a pack that looked healthy is glanced at again, and until one that did not is interrogated in full."""
AGREE = 2
"""Interrogations in a row that must name the same cause and cell before it is more than a watch."""
WATCH_SHARE = 0.25
"""Of the time that a cause must stand before a warning: as long must it stand before it is a watch."""
STALE_S = 60.0
"""A verdict older than this agrees with nothing."""
DOUBT = (Cause.HEALTHY, Cause.UNKNOWN)


class Ready(NamedTuple):
    """What one asking came to. before: the answers that it went on from. borne_out: whether the pack's own slow history allows more than a watch. cut: time was up."""

    before: tuple[Heard, ...]
    glance: Glance
    borne_out: bool
    cut: bool


class Reasoner:
    """``step`` for each snapshot, ``settle`` once its decision has left; no clock, no I/O. ask: runs the student, inline or bounded by
    the deadline.

    late: whether time is up for the snapshot received at that instant, ns (never in replay): then no more is asked.
    """

    def __init__(self, student: ReasoningStudent, scale: Scale, ask: Ask, late: Late = never) -> None:
        self._student, self._scale, self._ask, self._late = student, scale, ask, late
        self.baseline = Baseline(scale.cells, scale.probes)
        self._due_ns = 0
        self._suspicious = False
        self._heard: tuple[Heard, ...] = ()
        self._heard_ns = 0
        self._named: tuple[Cause, int] | None = None
        self._agreed = 0
        self._sure, self._likely = Standing(), Standing()
        self._spoke_ns = 0
        self._stepped_ns, self._every_ns = 0, 0
        self._learnt = True
        """Whether the slow history has taken in the last snapshot."""
        self._ready: Ready | None = None
        self._past: Past | None = None
        """What ``settle`` read, with all that was worked out of it."""

    def step(self, history: History, time_ns: int) -> tuple[ReasonerStatus, Verdict | None]:
        """(OK, verdict) where one was due and came; else why there is none. history: up to the snapshot before this one, as it stood in
        ``settle``. Where nobody settled (a replay), what that leaves ready is worked out here: the same."""
        ready, past, self._ready, self._past = self._ready, self._past, None, None
        if past is None:
            past = Past.of(history, self._scale, self.baseline.weeks)
        self._learn(past)
        self._every_ns, self._stepped_ns, self._learnt = time_ns - self._stepped_ns, time_ns, False
        if time_ns < self._due_ns:
            return ReasonerStatus.SKIPPED, None
        before = self._before(time_ns)
        if ready is None or ready.before != before:
            status, ready = self._ask(self._work(past, before, time_ns), time_ns)
            if status is not ReasonerStatus.OK or ready is None:
                self._due_ns = time_ns + round(SUSPICIOUS_S * 1e9)
                return status, None
        verdict = self._conclude(ready.glance.found, ready.borne_out, time_ns)
        if not before:
            self._heard_ns = time_ns
        self._heard, self._suspicious = ready.glance.heard, not ready.glance.calm
        self._due_ns = time_ns + round((SUSPICIOUS_S if self._suspicious else CALM_S) * 1e9)
        return ReasonerStatus.OK, verdict

    def settle(self, history: History, time_ns: int) -> None:
        """Once the decision has left: the pack's slow history learns, and where the next snapshot is one to be asked about, the student is asked already, for it will read
        what stands in the history now. So no decision waits for an interrogation."""
        past = Past.of(history, self._scale, self.baseline.weeks)
        self._learn(past)
        next_ns = time_ns + self._every_ns
        if next_ns >= self._due_ns:
            found = self._ask(self._work(past, self._before(next_ns), time_ns), time_ns)[1]
            # what time was too short for goes on from there when the decision is due, in its own time
            self._ready, self._past = (None if found is None or found.cut else found), past

    def _work(self, past: Past, before: tuple[Heard, ...], time_ns: int) -> Callable[[], Ready]:
        """What is to be done for one verdict. time_ns: from when time runs."""
        suspicious, cut = self._suspicious, False

        def late() -> bool:
            nonlocal cut
            cut = self._late(time_ns)
            return cut

        def work() -> Ready:
            if not suspicious:
                return Ready(before, glance(self._student, past, before, late=late), True, cut)
            found = interrogate(self._student, past, suspicious=True, late=late)
            cause = found.trace.cause
            borne_out = found.trace.cell >= 0 or cause not in WATCHED or self.baseline.bears_out(cause, past)
            return Ready(before, Glance(found, (), cause in DOUBT), borne_out, cut)

        return work

    def _learn(self, past: Past) -> None:
        """Once a snapshot, by the snapshots' time: an audit has no other."""
        if not self._learnt:
            self.baseline.learn(past, self._stepped_ns / 1e9)
            self._learnt = True

    def _before(self, time_ns: int) -> tuple[Heard, ...]:
        """The answers of the last glances, () = too old."""
        return self._heard if time_ns - self._heard_ns <= STALE_S * 1e9 else ()

    def _conclude(self, found: Interrogation, borne_out: bool, time_ns: int) -> Verdict:
        trace, card = found.trace, self._student.card
        cause, cell = trace.cause, trace.cell
        chance = float(found.chances[CAUSES.index(cause)])
        named = (cause, cell)
        fresh = time_ns - self._spoke_ns <= STALE_S * 1e9
        self._agreed = self._agreed + 1 if named == self._named and fresh else 1
        self._named, self._spoke_ns = named, time_ns
        said, needed_s = cause not in DOUBT, of_cause(card.hold_s, cause)
        sure_s = self._sure.step(cause, cell, said and chance >= of_cause(card.warning, cause), time_ns / 1e9)
        least = min(of_cause(card.watch, cause), of_cause(card.warning, cause))
        likely_s = self._likely.step(cause, cell, said and chance >= least, time_ns / 1e9)
        level = severity(card, cause, trace.severity, chance)
        if self._agreed < AGREE or sure_s < needed_s or not borne_out:
            level = min(level, Level.WATCH)
        # what is never more than a watch stands as long for that as others for a warning
        if (sure_s if trace.severity <= Level.WATCH else likely_s / WATCH_SHARE) < needed_s:
            level = Level.NONE
        return Verdict(
            cause=cause,
            cell=cell,
            severity=level,
            time_to_critical_s=trace.to_critical_s if level >= Level.WARNING else math.inf,
            confidence=card.confidences[trace.confidence_bin],
            trace=tuple(asked(bundle) for bundle in found.bundles),
        )

    def state(self) -> dict[str, Any]:
        """What must survive a restart: the pack's slow history."""
        return self.baseline.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Put ``state()`` back. Raises ValueError, KeyError where it is another version's."""
        self.baseline.restore(state)


def severity(card: ReasonerCard, cause: Cause, said: Level, chance: float) -> Level:
    """What the student said, as far as the card's thresholds let it."""
    if cause is Cause.HEALTHY:
        return Level.NONE
    if chance >= of_cause(card.warning, cause):
        return said
    return min(said, Level.WATCH if chance >= of_cause(card.watch, cause) else Level.NONE)


def of_cause(row: dict[str, float], cause: Cause) -> float:
    """A row of the card: of ``cause``, or of all that it does not name."""
    return row.get(cause.value, row[""])


def asked(bundle: Bundle) -> Asked:
    """An answer as the decision tells it: ``query`` says whom it is about, ``voltage_deviation_of_outlier``."""
    query = bundle.query
    return Asked(
        query=f"{query.family}_of_{query.whom}",
        cell=bundle.cell,
        window_s=query.window_s,
        observed=tuple(
            Observed(number.name, value, number.unit, relative)
            for number, value, relative in zip(ANSWERS[query.family], bundle.values.tolist(), bundle.relatives.tolist(), strict=True)
        ),
    )
