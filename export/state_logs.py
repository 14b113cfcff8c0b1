"""Logs with a reference SOC, and how an evaluation disturbs them: joined late, or with a current offset."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import LogError, MissingExtra

Floats = NDArray[np.float64]

CHARACTERISATION = "characterisation"
JOIN = re.compile(r"join_(0?\.\d+)$")
OFFSET = re.compile(r"offset_([+-]\d*\.?\d+)$")


@dataclass(frozen=True, slots=True, eq=False)
class StateLog:
    """One file; arrays of shape (rows,), NaN where not measured. ``soc`` is the reference."""

    path: Path
    set: str
    cell: str
    ambient_c: float
    nominal_ah: float
    time_s: Floats
    current_a: Floats
    voltage_v: Floats
    temperature_c: Floats
    soc: Floats


@dataclass(frozen=True, slots=True)
class Run:
    """A log as one estimator sees it: from row ``first`` on, ``offset_a`` on top of the current."""

    perturbation: str
    first: int
    offset_a: float


def find_logs(data: list[Path]) -> Iterator[Path]:
    """The parquet files in ``data`` (files, and folders searched through), each once, sorted.

    characterisation/ folders are left out unless named. Raises LogError for a path that is not there.
    """
    seen: set[Path] = set()
    for path in data:
        if not path.exists():
            raise LogError("no such file or folder", where=str(path), mend="name parquet files or folders of them")
        found = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        for file in found:
            inside = file.relative_to(path).parts[:-1] if path.is_dir() else ()
            if CHARACTERISATION not in inside and file not in seen:
                seen.add(file)
                yield file
    if not seen:
        raise LogError("no parquet file in it", where=", ".join(map(str, data)), mend="name parquet files or folders of them")


def read_state_log(path: Path) -> StateLog:
    """Raises LogError with file and reason; MissingExtra without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("reading parquet needs pyarrow", where=str(path), mend="pip install 'edgebms[bdf]'") from None
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise LogError(f"is not a parquet file: {error}", where=str(path), mend="name a file in Battery Data Format") from None
    columns: dict[str, Floats] = {}
    for name in table.column_names:
        kind = table.schema.field(name).type
        if pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind):
            columns[name] = table[name].to_numpy().astype(np.float64)
    for name in ("test_time_second", "voltage_volt", "current_ampere", "soc_reference"):
        if name not in columns:
            raise LogError(f"has no column {name}", where=str(path), mend="name a file with a reference SOC")
    time_s = columns["test_time_second"]
    if time_s.size < 2:
        raise LogError("has fewer than two rows", where=str(path), mend="leave the file out")
    if not np.isfinite(time_s).all() or not (np.diff(time_s) > 0).all():
        raise LogError("test_time_second does not rise", where=str(path), mend="sort the rows by time")
    if not np.isfinite(columns["soc_reference"]).any():
        raise LogError("its soc_reference is null throughout", where=str(path), mend="leave the file out")
    unknown = np.full(time_s.size, np.nan)
    ambient = columns.get("ambient_temperature_celsius", unknown)
    measured = columns.get("temperature_t1_celsius", columns.get("surface_temperature_celsius", ambient))
    told = ambient if np.isfinite(ambient).any() else measured
    note = metadata(table.schema.metadata)
    nominal = note.get("nominal_capacity_ah")
    return StateLog(
        path=path,
        set=str(note.get("set") or path.parent.name),
        cell=str(note.get("cell") or path.parent.name),
        ambient_c=round(float(np.nanmedian(told))) if np.isfinite(told).any() else float("nan"),
        nominal_ah=float(nominal) if isinstance(nominal, int | float) else float("nan"),
        time_s=time_s,
        current_a=columns["current_ampere"],
        voltage_v=columns["voltage_volt"],
        temperature_c=measured,
        soc=columns["soc_reference"],
    )


def metadata(schema: dict[bytes, bytes] | None) -> dict[str, object]:
    """The record under the schema key ``bdf``; empty where there is none."""
    try:
        note = json.loads((schema or {}).get(b"bdf", b"{}"))
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def check_perturbation(name: str) -> None:
    """Raises LogError unless ``name`` is one that ``plan`` knows."""
    if name != "none" and not JOIN.match(name) and not OFFSET.match(name):
        raise LogError(
            f"no perturbation called {name!r}", where="--perturbations", mend="none, join_0.9, offset_+0.02, offset_-0.1 and the like"
        )


def plan(log: StateLog, perturbation: str, capacity_ah: float) -> Run | None:
    """How ``log`` is run under ``perturbation``; None where its SOC never passes the join's value.

    An offset is in A per Ah of the card's capacity.
    """
    if match := JOIN.match(perturbation):
        value = float(match[1])
        known = np.isfinite(log.soc)
        below = known & (log.soc <= value)
        first = int(np.argmax(below))
        return Run(perturbation, first, 0.0) if below.any() and np.any(log.soc[:first] > value) else None
    if match := OFFSET.match(perturbation):
        return Run(perturbation, 0, float(match[1]) * capacity_ah)
    return Run(perturbation, 0, 0.0)
