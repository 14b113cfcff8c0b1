"""Smoothing changes what is rounded, not what is computed."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("torch", reason="needs the export extra")

from edgebms.estimator.student import open_session  # noqa: E402
from edgebms.reasoner.language import TOKENS  # noqa: E402
from export.reason.decoder_graph import NANO, Shape, decoder_graph, random_weights  # noqa: E402
from export.reason.smooth import largest, places, smoothed  # noqa: E402
from export.reason.student_model import steps  # noqa: E402

GROUPED = Shape(width=64, layers=2, heads=4, key_heads=2, inner=96)


@pytest.mark.parametrize("shape", [NANO, GROUPED])
def test_a_smoothed_model_computes_the_same_from_evener_channels(shape: Shape) -> None:
    weights = random_weights(shape, 7, scale=0.1)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] * 2
    for layer in range(shape.layers):  # one channel behind the gates, and one of a norm, towers over the others
        weights[f"model.layers.{layer}.mlp.up_proj.weight"][3] *= 60
        weights[f"model.layers.{layer}.input_layernorm.weight"][5] *= 60
    rng = np.random.default_rng(1)
    mixes = (rng.random((3, 9, len(TOKENS))) * (rng.random((3, 9, len(TOKENS))) < 0.05)).astype(np.float32)
    plain = decoder_graph(weights, shape)
    feeds = steps(plain, mixes)
    even = smoothed(weights, shape, plain, feeds)
    other = decoder_graph(even, shape)
    first, second = open_session(plain, "plain"), open_session(other, "even")
    for feed, feed_even in zip(feeds, steps(other, mixes), strict=True):
        wanted, found = first.run(["logits"], feed)[0], second.run(["logits"], feed_even)[0]
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())
    names = [place[0] for place in places(shape)]
    before, after = largest(plain, names, feeds), largest(other, names, steps(other, mixes))
    for name in ("l0_wide", "l1_before_out"):
        assert (after[name].max() / np.median(after[name])) < 0.5 * (before[name].max() / np.median(before[name])), name
