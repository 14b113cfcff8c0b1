"""Holds a decision's trace against what the log says: every observation is worked out again, and its places must follow from one another."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgebms.decision.types import Query as Told
from edgebms.decision.types import Reasoning
from edgebms.evidence.past import Scale
from edgebms.evidence.queries import ANSWERS, NUMBERS, QUERIES
from edgebms.evidence.survey import SURVEY
from edgebms.recompute.peers import Pair, Table
from edgebms.recompute.rows import Rows
from edgebms.recompute.survey import surveyed
from edgebms.recompute.tables import pairs_of, table_of
from edgebms.recompute.weeks import Remembered
from edgebms.vocabulary import Family, Whom

TOLERANCE = 1e-6
"""Of a number's own scale: two orders of summing differ by less."""
LEAST_SCALE = 1e-6
"""In a number's unit, where it tells no scale of its own because it is nothing: 1e-12 V is nothing too."""

KNOWN = {(f"{query.family}_of_{query.whom}", query.window_s): query for query in QUERIES}


def faults(reasoning: Reasoning, rows: Rows, scale: Scale, weeks: Remembered) -> Iterator[str]:
    """What in ``reasoning`` is not so; nothing = all observations are as the log has it. rows, weeks: up to the snapshot before the
    decision's: what a reasoner reads."""
    suspect, named = -1, set()
    for number, told in enumerate(reasoning.trace, 1):
        where = f"question {number} ({told.query})"
        query = KNOWN.get((told.query, told.window_s if told.window_s is not None else math.nan))
        if query is None:
            yield f"{where}: there is no such question"
            continue
        cell, pairs = answer(query.family, query.whom, query.window_s, suspect, rows, scale, weeks)
        if told.cell != (cell + 1 if cell >= 0 else None):
            yield f"{where}: is about cell {told.cell}, should be {cell + 1 if cell >= 0 else None}"
        if query.whom is Whom.OUTLIER and cell >= 0:
            suspect = cell
            named.add(cell + 1)
        yield from (f"{where}: {wrong}" for wrong in differences(query.family, told, pairs))
    if reasoning.cell is not None and reasoning.cell not in named:
        yield f"the verdict names cell {reasoning.cell}, which no answer named"


def differences(family: Family, told: Told, pairs: list[Pair]) -> Iterator[str]:
    numbers = ANSWERS[family]
    if [(o.name, o.unit) for o in told.observed] != [(number.name, number.unit) for number in numbers]:
        yield "its numbers have other names or units"
        return
    for observed, (value, relative) in zip(told.observed, pairs, strict=True):
        scale = abs(value / relative) if relative and math.isfinite(relative) else LEAST_SCALE
        for name, said, is_so, floor in (("", observed.value, value, scale), (" (relative)", observed.relative, relative, 1.0)):
            if not same(said, is_so, floor):
                yield f"{observed.name}{name} is told as {said}, the log gives {is_so}"


def same(said: float | None, is_so: float, floor: float) -> bool:
    if said is None or not math.isfinite(is_so):
        return said is None and not math.isfinite(is_so)
    return abs(said - is_so) <= TOLERANCE * (abs(is_so) + floor)


def answer(
    family: Family, whom: Whom, window_s: float, suspect: int, rows: Rows, scale: Scale, weeks: Remembered
) -> tuple[int, list[Pair]]:
    """(0-based cell, -1 = none; four pairs)."""
    window = rows.window(window_s)
    nothing = [(math.nan, math.nan)] * 4
    if whom is Whom.PACK:
        measured_by = surveyed if family in SURVEY else pairs_of
        return -1, (measured_by(family, window, scale, window_s, weeks) if window is not None else None) or nothing
    measured: Table | None = None
    if window is not None:
        measured = table_of(family, window, scale, window_s, weeks)
    about = -1 if whom is Whom.OUTLIER else suspect
    if measured is None:
        return about, nothing
    score = measured.score
    known = [place for place in range(len(score)) if not math.isnan(score[place])]
    if whom is Whom.OUTLIER:
        if not known:
            return -1, nothing
        place = max(known, key=lambda i: score[i])
        cell = place if measured.of_cells else int(scale.cell_of_probe[place])
        return cell, with_lead(measured, place)
    place = suspect if measured.of_cells or suspect < 0 else int(scale.probe_of_cell[suspect])
    if place < 0:
        return about, nothing
    if whom is Whom.SUSPECT:
        return about, with_lead(measured, place)
    beside = [with_lead(measured, at) for at in (place - 1, place + 1) if 0 <= at < len(score)]
    if not beside:
        return about, nothing
    return about, [
        (sum(pairs[i][0] for pairs in beside) / len(beside), sum(pairs[i][1] for pairs in beside) / len(beside)) for i in range(4)
    ]


def with_lead(measured: Table, place: int) -> list[Pair]:
    """The three pairs, and the lead over the highest of the others; of a view its four."""
    if len(measured.numbers[place]) == NUMBERS:
        return measured.numbers[place]
    others = [value for i, value in enumerate(measured.score) if i != place and not math.isnan(value)]
    lead = measured.score[place] - max(others) if others else math.nan
    return [*measured.numbers[place], (lead, lead)]
