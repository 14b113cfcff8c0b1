"""Insulation, gas, pressure and coolant in BDF files: read where they stand, unknown where not, and judged on replay."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest
from shared_data import needed

from edgebms.assembly import build_lines
from edgebms.clock import LogClock
from edgebms.config import Config, PackConfig, Site, Students
from edgebms.decision.types import Decision
from edgebms.errors import LogError
from edgebms.inlet.logfile import LogFile
from edgebms.loop import Loop, replay, replay_snapshots
from edgebms.telemetry import bdf
from edgebms.telemetry.snapshot import MISSING, Snapshot
from edgebms.vocabulary import Reason, SiteKind
from edgebms.worker import ask_inline
from hil import candump
from hil.__main__ import main
from hil.encode_bdf import frames

LABELS = ["Test Time / s", "Voltage / V", "Insulation Resistance / ohm", "Gas / 1", "Gas Pressure / Pa", "Coolant Temperature / degC"]
MACHINE = ["test_time_second", "voltage_volt", "insulation_resistance_ohm", "gas", "gas_pressure_pa", "coolant_temperature_celsius"]
FIELDS = ("insulation_ohm", "gas", "pressure_pa", "coolant_temperature_c")
PROFILES = ("edgebms", "edgebms_fd")


def pack(cells: int = 1, probes: int = 0, profile: str = "edgebms", period_s: float = 1.0) -> PackConfig:
    return PackConfig(name="p", profile=profile, card="generic_nmc", cells=cells, probes=probes, period_s=period_s)


def write(path: Path, headers: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([headers, *rows])
    return path


def values(snapshot: Snapshot) -> list[float]:
    return [getattr(snapshot, name).value for name in FIELDS]


def reasons(snapshot: Snapshot) -> list[Reason]:
    return [getattr(snapshot, name).reason for name in FIELDS]


def decided(path: Path, settings: PackConfig) -> list[Decision]:
    """What is decided, without any student, of a BDF file or of CAN frames."""
    told: list[Decision] = []
    config = Config(pack=(settings,), site=Site(kind=SiteKind.GRID_TIED), students=Students(state="", reasoner=""))
    line = build_lines(config, ask_inline)["p"]
    clock = LogClock()
    loop = Loop([line], clock, told.append, lambda: 0)
    if path.suffix == ".log":
        replay(LogFile(path), loop, clock)
    else:
        replay_snapshots(bdf.snapshots(path, settings), line, loop, clock)
    return [decision for decision in told if decision.quality.complete]


def levels(decisions: list[Decision], hazard: str) -> list[str]:
    """The level of ``hazard`` at each decision, "" = no such alert."""
    return [next((str(alert.level) for alert in decision.alerts if alert.hazard == hazard), "") for decision in decisions]


@pytest.mark.parametrize("headers", [LABELS, MACHINE])
def test_read_by_label_and_by_machine_name_and_an_empty_field_is_unknown_in_its_row(tmp_path: Path, headers: list[str]):
    path = write(
        tmp_path / "t.csv",
        headers,
        [[0, 3.7, 1.5e6, 0, 101300, 18.5], [1, 3.6, "", 0.25, "", "x"], [2, 3.7, 5000, "inf", 101400, 19]],
    )
    first, second, third = bdf.sweeps(path, pack())
    assert values(first) == [1.5e6, 0.0, 101300.0, 18.5]
    assert all(getattr(first, name).age_s == 0.0 for name in FIELDS)
    assert reasons(second) == [Reason.INVALID_CODE, Reason.VALID, Reason.INVALID_CODE, Reason.INVALID_CODE]
    assert np.array_equal(values(second), [np.nan, 0.25, np.nan, np.nan], equal_nan=True)
    assert second.voltage_v.value == 3.6
    assert reasons(third) == [Reason.VALID, Reason.INVALID_CODE, Reason.VALID, Reason.VALID]
    assert third.insulation_ohm.value == 5000.0
    assert np.isnan(third.gas.value)


def test_a_column_of_another_unit_is_not_taken_for_one(tmp_path: Path):
    """BatICM's files have ``insulation_resistance_kiloohm``, whose unit nobody has verified."""
    headers = ["test_time_second", "voltage_volt", "insulation_resistance_kiloohm", "Gas / %", "ambient_pressure_pa"]
    for snapshot in bdf.snapshots(write(tmp_path / "t.csv", headers, [[0, 3.7, 900, 80, 101300], [1, 3.6, 900, 80, 101300]]), pack()):
        assert [getattr(snapshot, name) for name in FIELDS] == [MISSING] * 4


def test_in_silence_they_age_and_go_stale_with_the_pack_voltage(tmp_path: Path):
    path = write(tmp_path / "t.csv", MACHINE[:4], [[t, 3.7 + t / 1000, 1e6, 0.0] for t in (0, 1, 2, 100)])
    silent = [snapshot for snapshot in bdf.snapshots(path, pack()) if not snapshot.complete]
    assert {snapshot.voltage_v.reason for snapshot in silent} == {Reason.VALID, Reason.STALE}
    for snapshot in silent:
        for reading in (snapshot.insulation_ohm, snapshot.gas):
            assert (reading.reason, reading.age_s) == (snapshot.voltage_v.reason, snapshot.voltage_v.age_s)
            assert np.isnan(reading.value) == (reading.reason is Reason.STALE)
        assert snapshot.pressure_pa == snapshot.coolant_temperature_c == MISSING


def test_a_line_that_was_cut_is_named(tmp_path: Path):
    path = write(tmp_path / "t.csv", MACHINE[:4], [[0, 3.7, 1e6, 0.0], [1, 3.7, 1e6]])
    with pytest.raises(LogError, match=r"t\.csv: line 3: 3 fields, the header has 4 - mend the line or leave it out"):
        list(bdf.sweeps(path, pack()))


def test_a_parquet_column_of_text_is_unknown_and_the_decision_says_so(tmp_path: Path):
    """As a voltage would be; one of whole numbers is read."""
    pq, pa = needed("pyarrow.parquet"), needed("pyarrow")
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table(
            {"test_time_second": [0.0, 1.0], "voltage_volt": [3.7, 3.6], "insulation_resistance_ohm": ["5000", "5000"], "gas": [0, 1]}
        ),
        path,
    )
    assert [snapshot.gas.value for snapshot in bdf.sweeps(path, pack())] == [0.0, 1.0]
    for decision in decided(path, pack()):
        assert decision.measured.insulation_ohm is None
        assert [(each.signal, each.reason) for each in decision.quality.warnings if each.signal in FIELDS] == [
            ("insulation_ohm", "invalid_code")
        ]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match="is not a parquet file"):
        list(bdf.sweeps(path, pack()))


@pytest.mark.parametrize("profile", PROFILES)
def test_as_can_frames_they_say_the_same(tmp_path: Path, profile: str):
    """To a step of the protocol; a value that is lost is lost at its row, not held until it is stale."""
    rows: list[list[object]] = [
        [0, 3.70, "", "", "", ""],
        [1, 3.71, 1_234_000, 0.25, 101_300, 18.5],
        [2, 3.72, "", "", "", ""],
        [3, 3.73, 1_234_000, 0.5, "", 18.5],
    ]
    path = write(tmp_path / "t.csv", MACHINE, rows)
    log = tmp_path / "t.log"
    candump.write(log, frames(path, profile))
    line = build_lines(Config(pack=(pack(profile=profile),), students=Students(state="", reasoner="")), ask_inline)["p"]
    by_can = [snapshot for frame in LogFile(log) if (snapshot := line.assembler.push(frame)) is not None and snapshot.complete]
    straight = list(bdf.sweeps(path, pack(profile=profile)))
    assert len(by_can) == len(straight) == len(rows)
    for sent, read in zip(by_can, straight, strict=True):
        assert np.allclose(values(sent), values(read), equal_nan=True)


@pytest.mark.parametrize("period_s", [1.0, 10.0])
def test_low_insulation_and_gas_are_judged_and_without_their_columns_nothing_is(tmp_path: Path, period_s: float):
    """60 V over 3 kOhm is 50 ohm/V, below the 100 of the row ``insulation``; gas over 0.5 is critical."""
    headers = ["test_time_second", "voltage_volt", "current_ampere", *(f"cell_voltage_{i:03d}" for i in range(1, 17)), *MACHINE[2:4]]
    rng = np.random.default_rng(1)
    rows: list[list[object]] = []
    for t in range(120):
        cells = (3.75 + 1e-4 * rng.standard_normal(16)).round(5).tolist()
        rows.append([t * period_s, sum(cells), -1.0, *cells, 3e3 if t >= 60 else 5e6, 1.0 if t >= 90 else 0.0])
    settings = msgspec.structs.replace(pack(16), period_s=period_s)
    fitted = decided(write(tmp_path / "fitted.csv", headers, rows), settings)
    insulation, gas = levels(fitted, "insulation"), levels(fitted, "venting")
    assert insulation[59] == gas[89] == ""
    assert insulation[-1] == "warning"
    assert gas[-1] == "critical"
    assert fitted[-1].measured.insulation_ohm == 3e3
    bare = decided(write(tmp_path / "bare.csv", headers[:-2], [row[:-2] for row in rows]), settings)
    assert not any(levels(bare, "insulation") + levels(bare, "venting"))
    assert bare[-1].measured.insulation_ohm is None
    assert not [each for decision in bare for each in decision.quality.warnings if each.signal in FIELDS]
    empty = decided(write(tmp_path / "empty.csv", headers, [[*row[:-2], "", ""] for row in rows]), settings)
    assert not any(levels(empty, "insulation") + levels(empty, "venting"))


def test_a_leak_in_a_file_of_hil_corpus_raises_the_alert_straight_and_as_can_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A leak of 2 to 50 kOhm in a pack of 96 cells is below 500 ohm/V. Without the column there is no alert."""
    pq = needed("pyarrow.parquet")
    monkeypatch.setattr("hil.plant.episodes.BATCH_CELLS", 96)
    arguments = ["--packs", "1", "--seed", "5", "--hours", "0.5", "--period", "10", "--cells", "96", "96", "--kinds", "insulation_loss"]
    assert main(["corpus", *arguments, "--out", str(tmp_path)]) == 0
    (truth,) = csv.DictReader((tmp_path / "tests.csv").open())
    path = tmp_path / f"{truth['test']}.parquet"
    settings = msgspec.structs.replace(pack(*bdf.shape(path), period_s=10.0), card=truth["card"], parallel=round(float(truth["parallel"])))
    table = pq.read_table(path)
    read = list(bdf.sweeps(path, settings))
    for field, column in (("insulation_ohm", "insulation_resistance_ohm"), ("gas", "gas")):
        assert np.allclose([getattr(snapshot, field).value for snapshot in read], table[column].to_numpy(), rtol=1e-6)

    log = tmp_path / "t.log"
    candump.write(log, frames(path))
    straight, by_can = decided(path, settings), decided(log, settings)
    before = round(float(truth["onset_second"]) / 10.0)
    per_v = table["insulation_resistance_ohm"].to_numpy()[-1] / table["voltage_volt"].to_numpy()[-1]
    assert per_v < 95.0  # else another seed is needed for the graver row
    for told in (straight, by_can):
        assert not any(levels(told, "insulation")[:before])
        assert levels(told, "insulation")[-1] == "warning"
        (alert,) = (alert for alert in told[-1].alerts if alert.hazard == "insulation")
        assert "insulation" in {evidence.rule for evidence in alert.evidence}
        assert not any(levels(told, "venting"))
    assert levels(straight, "insulation") == levels(by_can, "insulation")

    bare = tmp_path / "bare.parquet"
    pq.write_table(table.drop_columns(["insulation_resistance_ohm", "gas"]), bare)
    assert not any(levels(decided(bare, settings), "insulation"))
