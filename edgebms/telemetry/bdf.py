"""Battery Data Format files (parquet or CSV) to snapshots: one row is one complete sweep.

Columns by their labels ("Voltage / V") or their machine names (``voltage_volt``), as BDF 1.2 allows.
A pack has ``cell_voltage_001``... and ``temperature_001``... (an extension of BDF); a single cell has
``voltage_volt`` and ``temperature_t1_celsius``... or ``surface_temperature_celsius``. Where fitted (of our own too;
``hil corpus`` writes the first two): ``insulation_resistance_ohm``, ``gas`` (0 to 1), ``gas_pressure_pa``, ``coolant_temperature_celsius``.
https://github.com/battery-data-alliance/battery-data-format
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgebms.config import PackConfig, probe_of_cell
from edgebms.errors import LogError, MissingExtra
from edgebms.telemetry.assembler import SILENCE_NS
from edgebms.telemetry.judge import Judge
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.runaway_view import worst_s
from edgebms.telemetry.silence import silence_ticks_ns
from edgebms.telemetry.snapshot import MISSING, Codes, Floats, Reading, RunawayView, Snapshot
from edgebms.vocabulary import Reason

TIME = "test_time_second"
UNITS = {"v": "volt", "a": "ampere", "s": "second", "degc": "celsius", "1": ""}
CELL = re.compile(r"cell_voltage_(\d{3})(?:_volt)?$")
PROBE = re.compile(r"temperature_(\d{3})(?:_celsius)?$")
CELL_PROBE = re.compile(r"(?:surface_)?temperature_t(\d)_celsius$")
BLOCK_ROWS = 2048
LAST_S = 9.2e9
SWEEP_NS = 5_000_000
"""A row stands for a sweep of some milliseconds, like one on a bus."""


def machine_name(header: str) -> str:
    """The machine name of a column header, be it a label or already one.

    >>> [machine_name(header) for header in ("Voltage / V", "voltage_volt", "Temperature T1 / degC", "Test Time / s")]
    ['voltage_volt', 'voltage_volt', 'temperature_t1_celsius', 'test_time_second']
    >>> [machine_name(header) for header in ("Insulation Resistance / ohm", "Gas / 1")]
    ['insulation_resistance_ohm', 'gas']
    """
    quantity, _, unit = header.strip().lower().partition("/")
    words = quantity.split()
    if unit.strip():
        words.append(UNITS.get(unit.strip(), unit.strip()))
    return "_".join(filter(None, words))


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns (positions in the file) hold what; None = the file has none.

    In s, V and A; insulation in ohm, gas from 0 to 1, pressure (of the pack's air) in Pa, coolant in degC.
    """

    time: int
    unix_time: int | None
    voltage: int | None
    current: int | None
    cells: tuple[int, ...]
    probes: tuple[int, ...]
    insulation: int | None
    gas: int | None
    pressure: int | None
    coolant: int | None


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
    return Columns(
        time=places[TIME],
        unix_time=places.get("unix_time_second"),
        voltage=voltage,
        current=places.get("current_ampere"),
        cells=cells,
        probes=probes,
        insulation=places.get("insulation_resistance_ohm"),
        gas=places.get("gas"),
        pressure=places.get("gas_pressure_pa"),
        coolant=places.get("coolant_temperature_celsius"),
    )


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


def snapshots(path: Path, pack: PackConfig) -> Iterator[Snapshot]:
    """The rows of ``path`` as ``pack``'s snapshots, judged as its profile judges sweeps from the bus.

    Where rows are missing, incomplete snapshots say so, as the assembler does when the bus falls silent.
    Raises LogError with file and row, ProfileError, MissingExtra for parquet without pyarrow.
    """
    profile = load_profile(pack.profile, pack)
    rule = profile.file.snapshot
    timeout_ns = round(rule.timeout_periods * profile.period_s * 1e9)
    silence_ns = max(timeout_ns, SILENCE_NS)
    judge = Judge(profile)
    stale_s = rule.stale_periods * np.array([profile.cell_period_s, profile.probe_period_s, profile.period_s])
    probe_of = np.array(probe_of_cell(pack), dtype=np.intp)
    seq = 0

    def judged(sweep: Snapshot, at_ns: int) -> Snapshot:
        nonlocal seq
        age_s = (at_ns - sweep.time_ns) * 1e-9
        cells, cell_reason = aged(sweep.cell_voltage_v, sweep.cell_reason, age_s > stale_s[0])
        probes, probe_reason = aged(sweep.temperature_c, sweep.temperature_reason, age_s > stale_s[1])
        current, voltage, insulation, gas, pressure, coolant = (
            aged_reading(reading, age_s, age_s > stale_s[2])
            for reading in (
                sweep.current_a,
                sweep.voltage_v,
                sweep.insulation_ohm,
                sweep.gas,
                sweep.pressure_pa,
                sweep.coolant_temperature_c,
            )
        )
        judge.cells(cells, cell_reason, current.value, voltage.value, at_ns)
        judge.probes(probes, probe_reason, at_ns)
        good = np.append(probe_reason == Reason.VALID, False)  # the last stands for cells without a probe
        seen = worst_s(max(profile.probe_period_s, age_s), float("inf"), float("nan"), profile.period_s) if good.any() else float("inf")
        seq += 1
        return replace(
            sweep,
            seq=seq - 1,
            time_ns=at_ns,
            cell_voltage_v=cells,
            cell_reason=cell_reason,
            cell_age_s=np.full(len(cells), age_s),
            temperature_c=probes,
            temperature_reason=probe_reason,
            temperature_age_s=np.full(len(probes), age_s),
            current_a=current,
            voltage_v=voltage,
            runaway_view=RunawayView(seen, int(np.count_nonzero(~good[probe_of])), False),
            insulation_ohm=insulation,
            gas=gas,
            pressure_pa=pressure,
            coolant_temperature_c=coolant,
            complete=at_ns == sweep.time_ns,
        )

    def run() -> Iterator[Snapshot]:
        last: Snapshot | None = None
        for sweep in sweeps(path, pack):
            if last is not None:
                due_ns = last.time_ns + timeout_ns
                # The last look is the one that the first frame of the next sweep brings.
                for at_ns in (*silence_ticks_ns(last.time_ns, sweep.time_ns), sweep.time_ns - SWEEP_NS):
                    if at_ns >= due_ns:
                        yield judged(last, at_ns)
                        due_ns = at_ns + silence_ns
            yield judged(sweep, sweep.time_ns)
            last = sweep

    return run()


def aged(value: Floats, reason: Codes, stale: bool) -> tuple[Floats, Codes]:
    """Copies, unknown where the sweep that they came with is too old."""
    if not stale:
        return value.copy(), reason.copy()
    return np.full_like(value, np.nan), np.full_like(reason, Reason.STALE)


def aged_reading(reading: Reading, age_s: float, stale: bool) -> Reading:
    if reading.reason is Reason.NOT_IN_PROFILE:
        return reading
    return Reading(float("nan"), age_s, Reason.STALE) if stale else Reading(reading.value, age_s, reading.reason)


def sweeps(path: Path, pack: PackConfig) -> Iterator[Snapshot]:
    """The rows of ``path`` as they stand: a number is valid, null or an empty field an invalid code.

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
    cell_columns, probe_columns = list(columns.cells), list(columns.probes)
    cell_age_s, probe_age_s = np.zeros(len(cell_columns)), np.zeros(len(probe_columns))
    seq = 0
    base_s: float | None = None
    last_s = -np.inf
    for block in blocks:
        block[~np.isfinite(block)] = np.nan
        missing = np.isnan(block)
        cells, probes = block[:, cell_columns], block[:, probe_columns]
        cell_reason = np.where(missing[:, cell_columns], Reason.INVALID_CODE, Reason.VALID).astype(np.uint8)
        probe_reason = np.where(missing[:, probe_columns], Reason.INVALID_CODE, Reason.VALID).astype(np.uint8)
        for i, now_s in enumerate(block[:, columns.time].tolist()):
            if not now_s > last_s:
                mend = "sort the file by time and leave repeated rows out"
                raise LogError("test_time_second does not rise", where=f"{path}: row {seq + 1}", mend=mend)
            last_s = now_s
            if base_s is None:
                unix_s = float(block[i, columns.unix_time]) if columns.unix_time is not None else float("nan")
                base_s = unix_s - now_s if np.isfinite(unix_s) else 0.0
            if abs(base_s + now_s) > LAST_S:
                raise LogError("has a time beyond the year 2262", where=f"{path}: row {seq + 1}", mend="times in BDF are seconds")
            yield Snapshot(
                pack=pack.name,
                seq=seq,
                # A float holds today's time in steps of 0.2 us.
                time_ns=round((base_s + now_s) * 1e6) * 1000,
                cell_voltage_v=cells[i],
                cell_reason=cell_reason[i],
                cell_age_s=cell_age_s,
                temperature_c=probes[i],
                temperature_reason=probe_reason[i],
                temperature_age_s=probe_age_s,
                current_a=scalar(block[i], columns.current),
                voltage_v=scalar(block[i], columns.voltage),
                runaway_view=RunawayView(float("inf"), pack.cells, False),
                insulation_ohm=scalar(block[i], columns.insulation),
                gas=scalar(block[i], columns.gas),
                pressure_pa=scalar(block[i], columns.pressure),
                coolant_temperature_c=scalar(block[i], columns.coolant),
            )
            seq += 1
    if seq == 0:
        raise LogError("has no rows", where=str(path), mend="record again, or leave the file out")


def scalar(row: Floats, place: int | None) -> Reading:
    """The value at ``place`` of ``row`` (columns,), NaN an invalid code; not in the profile where the file has no such column."""
    if place is None:
        return MISSING
    value = float(row[place])
    return Reading(value, 0.0, Reason.INVALID_CODE if np.isnan(value) else Reason.VALID)


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
