"""One interrogation: the student asks, the runtime measures, until the student commits to a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.measure import Bundle, measure
from edgebms.evidence.past import Past
from edgebms.evidence.queries import QUERIES, Query
from edgebms.reasoner.grammar import CAUSE_TOKENS, Trace
from edgebms.reasoner.language import CAP, CAUSES, FIRST_QUERY, OF_PACK, TOKENS
from edgebms.reasoner.quantiser import prompt
from edgebms.reasoner.student import ReasoningStudent
from edgebms.vocabulary import Whom

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]

_CAUSES = slice(CAUSE_TOKENS[0], CAUSE_TOKENS[-1] + 1)
_ASKS = slice(FIRST_QUERY, FIRST_QUERY + len(QUERIES))
_NAMES = np.array([query.whom is Whom.OUTLIER for query in QUERIES])
_ONLY = np.eye(len(QUERIES), dtype=bool)
_NOBODY = np.zeros(len(QUERIES), dtype=bool)
LEAST = np.float32(-np.inf)
HEALTHY = 0
"""Place of healthy among the causes."""


@dataclass(frozen=True, slots=True, eq=False)
class Interrogation:
    """trace: done. bundles: the answers in order. chances (causes,): the student's probabilities when it committed."""

    trace: Trace
    bundles: tuple[Bundle, ...]
    chances: Floats


Read = Callable[[Query, Past, int], Bundle]
"""``evidence.measure``, or what gives the same answers."""


def interrogate(
    student: ReasoningStudent,
    past: Past,
    *,
    suspicious: bool = False,
    cap: int = CAP,
    late: Callable[[], bool] = lambda: False,
    read: Read = measure,
) -> Interrogation:
    """suspicious: no glance; a pack is called healthy only after ``cap`` questions. late: time is up, ask no more. read: who answers.

    Whatever the weights, the trace is well-formed: only words that the grammar allows are chosen from (the student's step gives NaN as the lowest).
    """
    trace = Trace(cap)
    bundles: list[Bundle] = []
    logits = student.begin(prompt(past.scale.chemistry, past.scale.cells, past.reach))
    while True:
        chances = chances_of(logits)
        likely = int(chances.argmax())
        may_ask = trace.open & student.asks
        if late() or not may_ask.any():
            break
        place = wanted(logits, may_ask)
        ask_logit = float(logits[FIRST_QUERY + place])
        done = commits(student, float(logits[_CAUSES].max()), ask_logit, float(chances[likely]), likely, len(bundles), suspicious)
        naming = names(student, trace, likely, may_ask) if done or len(bundles) == trace.cap - 1 else _NOBODY
        if naming.any():
            place = wanted(logits, naming)
        elif done:
            break
        logits, bundle = answered(student, past, trace, place, read)
        bundles.append(bundle)
    conclude(student, trace, logits)
    return Interrogation(trace, tuple(bundles), chances)


def names(student: ReasoningStudent, trace: Trace, likely: int, may_ask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(queries,): what must still be asked before a verdict of the cause at ``likely``, so that it is not said of nobody: the question that names its
    cell most often, or where the card knows none, any that names one."""
    if CAUSES[likely] in OF_PACK:
        return _NOBODY
    best = student.names.get(likely, -1)
    if best >= 0 and may_ask[best]:
        return np.asarray(_ONLY[best], dtype=bool)
    return may_ask & _NAMES if trace.suspect < 0 else _NOBODY


def chances_of(logits: Singles) -> Floats:
    """(causes,): what logits (tokens,) say of each."""
    return softmax(logits[_CAUSES])


def wanted(logits: Singles, may_ask: NDArray[np.bool_]) -> int:
    """Place in QUERIES of the question that logits (tokens,) ask for, of those that may be asked (one of them at least)."""
    place = int(np.where(may_ask, logits[_ASKS], LEAST).argmax())
    return place if may_ask[place] else int(may_ask.argmax())  # nothing that may be asked is more than the lowest


def answered(student: ReasoningStudent, past: Past, trace: Trace, place: int, read: Read) -> tuple[Singles, Bundle]:
    """Put question ``place``; the logits behind its answer, and the answer."""
    bundle = read(QUERIES[place], past, trace.suspect)
    trace.ask(place, bundle.cell)
    return student.step(student.quantiser.mix(place, bundle.relatives)), bundle


def conclude(student: ReasoningStudent, trace: Trace, logits: Singles) -> None:
    """The verdict's five words."""
    while not trace.done:
        allowed = trace.allowed() if trace.words else CAUSE_TOKENS
        token = allowed[int(logits[list(allowed)].argmax())]
        trace.say(token)
        if not trace.done:
            one = np.zeros(len(TOKENS), dtype=np.float32)
            one[token] = 1.0
            logits = student.step(one)


def commits(
    student: ReasoningStudent, cause_logit: float, ask_logit: float, chance: float, likely: int, asked: int, suspicious: bool
) -> bool:
    """Whether it is time for the verdict. chance: of the likeliest cause; the logits: the highest of a cause and of a question."""
    card = student.card
    if asked == 0 or (suspicious and likely == HEALTHY):
        return False
    if chance >= card.commit:
        return True
    if likely == HEALTHY and asked >= card.glance_queries and chance >= card.glance:
        return True
    return card.stop_bias is not None and cause_logit + card.stop_bias >= ask_logit


def softmax(logits: Singles) -> Floats:
    """Probabilities; even ones where nothing is finite."""
    known = logits.astype(float)
    top = float(np.maximum.reduce(known))
    if not math.isfinite(top):
        return np.full(len(known), 1.0 / len(known))
    chances: Floats = np.exp(known - top)
    chances /= np.add.reduce(chances)
    return chances
