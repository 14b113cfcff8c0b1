"""A pack that looks healthy is asked a few questions a tick, others at each, until as many are answered as in a whole interrogation.

The answers of earlier ticks are kept and read again. What they say together is healthy, or unknown: then the next tick interrogates in full.
Only questions that need no suspect are asked, so each tick's can be recomputed by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgebms.evidence.measure import Bundle, measure
from edgebms.evidence.past import Past
from edgebms.evidence.queries import ABOUT_SUSPECT, QUERIES
from edgebms.reasoner.decoder import HEALTHY, Interrogation, Read, answered, chances_of, wanted
from edgebms.reasoner.grammar import Trace
from edgebms.reasoner.language import CAP, CAUSES, FIRST_CAUSE, FIRST_CONFIDENCE
from edgebms.reasoner.quantiser import prompt
from edgebms.reasoner.student import ReasoningStudent
from edgebms.vocabulary import Cause

A_TICK = 2
"""Questions of a glance."""
_ALONE = np.array([place not in set(ABOUT_SUSPECT) for place in range(len(QUERIES))])
_UNKNOWN = CAUSES.index(Cause.UNKNOWN)


class Heard(NamedTuple):
    """An answer of an earlier tick: place in QUERIES, 0-based cell that it named (-1 = none), relative numbers."""

    place: int
    cell: int
    relatives: tuple[float, ...]


class Glance(NamedTuple):
    """found: with the bundles of this tick alone. heard: what the next glance goes on from, () = it begins anew. calm: nothing speaks for a fault."""

    found: Interrogation
    heard: tuple[Heard, ...]
    calm: bool


def glance(
    student: ReasoningStudent, past: Past, before: Sequence[Heard], *, late: Callable[[], bool] = lambda: False, read: Read = measure
) -> Glance:
    """Ask on from ``before``. late: time is up, ask no more. read: who answers."""
    trace, card = Trace(), student.card
    logits = student.begin(prompt(past.scale.chemistry, past.scale.cells, past.reach))
    for place, cell, relatives in before:
        trace.ask(place, cell)
        logits = student.step(student.quantiser.mix(place, np.array(relatives)))
    bundles: list[Bundle] = []
    while len(bundles) < A_TICK and not late():
        may_ask = trace.open & student.asks & _ALONE
        if not may_ask.any():
            break
        logits, bundle = answered(student, past, trace, wanted(logits, may_ask), read)
        bundles.append(bundle)
    chances = chances_of(logits)
    healthy, asked = float(chances[HEALTHY]), len(trace.asked)
    whole = asked >= CAP or healthy >= card.commit or (asked >= card.glance_queries and healthy >= card.glance)
    calm = int(chances.argmax()) == HEALTHY if whole else healthy >= card.suspicion
    kept = (
        *before,
        *(
            Heard(place, bundle.cell, tuple(bundle.relatives.tolist()))
            for (place, _), bundle in zip(trace.asked[len(before) :], bundles, strict=True)
        ),
    )
    say(trace, calm, healthy, card.confidences)
    return Glance(Interrogation(trace, tuple(bundles), chances), () if whole or not calm else kept, calm)


def say(trace: Trace, calm: bool, healthy: float, confidences: Sequence[float]) -> None:
    """The verdict of a glance, of which all words but the last are settled: of the pack, no alarm, never critical. Its confidence is the bin that stands for the chance
    nearest to the student's own, so the student need not be run for it."""
    trace.say(FIRST_CAUSE + (HEALTHY if calm else _UNKNOWN))
    while len(trace.words) < 4:
        trace.say(trace.allowed()[0])
    chance = healthy if calm else 1.0 - healthy
    trace.say(FIRST_CONFIDENCE + min(range(len(confidences)), key=lambda place: abs(confidences[place] - chance)))
