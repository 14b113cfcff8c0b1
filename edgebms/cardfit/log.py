"""A characterisation log as the fit sees it: Battery Data Format, parquet or CSV, one cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import LogError
from edgebms.telemetry.bdf import machine_name, open_csv, open_parquet

Floats = NDArray[np.float64]

ROOM_C = 25.0
GAP_S = 120.0
BRIDGE_C = 0.5
"""Charge that went through the cell in a gap of the log is taken to have flowed at this rate (1/h), first."""


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """One log; (rows,) arrays. net_ah: charge minus discharge since the full charge before the log.

    Rows that bridge a gap have no voltage (NaN). assumed_c: the temperature was not measured.
    """

    name: str
    time_s: Floats
    voltage_v: Floats
    current_a: Floats
    temperature_c: Floats
    net_ah: Floats
    assumed_c: bool

    @property
    def median_c(self) -> float:
        return float(np.median(self.temperature_c))


def read_log(path: Path, capacity_ah: float) -> Log:
    """Read ``path``. Raises LogError; MissingExtra for parquet without pyarrow.

    Charge is taken from ``net_capacity_ah`` where the log has it, else counted from its first row, which
    must then be full. Rows without time, voltage or current are left out.
    """
    if not path.is_file():
        raise LogError("no such file", where=str(path), mend="name a .parquet or .csv file")
    headers, blocks = open_parquet(path) if path.suffix == ".parquet" else open_csv(path)
    places = {machine_name(header): i for i, header in reversed(list(enumerate(headers)))}
    for column in ("test_time_second", "voltage_volt", "current_ampere"):
        if column not in places:
            raise LogError(f"has no column {column}", where=str(path), mend="name a file in Battery Data Format")
    rows = list(blocks)
    data = np.concatenate(rows) if rows else np.zeros((0, len(headers)))
    time_s, voltage_v, current_a = (data[:, places[column]] for column in ("test_time_second", "voltage_volt", "current_ampere"))
    good = np.isfinite(time_s) & np.isfinite(voltage_v) & np.isfinite(current_a)
    if np.count_nonzero(good) < 3:
        raise LogError("has fewer than three rows with time, voltage and current", where=str(path), mend="leave the file out")
    names = [n for n in places if n.startswith(("temperature_t", "surface_temperature"))] + ["ambient_temperature_celsius"]
    temperature_c = np.full(len(data), np.nan)
    for column in names:
        if column in places:
            temperature_c = np.where(np.isfinite(temperature_c), temperature_c, data[:, places[column]])
    assumed = not np.isfinite(temperature_c[good]).any()
    temperature_c = np.full(len(data), ROOM_C) if assumed else fill(temperature_c)
    time_s, voltage_v, current_a, temperature_c = (x[good] for x in (time_s, voltage_v, current_a, temperature_c))
    if np.any(np.diff(time_s) <= 0):
        row = int(np.flatnonzero(np.diff(time_s) <= 0)[0]) + 2
        raise LogError(
            "test_time_second does not rise", where=f"{path}: row {row}", mend="sort the rows by time and leave repeated ones out"
        )
    if np.max(np.abs(current_a)) > 100.0 * capacity_ah:
        raise LogError(
            f"a current of {np.max(np.abs(current_a)):.0f} A is beyond 100 C of {capacity_ah:g} Ah",
            where=str(path),
            mend="state the capacity of one cell",
        )
    counted = np.cumsum(current_a * np.diff(time_s, prepend=time_s[0])) / 3600.0
    net_ah = data[good, places["net_capacity_ah"]] if "net_capacity_ah" in places else counted
    net_ah = fill(net_ah) if np.isfinite(net_ah).any() else counted
    return bridge(Log(path.stem, time_s, voltage_v, current_a, temperature_c, net_ah, assumed), capacity_ah)


def fill(values: Floats) -> Floats:
    """Gaps in a slow quantity by the values around them."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(values.size), known, values[known])


def bridge(log: Log, capacity_ah: float) -> Log:
    """Put rows into gaps in which charge flowed, and before a log that starts in the middle of a current,
    so that the relaxation after them is right."""
    time_s, voltage_v, current_a, temperature_c, net_ah = (
        list(x) for x in (log.time_s, log.voltage_v, log.current_a, log.temperature_c, log.net_ah)
    )
    gaps = np.flatnonzero(np.diff(log.time_s) > GAP_S)[::-1]
    for i in gaps:
        missed = log.net_ah[i + 1] - log.net_ah[i]
        span = log.time_s[i + 1] - log.time_s[i]
        if abs(missed) < 0.002 * capacity_ah:
            continue
        seconds = min(abs(missed) / (BRIDGE_C * capacity_ah) * 3600.0, 0.9 * span)
        at = i + 1
        # The row after the gap would otherwise say that its own current flowed all through it.
        rest = log.time_s[i + 1] - 1e-3
        for when, current in ((rest, 0.0), (log.time_s[i] + seconds, missed * 3600.0 / seconds)):
            time_s.insert(at, when)
            voltage_v.insert(at, np.nan)
            current_a.insert(at, current)
            temperature_c.insert(at, log.temperature_c[i + 1])
            net_ah.insert(at, log.net_ah[i + 1])
    first_ah, first_a = log.net_ah[0], log.current_a[0]
    if first_ah * first_a > 0 and abs(first_a) > 0.01 * capacity_ah and abs(first_ah) > 1e-4 * capacity_ah:
        time_s.insert(0, log.time_s[0] - first_ah / first_a * 3600.0)
        voltage_v.insert(0, np.nan)
        current_a.insert(0, first_a)
        temperature_c.insert(0, log.temperature_c[0])
        net_ah.insert(0, 0.0)
    arrays = [np.array(x) for x in (time_s, voltage_v, current_a, temperature_c, net_ah)]
    return Log(log.name, arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], log.assumed_c)


@dataclass(frozen=True, slots=True)
class Kinds:
    """What a log is good for. slow: hours-long low current over most of the range; pulses: steps of the
    current with rests; constant: a discharge at one current; swing: range of SOC that it covers."""

    slow_discharge: bool
    slow_charge: bool
    pulses: int
    constant_c: float
    swing: float

    @property
    def words(self) -> str:
        said = [word for word, holds in (("slow discharge", self.slow_discharge), ("slow charge", self.slow_charge)) if holds]
        if self.pulses:
            said.append(f"{self.pulses} pulses")
        if self.constant_c:
            said.append(f"constant {self.constant_c:.2g} C")
        return ", ".join(said) or "nothing to fit"


SLOW_C = 1 / 9
MIN_SWING = 0.3


def kinds(log: Log, capacity_ah: float) -> Kinds:
    """Tell from the data what ``log`` holds."""
    rate = log.current_a / capacity_ah
    dt_h = np.diff(log.time_s, prepend=log.time_s[0]) / 3600.0
    slow = (np.abs(rate) < SLOW_C) & (np.abs(rate) > 0.005)
    slow_down = -np.sum((rate * dt_h)[slow & (rate < 0)])
    slow_up = np.sum((rate * dt_h)[slow & (rate > 0)])
    swing = float(np.ptp(log.net_ah)) / capacity_ah
    steps = int(np.count_nonzero(np.abs(np.diff(rate)) > 0.15))
    fast = rate[rate < -SLOW_C]
    level = -float(np.median(fast)) if fast.size else 0.0
    steady = fast.size > 2 and float(np.ptp(np.percentile(fast, (10, 90)))) < 0.1 * level
    constant = level if steady and steps <= 4 and swing > MIN_SWING else 0.0
    pulses = 0 if constant else steps // 2
    return Kinds(bool(slow_down > 0.5), bool(slow_up > 0.5), pulses, constant, swing)
