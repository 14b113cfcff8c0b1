"""A library of simulated cell-days, from which packs are composed.

One file a day: a set, a load, a season, and some cells of one batch under it. Made in several processes, resumable: a file
that is there is not made again, and the same seed gives the same days in any order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import LogError
from hil.plant_pybamm.days import Day, draw_day
from hil.plant_pybamm.sets import SETS, CellSet
from hil.plant_pybamm.simulate import Draw, Run, simulate

Floats = NDArray[np.float64]

FOLDER = Path("build") / "pybamm-library"
CELLS = 4
"""Cells simulated of each day's batch; a pack mixes them."""
TRIES = 8
WEATHER_K, AIR_C = 3.0, (3.0, 38.0)
"""How far the air of a day before is from that of the day, and within what it stays (``days.draw_day``)."""
SEED = 20261124


@dataclass(frozen=True, slots=True, eq=False)
class LibraryDay:
    """time_s, current_a (one cell's, positive while charging), ambient_c: (rows,). voltage_v, temperature_c: (rows, cells)."""

    cell_set: CellSet
    kind: str
    time_s: Floats
    current_a: Floats
    ambient_c: Floats
    voltage_v: Floats
    temperature_c: Floats
    soc: float
    draws: Floats
    before: LibraryDay | None = None
    """The same cells on a day before, None = an older library."""


def make(folder: Path, days: int, jobs: int, seed: int = SEED) -> None:
    """Make what is missing of the first ``days`` days. Raises LogError, MissingExtra."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(folder, number, seed) for number in range(days) if not path_of(folder, number, seed).is_file()]
    began_s = time.monotonic()
    for done, seconds in enumerate(worked(missing, jobs), start=1):
        left_s = (time.monotonic() - began_s) / done * (len(missing) - done)
        if sys.stderr.isatty():
            end = "\n" if done == len(missing) else ""
            print(f"\r{done} of {len(missing)} days, {seconds:.0f} s, {left_s / 60:.0f} min left   ", end=end, file=sys.stderr, flush=True)


def worked(missing: list[tuple[Path, int, int]], jobs: int) -> Iterator[float]:
    if jobs <= 1:
        yield from map(make_day, missing)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make_day, missing)


def path_of(folder: Path, number: int, seed: int) -> Path:
    return folder / f"day_{seed}_{number:04d}.npz"


def make_day(task: tuple[Path, int, int]) -> float:
    """Simulate one day and write it; a load that drives a cell to a voltage limit is drawn again. Returns the seconds it took."""
    folder, number, seed = task
    began_s = time.monotonic()
    cell_set = list(SETS.values())[number % len(SETS)]
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, number, attempt])
        day = draw_day(rng)
        draws = [Draw(), *(Draw.random(rng) for _ in range(CELLS - 1))]
        current_a = day.c_rate * cell_set.capacity_ah
        runs = []
        for draw in draws:
            run = simulate(cell_set, day.time_s, current_a, day.ambient_c, day.soc, draw)
            if not run.whole:
                break
            runs.append(run)
        if len(runs) == len(draws):
            break
    else:
        raise LogError(f"day {number} ends at a voltage limit {TRIES} times", where=cell_set.name, mend="take another seed")
    path = path_of(folder, number, seed)
    partial = path.with_suffix(".part.npz")
    earlier = day_before(cell_set, draws, float(day.ambient_c.mean()), [seed, number, 0xEA])
    np.savez_compressed(
        partial,
        cell_set=cell_set.key,
        kind=day.kind,
        attempt=attempt,
        draws=np.array([(d.capacity, d.contact, d.cooling, d.warmer_k, d.soc) for d in draws]),
        **columns(day, current_a, runs),
        **{f"before_{name}": column for name, column in earlier.items()},
    )
    partial.replace(path)
    return time.monotonic() - began_s


def day_before(cell_set: CellSet, draws: list[Draw], ambient_c: float, seed: list[int]) -> dict[str, Any]:
    """A day of other use of the same cells, in the same season; empty where TRIES days end at a voltage limit."""
    for attempt in range(TRIES):
        rng = np.random.default_rng([*seed, attempt])
        day = draw_day(rng)
        air_c = np.clip(day.ambient_c - day.ambient_c.mean() + ambient_c + rng.uniform(-WEATHER_K, WEATHER_K), *AIR_C)
        current_a = day.c_rate * cell_set.capacity_ah
        runs = [simulate(cell_set, day.time_s, current_a, air_c, day.soc, draw) for draw in draws]
        if all(run.whole for run in runs):
            return {"kind": day.kind, **columns(replace(day, ambient_c=air_c), current_a, runs)}
    return {}


def columns(day: Day, current_a: Floats, runs: list[Run]) -> dict[str, Any]:
    """A day as it stands in a file."""
    return {
        "soc": day.soc,
        "time_s": day.time_s.astype(np.float32),
        "current_a": current_a.astype(np.float32),
        "ambient_c": day.ambient_c.astype(np.float32),
        "voltage_v": np.column_stack([run.voltage_v for run in runs]).astype(np.float32),
        "temperature_c": np.column_stack([run.temperature_c for run in runs]).astype(np.float32),
    }


def days_of(folder: Path) -> list[Path]:
    """The library's files, sorted. Raises LogError where there is none."""
    found = sorted(path for path in folder.glob("day_*.npz") if ".part" not in path.name)
    if not found:
        raise LogError("holds no simulated day", where=str(folder), mend="make them: python -m hil pybamm-library")
    return found


def read_day(path: Path) -> LibraryDay:
    """Raises LogError."""
    try:
        with np.load(path) as kept:
            told = {name: kept[name] for name in kept.files}
    except (OSError, ValueError) as error:
        raise LogError(f"cannot be read: {error}", where=str(path), mend="delete it and make it again") from None
    day = day_of(told, told)
    if "before_kind" not in told:
        return day
    earlier = {name.removeprefix("before_"): value for name, value in told.items() if name.startswith("before_")}
    return replace(day, before=day_of(earlier | {"draws": told["draws"]}, told))


def day_of(day: dict[str, Any], told: dict[str, Any]) -> LibraryDay:
    wide = {name: day[name].astype(float) for name in ("time_s", "current_a", "ambient_c", "voltage_v", "temperature_c", "draws")}
    return LibraryDay(cell_set=SETS[str(told["cell_set"])], kind=str(day["kind"]), soc=float(day["soc"]), **wide)
