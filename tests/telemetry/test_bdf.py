"""BDF files to snapshots: every value is the file's, every absence is told, bad files are one sentence."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import needed, shared

from edgebms.config import PackConfig
from edgebms.errors import LogError
from edgebms.telemetry import bdf
from edgebms.vocabulary import Reason

LABELS = ["Test Time / s", "Voltage / V", "Current / A", "Unix Time / s"]
MACHINE = ["test_time_second", "voltage_volt", "current_ampere", "unix_time_second"]


def pack(cells: int, probes: int) -> PackConfig:
    return PackConfig(name="p", profile="edgebms", card="generic_nmc", cells=cells, probes=probes)


def write(path: Path, headers: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([headers, *rows])
    return path


def read(path: Path, cells: int, probes: int) -> list:
    return list(bdf.sweeps(path, pack(cells, probes)))


def test_a_real_vehicle_day_gives_its_own_values():
    pq = needed("pyarrow.parquet")
    path = shared("data/fault/train/baticm_ev/car1_2021-05-05.parquet")
    table = pq.read_table(path)
    cells = np.column_stack([table[f"cell_voltage_{i:03d}"].to_numpy() for i in range(1, 97)])
    snapshots = read(path, 96, 24)
    assert len(snapshots) == table.num_rows == 19_817
    voltages = np.array([snapshot.cell_voltage_v for snapshot in snapshots])
    known = np.array([snapshot.cell_reason for snapshot in snapshots]) == Reason.VALID
    assert np.array_equal(known, np.isfinite(cells))
    assert np.abs(voltages - cells)[known].max() < 1e-5
    assert np.isnan(voltages[~known]).all()
    assert all(
        s.current_a.value == pytest.approx(float(a), abs=1e-4)
        for s, a in zip(snapshots, table["current_ampere"].to_pylist(), strict=True)
        if a is not None
    )
    seconds = np.diff([snapshot.time_ns for snapshot in snapshots]) / 1e9
    assert np.allclose(seconds, np.diff(table["test_time_second"].to_numpy()), atol=2e-6)
    assert snapshots[0].time_ns == pytest.approx(table["unix_time_second"][0].as_py() * 1e9, abs=2000)


@pytest.mark.parametrize("headers", [LABELS, MACHINE])
def test_csv_by_labels_and_by_machine_names(tmp_path: Path, headers: list[str]):
    path = write(
        tmp_path / "cell.csv",
        [*headers, "Temperature T1 / degC"],
        [[0, 3.7, -1.5, 1.7e9, 25.0], [1, "", -1.5, "", 25.5], [2.5, 3.6, "", "", ""]],
    )
    first, second, third = read(path, 1, 1)
    assert first.time_ns == 1_700_000_000_000_000_000
    assert third.time_ns - first.time_ns == 2_500_000_000
    assert first.cell_voltage_v.tolist() == [3.7]
    assert first.current_a.value == -1.5
    assert first.temperature_c.tolist() == [25.0]
    assert np.isnan(second.cell_voltage_v[0])
    assert second.cell_reason.tolist() == [Reason.INVALID_CODE]
    assert not second.voltage_v.valid
    assert third.current_a.reason is Reason.INVALID_CODE


def test_what_is_missing_is_not_in_the_profile_or_an_invalid_code(tmp_path: Path):
    path = write(
        tmp_path / "pack.csv",
        ["test_time_second", "cell_voltage_001", "cell_voltage_002", "temperature_001"],
        [[0, 3.7, "", 20], [1, 3.7, "inf", 20]],
    )
    for snapshot in read(path, 2, 1):
        assert snapshot.cell_reason.tolist() == [Reason.VALID, Reason.INVALID_CODE]
        assert np.isnan(snapshot.cell_voltage_v[1])
        assert snapshot.current_a.reason is Reason.NOT_IN_PROFILE
        assert np.isnan(snapshot.voltage_v.value)


def test_missing_rows_are_silence_as_on_the_bus(tmp_path: Path):
    """Rows at 0, 1, 2 s, then nothing until 100 s: the pack is said to be stale in between, and valid again after."""
    path = write(tmp_path / "cell.csv", MACHINE[:3], [[t, 3.7 + t / 1000, -1.0] for t in (0, 1, 2, 100, 101)])
    settings = msgspec.structs.replace(pack(1, 0), period_s=1.0)
    judged = list(bdf.snapshots(path, settings))
    rows = [snapshot for snapshot in judged if snapshot.complete]
    silent = [snapshot for snapshot in judged if not snapshot.complete]
    assert [snapshot.time_ns // 10**9 for snapshot in rows] == [0, 1, 2, 100, 101]
    assert all(snapshot.cell_reason[0] == Reason.VALID for snapshot in rows)
    assert [snapshot.seq for snapshot in judged] == list(range(len(judged)))
    assert all(2 * 10**9 < snapshot.time_ns < 100 * 10**9 for snapshot in silent)
    stale = [snapshot for snapshot in silent if snapshot.time_ns > 7.1e9]
    assert stale
    assert all(snapshot.cell_reason[0] == Reason.STALE and np.isnan(snapshot.cell_voltage_v[0]) for snapshot in stale)
    assert all(snapshot.current_a.reason is Reason.STALE for snapshot in stale)
    assert silent[0].time_ns == 3.5e9
    assert silent[0].cell_reason[0] == Reason.VALID
    assert silent[0].cell_age_s[0] == 1.5


def test_a_frozen_cell_and_a_sum_that_does_not_fit_are_not_believed(tmp_path: Path):
    headers = ["test_time_second", "voltage_volt", "current_ampere", *(f"cell_voltage_{i:03d}" for i in range(1, 9))]
    times = range(400)
    cells = [[3.6 + 0.1 * np.sin(t / 40 + i / 10) for i in range(8)] for t in times]
    for row in cells:
        row[2] = 3.65
    frozen = write(tmp_path / "frozen.csv", headers, [[t, sum(row), -1, *row] for t, row in zip(times, cells, strict=True)])
    settings = msgspec.structs.replace(pack(8, 0), period_s=1.0)
    last = list(bdf.snapshots(frozen, settings))[-1]
    assert last.cell_reason.tolist() == [0, 0, Reason.FROZEN, 0, 0, 0, 0, 0]
    assert np.isnan(last.cell_voltage_v[2])
    for row in cells:
        row[2] = row[1] + 0.01
    wrong = write(tmp_path / "wrong.csv", headers, [[t, sum(row) * 1.2, -1, *row] for t, row in zip(times, cells, strict=True)])
    last = list(bdf.snapshots(wrong, settings))[-1]
    assert (last.cell_reason == Reason.SUM_MISMATCH).all()
    right = write(tmp_path / "right.csv", headers, [[t, sum(row), -1, *row] for t, row in zip(times, cells, strict=True)])
    assert all((snapshot.cell_reason == 0).all() for snapshot in bdf.snapshots(right, settings))


@pytest.mark.parametrize(
    ("headers", "rows", "cells", "probes", "what"),
    [
        (["time", "v"], [[0, 1]], 1, 0, "has no column test_time_second"),
        (["test_time_second", "amps"], [[0, 1]], 1, 0, "has neither cell_voltage_001"),
        (["test_time_second", "cell_voltage_001"], [[0, 1]], 2, 0, "has 1 cell voltages, pack 'p' has 2 cells - set cells = 1"),
        (["test_time_second", "cell_voltage_001", "temperature_001"], [[0, 1, 2]], 1, 0, "set probes = 1"),
        (["test_time_second", "voltage_volt"], [], 1, 0, "has no rows"),
        (["test_time_second", "voltage_volt"], [[0, 1], [1, 1], [1, 1]], 1, 0, "row 3: test_time_second does not rise"),
        (["test_time_second", "voltage_volt"], [["x", 1]], 1, 0, "row 1: test_time_second does not rise"),
        (["test_time_second", "voltage_volt"], [[1e12, 1]], 1, 0, "beyond the year 2262"),
        (["test_time_second", "voltage_volt"], [[0, 1], [1]], 1, 0, "line 3: 1 fields, the header has 2"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(
    tmp_path: Path, headers: list[str], rows: list[list[object]], cells: int, probes: int, what: str
):
    path = write(tmp_path / "t.csv", headers, rows)
    with pytest.raises(LogError) as caught:
        read(path, cells, probes)
    assert what in str(caught.value)
    assert str(path) in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".parquet", ".csv"]), headed=st.booleans())
def test_random_bytes_are_a_log_error_or_snapshots(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str, headed: bool):
    path = tmp_path_factory.mktemp("random") / f"t{suffix}"
    path.write_bytes((b"test_time_second,voltage_volt\n0,3.7\n" if headed else b"") + content)
    try:
        for snapshot in bdf.sweeps(path, pack(1, 0)):
            assert snapshot.cell_voltage_v.shape == (1,)
    except LogError as error:
        assert str(path) in str(error)
