"""Measures that compare a pack's cells, or its probes, with one another: for each its three (value, relative) pairs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from edgebms.evidence.past import Scale
from edgebms.recompute.rows import Line, Numbers, Row, deviation, filled, fit, median, standing

Pair = tuple[float, float]


@dataclass(slots=True)
class Table:
    """numbers[place]: three pairs. of_cells: False = of probes. score[place]: NaN = unknown."""

    numbers: list[list[Pair]]
    score: Numbers
    of_cells: bool


@dataclass(slots=True)
class Cells:
    time_s: Numbers
    current_a: Numbers
    raw_v: list[Numbers]
    apart_v: list[Numbers]
    middle_v: Numbers
    missing: Numbers
    lines: list[Line]
    loaded: bool


def read_cells(rows: list[Row], scale: Scale, window_s: float) -> Cells | None:
    with_current = [row for row in rows if math.isfinite(row.current_a)]
    loaded = len(with_current) >= 4
    used = with_current if loaded else rows
    current = [row.current_a if loaded else 0.0 for row in used]
    time_s = [row.time_s for row in used]
    raw = [[row.cells[i] for row in used] for i in range(scale.cells)]
    whole, missing = filled(raw)
    known = [i for i in range(scale.cells) if missing[i] <= 0.5]
    if not known:
        return None
    middle = [sum(whole[i][t] for i in known) / len(known) for t in range(len(used))]
    apart = [[value - middle[t] for t, value in enumerate(column)] for column in whole]
    if len(known) >= 5:
        rested = without_sweep([apart[i] for i in known])
        for i, column in zip(known, rested, strict=True):
            apart[i] = column
    lines = [fit(column, current, time_s, 0.02 * scale.capacity_ah, 0.1 * window_s) for column in apart]
    return Cells(time_s, current, raw, apart, middle, missing, lines, loaded)


def without_sweep(apart: list[Numbers]) -> list[Numbers]:
    """Less what the cells beside each do, on the side that is nearer to it, row by row."""
    count = len(apart)
    means = [sum(column) / len(column) for column in apart]
    moved = [[value - mean for value in column] for column, mean in zip(apart, means, strict=True)]
    out = []
    for i, column in enumerate(apart):
        rows = []
        for t, value in enumerate(column):
            beside = []
            for others in ((i - 2, i - 1), (i + 1, i + 2)):
                there = [moved[j][t] for j in others if 0 <= j < count]
                if not there:  # beyond the first or the last cell: the one beside it alone
                    there = [moved[i + 1 if i == 0 else i - 1][t]]
                beside.append(sum(there) / len(there))
            rows.append(value - min(beside, key=lambda other: abs(moved[i][t] - other)))
        out.append(rows)
    return out


def ranked(pairs: list[list[Pair]], of_cells: bool, counted: tuple[int, ...] = (0, 1, 2)) -> Table:
    score = []
    for numbers in pairs:
        known = [abs(numbers[i][1]) for i in counted if not math.isnan(numbers[i][1])]
        score.append(max(known) if known else math.nan)
    return Table(pairs, score, of_cells)


def joined(*measures: tuple[Numbers, Numbers]) -> list[list[Pair]]:
    """From three (values, relatives) over all places to three pairs a place."""
    return [[(values[i], relatives[i]) for values, relatives in measures] for i in range(len(measures[0][0]))]


def stood(values: Numbers, floor: float) -> tuple[Numbers, Numbers]:
    z, apart = standing(values, floor)
    return apart, z


def against_others(family: str, seen: Cells, scale: Scale) -> Table | None:
    lines, one, f = seen.lines, seen.lines[0], scale.sensor_v
    unknown = [math.nan] * scale.cells
    rest = stood([line.at_rest for line in lines] if seen.loaded else unknown, f * math.hypot(0.5, one.floor_at_rest))
    if family == "voltage_deviation":
        level = stood([line.mean for line in lines], f * math.hypot(0.5, one.floor_mean))
        slope = stood([line.per_s * 3600.0 for line in lines], f * one.floor_per_s * 3600.0)
        return ranked(joined(level, rest, slope), True)
    if family == "resistance_deviation":
        if not seen.loaded:
            return None
        answer = stood([line.per_a for line in lines], f * one.floor_per_a)
        left = stood([line.residual for line in lines], f * 0.5 * max(one.floor_mean, 0.1))
        share = [value / scale.resistance_ohm for value in answer[0]]
        return ranked(joined(answer, (share, share), left), True, (0, 2))
    if family == "voltage_steps":
        steps = [[b - a for a, b in itertools.pairwise(column)] for column in seen.apart_v]
        down = stood([min(column) if not math.isnan(column[0]) else math.nan for column in steps], f)
        up = stood([max(column) if not math.isnan(column[0]) else math.nan for column in steps], f)
        latest = stood([column[-1] - sum(column) / len(column) for column in seen.apart_v], f)
        return ranked(joined(down, up, latest), True)
    if family == "cell_sensor":
        moved = [
            math.log10(deviation([value + seen.middle_v[t] for t, value in enumerate(column)]) + 0.1 * f) if lost <= 0.5 else math.nan
            for column, lost in zip(seen.apart_v, seen.missing, strict=True)
        ]
        z, _ = standing([line.mean for line in lines], f * math.hypot(0.5, one.floor_mean))
        opposed = []
        for i, own in enumerate(z):
            against = [-own * z[j] if 0 <= j < len(z) else 0.0 for j in (i - 1, i + 1)]
            known = [max(value, 0.0) for value in against if not math.isnan(value)]
            opposed.append(math.nan if math.isnan(own) or not known else math.sqrt(max(known)))
        return ranked(joined(stood(moved, 0.1), (seen.missing, [lost / 0.1 for lost in seen.missing]), (opposed, opposed)), True)
    if family == "charge_divergence":
        if not seen.loaded:
            return None
        third = max(len(seen.time_s) // 3, 1)
        eased_a = sum(seen.current_a[:third]) / third - sum(seen.current_a[-third:]) / third
        change = [
            sum(column[-third:]) / third - sum(column[:third]) / third + line.per_a * eased_a
            for column, line in zip(seen.apart_v, lines, strict=True)
        ]
        per_soc = slope_v(scale, median(seen.middle_v))
        soc = stood([line.at_rest / per_soc for line in lines], f * math.hypot(0.5, one.floor_at_rest) / per_soc)
        leak = stood([line.per_s * 3600.0 / per_soc for line in lines], f * one.floor_per_s * 3600.0 / per_soc)
        moved_on = stood([value / per_soc for value in change], f * math.hypot(math.sqrt(2.0 / third), one.floor_per_a * eased_a) / per_soc)
        return ranked(joined(soc, leak, moved_on), True)
    assert family == "voltage_limits"
    pairs = []
    for column in seen.raw_v:
        known = [value for value in column if not math.isnan(value)]
        above = max(known) - scale.voltage_max_v if known else math.nan
        below = scale.voltage_min_v - min(known) if known else math.nan
        pairs.append([(value, value / 0.01) for value in (above, below, max(above, below))])
    return Table(pairs, [numbers[2][1] for numbers in pairs], True)


def of_probes(family: str, rows: list[Row], scale: Scale, window_s: float) -> Table | None:
    if scale.probes < 1:
        return None
    time_s, nothing = [row.time_s for row in rows], [0.0] * len(rows)
    columns, missing = filled([[row.probes[i] for row in rows] for i in range(scale.probes)])
    lines = [fit(column, nothing, time_s, 1.0, 0.1 * window_s) for column in columns]
    if family == "temperature_deviation":
        level = [line.mean for line in lines]
        beside = []
        for i in range(len(level)):
            known = [level[j] for j in (i - 1, i + 1) if 0 <= j < len(level) and not math.isnan(level[j])]
            beside.append(level[i] - sum(known) / len(known) if known else math.nan)
        slope = stood_each([line.per_s * 3600.0 for line in lines], [floor * 3600.0 for floor in slope_floors(lines)])
        return ranked(joined(stood(level, 0.3), slope, stood(beside, 1.2 * 0.3)), False)
    if family == "thermal_rate":
        rate = [line.per_s * 60.0 for line in lines]
        latest = [column[-1] for column in columns]
        above = [(value - scale.temperature_max_c) / 10.0 for value in latest]
        return ranked(joined((rate, rate), (latest, above), stood_each(rate, [floor * 60.0 for floor in slope_floors(lines)])), False, (2,))
    if family == "thermal_peak":
        if len(rows) <= 6:
            return None
        peak = [max(column) if not math.isnan(column[0]) else math.nan for column in columns]
        rise = [
            max((column[t] - column[t - 6]) / ((time_s[t] - time_s[t - 6]) / 60.0) for t in range(6, len(column)))
            if not math.isnan(column[0])
            else math.nan
            for column in columns
        ]
        over = [(value - scale.temperature_max_c) / 10.0 for value in peak]
        return ranked(joined((peak, over), stood(peak, 0.3), (rise, rise)), False, (1,))
    assert family == "probe_sensor"
    moved = [math.log10(deviation(column) + 0.03) if lost <= 0.5 else math.nan for column, lost in zip(columns, missing, strict=True)]
    step = [max(abs(b - a) for a, b in itertools.pairwise(column)) for column in columns]
    return ranked(joined(stood(moved, 0.1), (missing, [lost / 0.1 for lost in missing]), stood(step, 0.3)), False)


def slope_floors(lines: list[Line]) -> Numbers:
    return [line.floor_per_s * math.hypot(0.15, min(line.residual, 0.4)) for line in lines]


def stood_each(values: Numbers, floors: Numbers) -> tuple[Numbers, Numbers]:
    """As ``stood``, with a floor of each."""
    known = sum(not math.isnan(value) for value in values)
    middle = median(values)
    apart = [value - middle for value in values]
    mad = 1.4826 * median([abs(value) for value in apart])
    z = []
    for value, floor in zip(apart, floors, strict=True):
        sigma = math.sqrt((known * mad**2 + 8.0 * floor**2) / (known + 8.0) + floor**2)
        z.append(math.nan if known < 3 or math.isnan(value) else max(-1e4, min(1e4, value / sigma)))
    return apart, z


def interpolated(at: float, x: Numbers, y: Numbers) -> float:
    """Between the points, the nearest beyond them."""
    if at <= x[0]:
        return y[0]
    for left in range(len(x) - 1):
        if at <= x[left + 1]:
            return y[left] + (y[left + 1] - y[left]) * (at - x[left]) / (x[left + 1] - x[left])
    return y[-1]


def soc_of(scale: Scale, voltage_v: float) -> float:
    soc: float = interpolated(voltage_v, scale.ocv_v.tolist(), scale.soc.tolist())
    return soc


def slope_v(scale: Scale, voltage_v: float) -> float:
    """dOCV/dSOC over 4 % around that voltage, at least 50 mV."""
    soc = scale.soc.tolist()
    at = soc_of(scale, voltage_v)
    low, high = max(at - 0.02, soc[0]), min(at + 0.02, soc[-1])
    rise: float = interpolated(high, soc, scale.ocv_v.tolist()) - interpolated(low, soc, scale.ocv_v.tolist())
    slope: float = max(rise / max(high - low, 1e-6), 0.05)
    return slope
