"""Measures of the whole pack: four (value, relative) pairs, None = unknown."""

from __future__ import annotations

import itertools
import math

from edgebms.evidence.past import Scale
from edgebms.recompute.own import current_at_rest, heat_balance
from edgebms.recompute.peers import Pair, read_cells, soc_of
from edgebms.recompute.rows import Row, deviation, filled, fit

UNKNOWN = (math.nan, math.nan)


def of_pack(family: str, rows: list[Row], scale: Scale, window_s: float) -> list[Pair] | None:
    """Dispatch by the family's word."""
    if family in ("pack_voltage", "charge_against_voltage"):
        return against_current(family, rows, scale, window_s)
    if family in ("heat_balance", "current_at_rest"):
        return (heat_balance if family == "heat_balance" else current_at_rest)(rows, scale, window_s)
    if family in ("pack_warming", "coolant"):
        return warmth(family, rows, scale, window_s)
    if family == "sum_mismatch":
        return sum_mismatch(rows, scale, window_s)
    if family == "current":
        rates = [row.current_a / scale.capacity_ah for row in rows if math.isfinite(row.current_a)]
        if len(rates) < 4:
            return None
        peak, least = max(rates, key=abs), min(rates, key=abs)
        mean, swing = sum(rates) / len(rates), deviation(rates)
        allowed = scale.charge_c_rate if peak > 0 else scale.discharge_c_rate
        return [(peak, peak / allowed), (mean, mean / 0.1), (swing, swing / 0.1), (least, least / 0.002)]
    if family == "insulation":
        known = [row.other[0] for row in rows if row.other[0] > 0]
        if not known:
            return None
        fall, lost = math.log10(known[0] / known[-1]), 1.0 - len(known) / len(rows)
        return [(known[-1], math.log10(1e6 / known[-1])), (fall, fall), (min(known), math.log10(1e6 / min(known))), (lost, lost / 0.1)]
    if family == "gas":
        return gas(rows)
    assert family == "coverage"
    cells = [sum(math.isnan(row.cells[i]) for row in rows) / len(rows) for i in range(scale.cells)]
    probes = sum(math.isnan(value) for row in rows for value in row.probes) / (len(rows) * scale.probes) if scale.probes else math.nan
    current = sum(math.isnan(row.current_a) for row in rows) / len(rows)
    return [(share, share / 0.1) for share in (sum(cells) / len(cells), probes, current, max(cells))]


def gas(rows: list[Row]) -> list[Pair] | None:
    levels = [row.other[1] for row in rows if math.isfinite(row.other[1])]
    pressures = [row.other[2] for row in rows if math.isfinite(row.other[2])]
    if not levels and not pressures:
        return None
    pairs = [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    if levels:
        pairs[0], pairs[1] = (max(levels), max(levels) / 0.05), (levels[-1] - levels[0], (levels[-1] - levels[0]) / 0.05)
    if pressures:
        pairs[2] = (max(pressures), (max(pressures) - pressures[0]) / 1000.0)
        pairs[3] = (pressures[-1] - pressures[0], (pressures[-1] - pressures[0]) / 1000.0)
    return pairs


def sum_mismatch(rows: list[Row], scale: Scale, window_s: float) -> list[Pair] | None:
    apart, current, time_s = [], [], []
    for row in rows:
        left = row.voltage_v - sum(row.cells)
        if math.isfinite(left + row.current_a):
            apart.append(left)
            current.append(row.current_a)
            time_s.append(row.time_s)
    if len(apart) < 4:
        return None
    line = fit(apart, current, time_s, 0.02 * scale.capacity_ah, 0.1 * window_s)
    floor_v = math.hypot(0.05, scale.sensor_v * math.sqrt(scale.cells))
    per_h = line.per_s * 3600.0
    return [
        (line.mean, line.mean / floor_v),
        (per_h, per_h / (floor_v * line.floor_per_s * 3600.0)),
        (line.per_a, line.per_a / (floor_v * line.floor_per_a)),
        (apart[-1], apart[-1] / floor_v),
    ]


def decades(ratio: float) -> float:
    return math.log10(max(ratio, 0.01)) if math.isfinite(ratio) else math.nan


def against_current(family: str, rows: list[Row], scale: Scale, window_s: float) -> list[Pair] | None:
    seen = read_cells(rows, scale, window_s)
    if seen is None or (family == "charge_against_voltage" and not seen.loaded):
        return None
    if family == "pack_voltage":
        line = fit(seen.middle_v, seen.current_a, seen.time_s, 0.02 * scale.capacity_ah, 0.1 * window_s)
        latest = seen.middle_v[-1]
        place = 2.0 * (latest - scale.voltage_min_v) / (scale.voltage_max_v - scale.voltage_min_v) - 1.0
        ratio = line.per_a / scale.resistance_ohm if seen.loaded else math.nan
        eased = [volts - line.per_a * amperes for volts, amperes in zip(seen.middle_v, seen.current_a, strict=True)]
        fall = max((b - a for a, b in itertools.pairwise(eased)), key=abs)
        return [(latest, place), (ratio, decades(ratio)), (fall, fall / 0.05), (line.residual, line.residual / scale.sensor_v)]
    moved = [0.0]
    for t in range(1, len(seen.time_s)):
        mean_a = 0.5 * (seen.current_a[t] + seen.current_a[t - 1])
        moved.append(moved[-1] + mean_a * (seen.time_s[t] - seen.time_s[t - 1]) / (3600.0 * scale.capacity_ah))
    line = fit(seen.middle_v, seen.current_a, [value * 3600.0 for value in moved], 0.02 * scale.capacity_ah, 36.0)
    ohm = min(max(line.per_a, 0.0), 10.0 * scale.resistance_ohm)
    apart = [soc_of(scale, volts - ohm * amperes) - ah for volts, amperes, ah in zip(seen.middle_v, seen.current_a, moved, strict=True)]
    drift = fit(apart, [0.0] * len(apart), seen.time_s, 1.0, 0.1 * window_s)
    third = max(len(apart) // 3, 1)
    change = sum(apart[-third:]) / third - sum(apart[:third]) / third
    per_h, ratio = drift.per_s * 3600.0, ohm / scale.resistance_ohm
    return [(per_h, per_h / 0.01), (change, change / 0.01), (moved[-1], moved[-1] / 0.1), (ratio, decades(ratio))]


def warmth(family: str, rows: list[Row], scale: Scale, window_s: float) -> list[Pair] | None:
    if scale.probes < 1:
        return None
    time_s = [row.time_s for row in rows]
    columns, missing = filled([[row.probes[i] for row in rows] for i in range(scale.probes)])
    lines = [
        fit(column, [0.0] * len(rows), time_s, 1.0, 0.1 * window_s) for column, lost in zip(columns, missing, strict=True) if lost <= 0.5
    ]
    if not lines:
        return None
    means = [line.mean for line in lines]
    level = sum(means) / len(means)
    if family == "pack_warming":
        rates = [row.current_a / scale.capacity_ah for row in rows if math.isfinite(row.current_a)]
        heat = sum(rate**2 for rate in rates) / len(rates) if rates else math.nan
        per_h, apart = sum(line.per_s for line in lines) / len(lines) * 3600.0, max(means) - min(means)
        per_heat = per_h / (heat + 0.05)
        return [(per_h, per_h / 2.0), (per_heat, per_heat / 5.0), (apart, apart / 2.0), (level, (level - scale.temperature_max_c) / 5.0)]
    known = [row for row in rows if math.isfinite(row.other[3])]
    if len(known) < 4:
        return None
    line = fit([row.other[3] for row in known], [0.0] * len(known), [row.time_s for row in known], 1.0, 0.1 * window_s)
    below, per_h, lost = level - line.mean, line.per_s * 3600.0, 1.0 - len(known) / len(rows)
    return [(below, below / 5.0), (per_h, per_h / 2.0), (line.mean, (line.mean - scale.temperature_max_c) / 5.0), (lost, lost / 0.1)]
