"""The ONNX graphs say what they should: against the equations in numpy; and int8 rounds the products, not the state."""

import numpy as np
import onnx
import pytest

from edgebms.estimator.student import open_session
from edgebms.model_store import model_folder
from export.onnx_graph import Bounds, soc_graph, state_graph
from export.quantise import kernels, quantise, roll

INPUTS, HIDDEN, CLIP = 16, 24, 4.0


def weights(seed, scale=0.3):
    rng = np.random.default_rng(seed)
    shapes = {
        "input": (INPUTS, 3 * HIDDEN),
        "input_bias": (3 * HIDDEN,),
        "recurrent": (HIDDEN, 3 * HIDDEN),
        "recurrent_bias": (3 * HIDDEN,),
        "head": (HIDDEN, 2),
        "head_bias": (2,),
    }
    return {name: rng.normal(scale=scale, size=shape).astype(np.float32) for name, shape in shapes.items()}


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def step(w, x, h):
    """One step of the GRU and its head, written out."""
    x = np.clip(x, -CLIP, CLIP)
    gx, gh = x @ w["input"] + w["input_bias"], h @ w["recurrent"] + w["recurrent_bias"]
    r = sigmoid(gx[:, :HIDDEN] + gh[:, :HIDDEN])
    z = sigmoid(gx[:, HIDDEN : 2 * HIDDEN] + gh[:, HIDDEN : 2 * HIDDEN])
    n = np.tanh(gx[:, 2 * HIDDEN :] + r * gh[:, 2 * HIDDEN :])
    h = (1.0 - z) * n + z * h
    return h @ w["head"] + w["head_bias"], h


def random_walk(seed, steps=60, cells=7):
    return (3.0 * np.random.default_rng(seed).normal(size=(steps, cells, INPUTS))).astype(np.float32)


def test_the_plain_graph_is_the_gru_of_the_paper():
    w, x = weights(0), random_walk(1)
    h = np.zeros((7, HIDDEN))
    for row, (_, y, after) in zip(x, roll(soc_graph(w, CLIP), x), strict=True):
        two, h = step(w, row, h)
        np.testing.assert_allclose(y, two, atol=2e-5)
        np.testing.assert_allclose(after, h, atol=2e-5)


def test_the_state_graph_bounds_its_correction_by_the_filters_sigma():
    w, x = weights(0), random_walk(1)
    at, centre, scale, bounds = 8, -3.0, 1.0, Bounds()
    h, reached = np.zeros((7, HIDDEN)), []
    for row, (_, y, _) in zip(x, roll(state_graph(w, CLIP, at, centre, scale, bounds), x), strict=True):
        two, h = step(w, row, h)
        sigma = np.clip(np.exp(row[:, at] * scale + centre), bounds.least, bounds.most)
        reached += sigma.tolist()
        moved = np.tanh(two[:, 0]) * bounds.times * np.maximum(sigma - bounds.quiet, 0.0)
        wider = bounds.shift + bounds.spread * np.tanh(two[:, 1])
        np.testing.assert_allclose(y[:, 0], bounds.kept * moved, atol=2e-4)
        np.testing.assert_allclose(y[:, 1], np.log(sigma) + bounds.kept * wider, atol=2e-4)
        assert (y[sigma <= bounds.quiet, 0] == 0.0).all()
    assert min(reached) == pytest.approx(bounds.least) and max(reached) == pytest.approx(bounds.most)


def test_any_number_of_cells():
    session = open_session(soc_graph(weights(0), CLIP), "model")
    for cells in (1, 2, 96, 400):
        y, after = session.run(None, {"x": np.zeros((cells, INPUTS), np.float32), "h": np.zeros((cells, HIDDEN), np.float32)})
        assert y.shape == (cells, 2) and after.shape == (cells, HIDDEN)


@pytest.mark.parametrize("name", ["state", "state_float", "gru"])
def test_shipped_graphs_are_plain_opset_17(name):
    model = onnx.load(model_folder() / f"{name}.onnx")
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 17}
    assert not {node.op_type for node in model.graph.node} & {"GRU", "LSTM", "Loop", "Scan", "If"}


def test_shipped_int8_runs_its_three_products_as_integers():
    run = kernels((model_folder() / "state.onnx").read_bytes())
    assert sum("MatMulInteger" in kind for kind in run) == 3
    assert not {"MatMul", "Gemm", "DequantizeLinear"} & set(run), "a weight is taken back to float at every call"


def test_int8_weights_are_int8_per_channel_and_symmetric():
    model = onnx.load(model_folder() / "state.onnx")
    arrays = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    assert arrays["recurrent_quantized"].dtype == np.int8
    assert arrays["recurrent_scale"].shape == (arrays["recurrent_quantized"].shape[1],)
    assert not arrays["recurrent_zero_point"].any()


def test_a_slow_state_survives_int8():
    """Update gate at 0.999: steps far below an int8 grid must still add up."""
    w = {name: np.zeros_like(value) for name, value in weights(0).items()}
    w["input_bias"][HIDDEN : 2 * HIDDEN] = np.log(0.999 / 0.001)
    w["input_bias"][2 * HIDDEN :] = 1.0
    w["input"][:] = weights(2, 0.001)["input"]
    model, x = soc_graph(w, CLIP), random_walk(3, 500)
    after = [list(roll(form, x))[-1][2] for form in (model, quantise(model, x))]
    assert after[0].min() > 0.25
    np.testing.assert_allclose(after[1], after[0], atol=0.01)
