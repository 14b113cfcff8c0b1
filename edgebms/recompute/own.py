"""Measures of a cell, or of the pack, against its own past within the window."""

from __future__ import annotations

import math

from edgebms.evidence.past import Scale
from edgebms.recompute.peers import Cells, Pair, Table, joined, ranked, stood
from edgebms.recompute.rows import Numbers, Row, filled, fit, median


def inverted(matrix: list[Numbers]) -> list[Numbers]:
    """By Gauss and Jordan, largest pivot first."""
    size = len(matrix)
    work = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for at in range(size):
        best = max(range(at, size), key=lambda i: abs(work[i][at]))
        work[at], work[best] = work[best], work[at]
        work[at] = [value / work[at][at] for value in work[at]]
        for i in range(size):
            if i != at:
                work[i] = [value - work[i][at] * own for value, own in zip(work[i], work[at], strict=True)]
    return [row[size:] for row in work]


class Regression:
    """Ridge regression on several columns; ``of`` gives (coefficients, residuals) of one cell."""

    def __init__(self, columns: list[Numbers], least: Numbers) -> None:
        count = len(columns[0])
        means = [sum(column) / count for column in columns]
        self.columns = [[value - mean for value in column] for column, mean in zip(columns, means, strict=True)]
        normal = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in self.columns] for one in self.columns]
        for i, smallest in enumerate(least):
            normal[i][i] += count * smallest**2
        self.inverse = inverted(normal)
        self.floors = [math.sqrt(self.inverse[i][i]) for i in range(len(least))]

    def of(self, values: Numbers) -> tuple[Numbers, Numbers]:
        mean = sum(values) / len(values)
        along = [sum(own * (value - mean) for own, value in zip(column, values, strict=True)) for column in self.columns]
        found = [sum(a * b for a, b in zip(row, along, strict=True)) for row in self.inverse]
        left = []
        for t, value in enumerate(values):
            left.append(value - mean - sum(slope * column[t] for slope, column in zip(found, self.columns, strict=True)))
        return found, left


def root_mean_square(values: Numbers) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))


def against_itself(family: str, seen: Cells, scale: Scale, window_s: float) -> Table | None:
    count = len(seen.time_s)
    if not seen.loaded or count < 8:
        return None
    rate = [ampere / scale.capacity_ah for ampere in seen.current_a]
    time = [(second - seen.time_s[0]) / window_s for second in seen.time_s]
    if family == "own_change":
        return own_change(seen, scale, rate, time, window_s)
    change = [0.0] + [rate[t] - rate[t - 1] for t in range(1, count)]
    line = Regression([rate, change, time], [0.02, 0.02, 0.1])
    left = [line.of(column)[1] for column in seen.apart_v]
    noise_v = math.hypot(scale.sensor_v, usual(seen, left))
    known = [lost <= 0.5 for lost in seen.missing]
    left = trusted(left, known, noise_v)
    edge = -5.0 * noise_v
    depth = [-min(column) if there else math.nan for column, there in zip(left, known, strict=True)]
    height = [max(column) if there else math.nan for column, there in zip(left, known, strict=True)]
    sided = [(low - high) / (low + high + 4.0 * scale.sensor_v) for low, high in zip(depth, height, strict=True)]
    share = [sum(value < edge for value in column) / count if there else math.nan for column, there in zip(left, known, strict=True)]
    return ranked(joined(stood(depth, scale.sensor_v), (sided, sided), (share, [value / 0.01 for value in share])), True, (0, 2))


def trusted(left: list[Numbers], known: list[bool], noise_v: float) -> list[Numbers]:
    """Less of a row, the more all known cells scatter in it."""
    weights = []
    for t in range(len(left[0])):
        sizes = sorted(abs(column[t]) for column, there in zip(left, known, strict=True) if there)
        weights.append(1.0 / math.sqrt(1.0 + (1.4826 * sizes[len(sizes) // 2] / noise_v) ** 2))
    return [[value * weight for value, weight in zip(column, weights, strict=True)] for column in left]


def usual(seen: Cells, left: list[Numbers]) -> float:
    return median([root_mean_square(column) for column, lost in zip(left, seen.missing, strict=True) if lost <= 0.5])


def own_change(seen: Cells, scale: Scale, rate: Numbers, time: Numbers, window_s: float) -> Table:
    half = len(time) // 2
    side = [-0.5 if t < half else 0.5 for t in range(len(time))]
    moved = [0.0]
    for t in range(1, len(time)):
        moved.append(moved[-1] + 0.5 * (rate[t] + rate[t - 1]) * (seen.time_s[t] - seen.time_s[t - 1]) / 3600.0)
    count, turned = len(rate), [a * b for a, b in zip(side, rate, strict=True)]
    middle, of_turned = sum(rate) / count, sum(turned) / count
    along = sum((value - middle) * (own - of_turned) for value, own in zip(rate, turned, strict=True))
    share = along / (sum((value - middle) ** 2 for value in rate) + 1e-12)
    columns = [rate, time, side, [own - share * value for value, own in zip(rate, turned, strict=True)], moved]
    line = Regression(columns, [0.02, 0.1, 0.1, 0.02, 0.01])
    ohm, step, drift, left = [], [], [], []
    for column in seen.apart_v:
        found, rest = line.of(column)
        ohm.append(found[3] / scale.capacity_ah)
        step.append(found[2])
        drift.append(found[1] * 3600.0 / window_s)
        left.append(rest)
    f = math.hypot(usual(seen, left), 0.05 * scale.sensor_v)
    of_ohm, of_drift = line.floors[3] / scale.capacity_ah, line.floors[1] * 3600.0 / window_s
    return ranked(joined(stood(ohm, f * of_ohm), stood(step, f * line.floors[2]), stood(drift, f * of_drift)), True)


def heat_balance(rows: list[Row], scale: Scale, window_s: float) -> list[Pair] | None:
    if scale.probes < 1 or len(rows) < 8:
        return None
    columns, missing = filled([[row.probes[i] for row in rows] for i in range(scale.probes)])
    columns = [column for column, lost in zip(columns, missing, strict=True) if lost <= 0.5]
    if not columns:
        return None
    half = len(rows) // 2
    slopes, heats, spreads = [], [], []
    for first, end in ((0, half), (half, len(rows))):
        time_s = [row.time_s for row in rows[first:end]]
        lines = [fit(column[first:end], [0.0] * len(time_s), time_s, 1.0, 0.05 * window_s) for column in columns]
        slopes.append(sum(line.per_s for line in lines) / len(lines) * 3600.0)
        spreads.append(max(line.mean for line in lines) - min(line.mean for line in lines))
        rates = [row.current_a / scale.capacity_ah for row in rows[first:end] if math.isfinite(row.current_a)]
        heats.append(sum(value**2 for value in rates) / len(rates) if rates else math.nan)
    bend = slopes[1] / (heats[1] + 0.05) - slopes[0] / (heats[0] + 0.05)
    apart = spreads[1] - spreads[0]
    return [(slopes[0], slopes[0] / 2.0), (slopes[1], slopes[1] / 2.0), (bend, bend / 5.0), (apart, apart / 2.0)]


def current_at_rest(rows: list[Row], scale: Scale, window_s: float) -> list[Pair] | None:
    del window_s
    rates = [row.current_a / scale.capacity_ah for row in rows if math.isfinite(row.current_a)]
    if len(rates) < 8:
        return None
    half = len(rates) // 2
    still = [t for t in range(1, len(rates) - 1) if abs(rates[t] - rates[t - 1]) < 0.006 and abs(rates[t + 1] - rates[t]) < 0.006]
    early = min((rates[t] for t in still if t < half), key=abs, default=math.nan)
    late = min((rates[t] for t in still if t >= half), key=abs, default=math.nan)
    share = len(still) / len(rates)
    return [(level, level / 0.002) for level in (early, late, late - early)] + [(share, share / 0.1)]
