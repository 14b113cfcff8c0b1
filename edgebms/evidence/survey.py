"""One look at four measures of the whole pack: how far whoever stands out most does so by each, whoever that is.

It names nobody and gives no sign: it tells which question is worth asking, and that none is where all four are small.
"""

from __future__ import annotations

import math

import numpy as np

from edgebms.evidence.families import PACK, measured_pack, measured_profile
from edgebms.evidence.packs import Numbers, numbers
from edgebms.evidence.past import Past
from edgebms.evidence.robust import Floats
from edgebms.vocabulary import Family

SCORE = -1
"""In place of a number: the score by which the family ranks its cells or probes."""

SURVEY: dict[Family, tuple[tuple[Family, int], ...]] = {
    Family.CELL_SURVEY: (
        (Family.VOLTAGE_DEVIATION, SCORE), (Family.RESISTANCE_DEVIATION, SCORE), (Family.OWN_CHANGE, SCORE), (Family.VOLTAGE_DIPS, SCORE),
    ),
    Family.SENSOR_SURVEY: (
        (Family.CELL_SENSOR, SCORE), (Family.CHARGE_DIVERGENCE, SCORE), (Family.VOLTAGE_STEPS, SCORE), (Family.PROBE_SENSOR, SCORE),
    ),
    Family.HEAT_SURVEY: (
        (Family.TEMPERATURE_DEVIATION, SCORE), (Family.THERMAL_PEAK, SCORE), (Family.THERMAL_PEAK, 0), (Family.THERMAL_PEAK, 2),
    ),
    Family.LIMIT_SURVEY: ((Family.VOLTAGE_LIMITS, SCORE), (Family.CURRENT, 0), (Family.INSULATION, 2), (Family.GAS, 0)),
    Family.DRIFT_SURVEY: (
        (Family.CHARGE_AGAINST_VOLTAGE, 0), (Family.CURRENT_AT_REST, 2), (Family.HEAT_BALANCE, 2), (Family.SUM_MISMATCH, 0),
    ),
    Family.RECENT_SURVEY: (
        (Family.VOLTAGE_DEVIATION, SCORE), (Family.VOLTAGE_STEPS, SCORE), (Family.CELL_SENSOR, SCORE), (Family.THERMAL_RATE, SCORE),
    ),
    Family.WEEKS_SURVEY: ((Family.CELL_WEEKS, SCORE), (Family.PROBE_WEEKS, SCORE), (Family.PACK_WEEKS, 0), (Family.PACK_WEEKS, 2)),
}  # fmt: skip
"""The four of each survey, within its own window: of a family of cells or probes the largest, of one of the pack that relative number."""


def survey(family: Family, past: Past, window_s: float) -> Numbers | None:
    """(values, relatives), which are the same here; None = nothing of it is known."""
    found = [largest(past, of, number, window_s) for of, number in SURVEY[family]]
    return numbers(*zip(found, found, strict=True)) if any(math.isfinite(value) for value in found) else None


def largest(past: Past, family: Family, number: int, window_s: float) -> float:
    """NaN = unknown."""
    if family in PACK:
        answer = measured_pack(past, family, window_s)
        return math.nan if answer is None else float(answer[1][number])
    found = measured_profile(past, family, window_s)
    if found is None:
        return math.nan
    every: Floats = found.score if number == SCORE else found.relatives[number]
    return float(np.fmax.reduce(every)) if every.size else math.nan
