"""The state student: a small recurrent network on top of the filter, one for all cells and all cards.

It sees what the filter sees in units of the card (errors over the card's stated error, currents over the
capacity), never volts, amperes or a state of charge, so that one network serves cells that it was never
trained on. It answers with a correction of the filter's SOC, bounded by the filter's own sigma, and a
standard deviation. Nothing is kept here: the hidden state travels through ``run``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard, card_digest
from edgebms.errors import ModelError
from edgebms.estimator.cell_model import ERROR
from edgebms.estimator.kalman import Kalman
from edgebms.model_store import ModelCard, open_model

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

FEATURES = (
    "innovation_per_sigma",
    "innovation_per_error",
    "innovation_soc",
    "bias_per_error",
    "overpotential_per_error",
    "polarisation_per_error",
    "c_rate",
    "offset_c",
    "log_soc_sigma",
    "log_error_soc",
    "log_error",
    "log_resistance_scale",
    "log_resistance_scale_sigma",
    "temperature",
    "log_since_start",
    "log_step",
)
"""Names of the inputs in order. A model that was trained on others is refused."""

PER_C = 0.1
"""The temperature counts in tens of kelvin."""
ERROR_V = 0.01
"""A card's error that counts as one."""
INNOVATION_SOC = 0.01
OFFSET_C = 0.01
TINY = 1e-6
SETTLED_S = 3600.0
"""From then on a start is long ago: hours and weeks look alike."""
SLOPE_MIN_V = 0.02
"""The slope of a plateau: below, a voltage tells no SOC."""


def features(kalman: Kalman, current_a: float | Floats, period_s: float) -> Singles:
    """What the student sees after ``kalman.step``: (cells, features) float32, NaN where the filter knows nothing.

    current_a: of one cell. period_s: time between two calls where snapshots come faster.
    Wide quantities go through asinh, scales through log: both are close to linear near what is usual.
    """
    per_error = 1.0 / np.maximum(kalman.model.map[ERROR], TINY)  # 0 before a start
    per_slope = 1.0 / np.maximum(kalman.slope_v, SLOPE_MIN_V)
    raw = np.empty((len(FEATURES), kalman.cells))
    innovation = kalman.innovation_v
    np.divide(innovation, kalman.innovation_sigma_v, out=raw[0])
    np.multiply(innovation, per_error, out=raw[1])
    np.multiply(innovation, per_slope / INNOVATION_SOC, out=raw[2])
    np.multiply(kalman.bias_v, per_error, out=raw[3])
    np.multiply(kalman.overpotential_v, per_error, out=raw[4])
    np.multiply(kalman.polarisation_v, per_error, out=raw[5])
    raw[6] = current_a / kalman.card.capacity_ah
    np.divide(kalman.offset_a, OFFSET_C * kalman.card.capacity_ah, out=raw[7])
    raw[8] = kalman.soc_sigma
    np.divide(per_slope, per_error, out=raw[9])
    np.divide(1.0 / ERROR_V, per_error, out=raw[10])
    raw[11] = kalman.resistance_scale
    raw[12] = kalman.resistance_scale_sigma
    np.minimum(kalman.since_start_s, SETTLED_S, out=raw[14])
    raw[14] += 1.0
    raw[15] = np.maximum(kalman.step_s, period_s)
    np.arcsinh(raw[:8], out=raw[:8])
    logs = raw[8:]
    np.maximum(logs, TINY, out=logs)
    np.log(logs, out=logs)
    np.multiply(kalman.temperature_c, PER_C, out=raw[13])
    return raw.T.astype(np.float32, order="C")


class StateStudent:
    """An opened model. Make one with ``load_student``."""

    def __init__(self, card: ModelCard, model: bytes, where: str) -> None:
        if card.features != FEATURES:
            unlike = next(
                (f"{a!r} stands where {b!r} is needed" for a, b in zip(card.features, FEATURES, strict=False) if a != b), "number"
            )
            raise ModelError(
                f"has other inputs than this runtime gives: {unlike}", where=where, mend="export the model again (make models)"
            )
        self.card = card
        self.period_s = card.period_s
        self._centre = np.array(card.centre, dtype=np.float32)
        with np.errstate(divide="ignore"):
            self._per_scale = (1.0 / np.array(card.scale)).astype(np.float32)
        self._low = np.array(card.domain_low, dtype=np.float32)
        self._high = np.array(card.domain_high, dtype=np.float32)
        rows = (self._centre, self._per_scale, self._low, self._high)
        if not all(np.isfinite(row).all() for row in rows) or not (self._low < self._high).all():
            raise ModelError("centre, scale or domain hold no usable numbers", where=where, mend="export the model again (make models)")
        self._session = open_session(model, where)
        self._check(where)

    def _check(self, where: str) -> None:
        """Names, types and shapes of the graph, and that it answers with finite numbers."""
        session, width, hidden = self._session, len(FEATURES), self.card.hidden
        inputs = {node.name: (node.type, node.shape[1:]) for node in session.get_inputs()}
        outputs = {node.name: (node.type, node.shape[1:]) for node in session.get_outputs()}
        single = "tensor(float)"
        if inputs != {"x": (single, [width]), "h": (single, [hidden])} or outputs != {"y": (single, [2]), "h_next": (single, [hidden])}:
            raise ModelError(
                f"has inputs {sorted(inputs)} and outputs {sorted(outputs)} of a shape that is no state student's",
                where=where,
                mend="export the model again (make models)",
            )
        middle = np.repeat(self._centre[None], 3, axis=0)
        try:
            correction, sigma, after = self.run(middle, self.start(3))
        except Exception as error:
            raise ModelError(f"does not run: {first_line(error)}", where=where, mend="export the model again (make models)") from None
        if not (np.isfinite(correction).all() and np.isfinite(sigma).all() and (sigma > 0).all() and np.isfinite(after).all()):
            raise ModelError("answers with numbers that are none", where=where, mend="export the model again (make models)")

    @property
    def digest(self) -> str:
        return f"{self.card.name}@sha256:{self.card.sha256}"

    def describe(self) -> str:
        """One line: name, hash, size of its hidden state, period."""
        return f"{self.card.name}@sha256:{self.card.sha256[:12]}, hidden {self.card.hidden}, every {self.period_s:g} s"

    def start(self, cells: int) -> Singles:
        """The hidden state of ``cells`` cells of which nothing is known yet: (cells, hidden)."""
        return np.zeros((cells, self.card.hidden), dtype=np.float32)

    def features(self, kalman: Kalman, current_a: float) -> Singles:
        """``features`` above at this model's period: (cells, features) float32."""
        return features(kalman, current_a, self.period_s)

    def knows(self, card: CellCard) -> bool:
        """Whether ``card`` trained it. Of cells that it never saw it was worse than the filter (docs/estimation.md)."""
        return self.card.filter is None or card_digest(card) in self.card.filter.cards.values()

    def inside(self, x: Singles) -> NDArray[np.bool_]:
        """(cells,): whether all inputs of a cell lie in the range of the training. NaN is outside."""
        inside: NDArray[np.bool_] = np.all((x >= self._low) & (x <= self._high), axis=1)
        return inside

    def run(self, x: Singles, hidden: Singles) -> tuple[Floats, Floats, Singles]:
        """SOC correction (cells,), its standard deviation (cells,), the next hidden state (cells, hidden)."""
        y, after = self._session.run(("y", "h_next"), {"x": (x - self._centre) * self._per_scale, "h": hidden})
        both = y.astype(np.float64)
        return both[:, 0], np.exp(both[:, 1]), after


def open_session(model: bytes, where: str):  # type: ignore[no-untyped-def]  # onnxruntime has no types
    """An onnxruntime session on one thread. Raises ModelError for what is no model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # x86 without VNNI adds pairs of products in 16 bits, which overflow: this keeps the answers what they are elsewhere.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # Fused to Gemm before the int8 fusion, MatMul + Add would take its weights back to float at every call.
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatMulAddFusion"])
    except Exception as error:
        raise ModelError(f"is no ONNX model: {first_line(error)}", where=where, mend="install it again, or export again") from None


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def load_student(name: str) -> StateStudent:
    """Open the model called ``name``: one in models/, or a path that ends in .onnx. Raises ModelError."""
    card, model = open_model(name, "state")
    if not math.isfinite(card.period_s):
        raise ModelError("period_s is no number", where=name, mend="export the model again (make models)")
    return StateStudent(card, model, Path(name).name if name.endswith(".onnx") else f"models/{name}.onnx")
