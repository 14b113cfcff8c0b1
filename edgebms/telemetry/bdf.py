"""Battery Data Format files (parquet or CSV) to snapshots: one row is one complete sweep.

Columns by their labels ("Voltage / V") or their machine names (``voltage_volt``), as BDF 1.2 allows.
A pack has ``cell_voltage_001``... and ``temperature_001``... (an extension of BDF); a single cell has
``voltage_volt`` and ``temperature_t1_celsius``... or ``surface_temperature_celsius``.
https://github.com/battery-data-alliance/battery-data-format
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.errors import LogError, MissingExtra
from edgebms.telemetry.snapshot import Codes, Floats, Reading, RunawayView, Snapshot
from edgebms.vocabulary import Reason

TIME = "test_time_second"
UNITS = {"v": "volt", "a": "ampere", "s": "second", "degc": "celsius"}
CELL = re.compile(r"cell_voltage_(\d{3})(?:_volt)?$")
PROBE = re.compile(r"temperature_(\d{3})(?:_celsius)?$")
CELL_PROBE = re.compile(r"(?:surface_)?temperature_t(\d)_celsius$")
BLOCK_ROWS = 2048
LAST_S = 9.2e9


def machine_name(header: str) -> str:
    """The machine name of a column header, be it a label or already one.

    >>> [machine_name(header) for header in ("Voltage / V", "voltage_volt", "Temperature T1 / degC", "Test Time / s")]
    ['voltage_volt', 'voltage_volt', 'temperature_t1_celsius', 'test_time_second']
    """
    quantity, _, unit = header.strip().lower().partition("/")
    words = quantity.split()
    if unit.strip():
        words.append(UNITS.get(unit.strip(), unit.strip()))
    return "_".join(words)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns (positions in the file) hold what."""

    time: int
    unix_time: int | None
    voltage: int | None
    current: int | None
    cells: tuple[int, ...]
    probes: tuple[int, ...]


def find_columns(headers: list[str], where: str) -> Columns:
    """Which of ``headers`` hold what. Raises LogError where time or cell voltages are missing."""
    places = {machine_name(header): i for i, header in reversed(list(enumerate(headers)))}
    if TIME not in places:
        raise LogError(f"has no column {TIME} (Test Time / s)", where=where, mend="name a file in Battery Data Format")
    voltage = places.get("voltage_volt")
    cells = numbered(places, CELL)
    probes = numbered(places, PROBE)
    if not cells and voltage is not None:
        cells = (voltage,)
        probes = (
            probes or numbered(places, CELL_PROBE) or tuple(places[name] for name in ("surface_temperature_celsius",) if name in places)
        )
    if not cells:
        raise LogError("has neither cell_voltage_001... nor voltage_volt (Voltage / V)", where=where, mend="name a file with cell voltages")
    return Columns(places[TIME], places.get("unix_time_second"), voltage, places.get("current_ampere"), cells, probes)


def check_fits(columns: Columns, pack: PackConfig, where: str) -> None:
    """Raises LogError where the file is not of ``pack``'s shape."""
    cells, probes = len(columns.cells), len(columns.probes)
    if cells != pack.cells:
        raise LogError(
            f"has {cells} cell voltages, pack {pack.name!r} has {pack.cells} cells",
            where=where,
            mend=f"set cells = {cells} for this pack, or name its own file",
        )
    if probes != pack.probes:
        raise LogError(
            f"has {probes} temperatures, pack {pack.name!r} has {pack.probes} probes",
            where=where,
            mend=f"set probes = {probes} for this pack, or name its own file",
        )


def numbered(places: dict[str, int], pattern: re.Pattern[str]) -> tuple[int, ...]:
    found = {int(match[1]): place for name, place in places.items() if (match := pattern.match(name))}
    return tuple(found[number] for number in sorted(found))


def shape(path: Path) -> tuple[int, int]:
    """(cells, probes) that the columns of ``path`` hold. Raises LogError, MissingExtra."""
    columns = find_columns(open_file(path)[0], str(path))
    return len(columns.cells), len(columns.probes)


def snapshots(path: Path, pack: PackConfig, card: CellCard) -> Iterator[Snapshot]:  # noqa: ARG001
    """The rows of ``path`` as snapshots of ``pack``, judged as the assembler judges a sweep from the bus.

    Raises LogError with file and row, MissingExtra for parquet without pyarrow.
    """
    return sweeps(path, pack)


def sweeps(path: Path, pack: PackConfig) -> Iterator[Snapshot]:
    """The rows of ``path`` as they stand: a number is valid, what is missing is not.

    time_ns is the file's wall clock (``unix_time_second`` of its first row plus test time) where there
    is one, else the test time. Raises LogError with file and row, MissingExtra for parquet without pyarrow.
    """
    headers, blocks = open_file(path)
    columns = find_columns(headers, str(path))
    check_fits(columns, pack, str(path))
    return rows_to_snapshots(columns, blocks, pack, path)


def open_file(path: Path) -> tuple[list[str], Iterator[Floats]]:
    """Headers, and blocks of shape (rows, columns)."""
    if not path.is_file():
        raise LogError("no such file", where=str(path), mend="name a .parquet or .csv file")
    return open_parquet(path) if path.suffix == ".parquet" else open_csv(path)


def rows_to_snapshots(columns: Columns, blocks: Iterator[Floats], pack: PackConfig, path: Path) -> Iterator[Snapshot]:
    seq = 0
    base_s: float | None = None
    last_s = -np.inf
    cell_seen_s = np.full(len(columns.cells), -np.inf)
    probe_seen_s = np.full(len(columns.probes), -np.inf)
    scalar_seen_s = {"current": -np.inf, "voltage": -np.inf}
    for block in blocks:
        for row in block:
            now_s = float(row[columns.time])
            if not now_s > last_s:
                raise LogError(
                    "test_time_second does not rise",
                    where=f"{path}: row {seq + 1}",
                    mend="sort the file by time and leave repeated rows out",
                )
            last_s = now_s
            if base_s is None:
                unix_s = float(row[columns.unix_time]) if columns.unix_time is not None else float("nan")
                base_s = unix_s - now_s if np.isfinite(unix_s) else 0.0
            if abs(base_s + now_s) > LAST_S:
                raise LogError("has a time beyond the year 2262", where=f"{path}: row {seq + 1}", mend="times in BDF are seconds")
            # Milliseconds are all that BDF times are good for; a float holds today's in steps of 0.2 us.
            time_ns = round((base_s + now_s) * 1e6) * 1000
            cells, cell_reason, cell_age = sweep(row, columns.cells, cell_seen_s, now_s)
            probes, probe_reason, probe_age = sweep(row, columns.probes, probe_seen_s, now_s)
            yield Snapshot(
                pack=pack.name,
                seq=seq,
                time_ns=time_ns,
                cell_voltage_v=cells,
                cell_reason=cell_reason,
                cell_age_s=cell_age,
                temperature_c=probes,
                temperature_reason=probe_reason,
                temperature_age_s=probe_age,
                current_a=scalar(row, columns.current, "current", scalar_seen_s, now_s),
                voltage_v=scalar(row, columns.voltage, "voltage", scalar_seen_s, now_s),
                runaway_view=RunawayView(float("inf"), pack.cells, False),
            )
            seq += 1
    if seq == 0:
        raise LogError("has no rows", where=str(path), mend="record again, or leave the file out")


def sweep(row: Floats, places: tuple[int, ...], seen_s: Floats, now_s: float) -> tuple[Floats, Codes, Floats]:
    """Values, reasons and ages of one row's cells or probes; ``seen_s`` is brought up to date."""
    values = row[list(places)]
    known = np.isfinite(values)
    seen_s[known] = now_s
    reason: NDArray[np.uint8] = np.where(
        known, Reason.VALID, np.where(np.isfinite(seen_s), Reason.INVALID_CODE, Reason.NEVER_RECEIVED)
    ).astype(np.uint8)
    return np.where(known, values, np.nan), reason, now_s - seen_s


def scalar(row: Floats, place: int | None, name: str, seen_s: dict[str, float], now_s: float) -> Reading:
    if place is None:
        return Reading(float("nan"), float("inf"), Reason.NOT_IN_PROFILE)
    value = float(row[place])
    if np.isfinite(value):
        seen_s[name] = now_s
        return Reading(value, 0.0, Reason.VALID)
    return Reading(float("nan"), now_s - seen_s[name], Reason.INVALID_CODE if np.isfinite(seen_s[name]) else Reason.NEVER_RECEIVED)


def open_parquet(path: Path) -> tuple[list[str], Iterator[Floats]]:
    """Headers, and blocks of shape (rows, columns) with NaN for null. Columns that are no numbers are NaN."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            "reading parquet needs pyarrow", where=str(path), mend="pip install 'edgebms[bdf]', or convert the file to CSV"
        ) from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
        headers = [str(name) for name in file.schema_arrow.names]
    except (pyarrow.ArrowException, OSError) as error:
        raise LogError(f"is not a parquet file: {error}", where=str(path), mend="name a file in Battery Data Format") from None

    def blocks() -> Iterator[Floats]:
        try:
            for batch in file.iter_batches(BLOCK_ROWS):
                block = np.full((batch.num_rows, batch.num_columns), np.nan)
                for i, column in enumerate(batch.columns):
                    if pyarrow.types.is_floating(column.type) or pyarrow.types.is_integer(column.type):
                        values = column.to_numpy(zero_copy_only=False)
                        # A float32 of 3.456 reads 3.45600009: the decimal that was stored is meant.
                        block[:, i] = np.round(values.astype(np.float64), 5) if pyarrow.types.is_float32(column.type) else values
                yield block
        except (pyarrow.ArrowException, OSError) as error:
            raise LogError(f"breaks off: {error}", where=str(path), mend="copy or convert the file again") from None
        finally:
            file.close()

    return headers, blocks()


def open_csv(path: Path) -> tuple[list[str], Iterator[Floats]]:
    """Headers, and blocks of shape (rows, columns); an empty field is NaN, and so is text in a column of text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            headers = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LogError(f"cannot be read: {error}", where=str(path), mend="name a CSV file in Battery Data Format") from None

    def blocks() -> Iterator[Floats]:
        block: list[list[float]] = []
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file)
                next(reader)
                for fields in reader:
                    if not fields:
                        continue
                    if len(fields) != len(headers):
                        raise LogError(
                            f"{len(fields)} fields, the header has {len(headers)}",
                            where=f"{path}: line {reader.line_num}",
                            mend="mend the line or leave it out",
                        )
                    block.append([number(field) for field in fields])
                    if len(block) == BLOCK_ROWS:
                        yield np.array(block)
                        block = []
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise LogError(f"cannot be read: {error}", where=str(path), mend="name a CSV file in Battery Data Format") from None
        if block:
            yield np.array(block)

    return headers, blocks()


def number(field: str) -> float:
    """NaN for what is not a number: unknown, never an invented value."""
    try:
        return float(field)
    except ValueError:
        return float("nan")
