"""Logs with a known fault, or known to have none: what is in them, what truth stands beside them, how they are replayed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard, load_card
from edgebms.config import PackConfig, probe_of_cell
from edgebms.errors import LogError, MissingExtra
from edgebms.telemetry.bdf import TIME, find_columns, open_file
from edgebms.vocabulary import Cause
from export.event_rule import event_s
from export.state_logs import metadata

Floats = NDArray[np.float64]

GAP_S = 600.0
"""A longer gap is no sampled time."""
BROKEN_FOR_S = 3600.0
"""So long after a limit was broken an alarm is of that: a student reads the last hour."""
NOWHEN: Floats = np.empty(0)
TESTS = "tests.csv"
EV_AH = 120.0
"""The cars' capacities are not stated; a car of their size has some 120 Ah."""

ABUSE = {"overheat_18650": "over_temperature", "overcharge_18650": "overcharge", "ornl_indentation": "internal_short"}
"""Measured sets in which a fault was made on purpose -> its cause."""
FROM_THE_START = ("overheat_18650", "overcharge_18650")
"""There the heater, or the charge of a full cell, is on from the first row; elsewhere the onset is the label's."""
LABEL_SLACK_S = {"ornl_indentation": 30.0}
"""The label begins at 100 mV or 10 K, the squeezing before it: an alarm by so much earlier is of the fault."""
HEALTHY = ("baticm_ev", "ev_pack_95s")

CAR1_OFF = (71, 78, 79, 80, 85, 86, 88, 89, 91, 92, 93, 94, 95, 96)
"""Cells whose median stands 40 mV or more off the pack's on 2021-05-05 (train)."""
KNOWN_FAULTY: dict[str, tuple[tuple[int, ...], str]] = {
    "car1": (CAR1_OFF, ""),
    "car2": ((82,), "2019-05-10"),
    "car3": ((81,), ""),
}
"""BatICM's cars: cells (from 1) that the data's own reading calls faulty, and from which day. Alarms that name them
are listed apart."""
CARDS = (("LFP", "generic_lfp"), ("LCO", "generic_lco"), ("mAh", "generic_lco"), ("18650", "generic_nca"))
"""A word in the cell's or the test's name -> card; what none fits gets NMC's."""


WATCHED = (Cause.VOLTAGE_SENSOR, Cause.TEMPERATURE_SENSOR, Cause.CURRENT_OFFSET, Cause.IMBALANCE)
"""Causes that mislead but do no harm yet: the alarm that they are due is a watch."""


@dataclass(frozen=True, slots=True)
class Truth:
    """cause: a word of the vocabulary. cell, probe: 0-based, -1 = none in particular. Times in s since the log's first row,
    None = never. detectable: None where nobody says. runaway_label_s: when the set's own label calls it runaway.
    abuse: something was done to the cell on purpose."""

    cause: str
    cell: int
    onset_s: float | None
    event_s: float | None
    detectable: bool | None
    runaway_label_s: float | None
    abuse: bool
    probe: int = -1


@dataclass(frozen=True, slots=True)
class FaultLog:
    """path: the file. set: its set. pack: as it is replayed. truth: what is known of it. known_faulty: 0-based cells.
    sampled_s: time without long gaps; healthy_s: that before the onset in which no alarm is due. slack_s: how early an alarm still is of the fault. broken_s: rows in which a cell or a probe
    is beyond the card's limits (``broken``), s since the first; of simulated logs alone."""

    path: Path
    set: str
    test: str
    pack: PackConfig
    truth: Truth
    known_faulty: frozenset[int]
    sampled_s: float
    healthy_s: float
    slack_s: float
    start_s: float
    broken_s: Floats


def read_fault_log(path: Path, period_s: float) -> FaultLog:
    """What is known of ``path``. period_s: sweeps come no faster. Raises LogError, MissingExtra, CardError."""
    headers, blocks = open_file(path)
    columns = find_columns(headers, str(path))
    rows = np.concatenate(list(blocks) or [np.empty((0, len(headers)))])
    if len(rows) < 2:
        raise LogError("has fewer than two rows", where=str(path), mend="leave the file out")
    time_s = rows[:, columns.time]
    if not (np.diff(time_s) > 0).all():
        raise LogError("test_time_second does not rise", where=str(path), mend="sort the file by time and leave repeated rows out")
    unix_s = rows[0, columns.unix_time] if columns.unix_time is not None else np.nan
    start_s = float(unix_s if np.isfinite(unix_s) else time_s[0])
    note = metadata_of(path)
    told = told_of(path)
    set_name = str(told.get("set") or note.get("set") or path.parent.name)
    if set_name == "overheat_overcharge_18650":
        set_name = path.parent.name
    cells, probes = len(columns.cells), len(columns.probes)
    logged_s = float(np.median(np.diff(time_s)))
    card = load_card(card_of(path, note, told))
    capacity_ah = number(note.get("nominal_capacity_ah")) or number(told.get("capacity_ah")) or (EV_AH if cells > 1 else None)
    parallel = max(1, round(number(told.get("parallel")) or (capacity_ah or card.capacity_ah) / card.capacity_ah))
    pack = PackConfig(
        name="log",
        profile="edgebms",
        card=card_of(path, note, told),
        cells=cells,
        probes=probes,
        parallel=parallel,
        period_s=max(logged_s, period_s),
    )
    time_s = time_s - time_s[0]
    truth = truth_of(set_name, told, cells)
    # of a measured log nobody knows whether what is beyond a limit was the cell or its reading
    broken_s = time_s[broken(rows[:, list(columns.cells)], rows[:, list(columns.probes)], card)] if "cause" in told else NOWHEN
    if set_name in ABUSE:
        volts, warmth = rows[:, list(columns.cells)], rows[:, list(columns.probes)]
        begun = event_s(time_s, volts, warmth, probe_of_cell(pack), card.limits.temperature_runaway_c)
        truth = replace(truth, event_s=begun)
    return FaultLog(
        path=path,
        set=set_name,
        test=path.stem,
        pack=pack,
        truth=truth,
        known_faulty=known_faulty(path, set_name, start_s),
        sampled_s=sampled(time_s, None),
        healthy_s=sampled(time_s, truth.onset_s, broken_s),
        slack_s=LABEL_SLACK_S.get(set_name, 0.0),
        start_s=start_s,
        broken_s=broken_s,
    )


def broken(voltage_v: Floats, temperature_c: Floats, card: CellCard) -> NDArray[np.bool_]:
    """(rows,): whether a cell (rows, cells) is beyond the card's voltages by more than its sensor errs, or a probe (rows, probes) above what it allows in discharge. An
    alarm is due then whatever the truth of the log says: a healthy cell that its site drives too low is driven too low."""
    limits, error_v = card.limits, card.accuracy.sensor_v
    beyond = (voltage_v > limits.voltage_max_v + error_v) | (voltage_v < limits.voltage_min_v - error_v)  # NaN is neither
    found: NDArray[np.bool_] = beyond.any(axis=1) | (temperature_c > limits.discharge_temperature_max_c).any(axis=1)
    return found


def after_broken(broken_s: Floats, time_s: Floats) -> NDArray[np.bool_]:
    """Of each of ``time_s``: whether limits were broken then or within ``BROKEN_FOR_S`` before."""
    if not len(broken_s):
        return np.zeros(len(time_s), dtype=bool)
    last = np.searchsorted(broken_s, time_s, side="right") - 1
    return np.asarray((last >= 0) & (time_s - broken_s[np.maximum(last, 0)] <= BROKEN_FOR_S))


def truth_of(set_name: str, told: dict[str, str], cells: int) -> Truth:
    """From the line of tests.csv: one of ours (it has a cause), or one of the measured sets'."""
    if "cause" in told:
        cell, probe = number(told.get("cell")), number(told.get("probe"))
        detectable = told.get("detectable", "").strip()
        return Truth(
            cause=told["cause"].strip() or "unknown",
            cell=int(cell) - 1 if cell is not None else -1,
            onset_s=None if told["cause"].strip() == "healthy" else number(told.get("onset_second")),
            event_s=number(told.get("event_second")),
            detectable={"1": True, "0": False}.get(detectable),
            runaway_label_s=None,
            abuse=told["cause"].strip() != "healthy",
            probe=int(probe) - 1 if probe is not None and cell is None else -1,
        )
    if set_name in ABUSE:
        onset_s = 0.0 if set_name in FROM_THE_START else number(told.get("fault_second"))
        runaway_s = number(told.get("thermal_runaway_second")) if number(told.get("thermal_runaway")) else None
        return Truth(ABUSE[set_name], 0 if cells == 1 else -1, onset_s, None, None, runaway_s, abuse=True)
    return Truth("healthy" if set_name in HEALTHY else "unknown", -1, None, None, None, None, abuse=False)


def sampled(time_s: Floats, until_s: float | None, broken_s: Floats = NOWHEN) -> float:
    """Seconds without gaps over ``GAP_S``, up to ``until_s``, without those in which an alarm is due (see ``after_broken``).

    >>> sampled(np.array([0.0, 10, 20, 1000, 1010]), None), sampled(np.array([0.0, 10, 20]), 15.0), sampled(np.array([0.0, 10, 20]), None, np.array([20.0]))
    (30.0, 15.0, 10.0)
    """
    steps = np.diff(time_s if until_s is None else np.minimum(time_s, until_s))
    counts = (np.diff(time_s) <= GAP_S) & ~after_broken(broken_s, time_s[1:])
    return float(steps[counts].sum())


def card_of(path: Path, note: dict[str, Any], told: dict[str, str]) -> str:
    """The card that tests.csv or the file names (a .toml beside it, or the catalogue's), or the chemistry's."""
    named = str(told.get("card") or note.get("card") or "")
    if named:
        return str(path.parent / named) if named.endswith(".toml") else named
    words = f"{note.get('chemistry') or ''} {note.get('cell') or ''} {told.get('cell', '')} {path.stem}"
    return next((card for word, card in CARDS if word in words), "generic_nmc")


def known_faulty(path: Path, set_name: str, start_s: float) -> frozenset[int]:
    if set_name != "baticm_ev":
        return frozenset()
    cells, since = KNOWN_FAULTY.get(path.stem[:4], ((), ""))
    day = f"{datetime.fromtimestamp(start_s, UTC):%Y-%m-%d}"
    return frozenset(cell - 1 for cell in cells) if day >= since else frozenset()


def told_of(path: Path) -> dict[str, str]:
    """The line of the nearest tests.csv (beside the file, or a folder above) that names ``path``; empty where none does."""
    for folder in (path.parent, path.parent.parent):
        table = folder / TESTS
        if table.is_file():
            lines = lines_of(table)
            return lines.get(path.name) or lines.get(path.stem) or {}
    return {}


_tables: dict[tuple[Path, int], dict[str, dict[str, str]]] = {}


def lines_of(table: Path) -> dict[str, dict[str, str]]:
    """By the file's name where there is a column ``file``, by the test's else. Raises LogError."""
    try:
        key = (table, table.stat().st_mtime_ns)
        if key not in _tables:
            with table.open(newline="", encoding="utf-8-sig") as file:
                lines = list(csv.DictReader(file))
            _tables[key] = {Path(line["file"]).name if line.get("file") else str(line.get("test")): line for line in lines}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LogError(f"cannot be read: {error}", where=str(table), mend="write it as CSV with a column test or file") from None
    return _tables[key]


def metadata_of(path: Path) -> dict[str, Any]:
    """The record under the schema key ``bdf`` of a parquet file; empty for CSV."""
    if path.suffix != ".parquet":
        return {}
    import pyarrow.parquet

    return dict(metadata(pyarrow.parquet.read_schema(path).metadata))


def thinned(path: Path, period_s: float, folder: Path) -> Path:
    """``path``, or a copy in ``folder`` with one row a ``period_s`` where it has more."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("reading parquet needs pyarrow", where=str(path), mend="pip install 'edgebms[bdf]'") from None
    if path.suffix != ".parquet" or not period_s:
        return path
    table = pyarrow.parquet.read_table(path)
    time_s = table[TIME].to_numpy()
    slots = np.floor((time_s - time_s[0]) / period_s + 1e-6)
    keep = np.append(True, np.diff(slots) > 0)
    if keep.all():
        return path
    copy = folder / path.name
    pyarrow.parquet.write_table(table.filter(pyarrow.array(keep)), copy)
    return copy


def number(value: object) -> float | None:
    """None for what is no number, and for NaN."""
    try:
        out = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return out if np.isfinite(out) else None


def find_logs(data: list[Path]) -> Iterator[Path]:
    """The parquet and CSV files in ``data`` (files, and folders searched through), each once, sorted. Raises LogError."""
    seen: set[Path] = set()
    for path in data:
        if not path.exists():
            raise LogError("no such file or folder", where=str(path), mend="name BDF files or folders of them")
        found = [path] if path.is_file() else sorted([*path.rglob("*.parquet"), *path.rglob("*.csv")])
        for file in found:
            if file not in seen and file.name != TESTS:
                seen.add(file)
                yield file
    if not seen:
        raise LogError("no file in Battery Data Format in it", where=", ".join(map(str, data)), mend="name BDF files or folders of them")
