"""A look at four measures of the whole pack, worked out from their own tables."""

from __future__ import annotations

import math

from edgebms.evidence.past import Scale
from edgebms.evidence.survey import SCORE, SURVEY
from edgebms.recompute.cells import of_cells
from edgebms.recompute.pack import of_pack
from edgebms.recompute.peers import Pair, of_probes
from edgebms.recompute.rows import Row
from edgebms.vocabulary import Family

PROBE_FAMILIES = (Family.TEMPERATURE_DEVIATION, Family.THERMAL_RATE, Family.PROBE_SENSOR, Family.THERMAL_PEAK)
CELL_FAMILIES = (
    Family.VOLTAGE_DEVIATION, Family.RESISTANCE_DEVIATION, Family.VOLTAGE_STEPS, Family.CELL_SENSOR, Family.CHARGE_DIVERGENCE,
    Family.VOLTAGE_LIMITS, Family.OWN_CHANGE, Family.VOLTAGE_DIPS, Family.SENSE_OFFSET,
)  # fmt: skip


def surveyed(family: Family, rows: list[Row], scale: Scale, window_s: float) -> list[Pair] | None:
    found = [largest(of, number, rows, scale, window_s) for of, number in SURVEY[family]]
    return [(value, value) for value in found] if any(math.isfinite(value) for value in found) else None


def largest(family: Family, number: int, rows: list[Row], scale: Scale, window_s: float) -> float:
    if family not in PROBE_FAMILIES and family not in CELL_FAMILIES:
        pairs = of_pack(family, rows, scale, window_s)
        return math.nan if pairs is None else pairs[number][1]
    table = (of_probes if family in PROBE_FAMILIES else of_cells)(family, rows, scale, window_s)
    if table is None:
        return math.nan
    values = table.score if number == SCORE else [place[number][1] for place in table.numbers]
    return max((value for value in values if not math.isnan(value)), default=math.nan)
