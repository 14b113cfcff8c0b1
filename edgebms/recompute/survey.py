"""A look at four measures of the whole pack, worked out from their own tables."""

from __future__ import annotations

import math

from edgebms.evidence.past import Scale
from edgebms.evidence.survey import SCORE, SURVEY
from edgebms.recompute.peers import Pair
from edgebms.recompute.rows import Row
from edgebms.recompute.tables import CELL_FAMILIES, PROBE_FAMILIES, pairs_of, table_of
from edgebms.recompute.weeks import Remembered
from edgebms.vocabulary import Family


def surveyed(family: Family, rows: list[Row], scale: Scale, window_s: float, weeks: Remembered) -> list[Pair] | None:
    found = [largest(of, number, rows, scale, window_s, weeks) for of, number in SURVEY[family]]
    return [(value, value) for value in found] if any(math.isfinite(value) for value in found) else None


def largest(family: Family, number: int, rows: list[Row], scale: Scale, window_s: float, weeks: Remembered) -> float:
    if family not in PROBE_FAMILIES and family not in CELL_FAMILIES:
        pairs = pairs_of(family, rows, scale, window_s, weeks)
        return math.nan if pairs is None else pairs[number][1]
    table = table_of(family, rows, scale, window_s, weeks)
    if table is None:
        return math.nan
    values = table.score if number == SCORE else [place[number][1] for place in table.numbers]
    return max((value for value in values if not math.isnan(value)), default=math.nan)
