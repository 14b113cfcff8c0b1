"""Days of ordinary use, by a generator of its own: what judges shares no load with what trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAY_S = 86400
STEP_S = 10.0
"""Of a day's rows, and the packs' snapshot period."""
LOW, HIGH = 0.15, 0.88
TAPER = 0.15
"""Charging fades over so much of SOC below HIGH, as at a constant voltage; discharge over as much above LOW."""
CHARGE_C = 0.35
KINDS = ("commuter", "errands", "sun", "peaks", "frequency", "idle")


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """time_s: (rows,), every ``STEP_S``. c_rate: charge positive, 1/h. ambient_c: (rows,). soc: at the start."""

    kind: str
    soc: float
    time_s: Floats
    c_rate: Floats
    ambient_c: Floats


def draw_day(rng: np.random.Generator) -> Day:
    """A day of a random kind and season. The air stays between 3 and 38 degC: what charges below 0 degC is not ordinary use."""
    kind = str(rng.choice(KINDS))
    rows = round(DAY_S / STEP_S) + 1
    time_s = STEP_S * np.arange(rows)
    hour = time_s / 3600.0
    soc = float(rng.uniform(0.35, 0.8))
    wish = {
        "commuter": commuter,
        "errands": errands,
        "sun": sun,
        "peaks": peaks,
        "frequency": frequency,
        "idle": idle,
    }[kind](hour, rng)
    season_c = rng.uniform(6, 32)
    swing_k = rng.uniform(1, 5)
    ambient_c = np.clip(season_c - swing_k * np.cos((hour - 4) * 2 * np.pi / 24), 3, 38)
    return Day(kind, soc, time_s, kept_inside(wish, soc), ambient_c)


def kept_inside(wish: Floats, soc: float) -> Floats:
    """``wish`` tapered where the state of charge comes near its ends, as a BMS does.

    >>> kept_inside(np.full(1000, 0.5), 0.9)[-1].round(3).item()
    0.0
    """
    out = np.zeros(len(wish))
    level = soc
    for i, rate in enumerate(wish.tolist()):
        room = HIGH - level if rate > 0 else level - LOW
        out[i] = rate * min(1.0, max(0.0, room / TAPER))
        level += out[i] * STEP_S / 3600.0
    return out


def drive(rows: int, rng: np.random.Generator) -> Floats:
    """Block means of a drive: pull, roll, brake, wait."""
    out = np.empty(0)
    while out.size < rows:
        speed = rng.uniform(0.25, 0.9)
        pull = rng.uniform(1.0, 1.7) * rng.uniform(0.4, 1.0, rng.integers(1, 4))
        roll = speed * rng.uniform(0.2, 0.8, rng.integers(3, 30))
        brake = -rng.uniform(0.1, 0.6, rng.integers(1, 3))
        wait = np.full(rng.integers(0, 6), 0.02)
        out = np.concatenate([out, pull, roll, brake, wait])
    return -out[:rows]


def trips(hour: Floats, starts: list[float], lengths_h: list[float], rng: np.random.Generator) -> Floats:
    load = np.zeros(len(hour))
    for start, length in zip(starts, lengths_h, strict=True):
        on = (hour >= start) & (hour < start + length)
        load[on] = drive(int(np.count_nonzero(on)), rng)
    return load


def commuter(hour: Floats, rng: np.random.Generator) -> Floats:
    load = trips(hour, [rng.uniform(6.5, 8.5), rng.uniform(16, 18.5)], list(rng.uniform(0.3, 0.8, 2)), rng)
    begin = rng.uniform(20.5, 22)
    load[hour >= begin] = CHARGE_C * rng.uniform(0.4, 1.0)
    return load


def errands(hour: Floats, rng: np.random.Generator) -> Floats:
    starts = sorted(rng.uniform(8, 19, 4))
    load = trips(hour, list(starts), list(rng.uniform(0.1, 0.35, 4)), rng)
    load[hour < rng.uniform(2, 5)] = CHARGE_C * rng.uniform(0.3, 0.8)
    return load


def sun(hour: Floats, rng: np.random.Generator) -> Floats:
    """Storage behind a roof: charged by day through clouds, drained in the evening."""
    clear = np.clip(np.sin((hour - 6.5) / 13 * np.pi), 0, None) ** 1.3
    cloud = np.interp(hour, np.arange(0, 24.01, 0.1), rng.uniform(0.3, 1.0, 241))
    evening = np.where((hour > 17.5) & (hour < 23.5), np.interp(hour, np.arange(0, 24.3, 0.25), rng.uniform(0.05, 0.3, 98)), 0.03)
    return np.minimum(0.3 * clear * cloud, CHARGE_C) - evening


def peaks(hour: Floats, rng: np.random.Generator) -> Floats:
    load = np.zeros(len(hour))
    for start in sorted(rng.uniform(7, 20, 3)):
        load[(hour >= start) & (hour < start + rng.uniform(0.3, 0.8))] = -rng.uniform(0.3, 0.8)
    load[(hour < 5) | (hour > 22)] = 0.15
    return load


def frequency(hour: Floats, rng: np.random.Generator) -> Floats:
    """Primary reserve: an Ornstein-Uhlenbeck course with a memory of two minutes, held for 10 s."""
    rows = len(hour)
    keep = np.exp(-STEP_S / 120.0)
    noise = rng.standard_normal(rows) * 0.12 * np.sqrt(1 - keep**2)
    load = np.zeros(rows)
    for i in range(1, rows):
        load[i] = keep * load[i - 1] + noise[i]
    return np.clip(load, -0.4, CHARGE_C)


def idle(hour: Floats, rng: np.random.Generator) -> Floats:
    load = np.full(len(hour), -0.004)
    begin = rng.uniform(0, 20)
    load[(hour >= begin) & (hour < begin + 1.5)] = 0.2
    return load
