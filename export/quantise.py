"""fp32 ONNX to int8 by onnxruntime's static quantiser: QDQ, signed, weights per channel, the products alone.

The state, the gates' non-linearities and the head's formulas stay float: rounded to int8 a state could not change
slowly. Where the products' outputs stay float too, onnxruntime fuses each to one integer kernel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgebms.estimator.student import open_session

Singles = NDArray[np.float32]


def roll(model: bytes, x: Singles) -> Iterator[tuple[Singles, Singles, Singles]]:
    """Step ``model`` through x (steps, cells, inputs) from a zero state: (h before, y, h after) at each step."""
    session = open_session(model, "model")
    hidden = np.zeros((x.shape[1], session.get_inputs()[1].shape[1]), dtype=np.float32)
    for row in x:
        y, after = session.run(("y", "h_next"), {"x": row, "h": hidden})
        yield hidden, y, after
        hidden = after


class Steps(CalibrationDataReader):  # type: ignore[misc]
    """Inputs and states as they come in use: every ``every``-th step of sequences x (steps, cells, inputs)."""

    def __init__(self, model: bytes, x: Singles, every: int = 10) -> None:
        pairs = zip(x, roll(model, x), strict=True)
        self._steps = iter([{"x": row, "h": before} for k, (row, (before, _, _)) in enumerate(pairs) if k % every == 0])

    def get_next(self) -> dict[str, Singles] | None:
        return next(self._steps, None)


def quantise(model: bytes, x: Singles) -> bytes:
    """int8 form of ``model``, calibrated on scaled inputs x (steps, cells, inputs)."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model)
        logging.disable(logging.WARNING)  # its advice to pre-process would bake in the Gemm that we avoid
        try:
            quantize_static(
                source,
                target,
                Steps(model, x),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul"],
                extra_options={"ActivationSymmetric": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
            )
        finally:
            logging.disable(logging.NOTSET)
        return target.read_bytes()


def shift(float_model: bytes, int8_model: bytes, x: Singles, valid: NDArray[np.bool_]) -> dict[str, float]:
    """How far int8 moves single corrections: mean, p99.9 and largest |difference| in % SOC; the same of the log sigma."""
    both = [np.stack([y for _, y, _ in roll(model, x)]) for model in (float_model, int8_model)]
    apart = np.abs(both[1] - both[0])[valid]
    correction, sigma = 100.0 * apart[:, 0], apart[:, 1]
    return {
        "correction_mean_pct": float(correction.mean()),
        "correction_p999_pct": float(np.quantile(correction, 0.999)),
        "correction_max_pct": float(correction.max()),
        "log_sigma_mean": float(sigma.mean()),
        "log_sigma_p999": float(np.quantile(sigma, 0.999)),
    }


def kernels(model: bytes) -> list[str]:
    """Operators of ``model`` as onnxruntime runs them, to see what was fused."""
    with TemporaryDirectory() as folder:
        import onnx

        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "run.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"])
        return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
