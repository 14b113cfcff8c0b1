"""What is remembered of a pack once an hour, so that weeks later it can be held against itself.

Everything is against the pack's other cells or probes at that hour, as far as there are any: what changes with the season or the load changes
them all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgebms.evidence.cells import SPAN_SHARE, SWING_C, line, spread
from edgebms.evidence.halves import current_at_rest
from edgebms.evidence.own import NOISE_SHARE
from edgebms.evidence.packs import charge_against_voltage, pack_warming
from edgebms.evidence.past import Past, slope_v
from edgebms.evidence.probes import STILL_K, beside, warmth
from edgebms.evidence.queries import HOUR_S
from edgebms.evidence.robust import Floats, fit, median

MARKS = 3
"""Of a cell, and of a probe."""
OFFSET_SHARE = 0.1
"""Of a sensor's stated error: by how much its own offset wanders over weeks."""
LEAST_OHM_SHARE = 0.3
"""Of the card's resistance: a pack's own counts as no less."""
MOST_NOISE_SHARE = 0.05
"""A share of the pack's resistance: where the sensors' noise alone makes more, the hour told no resistance."""
PROBE_FLOORS = np.array([[0.15], [0.2], [0.1]])
"""K, K, decades."""
PACK_FLOOR = 0.5
"""Of a relative number: less than this is within the floor by which the numbers are scaled."""
OF_PACK = ((charge_against_voltage, (0, 1)), (current_at_rest, (1,)), (pack_warming, (0, 1, 2)))
"""(question, numbers): what is remembered of the pack as a whole, relative numbers over an hour, in this order."""
OF_PACK_COUNT = sum(len(numbers) for _, numbers in OF_PACK)


class Marks(NamedTuple):
    """values (MARKS, n), NaN = unknown; floors: sigma that the sensors alone make, broadcast to values."""

    values: Floats
    floors: Floats


def cell_marks(past: Past) -> Marks | None:
    """Each cell's answer to the current beyond the median cell's, over the pack's resistance, 1; its distance from the median cell at no current,
    V; that as a charge by the card's open-circuit slope, 1. None = too little history, or no current is known."""
    seen, fitted = spread(past, HOUR_S), line(past, HOUR_S)
    if seen is None or fitted is None or not seen.loaded:
        return None
    scale = past.scale
    middle = fit(seen.middle_v[:, None], seen.current_a, seen.time_s, SWING_C * scale.capacity_ah, SPAN_SHARE * HOUR_S)
    ohm = max(float(middle.per_a[0]), LEAST_OHM_SHARE * scale.resistance_ohm)
    known = seen.missing <= 0.5
    noise_v = float(np.hypot(median(fitted.residual[known])[0], NOISE_SHARE * scale.sensor_v))
    slope = slope_v(scale, float(np.median(seen.middle_v)))
    of_ohm = noise_v * fitted.floor_per_a / ohm
    at_rest_v = float(np.hypot(OFFSET_SHARE * scale.sensor_v, noise_v * fitted.floor_at_rest))
    values = np.stack((fitted.per_a / ohm, fitted.at_rest, fitted.at_rest / slope))
    values -= median(values)
    if of_ohm > MOST_NOISE_SHARE:
        values[0] = np.nan
    return Marks(values, np.array([[of_ohm], [at_rest_v], [at_rest_v / slope]]))


def probe_marks(past: Past) -> Marks | None:
    """Each probe's distance from the median probe, K; from the mean of its neighbours, K; decades by which it moved more than the median one."""
    seen = warmth(past, HOUR_S)
    if seen is None:
        return None
    level = seen.fitted.mean
    moved = np.full(len(level), np.nan)
    known = seen.missing <= 0.5
    moved[known] = np.log10(seen.temperature_c[:, known].std(axis=0) + STILL_K)
    values = np.stack((level, level - beside(level), moved))
    values[0] -= median(values[0])
    values[2] -= median(values[2])
    return Marks(values, PROBE_FLOORS)


def pack_marks(past: Past) -> Marks:
    """``OF_PACK``, (OF_PACK_COUNT,)."""
    if "pack_marks" not in past.worked:
        values: list[float] = []
        for measured, numbers in OF_PACK:
            answer = measured(past, HOUR_S)
            values += [math.nan if answer is None else float(answer[1][number]) for number in numbers]
        past.worked["pack_marks"] = Marks(np.array(values), np.full(OF_PACK_COUNT, PACK_FLOOR))
    found: Marks = past.worked["pack_marks"]
    return found
