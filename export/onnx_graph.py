"""The students' recurrent network as an ONNX graph of plain operators (opset 17), step by step, any number of cells.

Inputs x (cells, inputs), h (cells, hidden); outputs y (cells, 2), h_next. No GRU operator: onnxruntime's static
quantiser has none, and only MatMul is to become int8; the state itself stays float, or slow changes would be
rounded away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8

Weights = dict[str, NDArray[np.float32]]


class Graph:
    """Collects nodes and constants under names of their own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: object) -> str:
        array = np.asarray(value)
        self.constants.append(numpy_helper.from_array(array if array.dtype == np.int64 else array.astype(np.float32), name))
        return name

    def add(self, operator: str, inputs: list[str], *outputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, list(outputs), name=outputs[0] + "_" + operator.lower(), **attributes))
        return outputs[0]


def recurrent(graph: Graph, weights: Weights, clip: float) -> str:
    """The GRU step (Cho et al. 2014, arXiv:1406.1078, reset after the product as in cuDNN) and its head's two numbers."""
    hidden = weights["recurrent"].shape[0]
    for name, value in weights.items():
        graph.constant(name, value)
    graph.constant("low", -clip)
    graph.constant("high", clip)
    graph.constant("parts", np.array([2 * hidden, hidden]))
    graph.constant("halves", np.array([hidden, hidden]))
    # The products read copies of the state (a clip that cuts nothing), so that these are rounded and the state is not.
    graph.constant("least_state", -1.0)
    graph.constant("most_state", 1.0)
    graph.add("Clip", ["x", "low", "high"], "x_in")
    graph.add("Clip", ["h", "least_state", "most_state"], "h_in")
    graph.add("MatMul", ["x_in", "input"], "gx_product")
    graph.add("Add", ["gx_product", "input_bias"], "gx")
    graph.add("MatMul", ["h_in", "recurrent"], "gh_product")
    graph.add("Add", ["gh_product", "recurrent_bias"], "gh")
    graph.add("Split", ["gx", "parts"], "gx_rz", "gx_n", axis=1)
    graph.add("Split", ["gh", "parts"], "gh_rz", "gh_n", axis=1)
    graph.add("Add", ["gx_rz", "gh_rz"], "rz_in")
    graph.add("Sigmoid", ["rz_in"], "rz")
    graph.add("Split", ["rz", "halves"], "r", "z", axis=1)
    graph.add("Mul", ["r", "gh_n"], "reset")
    graph.add("Add", ["gx_n", "reset"], "n_in")
    graph.add("Tanh", ["n_in"], "n")
    graph.add("Sub", ["h", "n"], "kept")
    graph.add("Mul", ["z", "kept"], "kept_part")
    graph.add("Add", ["n", "kept_part"], "h_next")
    graph.add("Clip", ["h_next", "least_state", "most_state"], "h_out")
    graph.add("MatMul", ["h_out", "head"], "head_product")
    return graph.add("Add", ["head_product", "head_bias"], "two")


def build(graph: Graph, name: str, inputs: int, hidden: int) -> bytes:
    """The checked model, serialised."""

    def tensor(label: str, width: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, ["cells", width])

    body = helper.make_graph(
        graph.nodes, name, [tensor("x", inputs), tensor("h", hidden)], [tensor("y", 2), tensor("h_next", hidden)], graph.constants
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgebms")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a student may depart from the filter, whatever its weights.

    s = the filter's sigma, clipped to least..most. correction = kept tanh(a) times max(s - quiet, 0); log standard deviation =
    log s + kept (shift + spread tanh(b)). a, b: the head's two numbers. quiet: where the filter doubts less than this, it is
    left alone. kept: the share of what was learned that ships, 1 while it is learned: shrinkage, chosen like quiet by kind
    of load on train logs (docs/estimation.md has the figures). spread - shift = -log 0.5: while it is learned, a sigma
    is at least half of the filter's.
    """

    times: float = 3.0
    quiet: float = 0.02
    kept: float = 0.5
    spread: float = 1.6
    shift: float = 1.6 + math.log(0.5)
    least: float = 0.002
    most: float = 0.1


def state_graph(weights: Weights, clip: float, sigma_at: int, sigma_centre: float, sigma_scale: float, bounds: Bounds) -> bytes:
    """y = SOC correction, log standard deviation, within ``bounds``. The filter's own log sigma is input ``sigma_at``.

    Written for few nodes: each costs about a microsecond.
    """
    inputs, hidden = weights["input"].shape[0], weights["recurrent"].shape[0]
    graph = Graph()
    recurrent(graph, weights, clip)
    graph.constant("sigma_at", np.array([sigma_at]))
    reach = bounds.kept * bounds.times
    for label, value in (
        ("sigma_scale", sigma_scale),
        ("sigma_centre", sigma_centre),
        ("log_least", np.log(bounds.least)),
        ("log_most", np.log(bounds.most)),
        ("per_sigma", [reach, 0.0]),
        ("fixed", [-reach * bounds.quiet, bounds.kept * bounds.spread]),
        ("second", [0.0, 1.0]),
        ("shift", [0.0, bounds.kept * bounds.shift]),
    ):
        graph.constant(label, value)
    graph.add("Gather", ["x", "sigma_at"], "log_sigma_in", axis=1)
    graph.add("Mul", ["log_sigma_in", "sigma_scale"], "log_sigma_scaled")
    graph.add("Add", ["log_sigma_scaled", "sigma_centre"], "log_sigma")
    graph.add("Clip", ["log_sigma", "log_least", "log_most"], "log_base")
    graph.add("Exp", ["log_base"], "sigma")
    graph.add("Mul", ["sigma", "per_sigma"], "reach_part")
    graph.add("Add", ["reach_part", "fixed"], "reach_any")
    graph.add("Relu", ["reach_any"], "reach")
    graph.add("Tanh", ["two"], "share")
    graph.add("Mul", ["share", "reach"], "moved")
    graph.add("Mul", ["log_base", "second"], "base")
    graph.add("Add", ["moved", "shift"], "moved_shifted")
    graph.add("Add", ["moved_shifted", "base"], "y")
    return build(graph, "state", inputs, hidden)


def soc_graph(weights: Weights, clip: float) -> bytes:
    """y = SOC, log standard deviation, straight from the head: the plain GRU of the baseline."""
    graph = Graph()
    recurrent(graph, weights, clip)
    graph.add("Identity", ["two"], "y")
    return build(graph, "gru", weights["input"].shape[0], weights["recurrent"].shape[0])
