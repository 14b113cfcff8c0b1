"""A Qwen2 decoder as the static graph that ``edgebms.reasoner.student`` steps: plain operators of opset 17, one position a call.

Inputs mix (1, tokens), at (1, positions) one-hot, and of each layer N keys_N (key heads, width, positions) and values_N (key heads,
positions, width); outputs logits (1, tokens), key_N (key heads, width, 1) and value_N (key heads, 1, width) of this position, which the host
writes. The embedding is a product with ``mix``; rotary angles and the mask are one with ``at``: no Gather, no dynamic shape. At this size
each node costs more than its arithmetic, so the rotated halves are columns of the product in front. Weights by the names of
``Qwen2ForCausalLM.state_dict()``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgebms.reasoner.language import POSITIONS, TOKENS
from export.onnx_graph import IR_VERSION, OPSET, Graph, Weights

MASKED = -32.0
"""What keeps attention from positions not written yet; -1e4 would spoil int8 attention on NPUs."""


@dataclass(frozen=True, slots=True)
class Shape:
    """As in ``Qwen2Config``: hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, intermediate_size, ..."""

    width: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    theta: float = 10_000.0
    epsilon: float = 1e-6

    @property
    def head(self) -> int:
        return self.width // self.heads


NANO = Shape(width=96, layers=2, heads=4, key_heads=4, inner=288)
SMALL = Shape(width=128, layers=4, heads=4, key_heads=4, inner=384)


def random_weights(shape: Shape, seed: int, scale: float = 0.3) -> Weights:
    """Any weights at all, by their names."""
    rng = np.random.default_rng(seed)

    def draw(*size: int) -> NDArray[np.float32]:
        return (scale * rng.standard_normal(size)).astype(np.float32)

    keys = shape.key_heads * shape.head
    weights = {"model.embed_tokens.weight": draw(len(TOKENS), shape.width), "model.norm.weight": 1 + draw(shape.width)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        for name, rows in (("q", shape.width), ("k", keys), ("v", keys)):
            weights[f"{at}self_attn.{name}_proj.weight"] = draw(rows, shape.width)
            weights[f"{at}self_attn.{name}_proj.bias"] = draw(rows)
        weights[f"{at}self_attn.o_proj.weight"] = draw(shape.width, shape.width)
        weights[f"{at}mlp.gate_proj.weight"] = draw(shape.inner, shape.width)
        weights[f"{at}mlp.up_proj.weight"] = draw(shape.inner, shape.width)
        weights[f"{at}mlp.down_proj.weight"] = draw(shape.width, shape.inner)
        weights[f"{at}input_layernorm.weight"] = 1 + draw(shape.width)
        weights[f"{at}post_attention_layernorm.weight"] = 1 + draw(shape.width)
    return weights


def decoder_graph(weights: Weights, shape: Shape, name: str = "reasoner") -> bytes:
    """The checked model, serialised. A checkpoint without ``lm_head.weight`` has its embedding tied."""
    graph = Graph()
    graph.constant("embedding", weights["model.embed_tokens.weight"])
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    graph.constant("head", np.ascontiguousarray(head.T))
    graph.constant("two", 2.0)
    graph.constant("epsilon", shape.epsilon)
    _positions(graph, shape)
    stream = graph.add("MatMul", ["mix", "embedding"], "stream_0")
    for layer in range(shape.layers):
        stream = _layer(graph, weights, shape, layer, stream)
    graph.add("MatMul", [_norm(graph, "last", stream, weights["model.norm.weight"]), "head"], "logits")

    def tensor(label: str, *size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, size)

    heads, wide = shape.key_heads, shape.head
    inputs = [tensor("mix", 1, len(TOKENS)), tensor("at", 1, POSITIONS)]
    outputs = [tensor("logits", 1, len(TOKENS))]
    for layer in range(shape.layers):
        inputs += [tensor(f"keys_{layer}", heads, wide, POSITIONS), tensor(f"values_{layer}", heads, POSITIONS, wide)]
        outputs += [tensor(f"key_{layer}", heads, wide, 1), tensor(f"value_{layer}", heads, 1, wide)]
    body = helper.make_graph(graph.nodes, name, inputs, outputs, graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edgebms")
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _positions(graph: Graph, shape: Shape) -> None:
    """cos and sin (1, heads x width) for queries and keys side by side, and the mask (1, positions + 1), whose last is this position."""
    half, rotated = shape.head // 2, shape.heads + shape.key_heads
    angle = np.arange(POSITIONS)[:, None] * shape.theta ** (-np.arange(half) * 2.0 / shape.head)
    tables = [np.tile(np.concatenate((wave, wave), axis=1), (1, rotated)) for wave in (np.cos(angle), np.sin(angle))]
    tables.append(np.where(np.arange(POSITIONS + 1)[None, :] < np.arange(POSITIONS)[:, None], 0.0, MASKED))
    tables[2][:, -1] = 0.0
    graph.constant("tables", np.concatenate(tables, axis=1))
    graph.constant("table_parts", np.array([table.shape[1] for table in tables], dtype=np.int64))
    graph.add("MatMul", ["at", "tables"], "tables_at")
    graph.add("Split", ["tables_at", "table_parts"], "cos", "sin", "mask", axis=-1)
    keys = shape.key_heads * shape.head
    graph.constant("parts", np.array([shape.width + keys, shape.width + keys, keys], dtype=np.int64))
    graph.constant("query_and_key", np.array([shape.width, keys], dtype=np.int64))
    graph.constant("grouped", np.array([shape.key_heads, shape.heads // shape.key_heads, shape.head], dtype=np.int64))
    graph.constant("keys_first", np.array([shape.key_heads, shape.head, 1], dtype=np.int64))
    graph.constant("values_first", np.array([shape.key_heads, 1, shape.head], dtype=np.int64))
    graph.constant("one_row", np.array([1, shape.width], dtype=np.int64))
    graph.constant("inner", np.array([shape.inner, shape.inner], dtype=np.int64))


def _norm(graph: Graph, name: str, stream: str, weight: NDArray[np.float32]) -> str:
    """RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467), with Pow as onnxruntime fuses it."""
    graph.constant(f"{name}_scale", weight)
    graph.add("Pow", [stream, "two"], f"{name}_square")
    graph.add("ReduceMean", [f"{name}_square"], f"{name}_mean", axes=[-1], keepdims=1)
    graph.add("Add", [f"{name}_mean", "epsilon"], f"{name}_shifted")
    graph.add("Sqrt", [f"{name}_shifted"], f"{name}_root")
    graph.add("Div", [stream, f"{name}_root"], f"{name}_unit")
    return graph.add("Mul", [f"{name}_unit", f"{name}_scale"], f"{name}_out")


def _turned(side: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of a projection as rotary embedding wants them beside the plain ones (Su et al. 2021, arXiv:2104.09864, halves as in Qwen2)."""
    rows = side.reshape(heads, 2, side.shape[0] // heads // 2, *side.shape[1:])
    return np.concatenate((-rows[:, 1:], rows[:, :1]), axis=1).reshape(side.shape)


def _layer(graph: Graph, weights: Weights, shape: Shape, layer: int, stream: str) -> str:
    at, name = f"model.layers.{layer}.", f"l{layer}"
    inside = _norm(graph, f"{name}_before", stream, weights[f"{at}input_layernorm.weight"])
    columns = []
    for part in ("weight", "bias"):
        query, key, value = (weights[f"{at}self_attn.{side}_proj.{part}"] for side in "qkv")
        query = query * shape.head**-0.5
        columns.append(np.concatenate((query, key, _turned(query, shape.heads), _turned(key, shape.key_heads), value)))
    graph.constant(f"{name}_qkv", np.ascontiguousarray(columns[0].T))
    graph.constant(f"{name}_qkv_bias", columns[1])
    graph.add("MatMul", [inside, f"{name}_qkv"], f"{name}_qkv_product")
    graph.add("Add", [f"{name}_qkv_product", f"{name}_qkv_bias"], f"{name}_qkv_all")
    graph.add("Split", [f"{name}_qkv_all", "parts"], f"{name}_qk", f"{name}_turned", f"{name}_v", axis=-1)
    graph.add("Mul", [f"{name}_qk", "cos"], f"{name}_qk_cos")
    graph.add("Mul", [f"{name}_turned", "sin"], f"{name}_qk_sin")
    graph.add("Add", [f"{name}_qk_cos", f"{name}_qk_sin"], f"{name}_rotated")
    graph.add("Split", [f"{name}_rotated", "query_and_key"], f"{name}_q", f"{name}_k", axis=-1)
    graph.add("Reshape", [f"{name}_q", "grouped"], f"{name}_queries")
    graph.add("Reshape", [f"{name}_k", "keys_first"], f"key_{layer}")
    graph.add("Reshape", [f"{name}_v", "values_first"], f"value_{layer}")
    graph.add("Concat", [f"keys_{layer}", f"key_{layer}"], f"{name}_all_keys", axis=2)
    graph.add("Concat", [f"values_{layer}", f"value_{layer}"], f"{name}_all_values", axis=1)
    graph.add("MatMul", [f"{name}_queries", f"{name}_all_keys"], f"{name}_scores")
    graph.add("Add", [f"{name}_scores", "mask"], f"{name}_masked")
    graph.add("Softmax", [f"{name}_masked"], f"{name}_shares", axis=-1)
    graph.add("MatMul", [f"{name}_shares", f"{name}_all_values"], f"{name}_mixed")
    graph.add("Reshape", [f"{name}_mixed", "one_row"], f"{name}_joined")
    graph.constant(f"{name}_o", np.ascontiguousarray(weights[f"{at}self_attn.o_proj.weight"].T))
    graph.add("MatMul", [f"{name}_joined", f"{name}_o"], f"{name}_attended")
    graph.add("Add", [stream, f"{name}_attended"], f"{name}_middle")
    inside = _norm(graph, f"{name}_after", f"{name}_middle", weights[f"{at}post_attention_layernorm.weight"])
    graph.constant(f"{name}_gate_up", np.concatenate((weights[f"{at}mlp.gate_proj.weight"], weights[f"{at}mlp.up_proj.weight"])).T)
    graph.constant(f"{name}_down", np.ascontiguousarray(weights[f"{at}mlp.down_proj.weight"].T))
    graph.add("MatMul", [inside, f"{name}_gate_up"], f"{name}_both")
    graph.add("Split", [f"{name}_both", "inner"], f"{name}_gate", f"{name}_up", axis=-1)
    graph.add("Sigmoid", [f"{name}_gate"], f"{name}_gate_open")
    graph.add("Mul", [f"{name}_gate", f"{name}_gate_open"], f"{name}_silu")
    graph.add("Mul", [f"{name}_silu", f"{name}_up"], f"{name}_wide")
    graph.add("MatMul", [f"{name}_wide", f"{name}_down"], f"{name}_narrow")
    return graph.add("Add", [f"{name}_middle", f"{name}_narrow"], f"stream_{layer + 1}")
