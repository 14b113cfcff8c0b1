"""The static graph steps a Qwen2 decoder: the same logits as a forward pass over the whole trace, written out here once more."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.estimator.student import open_session
from edgebms.reasoner.language import POSITIONS, TOKENS
from export.reason.decoder_graph import NANO, Shape, decoder_graph, random_weights

GROUPED = Shape(width=64, layers=3, heads=4, key_heads=2, inner=96, theta=1e6)


def forward(weights: dict[str, np.ndarray], shape: Shape, mixes: np.ndarray) -> np.ndarray:
    """Qwen2 over all positions at once, float64: logits (positions, tokens)."""
    w = {name: value.astype(float) for name, value in weights.items()}

    def norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + shape.epsilon) * scale

    def rotate(x: np.ndarray) -> np.ndarray:  # (heads, positions, head)
        half = shape.head // 2
        angle = np.arange(x.shape[1])[:, None] / shape.theta ** (np.arange(half) / half)
        low, high = x[..., :half], x[..., half:]
        cos, sin = np.cos(angle), np.sin(angle)
        return np.concatenate((low * cos - high * sin, high * cos + low * sin), -1)

    x = mixes @ w["model.embed_tokens.weight"]
    count = len(x)
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        inside = norm(x, w[f"{at}input_layernorm.weight"])
        q, k, v = (inside @ w[f"{at}self_attn.{p}_proj.weight"].T + w[f"{at}self_attn.{p}_proj.bias"] for p in "qkv")
        q, k, v = (part.reshape(count, -1, shape.head).transpose(1, 0, 2) for part in (q, k, v))
        each = shape.heads // shape.key_heads
        q, k, v = rotate(q), np.repeat(rotate(k), each, 0), np.repeat(v, each, 0)
        score = q @ k.transpose(0, 2, 1) / np.sqrt(shape.head) + np.triu(np.full((count, count), -np.inf), 1)
        share = np.exp(score - score.max(-1, keepdims=True))
        mixed = (share / share.sum(-1, keepdims=True)) @ v
        x = x + mixed.transpose(1, 0, 2).reshape(count, -1) @ w[f"{at}self_attn.o_proj.weight"].T
        inside = norm(x, w[f"{at}post_attention_layernorm.weight"])
        gate = inside @ w[f"{at}mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (inside @ w[f"{at}mlp.up_proj.weight"].T)) @ w[f"{at}mlp.down_proj.weight"].T
    return norm(x, w["model.norm.weight"]) @ w["model.embed_tokens.weight"].T


@pytest.mark.parametrize("shape", [NANO, GROUPED])
def test_stepping_gives_the_forward_pass(shape: Shape) -> None:
    weights = random_weights(shape, 5, scale=0.1)
    session = open_session(decoder_graph(weights, shape), "graph")
    rng = np.random.default_rng(0)
    mixes = (rng.random((POSITIONS, len(TOKENS))) * (rng.random((POSITIONS, len(TOKENS))) < 0.05)).astype(np.float32)
    past = {
        node.name: np.full(node.shape, 3.0, np.float32) for node in session.get_inputs()[2:]
    }  # what stands there before must not matter
    names = [node.name for node in session.get_outputs()]
    stepped = []
    for at in range(POSITIONS):
        feeds = {"mix": mixes[at : at + 1], "at": np.eye(POSITIONS, dtype=np.float32)[at : at + 1], **past}
        out = dict(zip(names, session.run(names, feeds), strict=True))
        for layer in range(shape.layers):
            past[f"keys_{layer}"][:, :, at : at + 1] = out[f"key_{layer}"]
            past[f"values_{layer}"][:, at : at + 1] = out[f"value_{layer}"]
        stepped.append(out["logits"][0])
    np.testing.assert_allclose(np.array(stepped), forward(weights, shape, mixes.astype(float)), rtol=2e-3, atol=2e-3)
