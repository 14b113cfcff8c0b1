"""``measure(query, past, suspect)``: one question put to the pack, answered with a bundle of numbers, worked out once an instant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.families import measured_pack
from edgebms.evidence.past import Past
from edgebms.evidence.queries import NUMBERS, Query
from edgebms.evidence.survey import SURVEY, survey
from edgebms.evidence.views import profile_of
from edgebms.vocabulary import Whom

Floats = NDArray[np.float64]
OF_SUSPECT = (Whom.SUSPECT, Whom.NEIGHBOURS)


class Bundle(NamedTuple):
    """The answer. values, relatives (4,): physical and relative to this pack, NaN = unknown, in the order of ``queries.ANSWERS``.
    cell: 0-based cell that it is about (for neighbours: theirs), -1 = the pack, or nobody is known to stand out."""

    query: Query
    cell: int
    values: Floats
    relatives: Floats


def measure(query: Query, past: Past, suspect: int = -1) -> Bundle:
    """Answer ``query``. suspect: 0-based cell that the trace's latest outlier named, -1 = none yet: then what needs one is unknown."""
    about = suspect if query.whom in OF_SUSPECT else -1
    key = (query, about)
    if key not in past.worked:
        past.worked[key] = _measured(query, past, about)
    found: Bundle = past.worked[key]
    return found


def _measured(query: Query, past: Past, suspect: int) -> Bundle:
    if query.whom is Whom.PACK:
        answer = survey(query.family, past, query.window_s) if query.family in SURVEY else measured_pack(past, query.family, query.window_s)
        return unknown(query) if answer is None else Bundle(query, -1, *answer)
    found = profile_of(past, query.family, query.window_s)
    if found is None:
        return unknown(query, -1 if query.whom is Whom.OUTLIER else suspect)
    if query.whom is Whom.OUTLIER:
        place = found.outlier()
        if place < 0:
            return unknown(query)
        cell = place if found.cells else int(past.scale.cell_of_probe[place])
        return Bundle(query, cell, found.values[:, place], found.relatives[:, place])
    place = suspect if found.cells or suspect < 0 else int(past.scale.probe_of_cell[suspect])
    if place < 0:
        return unknown(query, suspect)
    if query.whom is Whom.SUSPECT:
        return Bundle(query, suspect, found.values[:, place], found.relatives[:, place])
    beside = [at for at in (place - 1, place + 1) if 0 <= at < len(found.score)]
    if not beside:
        return unknown(query, suspect)
    return Bundle(query, suspect, found.values[:, beside].mean(axis=1), found.relatives[:, beside].mean(axis=1))


def unknown(query: Query, cell: int = -1) -> Bundle:
    """The answer that is none."""
    return Bundle(query, cell, np.full(NUMBERS, np.nan), np.full(NUMBERS, np.nan))
