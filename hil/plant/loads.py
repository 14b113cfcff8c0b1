"""What a pack is used for: the requested current over time as C-rates, positive while charging. All from a generator.

A request is not yet a current: ``control`` keeps it within what cells and contactors allow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PHASES = (
    # share, C-rate from, to, seconds from, to
    (0.26, -2.2, -1.0, 4, 14),  # pull
    (0.34, -0.8, -0.3, 15, 60),  # cruise
    (0.14, -0.1, 0.0, 5, 20),  # coast
    (0.16, 0.3, 1.0, 3, 9),  # brake
    (0.10, -0.03, -0.03, 10, 30),  # stand still, auxiliaries on
)
SMOOTH_S = 1.5
"""A drive train follows the pedal within a second or two."""
DAY_S = 86400


def drive(rng: np.random.Generator, seconds: int) -> Floats:
    """Random phases of pull, cruise, coast, brake and stand still; about -0.45 C in the mean."""
    shares, low, high, shortest, longest = np.array(PHASES).T
    count = seconds // 4 + 1
    kind = rng.choice(len(PHASES), size=count, p=shares)
    length = rng.integers(shortest[kind].astype(int), longest[kind].astype(int) + 1)
    target = np.repeat(rng.uniform(low[kind], high[kind]), length)[:seconds]
    kernel = np.exp(-np.arange(12) / SMOOTH_S)
    load = np.convolve(target, kernel / kernel.sum())[:seconds]
    return load * (1 + 0.03 * rng.standard_normal(seconds))


def rest(rng: np.random.Generator, seconds: int) -> Floats:
    """Parked: the auxiliaries' 0 to 0.01 C."""
    return np.full(seconds, -rng.choice([0.0, 0.0, 0.003, 0.01]))


def charge(rng: np.random.Generator, seconds: int) -> Floats:
    """Constant current at 0.15-0.7 C; the constant-voltage part comes from ``control``."""
    return np.full(seconds, rng.uniform(0.15, 0.7))


def fast_charge(rng: np.random.Generator, seconds: int) -> Floats:
    """In steps from 1-1.8 C down, each a sixth of the time, then a rest of a third."""
    steps = rng.uniform(1.0, 1.8) * np.array([1.0, 0.9, 0.75, 0.6])
    load = np.repeat(steps, -(-seconds // 6))[: 2 * seconds // 3]
    return np.append(load, np.zeros(seconds - len(load)))


def discharge(rng: np.random.Generator, seconds: int) -> Floats:
    """Constant power, nearly: 0.4-1 C."""
    return np.full(seconds, -rng.uniform(0.4, 1.0)) * (1 + 0.02 * rng.standard_normal(seconds))


def heavy(rng: np.random.Generator, seconds: int) -> Floats:
    """Hard driving or a race on the grid: pulls and charges in turn, near 1.5 C, zero in the mean."""
    block = rng.integers(60, 240)
    signs = np.where(np.arange(seconds) // block % 2, 1.0, -1.0)
    return signs * rng.uniform(1.0, 1.6) * (1 + 0.05 * rng.standard_normal(seconds))


def peak_shaving(rng: np.random.Generator, seconds: int) -> Floats:
    """Stands by, takes the peaks above a threshold, charges slowly between."""
    demand = wander(rng, seconds, 300.0) + 0.4 * wander(rng, seconds, 20.0)
    threshold = rng.uniform(0.3, 0.8)
    return np.where(demand > threshold, -np.minimum(1.2 * (demand - threshold), 1.2), rng.uniform(0.0, 0.12))


def frequency_response(rng: np.random.Generator, seconds: int) -> Floats:
    """Follows the grid's frequency with a dead band, both ways, zero in the mean."""
    deviation = wander(rng, seconds, 90.0)
    return 0.6 * np.clip(np.sign(deviation) * np.maximum(np.abs(deviation) - 0.3, 0.0), -1.5, 1.5)


def pv_shift(rng: np.random.Generator, seconds: int) -> Floats:
    """An hour or a day of sun with clouds, then the evening's load."""
    phase = np.linspace(0.0, 1.0, seconds) if seconds > DAY_S // 3 else rng.uniform(0.0, 0.9) + np.arange(seconds) / DAY_S
    sun = np.maximum(np.sin(np.pi * (phase - 0.27) / 0.45), 0.0) * (phase > 0.27) * (phase < 0.72)
    clouds = np.clip(1.0 - 0.5 * np.maximum(wander(rng, seconds, 200.0), 0.0), 0.1, 1.0)
    evening = 0.25 * ((phase > 0.72) | (phase < 0.1)) * (1 + 0.3 * wander(rng, seconds, 60.0))
    return rng.uniform(0.2, 0.5) * sun * clouds - evening


def wander(rng: np.random.Generator, seconds: int, tau_s: float) -> Floats:
    """Noise of unit variance that forgets itself in about ``tau_s``."""
    width = int(3 * tau_s)
    kernel = np.exp(-np.arange(width) / tau_s)
    white = rng.standard_normal(seconds + width)
    size = 1 << int(np.ceil(np.log2(len(white) + width)))
    smooth = np.fft.irfft(np.fft.rfft(white, size) * np.fft.rfft(kernel, size), size)
    return smooth[width : width + seconds] / np.sqrt((kernel**2).sum())


Maker = Callable[[np.random.Generator, int], Floats]
LOADS: dict[str, Maker] = {
    "drive": drive,
    "rest": rest,
    "charge": charge,
    "fast_charge": fast_charge,
    "discharge": discharge,
    "heavy": heavy,
    "peak_shaving": peak_shaving,
    "frequency_response": frequency_response,
    "pv_shift": pv_shift,
}
VEHICLE = ("drive", "drive", "rest", "charge", "fast_charge")
STORAGE = ("peak_shaving", "frequency_response", "pv_shift", "rest", "charge", "discharge")


def use(rng: np.random.Generator, seconds: int, cycles: tuple[Floats, ...] = ()) -> Floats:
    """Ordinary use: stretches of 10-60 minutes of a vehicle's or a storage's loads, with short rests between.

    cycles: measured drive cycles (C-rates at 1 s) that half of the drives are cut from.
    """
    menu = VEHICLE if rng.random() < 0.5 else STORAGE
    parts, length = [], 0
    while length < seconds:
        name = str(rng.choice(menu))
        stretch = int(rng.integers(600, 3600))
        if name == "drive" and cycles and rng.random() < 0.5:
            cycle = cycles[int(rng.integers(len(cycles)))]
            start = int(rng.integers(max(len(cycle) - stretch, 1)))
            parts.append(cycle[start : start + stretch])
        else:
            parts.append(LOADS[name](rng, stretch))
        parts.append(np.zeros(int(rng.integers(0, 240))))
        length += len(parts[-1]) + len(parts[-2])
    return np.concatenate(parts)[:seconds]


def days(rng: np.random.Generator, seconds: int, cycles: tuple[Floats, ...] = ()) -> Floats:
    """Days of use from midnight on. A vehicle: two to four drives by day, charged at night (one day in eight fast, at noon).
    A storage: one service the day round, topped up slowly before dawn."""
    vehicle = rng.random() < 0.5
    service = str(rng.choice(["peak_shaving", "frequency_response", "pv_shift"]))
    out = np.zeros(-(-seconds // DAY_S) * DAY_S)
    for start in range(0, len(out), DAY_S):
        day = out[start : start + DAY_S]
        if not vehicle:
            day[:] = LOADS[service](rng, DAY_S)
            day[2 * 3600 : 5 * 3600] += rng.uniform(0.0, 0.15)
            continue
        day[:] = rest(rng, DAY_S)
        day[: 6 * 3600] = rng.uniform(0.08, 0.3)
        for hour in rng.uniform(6.5, 21.0, rng.integers(2, 5)):
            at, stretch = int(hour * 3600), int(rng.integers(900, 3600))
            trip = drive(rng, stretch)
            if cycles and rng.random() < 0.5:
                trip = cycles[int(rng.integers(len(cycles)))][:stretch]
            day[at : at + len(trip)] = trip
        if rng.random() < 1 / 8:
            day[12 * 3600 : 12 * 3600 + 2400] = fast_charge(rng, 2400)
    return out[:seconds]


def ambient(rng: np.random.Generator, seconds: int, mean_c: float, day_of_year: int | None = None) -> Floats:
    """The air around the pack, degC, once a minute: a day's swing of 2-7 K about ``mean_c``, coldest at five in the morning.

    day_of_year: the recording begins at midnight of that day, and the mean follows the season from there; None = at a random hour.
    """
    hour = rng.uniform(0.0, 24.0) if day_of_year is None else 0.0
    swing_k = rng.uniform(2.0, 7.0)
    minutes = np.arange(-(-seconds // 60))
    angle = 2 * np.pi * ((hour - 11.0) / 24.0 + minutes / 1440.0)
    air_c = mean_c + swing_k * (np.sin(angle) - np.sin(angle[0]))
    if day_of_year is None:
        return air_c
    season = np.array([season_c(day_of_year + int(minute) // 1440) for minute in minutes[::1440]])
    return air_c + np.repeat(season - season[0], 1440)[: len(minutes)]


def season_c(day_of_year: int, yearly_mean_c: float = 11.0, swing_k: float = 10.0) -> float:
    """Mean temperature of a day in a temperate climate, coldest at the end of January.

    >>> round(season_c(28)), round(season_c(210))
    (1, 21)
    """
    return yearly_mean_c - swing_k * float(np.cos(2 * np.pi * (day_of_year - 28) / 365.25))


def measured_cycles(folder: Path, capacity_ah: float) -> tuple[Floats, ...]:
    """The currents of the BDF parquet files in ``folder`` as C-rates at 1 s, in the files' order. Needs pyarrow."""
    import pyarrow.parquet as pq

    cycles = []
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=["test_time_second", "current_ampere"])
        time_s, current_a = (column.to_numpy(zero_copy_only=False).astype(float) for column in table.columns)
        known = np.isfinite(current_a)
        at = np.arange(time_s[0], time_s[-1], 1.0)
        cycles.append(np.interp(at, time_s[known], current_a[known]) / capacity_ah)
    return tuple(cycles)
