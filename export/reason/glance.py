"""When to stop asking, set on validation packs: how sure is sure enough, how little is enough to let a healthy pack go, and how little health
makes a glance suspicious.

Which question comes next does not hang on these thresholds, so one whole interrogation of each row tells what any of them would have done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.past import Past
from edgebms.reasoner.decoder import HEALTHY, interrogate, softmax
from edgebms.reasoner.language import CAP, CAUSES, FIRST_CAUSE
from edgebms.reasoner.student import ReasonerCard, ReasoningStudent
from export.reason import corpus
from export.reason.judge import Said, glanced, past_of, reader

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
COMMITS = (0.8, 0.85, 0.9, 0.95, 0.98)
GLANCES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
AFTER = (1, 2, 3)
QUERIES_WANTED = 3.0
"""Mean number of questions to a healthy pack."""
COST = 0.005
"""Accuracy that may be given up for it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """As in ``ReasonerCard``; accuracy, healthy_queries: on the rows it was set on."""

    commit: float
    glance: float
    glance_queries: int
    accuracy: float
    healthy_queries: float


class Heard:
    """A student that keeps what it said of the causes after each question."""

    def __init__(self, student: ReasoningStudent) -> None:
        self._student = student
        self.card: ReasonerCard = msgspec.structs.replace(student.card, commit=1.0, stop_bias=None)
        self.quantiser, self.asks, self.names = student.quantiser, student.asks, student.names
        self.chances: list[Floats] = []

    def begin(self, prompt: Singles) -> Singles:
        self.chances = []
        return self._student.begin(prompt)

    def step(self, mix: Singles) -> Singles:
        logits = self._student.step(mix)
        self.chances.append(softmax(logits[FIRST_CAUSE : FIRST_CAUSE + len(CAUSES)]))
        return logits


def paths(student: ReasoningStudent, rows: NDArray[np.void]) -> Floats:
    """(n, CAP, causes): the chances after each of all eight questions; where a trace ended sooner the last ones stand on."""
    heard = Heard(student)
    out = np.zeros((len(rows), CAP, len(CAUSES)))
    for i in range(len(rows)):
        past = cast(Past, past_of(rows[i]))
        found = interrogate(cast(ReasoningStudent, heard), past, suspicious=True, read=reader(rows[i]))
        asked = len(found.trace.asked)
        out[i, :asked] = heard.chances[:asked]
        out[i, asked:] = out[i, asked - 1]
    return out


def stops(chances: Floats, commit: float, glance: float, after: int) -> NDArray[np.intp]:
    """(n,): questions asked before the verdict, by the rule of ``decoder.commits`` without a suspicion."""
    likely, most = chances.argmax(axis=2), chances.max(axis=2)
    count = np.arange(1, chances.shape[1] + 1)
    enough = (most >= commit) | ((likely == HEALTHY) & (count >= after) & (most >= glance))
    enough[:, -1] = True
    return np.asarray(enough.argmax(axis=1) + 1, dtype=np.intp)


def best(chances: Floats, rows: NDArray[np.void]) -> Stop:
    """Of all that cost at most COST of the best accuracy: the one that asks a healthy pack least, and no less than QUERIES_WANTED at the price
    of accuracy."""
    weight, healthy = corpus.weights(rows), rows["cause"] == HEALTHY
    each, found = np.arange(len(rows)), []
    for commit in COMMITS:
        for glance in GLANCES:
            for after in AFTER:
                asked = stops(chances, commit, glance, after)
                right = chances[each, asked - 1].argmax(axis=1) == rows["cause"]
                queries = float(asked[healthy].mean()) if healthy.any() else float(CAP)
                found.append(Stop(commit, glance, after, float(np.average(right, weights=weight)), queries))
    top = max(stop.accuracy for stop in found)
    near = [stop for stop in found if stop.accuracy >= top - COST]
    few = [stop for stop in near if stop.healthy_queries <= QUERIES_WANTED]
    if few:
        return max(few, key=lambda stop: (stop.accuracy, -stop.healthy_queries))
    return min(near, key=lambda stop: (stop.healthy_queries, -stop.accuracy))


SUSPICIONS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """below: as ``ReasonerCard.suspicion``; accuracy; queries, healthy_queries: means of a tick's."""

    below: float
    accuracy: float
    queries: float
    healthy_queries: float


def suspicion(student: ReasoningStudent, rows: NDArray[np.void], full: Said) -> Suspicion:
    """Of all that cost at most COST of the best accuracy the one that asks a healthy pack least. full: interrogations of suspicious packs."""
    weight, healthy = corpus.weights(rows), rows["cause"] == HEALTHY
    found = []
    for below in SUSPICIONS:
        card = msgspec.structs.replace(student.card, suspicion=below)
        said = glanced(cast(ReasoningStudent, Recarded(student, card)), rows, full)
        right = said.cause == rows["cause"]
        found.append(
            Suspicion(
                below,
                float(np.average(right, weights=weight)),
                float(np.average(said.queries, weights=weight)),
                float(said.queries[healthy].mean()) if healthy.any() else float(CAP),
            )
        )
    top = max(one.accuracy for one in found)
    return min((one for one in found if one.accuracy >= top - COST), key=lambda one: (one.healthy_queries, -one.accuracy))


class Recarded:
    """A student under another card."""

    def __init__(self, student: ReasoningStudent, card: ReasonerCard) -> None:
        self.card, self.quantiser, self.asks, self.names = card, student.quantiser, student.asks, student.names
        self.begin, self.step = student.begin, student.step
