"""A pack's snapshots as plain lists, and means over them. Slow on purpose: nothing here but loops."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from edgebms.telemetry.snapshot import Snapshot

Numbers = list[float]


@dataclass(slots=True)
class Row:
    """One snapshot, or the mean of several. other: insulation, gas, pressure, coolant."""

    time_s: float
    current_a: float
    voltage_v: float
    other: Numbers
    cells: Numbers
    probes: Numbers


def single(value: float) -> float:
    """Rounded to 32 bits, as history keeps it."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


class Rows:
    """All snapshots so far."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._windows: dict[float, list[Row] | None] = {}

    def add(self, snapshot: Snapshot) -> None:
        self._windows.clear()
        time_s = snapshot.time_ns * 1e-9
        if self._rows:
            time_s = max(time_s, self._rows[-1].time_s)
        self._rows.append(
            Row(
                time_s,
                snapshot.current_a.value,
                snapshot.voltage_v.value,
                [
                    snapshot.insulation_ohm.value,
                    snapshot.gas.value,
                    snapshot.pressure_pa.value,
                    snapshot.coolant_temperature_c.value,
                ],
                [float(value) for value in snapshot.cell_voltage_v],
                [float(value) for value in snapshot.temperature_c],
            )
        )

    def window(self, seconds: float) -> list[Row] | None:
        """Means over the last ``seconds``, of 1, 10 or 300 s by how long it is; None = too little history to answer. Worked out once a snapshot."""
        if seconds not in self._windows:
            self._windows[seconds] = self._window(seconds)
        return self._windows[seconds]

    def _window(self, seconds: float) -> list[Row] | None:
        period_s = 1.0 if seconds <= 300.0 else 10.0 if seconds <= 14400.0 else 300.0
        if not self._rows:
            return None
        now_s = self._rows[-1].time_s
        open_slot = int(now_s // period_s)
        groups: dict[int, list[Row]] = {}
        for row in reversed(self._rows):
            if row.time_s < now_s - seconds - 2 * period_s:
                break
            slot = int(row.time_s // period_s)
            if slot != open_slot:  # a mean is there once its time is over
                groups.setdefault(slot, []).append(row)
        means = [mean(list(reversed(groups[slot]))) for slot in sorted(groups)]
        means = [row for row in means if row.time_s >= now_s - seconds]
        if len(means) < 4 or means[-1].time_s - means[0].time_s < 0.3 * seconds:
            return None
        return means


def mean(rows: list[Row]) -> Row:
    return Row(
        sum(row.time_s for row in rows) / len(rows),
        known_mean([row.current_a for row in rows]),
        known_mean([row.voltage_v for row in rows]),
        [known_mean([row.other[i] for row in rows]) for i in range(4)],
        [known_mean([row.cells[i] for row in rows]) for i in range(len(rows[0].cells))],
        [known_mean([row.probes[i] for row in rows]) for i in range(len(rows[0].probes))],
    )


def known_mean(values: Numbers) -> float:
    known = [value for value in values if math.isfinite(value)]
    return single(sum(known) / len(known)) if known else math.nan


def median(values: Numbers) -> float:
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return math.nan
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else 0.5 * (known[middle - 1] + known[middle])


def standing(values: Numbers, floor: float) -> tuple[Numbers, Numbers]:
    """(z, distance from the median) of each, NaN = unknown."""
    known = sum(not math.isnan(value) for value in values)
    centre = median(values)
    apart = [value - centre for value in values]
    mad = 1.4826 * median([abs(value) for value in apart])
    sigma = math.sqrt((known * mad**2 + 8.0 * floor**2) / (known + 8.0) + floor**2)
    if known < 3:
        return [math.nan] * len(values), apart
    return [value if math.isnan(value) else max(-1e4, min(1e4, value / sigma)) for value in apart], apart


@dataclass(slots=True)
class Line:
    mean: float
    at_rest: float
    per_a: float
    per_s: float
    residual: float
    floor_mean: float
    floor_at_rest: float
    floor_per_a: float
    floor_per_s: float


def fit(values: Numbers, current: Numbers, time_s: Numbers, swing_a: float, span_s: float) -> Line:
    """Ridge regression on current and time, solved by Cramer's rule."""
    rows = len(values)
    mean_v, mean_a, mean_s = sum(values) / rows, sum(current) / rows, sum(time_s) / rows
    aa = rows * swing_a**2
    ss = rows * span_s**2
    cross = av = sv = 0.0
    for value, ampere, second in zip(values, current, time_s, strict=True):
        a, s, v = ampere - mean_a, second - mean_s, value - mean_v
        aa, ss, cross, av, sv = aa + a * a, ss + s * s, cross + a * s, av + a * v, sv + s * v
    determinant = aa * ss - cross * cross
    per_a, per_s = (av * ss - sv * cross) / determinant, (sv * aa - av * cross) / determinant
    left = 0.0
    for value, ampere, second in zip(values, current, time_s, strict=True):
        left += (value - mean_v - per_a * (ampere - mean_a) - per_s * (second - mean_s)) ** 2
    floor_a, floor_s, floor_mean = math.sqrt(ss / determinant), math.sqrt(aa / determinant), rows**-0.5
    at_rest = mean_v - per_a * mean_a
    return Line(
        mean_v, at_rest, per_a, per_s, math.sqrt(left / rows), floor_mean, math.hypot(floor_mean, floor_a * mean_a), floor_a, floor_s
    )


def filled(columns: list[Numbers]) -> tuple[list[Numbers], Numbers]:
    """(columns with what is missing put to their mean, or NaN where more than half is; share missing of each)."""
    out, shares = [], []
    for column in columns:
        known = [value for value in column if not math.isnan(value)]
        share = 1.0 - len(known) / len(column)
        stand_in = sum(known) / len(known) if known and share <= 0.5 else math.nan
        out.append([stand_in if math.isnan(value) or share > 0.5 else value for value in column])
        shares.append(share)
    return out, shares


def deviation(values: Numbers) -> float:
    """Standard deviation of a population."""
    middle = sum(values) / len(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / len(values))
