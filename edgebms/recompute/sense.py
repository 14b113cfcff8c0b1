"""A cell that is read wrongly against a cell of another charge, worked out row by row."""

from __future__ import annotations

import math

from edgebms.evidence.past import Scale
from edgebms.recompute.peers import Cells, Table, joined, ranked, slope_v, stood
from edgebms.recompute.rows import Numbers, median


def explained(column: Numbers, first: Numbers, rate: Numbers) -> tuple[float, float, float]:
    """(multiple of ``first``, sum of squares left, sigma of the multiple for unit noise)."""
    aa = sum(a * a for a in first)
    ab = sum(a * b for a, b in zip(first, rate, strict=True))
    bb = sum(b * b for b in rate) + len(rate) * 0.02**2
    av = sum(a * v for a, v in zip(first, column, strict=True))
    bv = sum(b * v for b, v in zip(rate, column, strict=True))
    determinant = aa * bb - ab * ab
    multiple, answer = (bb * av - ab * bv) / determinant, (aa * bv - ab * av) / determinant
    left = sum((v - multiple * a - answer * b) ** 2 for a, b, v in zip(first, rate, column, strict=True))
    return multiple, left, math.sqrt(bb / determinant)


def sense_offset(seen: Cells, scale: Scale) -> Table | None:
    count = len(seen.time_s)
    if not seen.loaded or count < 8:
        return None
    rate = [ampere / scale.capacity_ah for ampere in seen.current_a]
    slope = [slope_v(scale, v - scale.resistance_ohm * a) for v, a in zip(seen.middle_v, seen.current_a, strict=True)]
    as_offset = [explained(column, [1.0] * count, rate) for column in seen.apart_v]
    as_charge = [explained(column, slope, rate) for column in seen.apart_v]
    f = scale.sensor_v
    offset = stood([found[0] for found in as_offset], f * math.hypot(0.5, as_offset[0][2]))
    charge = stood([found[0] for found in as_charge], f * math.hypot(0.5 / (sum(slope) / count), as_charge[0][2]))
    rest = [math.sqrt(found[1] / count) for found, lost in zip(as_offset, seen.missing, strict=True) if lost <= 0.5]
    noise_v = math.hypot(median(rest), 0.05 * f)
    apart = [other[1] - own[1] for own, other in zip(as_offset, as_charge, strict=True)]
    better = [math.copysign(math.sqrt(abs(value)), value) if not math.isnan(value) else math.nan for value in apart]
    explains = ([value / math.sqrt(count) for value in better], [value / noise_v for value in better])
    return ranked(joined(offset, charge, explains), True, (0, 1))
