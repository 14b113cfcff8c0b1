"""Learned estimators in the evaluation: the same answers as the runtime gives, without torch."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from driven import CARD, drive
from shared_data import ROOT, shared
from snapshots import make_snapshot

from edgebms.config import PackConfig
from edgebms.estimator.estimator import Estimator
from edgebms.estimator.student import load_student
from edgebms.worker import ask_inline
from export.state_estimators import ESTIMATORS
from export.state_logs import Run, StateLog

LANE = 1e-3
"""Another lane of the vector unit may round the last bit otherwise, and int8 makes a step of it."""


def log(rows=300, temperature_c=25.0, hide=None):
    """One cell in use as a log; the voltage of row ``hide`` is missing."""
    time_s, current, voltage, temperature = (np.array(column) for column in zip(*drive(1, rows, 4, temperature_c), strict=True))
    voltage = voltage[:, 0]
    if hide is not None:
        voltage[hide] = np.nan
    return StateLog(
        Path("made.parquet"), "made", "made", temperature_c, 3.0, time_s, current, voltage, temperature[:, 0], np.full(rows, 0.5)
    )


@pytest.mark.parametrize(("temperature_c", "hide"), [(25.0, None), (25.0, 150), (75.0, None)])
@pytest.mark.parametrize(("name", "model"), [("student_int8", "state"), ("student_float", "state_float")])
def test_a_student_is_judged_as_the_runtime_runs_it(name, model, temperature_c, hide):
    judged = log(temperature_c=temperature_c, hide=hide)
    soc, sigma = ESTIMATORS[name](CARD).run([(judged, Run("none", 0, 0.0))])[0]
    pack = PackConfig(name="p", profile="edgebms", card="lg_hg2", cells=1, probes=1)
    estimator = Estimator(CARD, pack, load_student(model), ask_inline)
    for row in range(judged.time_s.size):
        snapshot = make_snapshot(
            1,
            1,
            time_s=judged.time_s[row],
            voltage_v=judged.voltage_v[row],
            temperature_c=judged.temperature_c[row],
            current_a=judged.current_a[row],
        )
        state = estimator.step(snapshot, snapshot.time_ns)
        np.testing.assert_allclose((soc[row], sigma[row]), (state.soc[0], state.soc_sigma[0]), rtol=0, atol=1e-6)


def test_a_student_that_joins_late_is_what_it_would_be_on_the_rest_alone():
    whole = log()
    late = [ESTIMATORS["student_int8"](CARD).run([(whole, Run("none", 0, 0.0)), (whole, Run("join_0.6", 100, 0.0))])[1]]
    columns = {name: getattr(whole, name)[100:] for name in ("time_s", "current_a", "voltage_v", "temperature_c", "soc")}
    rest = StateLog(whole.path, whole.set, whole.cell, whole.ambient_c, whole.nominal_ah, **columns)
    alone = ESTIMATORS["student_int8"](CARD).run([(rest, Run("none", 0, 0.0))])[0]
    np.testing.assert_allclose(late[0][0][100:], alone[0], rtol=0, atol=LANE)
    assert np.isnan(late[0][0][:100]).all()


def test_a_slow_sampling_is_held_for_the_plain_gru():
    whole = log(600)
    slow = {name: getattr(whole, name)[9::10] for name in ("time_s", "current_a", "voltage_v", "temperature_c", "soc")}
    run = Run("none", 0, 0.0)
    fine = ESTIMATORS["gru"](CARD).run([(whole, run)])[0][0]
    coarse = ESTIMATORS["gru"](CARD).run([(StateLog(whole.path, "made", "made", 25.0, 3.0, **slow), run)])[0][0]
    assert abs(fine[-1] - coarse[-1]) < 0.05


def test_learned_estimators_run_without_torch():
    path = shared("data/soc/train/lg_hg2/25degC__551_Mixed2.parquet")
    code = (
        "import sys; sys.modules['torch'] = None\nfrom export.__main__ import main\n"
        f"main(['evaluate', 'state', {str(path)!r}, '--estimators', 'student_int8,student_float,gru', '--perturbations', 'join_0.3', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stderr
    result = msgspec.json.decode(done.stdout)
    assert [row["estimator"] for row in result["rows"]] == ["student_int8", "student_float", "gru"]
    assert result["provenance"]["left_out"] == {}
    for row in result["rows"]:
        assert row["n"] > 500 and row["rmse_pct"] < 3.0, row  # joined late on a cycle of the training's cell that was held out
