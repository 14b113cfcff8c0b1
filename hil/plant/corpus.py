"""A corpus of simulated packs as files: BDF parquet, one a pack, and ``tests.csv`` with the truth.

Columns as in the shared data (its README): ``test_time_second``, ``voltage_volt``, ``current_ampere``, ``cell_voltage_001``...,
``temperature_001``..., ``soc_reference``, ``fault_label`` (0 nothing, 1 from a fault's onset on, 2 from the runaway event on).
For training without files: ``episodes.episodes(plan)`` yields the same in memory.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgebms.errors import LogError, MissingExtra
from hil.plant.episodes import Episode

SET = "plant_circuit"
FIELDS = (
    "set", "test", "kind", "cause", "cell", "probe", "onset_second", "size", "size_unit", "event_second", "event_cell", "detectable",
    "departure_sigmas", "departure_quantity", "thermal_runaway", "thermal_runaway_second", "fault_second", "ran_away_cells", "mimics",
    "card", "cells", "probes", "parallel", "capacity_ah", "period_second", "sweep_second", "load", "ambient_celsius", "cooled",
    "temperature_max_celsius", "duration_second",
)  # fmt: skip
"""Columns of tests.csv. Cells and probes count from 1; empty = none. ran_away_cells: cell@second, the first one first."""


def write(episodes: Iterable[Episode], folder: Path, name: str = SET, said: Callable[[str], None] = print) -> float:
    """Write ``episodes`` to ``folder``; returns the cell-hours. Same episodes, same bytes. Raises LogError, MissingExtra."""
    need_pyarrow(folder)
    cell_hours, count = 0.0, 0
    started_s = time.perf_counter()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "tests.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, FIELDS, lineterminator="\n")
            table.writeheader()
            for episode in episodes:
                write_parquet(episode, folder / f"{test_name(episode)}.parquet", name)
                table.writerow(row(episode, name))
                cell_hours += episode.cell_voltage_v.shape[1] * duration_s(episode) / 3600.0
                count += 1
                if count % 50 == 0:
                    said(f"{count} packs, {cell_hours:.0f} cell-hours, {60 * cell_hours / (time.perf_counter() - started_s):.0f} a minute")
    except OSError as error:
        raise LogError(f"cannot be written: {error.strerror}", where=str(folder), mend="name a folder that can be written") from None
    return cell_hours


def need_pyarrow(folder: Path) -> None:
    """Raises MissingExtra."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtra("writing parquet needs pyarrow", where=str(folder), mend="pip install 'edgebms[bdf]'") from None


def first(episodes: Iterator[Episode], packs: int) -> Iterator[Episode]:
    return islice(episodes, packs)


def test_name(episode: Episode) -> str:
    return f"pack_{episode.number + 1:06d}"


def duration_s(episode: Episode) -> float:
    return len(episode.time_s) * episode.period_s


def row(episode: Episode, name: str = SET) -> dict[str, Any]:
    """The line of tests.csv of one episode."""
    from hil.plant.faults import KINDS

    fault = episode.fault
    event_s = "" if np.isnan(episode.event_s) else round(episode.event_s, 3)
    healthy = episode.cause == "healthy"
    kind = KINDS.get(episode.kind)
    return {
        "set": name,
        "test": test_name(episode),
        "kind": episode.kind,
        "cause": str(episode.cause),
        "cell": fault.cell + 1 if fault is not None and fault.cell >= 0 else "",
        "probe": fault.probe + 1 if fault is not None and fault.probe >= 0 else "",
        "onset_second": "" if fault is None else fault.onset_s,
        "size": "" if fault is None else f"{fault.size:.6g}",
        "size_unit": "" if fault is None else fault.unit,
        "event_second": event_s,
        "event_cell": episode.event_cell + 1 if episode.event_cell >= 0 else "",
        "detectable": "" if healthy else int(episode.detectable),
        "departure_sigmas": "" if np.isnan(episode.sigmas) else f"{episode.sigmas:.3g}",
        "departure_quantity": episode.quantity,
        "thermal_runaway": int(episode.event_cell >= 0),
        "thermal_runaway_second": event_s,
        "fault_second": "" if healthy or fault is None else fault.onset_s,
        "ran_away_cells": " ".join(f"{cell + 1}@{at_s:g}" for cell, at_s in episode.ran_away),
        "mimics": kind.mimics if kind is not None else "",
        "card": episode.card,
        "cells": episode.cell_voltage_v.shape[1],
        "probes": episode.temperature_c.shape[1],
        "parallel": f"{episode.parallel:g}",
        "capacity_ah": f"{episode.capacity_ah:.6g}",
        "period_second": f"{episode.period_s:g}",
        "sweep_second": f"{episode.sweep_s:.4g}",
        "load": episode.load,
        "ambient_celsius": f"{episode.ambient_c:.4g}",
        "cooled": episode.cooled,
        "temperature_max_celsius": f"{episode.hottest_c:.5g}",
        "duration_second": f"{duration_s(episode):g}",
    }


def label(episode: Episode) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    """``fault_label`` at each snapshot."""
    out = np.zeros(len(episode.time_s), np.int8)
    if episode.fault is not None and episode.cause != "healthy":
        out[episode.time_s >= episode.fault.onset_s] = 1
    if episode.event_cell >= 0:
        out[episode.time_s >= episode.event_s] = 2
    return out


def write_parquet(episode: Episode, path: Path, name: str = SET) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "test_time_second": episode.time_s,
        "voltage_volt": episode.voltage_v,
        "current_ampere": episode.current_a,
    }
    for i, cell in enumerate(np.ascontiguousarray(episode.cell_voltage_v.T)):
        columns[f"cell_voltage_{i + 1:03d}"] = cell
    for i, probe in enumerate(np.ascontiguousarray(episode.temperature_c.T)):
        columns[f"temperature_{i + 1:03d}"] = probe
    columns["insulation_resistance_ohm"] = episode.insulation_ohm
    columns["gas"] = episode.gas
    columns["soc_reference"] = episode.soc
    columns["fault_label"] = label(episode)
    # looking for NaN is quicker than making a mask of them where there are none
    arrays = {key: pa.array(value, from_pandas=bool(np.isnan(value).any())) for key, value in columns.items()}
    record = {
        "cell": f"{episode.card}, {episode.parallel:g} side by side",
        "source": f"simulated by this project's plant ({name})",
        "licence": "Apache-2.0",
        "label": "fault_label from the plant's truth, see tests.csv",
        "rate": f"one snapshot every {episode.period_s:g} s",
        "probe_cell": [cell + 1 for cell in episode.probe_cell],
    }
    table = pa.table(arrays).replace_schema_metadata({"bdf": json.dumps(record)})
    # the bytes of a float apart: noise is packed in less time
    split = [key for key, value in arrays.items() if value.type == pa.float32()]
    pq.write_table(
        table, path, compression="zstd", compression_level=1, use_dictionary=False, use_byte_stream_split=split, write_statistics=False
    )
