"""``python -m export evaluate state``: right rows, right keys, the runtime's own filter, one sentence for bad files."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from shared_data import needed

from edgebms.cellcard import load_card
from edgebms.estimator.kalman import Kalman
from export.__main__ import main
from export.evaluate_state import METRICS, ROW, metrics
from export.state_estimators import CoulombCounter, Filter
from export.state_logs import find_logs, plan, read_state_log

sys.path.insert(0, str(Path(__file__).parent.parent / "estimator"))
from simulated import drive, simulate

pyarrow = needed("pyarrow")
CARD = load_card("lg_hg2")


def write(path, steps=2400, start=0.95, drop=(), set_name="lg_hg2", seed=2):
    import pyarrow.parquet

    current = drive(steps, CARD.capacity_ah, mean_c=-1.0, seed=seed)
    soc, voltage = simulate(CARD, start, current, 1.0)
    data = {"test_time_second": np.arange(steps, dtype=float), "voltage_volt": voltage, "current_ampere": current}
    data |= {"temperature_t1_celsius": np.full(steps, 25.0), "ambient_temperature_celsius": np.full(steps, 25.0), "soc_reference": soc}
    table = pyarrow.table({name: values for name, values in data.items() if name not in drop})
    note = json.dumps({"set": set_name, "cell": "a simulated cell", "nominal_capacity_ah": 3.0}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"bdf": note}), path)
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "set" / "a.parquet")
    write(tmp_path / "set" / "characterisation" / "b.parquet")
    return tmp_path


def evaluate(capsys, *arguments):
    code = main(["evaluate", "state", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json_has_the_keys_of_the_design(folder, capsys):
    code, out, _ = evaluate(capsys, folder, "--json", "--perturbations", "none,join_0.9,join_0.6,offset_+0.1")
    result = json.loads(out)
    assert code == 0 and set(result) == {"rows", "summary", "provenance"}
    assert all(tuple(row) == ROW for row in result["rows"])
    assert {row["estimator"] for row in result["rows"]} >= {"coulomb", "kalman"}
    assert {row["perturbation"] for row in result["rows"]} == {"none", "join_0.9", "join_0.6", "offset_+0.1"}
    assert {row["file"] for row in result["rows"]} == {"a.parquet"}, "characterisation is left out unless named"
    by = {(row["perturbation"], row["estimator"]): row for row in result["rows"]}
    assert by["none", "kalman"]["n"] == 1800
    assert by["join_0.6", "kalman"]["rmse_pct"] < 1.5
    assert by["none", "kalman"]["inside_2sigma"] > 0.9
    assert by["none", "coulomb"]["inside_1sigma"] is None
    assert by["offset_+0.1", "coulomb"]["max_pct"] > 5 > by["offset_+0.1", "kalman"]["max_pct"]
    pooled = [row for row in result["summary"] if row["perturbation"] == "join" and row["estimator"] == "kalman"]
    assert pooled[0]["files"] == 2 and pooled[0]["sigma_pct"] > 0 and pooled[0]["card_quality"] == "fitted"
    assert result["provenance"]["cards"]["lg_hg2"]["quality"] == "fitted"


def test_characterisation_can_be_named(folder):
    assert [path.name for path in find_logs([folder / "set" / "characterisation"])] == ["b.parquet"]
    assert [path.name for path in find_logs([folder, folder / "set" / "a.parquet"])] == ["a.parquet"]


def test_the_table_is_for_people_and_marks_the_card(folder, capsys):
    code, out, _ = evaluate(capsys, folder, "--card", "generic_nmc", "--estimators", "kalman,teacher")
    assert code == 0 and "generic_nmc (generic)" in out and "left out: teacher" in out


def test_runs_beside_each_other_are_what_each_is_alone(tmp_path):
    log = read_state_log(write(tmp_path / "a.parquet", steps=1600))
    runs = [plan(log, name, CARD.capacity_ah) for name in ("none", "join_0.9", "join_0.6", "offset_+0.1")]
    together = Filter(CARD).run([(log, run) for run in runs])
    for run, (soc, sigma) in zip(runs, together, strict=True):
        alone = Kalman(CARD, 1)
        for row in range(run.first, log.time_s.size):
            alone.step(log.time_s[row], log.current_a[row] + run.offset_a, log.voltage_v[row : row + 1], log.temperature_c[row : row + 1])
        assert soc[-1] == pytest.approx(alone.soc[0], abs=1e-9)
        assert sigma[-1] == pytest.approx(alone.soc_sigma[0], abs=1e-9)
        assert np.isnan(soc[: run.first]).all() and np.isfinite(soc[run.first :]).all()


def test_a_join_is_where_the_reference_passes_the_value(tmp_path):
    log = read_state_log(write(tmp_path / "a.parquet"))
    run = plan(log, "join_0.9", CARD.capacity_ah)
    assert log.soc[run.first] <= 0.9 < log.soc[run.first - 1]
    assert plan(log, "join_0.3", CARD.capacity_ah) is None or log.soc.min() < 0.3
    assert plan(log, "offset_-0.02", 2.5).offset_a == pytest.approx(-0.05)


def test_the_coulomb_counter_counts(tmp_path):
    log = read_state_log(write(tmp_path / "a.parquet"))
    runs = [plan(log, "none", CARD.capacity_ah), plan(log, "offset_+0.1", CARD.capacity_ah)]
    (exact, _), (off, _) = CoulombCounter(CARD).run([(log, run) for run in runs])
    np.testing.assert_allclose(np.diff(exact), np.diff(log.soc), atol=1e-9)
    drift = (off - exact)[-1] - (off - exact)[0]
    assert drift == pytest.approx(0.1 * (log.time_s[-1] - log.time_s[0]) / 3600, rel=1e-6)


def test_metrics_by_hand():
    error, sigma = np.array([0.01, -0.02, 0.03, 0.0]), np.full(4, 0.015)
    got = metrics(error, sigma)
    assert got["rmse_pct"] == pytest.approx(100 * np.sqrt(0.0014 / 4))
    assert got["mae_pct"] == pytest.approx(1.5) and got["max_pct"] == pytest.approx(3.0)
    assert got["inside_1sigma"] == 0.5 and got["inside_2sigma"] == 1.0
    assert all(metrics(np.zeros(0), np.zeros(0))[name] is None for name in METRICS)


def test_unlabelled_rows_are_not_scored(tmp_path, capsys):
    import pyarrow.parquet

    path = write(tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(path)
    soc = table["soc_reference"].to_numpy().copy()
    soc[1000:] = np.nan
    table = table.set_column(table.column_names.index("soc_reference"), "soc_reference", pyarrow.array(soc))
    pyarrow.parquet.write_table(table, path)
    _, out, _ = evaluate(capsys, path, "--json", "--perturbations", "none", "--estimators", "kalman")
    assert json.loads(out)["rows"][0]["n"] == 400


def test_a_set_that_holds_no_truth_is_never_scored(tmp_path, capsys):
    write(tmp_path / "a.parquet", set_name="bmw_i3")
    code, out, _ = evaluate(capsys, tmp_path, "--json")
    assert code == 0 and json.loads(out)["rows"] == [] and "bmw_i3" in json.loads(out)["provenance"]["left_out"]


def broken_files(folder):
    (folder / "empty.parquet").write_bytes(b"")
    (folder / "noise.parquet").write_bytes(b"PAR1 no parquet at all PAR1")
    return [
        folder / "empty.parquet",
        folder / "noise.parquet",
        folder / "missing.parquet",
        write(folder / "nosoc.parquet", drop=("soc_reference",)),
    ]


@pytest.mark.parametrize("which", range(4))
def test_a_broken_file_is_one_sentence_and_an_exit_code(which, tmp_path, capsys):
    path = broken_files(tmp_path)[which]
    code, _, err = evaluate(capsys, path)
    assert code == 6 and err.startswith("error: ") and path.name in err and "Traceback" not in err


def test_a_broken_file_among_good_ones_does_not_stop_the_others_but_is_told(tmp_path, capsys):
    write(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"")
    code, out, _ = evaluate(capsys, tmp_path, "--perturbations", "none", "--estimators", "coulomb")
    assert code == 6 and "a.parquet" in out and "left out: b.parquet" in out


@pytest.mark.parametrize("more", [["--estimators", "magic"], ["--perturbations", "join_9"], ["--card", "nothing"]])
def test_a_bad_option_is_one_sentence(more, tmp_path, capsys):
    write(tmp_path / "a.parquet")
    code, _, err = evaluate(capsys, tmp_path, *more)
    assert code in (5, 6) and "Traceback" not in err and " - " in err


def test_an_empty_folder_is_one_sentence(tmp_path, capsys):
    assert evaluate(capsys, tmp_path)[0] == 6
