"""Makes a Qwen2 decoder easier to round, without changing what it computes: SmoothQuant (Xiao et al. 2022, arXiv:2211.10438).

A channel that is large among its neighbours takes the whole range of an int8 activation. Its size moves into the weights behind it: what is
in front (a norm's scale, the up or value projection) is divided by s, what is behind multiplied, s = sqrt(largest activation / largest weight).
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgebms.estimator.student import open_session
from export.onnx_graph import Weights
from export.reason.decoder_graph import Shape

Singles = NDArray[np.float32]
LEAST = 1e-4


def places(shape: Shape) -> list[tuple[str, list[str], list[str]]]:
    """(activation in the graph, parameters in front of it, projections behind it) of all that can be smoothed."""
    out = [("last_out", ["model.norm.weight"], ["lm_head.weight"])]
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        out += [
            (f"l{layer}_before_out", [f"{at}input_layernorm.weight"], [f"{at}self_attn.{part}_proj.weight" for part in "qkv"]),
            (f"l{layer}_after_out", [f"{at}post_attention_layernorm.weight"], [f"{at}mlp.{part}_proj.weight" for part in ("gate", "up")]),
            (f"l{layer}_wide", [f"{at}mlp.up_proj.weight"], [f"{at}mlp.down_proj.weight"]),
        ]
        if shape.heads == shape.key_heads:
            values = [f"{at}self_attn.v_proj.weight", f"{at}self_attn.v_proj.bias"]
            out.append((f"l{layer}_joined", values, [f"{at}self_attn.o_proj.weight"]))
    return out


def largest(model: bytes, names: list[str], feeds: list[dict[str, Singles]]) -> dict[str, Singles]:
    """Largest magnitude of each channel of the activations ``names`` over ``feeds``."""
    whole = onnx.load_from_string(model)
    whole.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = open_session(whole.SerializeToString(), "student")
    out: dict[str, Singles] = {}
    for feed in feeds:
        for name, value in zip(names, session.run(names, feed), strict=True):
            out[name] = np.maximum(out.get(name, 0.0), np.abs(value[0]))
    return out


def smoothed(weights: Weights, shape: Shape, model: bytes, feeds: list[dict[str, Singles]]) -> Weights:
    """Other weights of the same function. model: the graph of ``weights``; feeds: what calibrates it."""
    there = [place for place in places(shape) if all(name in weights for name in place[2])]
    seen = largest(model, [place[0] for place in there], feeds)
    out = dict(weights)
    for name, front, behind in there:
        of_weights = np.max([np.abs(out[part]).max(axis=0) for part in behind], axis=0)
        share = np.sqrt(np.maximum(seen[name], LEAST) / np.maximum(of_weights, LEAST))
        share = (share / np.exp(np.log(share).mean())).astype(np.float32)
        for part in front:
            out[part] = out[part] / (share if out[part].ndim == 1 else share[:, None])
        for part in behind:
            out[part] = out[part] * share
    return out
