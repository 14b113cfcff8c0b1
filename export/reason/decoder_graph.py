"""A Qwen2 decoder as the static graph that ``edgebms.reasoner.student`` steps: plain operators of opset 17, one position a call.

Inputs mix (1, tokens), at (1, positions) one-hot, keys and values (layers, key heads, positions, width); outputs logits (1, tokens), key and
value (layers, key heads, 1, width) of this position, which the host writes. The embedding is a product with ``mix``; rotary angles and the
mask are products with ``at``: no Gather, no dynamic shape. Weights by the names of ``Qwen2ForCausalLM.state_dict()``.
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
    keys: list[str] = []
    values: list[str] = []
    for layer in range(shape.layers):
        stream = _layer(graph, weights, shape, layer, stream, keys, values)
    graph.add("MatMul", [_norm(graph, "last", stream, weights["model.norm.weight"]), "head"], "logits")
    graph.add("Concat", keys, "key", axis=0)
    graph.add("Concat", values, "value", axis=0)

    def tensor(label: str, *size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(label, TensorProto.FLOAT, size)

    buffer = (shape.layers, shape.key_heads, POSITIONS, shape.head)
    step = (shape.layers, shape.key_heads, 1, shape.head)
    body = helper.make_graph(
        graph.nodes,
        name,
        [tensor("mix", 1, len(TOKENS)), tensor("at", 1, POSITIONS), tensor("keys", *buffer), tensor("values", *buffer)],
        [tensor("logits", 1, len(TOKENS)), tensor("key", *step), tensor("value", *step)],
        graph.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edgebms")
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _positions(graph: Graph, shape: Shape) -> None:
    """cos and sin (1, head) with the sign of rotate-half in the sine, and the mask over the buffer (1, 1, positions)."""
    half = shape.head // 2
    angle = np.arange(POSITIONS)[:, None] * shape.theta ** (-np.arange(half) * 2.0 / shape.head)
    graph.constant("cosines", np.concatenate((np.cos(angle), np.cos(angle)), axis=1))
    graph.constant("sines", np.concatenate((-np.sin(angle), np.sin(angle)), axis=1))
    graph.constant("masks", np.where(np.arange(POSITIONS)[None, :] < np.arange(POSITIONS)[:, None], 0.0, MASKED))
    graph.add("MatMul", ["at", "cosines"], "cos")
    graph.add("MatMul", ["at", "sines"], "sin")
    graph.add("MatMul", ["at", "masks"], "mask")
    graph.constant("halves", np.array([half, half], dtype=np.int64))
    graph.constant("heads_first", np.array([shape.heads, 1, shape.head], dtype=np.int64))
    graph.constant("keys_first", np.array([shape.key_heads, 1, shape.head], dtype=np.int64))
    graph.constant("grouped", np.array([shape.key_heads, shape.heads // shape.key_heads, shape.head], dtype=np.int64))
    graph.constant("one_row", np.array([1, shape.width], dtype=np.int64))
    graph.constant("first_axis", np.array([0], dtype=np.int64))


def _norm(graph: Graph, name: str, stream: str, weight: NDArray[np.float32]) -> str:
    """RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467), with Pow as onnxruntime fuses it."""
    graph.constant(f"{name}_scale", weight)
    graph.add("Pow", [stream, "two"], f"{name}_square")
    graph.add("ReduceMean", [f"{name}_square"], f"{name}_mean", axes=[-1], keepdims=1)
    graph.add("Add", [f"{name}_mean", "epsilon"], f"{name}_shifted")
    graph.add("Sqrt", [f"{name}_shifted"], f"{name}_root")
    graph.add("Div", [stream, f"{name}_root"], f"{name}_unit")
    return graph.add("Mul", [f"{name}_unit", f"{name}_scale"], f"{name}_out")


def _rotated(graph: Graph, name: str, vector: str) -> str:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864), halves as in Qwen2."""
    graph.add("Split", [vector, "halves"], f"{name}_low", f"{name}_high", axis=-1)
    graph.add("Concat", [f"{name}_high", f"{name}_low"], f"{name}_turned", axis=-1)
    graph.add("Mul", [vector, "cos"], f"{name}_cos")
    graph.add("Mul", [f"{name}_turned", "sin"], f"{name}_sin")
    return graph.add("Add", [f"{name}_cos", f"{name}_sin"], f"{name}_rotated")


def _layer(graph: Graph, weights: Weights, shape: Shape, layer: int, stream: str, keys: list[str], values: list[str]) -> str:
    at, name = f"model.layers.{layer}.", f"l{layer}"
    root = shape.head**-0.5
    inside = _norm(graph, f"{name}_before", stream, weights[f"{at}input_layernorm.weight"])
    sides = [weights[f"{at}self_attn.{part}_proj.weight"] * (root if part == "q" else 1.0) for part in "qkv"]
    biases = [weights[f"{at}self_attn.{part}_proj.bias"] * (root if part == "q" else 1.0) for part in "qkv"]
    graph.constant(f"{name}_qkv", np.concatenate(sides).T)
    graph.constant(f"{name}_qkv_bias", np.concatenate(biases))
    graph.constant(f"{name}_parts", np.array([len(side) for side in sides], dtype=np.int64))
    graph.add("MatMul", [inside, f"{name}_qkv"], f"{name}_qkv_product")
    graph.add("Add", [f"{name}_qkv_product", f"{name}_qkv_bias"], f"{name}_qkv_all")
    graph.add("Split", [f"{name}_qkv_all", f"{name}_parts"], f"{name}_q", f"{name}_k", f"{name}_v", axis=-1)
    graph.add("Reshape", [f"{name}_q", "heads_first"], f"{name}_q_heads")
    graph.add("Reshape", [f"{name}_k", "keys_first"], f"{name}_k_heads")
    graph.add("Reshape", [f"{name}_v", "keys_first"], f"{name}_v_heads")
    query, key = _rotated(graph, f"{name}_q", f"{name}_q_heads"), _rotated(graph, f"{name}_k", f"{name}_k_heads")
    for part, out, kept in (("key", key, keys), ("value", f"{name}_v_heads", values)):
        kept.append(graph.add("Unsqueeze", [out, "first_axis"], f"{name}_{part}_kept"))
        graph.constant(f"{name}_{part}_layer", np.array([layer], dtype=np.int64))
        graph.constant(f"{name}_{part}_layer_end", np.array([layer + 1], dtype=np.int64))
        graph.add("Slice", [f"{part}s", f"{name}_{part}_layer", f"{name}_{part}_layer_end", "first_axis"], f"{name}_{part}_past4")
        graph.add("Squeeze", [f"{name}_{part}_past4", "first_axis"], f"{name}_{part}_past")
    graph.add("Reshape", [query, "grouped"], f"{name}_groups")
    graph.add("Transpose", [f"{name}_key_past"], f"{name}_past_t", perm=[0, 2, 1])
    graph.add("Transpose", [key], f"{name}_own_t", perm=[0, 2, 1])
    graph.add("MatMul", [f"{name}_groups", f"{name}_past_t"], f"{name}_past_score")
    graph.add("Add", [f"{name}_past_score", "mask"], f"{name}_past_masked")
    graph.add("MatMul", [f"{name}_groups", f"{name}_own_t"], f"{name}_own_score")
    graph.add("Concat", [f"{name}_past_masked", f"{name}_own_score"], f"{name}_scores", axis=-1)
    graph.add("Softmax", [f"{name}_scores"], f"{name}_shares", axis=-1)
    graph.add("Concat", [f"{name}_value_past", f"{name}_v_heads"], f"{name}_all_values", axis=1)
    graph.add("MatMul", [f"{name}_shares", f"{name}_all_values"], f"{name}_mixed")
    graph.add("Reshape", [f"{name}_mixed", "one_row"], f"{name}_joined")
    graph.constant(f"{name}_o", np.ascontiguousarray(weights[f"{at}self_attn.o_proj.weight"].T))
    graph.add("MatMul", [f"{name}_joined", f"{name}_o"], f"{name}_attended")
    graph.add("Add", [stream, f"{name}_attended"], f"{name}_middle")
    inside = _norm(graph, f"{name}_after", f"{name}_middle", weights[f"{at}post_attention_layernorm.weight"])
    graph.constant(f"{name}_gate_up", np.concatenate((weights[f"{at}mlp.gate_proj.weight"], weights[f"{at}mlp.up_proj.weight"])).T)
    graph.constant(f"{name}_inner", np.array([shape.inner, shape.inner], dtype=np.int64))
    graph.constant(f"{name}_down", np.ascontiguousarray(weights[f"{at}mlp.down_proj.weight"].T))
    graph.add("MatMul", [inside, f"{name}_gate_up"], f"{name}_both")
    graph.add("Split", [f"{name}_both", f"{name}_inner"], f"{name}_gate", f"{name}_up", axis=-1)
    graph.add("Sigmoid", [f"{name}_gate"], f"{name}_gate_open")
    graph.add("Mul", [f"{name}_gate", f"{name}_gate_open"], f"{name}_silu")
    graph.add("Mul", [f"{name}_silu", f"{name}_up"], f"{name}_wide")
    graph.add("MatMul", [f"{name}_wide", f"{name}_down"], f"{name}_narrow")
    return graph.add("Add", [f"{name}_middle", f"{name}_narrow"], f"stream_{layer + 1}")
