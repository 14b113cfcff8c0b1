"""From a trained student to the files that ship: the runtime's graph, its int8 form, and the card, with what validation packs set in it."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgebms.estimator.student import open_session
from edgebms.reasoner.language import POSITIONS, TOKENS
from export.reason.decoder_graph import Shape

Singles = NDArray[np.float32]
FLOAT_PRODUCTS = ("stream_0", "cos", "sin", "mask")
"""Products that stay float: the embedding of soft bins, which 127 steps would coarsen, and the tables behind a position."""


def steps(model: bytes, shape: Shape, mixes: Singles) -> list[dict[str, Singles]]:
    """Feeds of traces mixes (n, positions, tokens), as the runtime steps them."""
    session = open_session(model, "student")
    feeds = []
    for trace in mixes:
        keys = np.zeros((shape.layers, shape.key_heads, POSITIONS, shape.head), dtype=np.float32)
        values = np.zeros_like(keys)
        for at, mix in enumerate(trace):
            one = np.eye(POSITIONS, dtype=np.float32)[at : at + 1]
            feeds.append({"mix": mix[None], "at": one, "keys": keys.copy(), "values": values.copy()})
            _, key, value = session.run(("logits", "key", "value"), feeds[-1])
            keys[:, :, at : at + 1], values[:, :, at : at + 1] = key, value
    return feeds


class Feeds(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: list[dict[str, Singles]]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> dict[str, Singles] | None:
        return next(self._left, None)


def quantise(model: bytes, shape: Shape, mixes: Singles) -> bytes:
    """int8: QDQ, S8S8, weights per channel, of the products with weights alone; calibrated on traces mixes (n, positions, tokens)."""
    graph = onnx.load_from_string(model).graph
    weights = {constant.name for constant in graph.initializer}
    spared = [n.name for n in graph.node if n.op_type == "MatMul" and (n.output[0] in FLOAT_PRODUCTS or not set(n.input) & weights)]
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model)
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                source,
                target,
                Feeds(steps(model, shape, mixes)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul"],
                nodes_to_exclude=spared,
                extra_options={"ActivationSymmetric": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
            )
        finally:
            logging.disable(logging.NOTSET)
        return target.read_bytes()


def save_checkpoint(model: Any, folder: Path) -> None:
    """The stock checkpoint as transformers loads it, with its tokenizer."""
    from edgebms.reasoner.language import tokenizer_json

    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<begin>", "pad_token": "<pad>"}\n', encoding="utf-8"
    )
    assert len(TOKENS) == model.config.vocab_size
