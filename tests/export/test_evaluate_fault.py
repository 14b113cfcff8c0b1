"""``python -m export evaluate fault``: the event rule, what counts as false, what is listed apart, one sentence for bad files."""

from __future__ import annotations

import csv
import doctest
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from shared_data import shared

from edgebms.assembly import build_lines
from edgebms.clock import LogClock
from edgebms.config import Config, Site, Students
from edgebms.decision.types import Decision
from edgebms.loop import Loop, PackLine, replay_snapshots
from edgebms.telemetry import bdf
from edgebms.vocabulary import SiteKind
from edgebms.worker import ask_inline
from export import evaluate_fault, event_rule, fault_logs, fault_tables
from export.__main__ import main
from export.event_rule import event_s
from export.fault_logs import read_fault_log
from export.fault_methods import METHODS
from export.fault_score import ROW
from export.fault_tables import event_table

pyarrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CELLS, PROBES = 88, 22


def write(path: Path, columns: dict[str, np.ndarray], **note: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    pq.write_table(table.replace_schema_metadata({b"bdf": json.dumps(note).encode()}), path)
    return path


def car(time_s: np.ndarray, volts: np.ndarray | None = None, unix_s: float = 1_557_500_000.0, cells: int = CELLS) -> dict[str, np.ndarray]:
    """A parked pack of ``cells`` at 3.70 V and 20 degC; ``volts`` (rows, cells) is added."""
    rng = np.random.default_rng(4)
    voltage = 3.70 + 0.003 * rng.standard_normal(cells) + 0.0005 * rng.standard_normal((len(time_s), cells))
    if volts is not None:
        voltage = voltage + volts
    columns = {"test_time_second": time_s, "unix_time_second": unix_s + time_s}
    columns |= {"voltage_volt": voltage.sum(axis=1), "current_ampere": 0.05 * rng.standard_normal(len(time_s))}
    columns |= {f"cell_voltage_{i + 1:03d}": np.round(voltage[:, i], 4) for i in range(cells)}
    warmth = 20 + 0.05 * rng.standard_normal((len(time_s), PROBES))
    return columns | {f"temperature_{i + 1:03d}": np.round(warmth[:, i], 1) for i in range(PROBES)}


def abused(time_s: np.ndarray, onset: float, rate: float, top_c: float, volts: float) -> dict[str, np.ndarray]:
    """One cell at rest that warms by ``rate`` K/s from ``onset`` to ``top_c`` and falls to ``volts`` within 2 s."""
    warm = np.clip(25 + rate * (time_s - onset), 25, top_c)
    voltage = np.interp(time_s, [onset, onset + 2], [4.1, volts])
    noise = 0.02 * np.random.default_rng(1).standard_normal(len(time_s))
    return {
        "test_time_second": time_s,
        "voltage_volt": voltage,
        "current_ampere": np.zeros(len(time_s)),
        "temperature_t1_celsius": warm + noise,
    }


def tests_csv(folder: Path, *lines: dict[str, object]) -> None:
    names = list(dict.fromkeys(name for line in lines for name in line))
    with (folder / "tests.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(lines)


def evaluate(capsys, *arguments: object) -> tuple[int, dict, str]:
    code = main(["evaluate", "fault", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def by(rows: list[dict], **wanted: object) -> dict:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]


def test_examples_in_the_docstrings():
    for module in (event_rule, fault_logs, evaluate_fault, fault_tables):
        assert doctest.testmod(module).failed == 0


TIME_S = np.arange(0.0, 120.0, 0.1)


@pytest.mark.parametrize(
    ("rate", "top_c", "volts", "expected"),
    [
        (1.5, 90.0, 2.5, 63.0),  # the voltage falls, the rise has lasted for more than 3 s
        (1.5, 90.0, 4.0, 60 + 55 / 1.5),  # no fall: it takes the maker's maximum
        (0.8, 90.0, 2.5, None),  # too slow
        (5.0, 36.0, 2.5, None),  # over within 3 s
        (1.5, 70.0, 4.0, None),  # neither fell nor hot
    ],
)
def test_the_event_rule(rate: float, top_c: float, volts: float, expected: float | None):
    columns = abused(TIME_S, 60.0, rate, top_c, volts)
    smooth = np.clip(25 + rate * (TIME_S - 60), 25, top_c)[:, None]
    found = event_s(TIME_S, columns["voltage_volt"][:, None], smooth, (0,), 80.0)
    assert found is None if expected is None else found == pytest.approx(expected, abs=0.6)


def test_the_event_rule_is_not_made_by_one_wrong_sample_or_unmade_by_a_dead_logger():
    slow_s = np.arange(0.0, 600.0, 10.0)
    spike = np.full((60, 1), 25.0)
    spike[30] = 200.0
    fallen = np.full((60, 1), 2.0)
    fallen[0] = 4.0
    assert event_s(slow_s, fallen, spike, (0,), 80.0) is None
    columns = abused(TIME_S, 60.0, 1.5, 90.0, 2.5)
    voltage = columns["voltage_volt"].copy()
    voltage[TIME_S > 62.5] = np.nan
    smooth = np.clip(25 + 1.5 * (TIME_S - 60), 25, 90)[:, None]
    assert event_s(TIME_S, voltage[:, None], smooth, (0,), 80.0) == pytest.approx(63.0, abs=0.6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fault")
    abuse = root / "train" / "ornl_indentation"
    write(abuse / "LCO_runs.parquet", abused(TIME_S, 60.0, 2.0, 200.0, 1.0), set="ornl_indentation", cell="LCO pouch")
    write(abuse / "LCO_calm.parquet", abused(TIME_S, 60.0, 0.3, 40.0, 3.7), set="ornl_indentation", cell="LCO pouch")
    common = {"set": "ornl_indentation", "cell": "lco_4ah", "capacity_ah": 4}
    tests_csv(
        root / "train",
        {"test": "LCO_runs", **common, "fault_second": 60.2, "thermal_runaway": 1, "thermal_runaway_second": 122.0},
        {"test": "LCO_calm", **common, "fault_second": 61.0, "thermal_runaway": 0, "thermal_runaway_second": ""},
    )
    hour_s = np.arange(0.0, 3600.0, 10.0)
    late_s = np.append(hour_s, 3600.0 * 5 + hour_s)  # four hours in between are not sampled
    high = np.zeros((len(late_s), CELLS))
    high[400:430, 10] = 0.56  # a cell over 4.22 V for five minutes
    high[100:140, 81] = 0.56  # cell 82, which is known to be faulty on this day
    cars = root / "cars"
    write(cars / "car2_2019-05-10.parquet", car(late_s, high), set="baticm_ev", test="car2_2019-05-10")
    write(cars / "car2_2019-05-09.parquet", car(late_s, high, 1_557_400_000.0), set="baticm_ev", test="car2_2019-05-09")
    return root


def test_the_guards_alarms_do_not_hang_on_the_estimator(folder: Path):
    log = read_fault_log(folder / "cars" / "car2_2019-05-10.parquet", 1.0)

    def told(line: PackLine) -> list[Decision]:
        said: list[Decision] = []
        clock = LogClock()
        replay_snapshots(islice(bdf.snapshots(log.path, log.pack), 250), line, Loop([line], clock, said.append, lambda: 0), clock)
        return said

    asked_once = METHODS["guard"](log.pack)
    whole = build_lines(Config(pack=(log.pack,), site=Site(kind=SiteKind.GRID_TIED), students=Students(state="")), ask_inline)["log"]
    ours, theirs = told(asked_once), told(whole)
    assert [decision.alerts for decision in ours] == [decision.alerts for decision in theirs]
    assert any(decision.alerts for decision in ours) and ours[-1].soc != theirs[-1].soc


@pytest.mark.slow
def test_rows_have_the_keys_of_the_design_and_the_times_are_the_logs_own(folder: Path, capsys):
    code, result, _ = evaluate(capsys, folder / "train")
    assert code == 0 and set(result) == {"rows", "summary", "provenance"}
    assert all(tuple(row) == ROW for row in result["rows"]) and len(result["rows"]) == 4
    runs = by(result["rows"], file="LCO_runs.parquet", method="guard")
    assert runs["cause_true"] == "internal_short" and runs["onset_s"] == 60.2 and runs["runaway_label_s"] == 122.0
    assert runs["event_s"] == pytest.approx(63.1, abs=0.5)
    assert runs["cause"] == "thermal_runaway" and runs["level"] == "critical"
    assert runs["runaway_said_s"] == pytest.approx(runs["event_s"], abs=2.5)
    assert runs["lead_s"] == pytest.approx(runs["event_s"] - runs["first_warning_s"])
    assert runs["false_alarms"] == 0
    plain = by(result["rows"], file="LCO_runs.parquet", method="limits")
    assert plain["runaway_said_s"] is None and plain["first_warning_s"] > runs["first_warning_s"]
    calm = by(result["rows"], file="LCO_calm.parquet", method="guard")
    assert calm["event_s"] is None and calm["runaway_said_s"] is None and calm["lead_s"] is None
    total = by(result["summary"], set="ornl_indentation", cause_true="all", method="guard")
    assert (total["events"], total["called_runaway"], total["without_runaway"], total["without_called_runaway"]) == (1, 1, 1, 0)
    assert result["provenance"]["cards"].keys() == {"generic_lco"}


@pytest.mark.slow
def test_false_alarms_are_counted_over_sampled_time_and_faulty_cells_listed_apart(folder: Path, capsys):
    _, result, _ = evaluate(capsys, folder / "cars", "--methods", "limits")
    after, before = (by(result["rows"], file=f"car2_2019-05-{day}.parquet") for day in ("10", "09"))
    assert after["exposure_days"] == before["exposure_days"] == pytest.approx(2 * 3590 / 86400)
    assert (after["false_alarms"], after["listed_apart"]) == (1, 1)
    assert (before["false_alarms"], before["listed_apart"]) == (2, 0), "until 10 May nothing is known against cell 82"
    assert after["rules"] == {"cell_over_voltage": 1} or after["rules"] == {"cell_over_voltage_critical": 1}
    total = by(result["summary"], set="baticm_ev", method="limits")
    assert total["false_alarms"] == 3
    assert total["false_per_day"] == pytest.approx(3 / total["exposure_days"])
    assert total["false_per_day_upper95"] == pytest.approx(7.754 / total["exposure_days"], rel=1e-3)


def test_a_healthy_pack_that_its_site_drives_too_low_is_owed_an_alarm(tmp_path: Path, capsys):
    """That alarm is no false one, nor is what is said within the hour; one of a log that breaks no limit is, and a measured log has no such excuse."""
    time_s, low = np.arange(0.0, 600.0), np.zeros((600, 16))
    low[300:330] = -1.3  # 2.4 V, where 2.5 are allowed
    warms = car(time_s, cells=16)
    warms["temperature_005"] = 20.0 + np.clip(time_s - 300.0, 0.0, 25.0)  # a kelvin a second, up to where no limit is broken
    lines = [{"test": name, "cause": "healthy", "onset_second": 0, "card": "lg_hg2"} for name in ("driven", "warms")]
    write(tmp_path / "ours" / "driven.parquet", car(time_s, low, cells=16))
    write(tmp_path / "ours" / "warms.parquet", warms)
    tests_csv(tmp_path / "ours", *lines)
    _, result, _ = evaluate(capsys, tmp_path / "ours", "--methods", "guard")
    driven, warmed = (by(result["rows"], file=f"{name}.parquet") for name in ("driven", "warms"))
    assert (driven["false_alarms"], warmed["broken_limits"]) == (0, 0)
    assert driven["broken_limits"] >= 1
    assert warmed["false_alarms"] >= 1
    # time in which an alarm is due is no time without a false one
    assert driven["exposure_days"] == pytest.approx(299.0 / 86400)
    assert warmed["exposure_days"] == pytest.approx(599.0 / 86400)
    write(tmp_path / "measured" / "driven.parquet", car(time_s, low, cells=16), cell="LG HG2 18650")
    assert not len(read_fault_log(tmp_path / "measured" / "driven.parquet", 1.0).broken_s)
    after = fault_logs.after_broken(
        read_fault_log(tmp_path / "ours" / "driven.parquet", 1.0).broken_s, np.array([299.0, 300.0, 3929.0, 3930.0])
    )
    assert after.tolist() == [False, True, True, False]


@pytest.mark.slow
def test_the_table_for_people_says_what_the_json_says(folder: Path, capsys):
    assert main(["evaluate", "fault", str(folder / "train"), "--methods", "guard,trees"]) == 0
    out = capsys.readouterr().out
    assert "LCO_runs.parquet guard" in out and "left out: trees: is not installed" in out
    assert "| rule: event | 1 | 0 |" in out and "| rule: none | 0 | 1 |" in out


@pytest.mark.slow
def test_our_own_corpora_are_read_by_their_columns(tmp_path: Path, capsys):
    from hil.plant.corpus import FIELDS

    time_s = np.arange(0.0, 1800.0, 5.0)
    high = np.zeros((len(time_s), 16))
    high[200:, 4] = 0.6
    write(tmp_path / "pack_000001.parquet", car(time_s, high, 0.0, 16))
    write(tmp_path / "pack_000002.parquet", car(time_s, None, 0.0, 16))
    fault = {"set": "plant_circuit", "test": "pack_000001", "kind": "overcharge", "cause": "overcharge", "cell": 5, "onset_second": 900.0}
    fault |= {"detectable": 1, "card": "generic_lfp", "parallel": "2", "event_second": ""}
    healthy = {
        **fault,
        "test": "pack_000002",
        "kind": "ordinary",
        "cause": "healthy",
        "cell": "",
        "onset_second": "",
        "card": "generic_nmc",
    }
    assert set(fault) <= set(FIELDS)
    tests_csv(tmp_path, {**fault, "card": "generic_nmc"}, healthy)
    _, result, _ = evaluate(capsys, tmp_path, "--methods", "guard")
    row = by(result["rows"], file="pack_000001.parquet")
    assert (row["cause_true"], row["onset_s"], row["detectable"], row["cell_right"]) == ("overcharge", 900.0, True, True)
    assert row["first_warning_s"] == pytest.approx(1005, abs=15) and row["exposure_days"] == pytest.approx(900 / 86400)
    assert by(result["rows"], file="pack_000002.parquet")["false_alarms"] == 0
    assert by(result["summary"], set="plant_circuit", cause_true="all")["cell_named"] == 1


def told_event(file: str, method: str, warned_s: float | None, place_s: float | None, cause_s: float | None) -> dict[str, object]:
    """A short at 100 s that meets the event rule at 600 s."""
    row = dict.fromkeys(ROW) | {"set": "plant_circuit", "file": file, "method": method, "cause_true": "internal_short"}
    return row | {
        "onset_s": 100.0,
        "event_s": 600.0,
        "placed": True,
        "first_warning_s": warned_s,
        "place_named_s": place_s,
        "cause_named_s": cause_s,
    }


def test_what_was_said_before_the_event_is_counted_against_all_events_and_against_the_limits():
    rows = [
        told_event("a", "guard", 200.0, 200.0, 300.0),
        told_event("b", "guard", 150.0, 400.0, None),  # at first another cell
        told_event("c", "guard", None, None, None),
        told_event("d", "guard", 610.0, 610.0, 610.0),  # behind the event
        told_event("a", "limits", 450.0, 450.0, None),
        told_event("b", "limits", None, None, None),
    ]
    lines = list(event_table(rows))
    head, guard, limits = (line.strip("| ").split(" | ") for line in (lines[-4], lines[-2], lines[-1]))
    said = dict(zip(head, guard, strict=True))
    assert (said["events"], said["cell"], said["cell and cause"]) == ("4", "2", "1")
    assert said["lead"] == "200.0" and said["least lead"] == "-10.0", "of those that were named: 400, 200, -10"
    assert said["of the time"] == "40 %" and said["before the limits"] == "225.0", "250 before the limits' warning; 200 before the event"
    assert dict(zip(head, limits, strict=True))["cell"] == "1"
    assert list(event_table([{**row, "event_s": None} for row in rows])) == []


@pytest.mark.slow
def test_processes_and_a_resumed_run_say_the_same(folder: Path, tmp_path: Path, capsys):
    kept = tmp_path / "rows.ndjson"
    _, once, _ = evaluate(capsys, folder / "train")
    _, twice, _ = evaluate(capsys, folder / "train", "--jobs", 2, "--resume", kept)
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join(lines[:1]) + "\n" + lines[1][: len(lines[1]) // 2])  # broken off in the second file
    _, again, _ = evaluate(capsys, folder / "train", "--resume", kept)
    assert once["rows"] == twice["rows"] == again["rows"] and once["summary"] == again["summary"]
    assert len(lines) == 2
    _, told, _ = evaluate(capsys, kept)
    assert told["rows"] == once["rows"] and told["summary"] == once["summary"], "the tables of what was kept, without the logs"
    kept.write_text(kept.read_text().replace('"placed"', '"set_apart"'))
    assert main(["evaluate", "fault", str(kept)]) == 6
    assert "older version" in capsys.readouterr().err


def test_bad_input_is_one_sentence(tmp_path: Path, capsys):
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 nothing")
    for arguments, word in (
        ([bad], "bad.parquet"),
        ([tmp_path / "none"], "none"),
        ([bad, "--methods", "oracle"], "oracle"),
        ([bad, "--period", "-1"], "--period"),
        ([tmp_path / "none.ndjson"], "none.ndjson"),
    ):
        assert main(["evaluate", "fault", *map(str, arguments)]) == 6
        told = capsys.readouterr().err
        assert told.startswith("error: ") and word in told and told.count("\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_measured_abuse_test_in_train_long(capsys):
    _, result, _ = evaluate(capsys, shared("data/fault/train/overheat_18650"), shared("data/fault/train/ornl_indentation"), "--jobs", 2)
    total = by(result["summary"], set="all", cause_true="all", method="guard")
    assert total["critical"] == total["events"] > 60, "every event is a critical alert"
    assert total["called_runaway"] >= 0.95 * total["events"]
