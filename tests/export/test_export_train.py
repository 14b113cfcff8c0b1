"""The chain from logs to a model that the runtime runs. Needs torch: ``make test-export``."""

import json

import numpy as np
import pytest
from driven import CARD, drive
from shared_data import missing, shared

from edgebms.estimator.kalman import Kalman
from edgebms.estimator.student import load_student
from export.__main__ import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def torch():
    try:
        import torch
    except ImportError:
        missing("torch is not installed (pip install -e '.[export]')")
    return torch


@pytest.fixture(scope="module")
def trained(torch, tmp_path_factory):
    """A student of two logs and one epoch: models and runs folders."""
    folder = tmp_path_factory.mktemp("chain")
    assert train(folder) == 0
    return folder


def train(folder, *more):
    data = shared("data/soc/train/lg_hg2").parents[3]
    small = more or ("--logs", "2", "--epochs", "1", "--seeds", "2")
    return main(["train", "state", "--shared", str(data), "--models", str(folder / "models"), "--runs", str(folder / "runs"), *small])


def test_what_was_trained_is_what_the_runtime_runs(trained):
    student = load_student(str(trained / "models/state.onnx"))
    kalman, hidden = Kalman(CARD, 4), student.start(4)
    for time_s, current, voltage, temperature in drive(4, 60):
        kalman.step(time_s, current, voltage, temperature)
        correction, sigma, hidden = student.run(student.features(kalman, current), hidden)
        assert np.isfinite(correction).all() and (sigma > 0).all()


def test_the_same_seeds_give_the_same_model(trained, tmp_path):
    assert train(tmp_path) == 0
    assert (tmp_path / "models/state.onnx").read_bytes() == (trained / "models/state.onnx").read_bytes()


def test_torch_and_onnx_agree_to_rounding(trained, torch):
    from export import train_state as job
    from export.cell import CLIP, Recurrent
    from export.features import load
    from export.onnx_graph import state_graph
    from export.quantise import roll
    from export.train import scaled

    data = load(next((trained / "runs/state").glob("*/held_out.npz")))
    scale = job.scaling(data)
    torch.manual_seed(1)
    net = Recurrent(data.x.shape[2], job.Recipe().hidden)
    torch.nn.init.normal_(net.head.weight)
    correction, sigma = job.correct(net, data, scale)
    at = job.SIGMA_AT
    model = state_graph(net.weights(), CLIP, at, float(scale.centre[at]), float(scale.scale[at]), job.BOUNDS)
    answer = np.stack([y for _, y, _ in roll(model, scaled(data.x, scale.centre, scale.scale))])
    assert np.abs(correction[data.valid]).max() > 0.02
    np.testing.assert_allclose(answer[..., 0][data.valid], correction[data.valid], atol=2e-5)
    np.testing.assert_allclose(answer[..., 1][data.valid], np.log(sigma[data.valid]), atol=2e-4)


def test_held_out_cycles_are_in_no_training(trained):
    from export.features import SOURCES, source_paths, training_logs

    data = shared("data/soc/train/lg_hg2").parents[3]
    kept, used = ({log.name for log in training_logs(data, held_out)} for held_out in (True, False))
    assert not kept & used and len(kept) == 6
    told = json.loads((trained / "models/state.json").read_text())["held_out"]
    assert {name.removeprefix("lg_hg2/") for name in told if name.startswith("lg_hg2/")} == kept
    for source in SOURCES:
        paths = {f"{source.set}/{path.stem}" for path in source_paths(data, source)}
        assert paths and not paths & set(told)


def test_the_baseline_trains_too(torch, tmp_path):
    data = shared("data/soc/train/lg_hg2").parents[3]
    command = ["train", "gru", "--shared", str(data), "--models", str(tmp_path), "--logs", "2", "--epochs", "1", "--seeds", "1"]
    assert main(command) == 0
    assert json.loads((tmp_path / "gru.json").read_text())["held_out_table"][0]["rmse_pct"] < 50


def test_a_folder_without_data_is_one_sentence(torch, tmp_path, capsys):
    assert main(["train", "state", "--shared", str(tmp_path), "--models", str(tmp_path)]) == 6
    assert "no training logs" in capsys.readouterr().err


def test_long_a_whole_training_beats_the_filter_on_held_out_cycles(torch, tmp_path):
    assert train(tmp_path, "--seeds", "1") == 0
    table = json.loads((tmp_path / "models/state.json").read_text())["held_out_table"]
    rows = {row["estimator"]: row for row in table if row["set"] == "lg_hg2"}
    assert rows["student_int8"]["rmse_pct"] < rows["kalman"]["rmse_pct"]
