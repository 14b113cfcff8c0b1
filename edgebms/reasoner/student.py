"""The reasoning student: a Qwen2 decoder as one static ONNX graph, stepped from here over a key and value buffer.

The graph's inputs: mix (1, tokens) weights over the words, at (1, positions) one-hot position, keys and values
(layers, heads, positions, width). Its outputs: logits (1, tokens), and key and value (layers, heads, 1, width) of this step,
which the host writes into its buffers. Positions not written yet are masked by ``at``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edgebms.errors import ModelError
from edgebms.estimator.student import first_line, open_session
from edgebms.model_store import open_checked
from edgebms.reasoner.language import CONFIDENCES, POSITIONS, TOKENS, VOCABULARY_HASH
from edgebms.reasoner.quantiser import Quantiser

Singles = NDArray[np.float32]
Share = Annotated[float, Meta(ge=0, le=1)]

AGAIN = "export the model again (make models-reasoner)"


class ReasonerCard(msgspec.Struct, frozen=True):
    """The part of a reasoning student's card that the runtime checks. Other fields are for people.

    bins: see ``Quantiser``. commit: stop asking when a cause is at least this likely; glance: enough to call a pack healthy after
    ``glance_queries``. stop_bias: added to the causes' logits against the questions' (None = only ``commit`` and the cap stop).
    watch, warning: least probability of a cause, by its word, for that level; "" = all others. confidences: what each bin stands for.
    """

    name: str
    kind: str
    sha256: Annotated[str, Meta(min_length=64, max_length=64)]
    vocabulary: str
    bins: list[list[list[float]]]
    commit: Share = 0.9
    glance: Share = 0.6
    glance_queries: Annotated[int, Meta(ge=1, le=8)] = 3
    stop_bias: float | None = None
    watch: dict[str, Share] = msgspec.field(default_factory=lambda: {"": 0.5})
    warning: dict[str, Share] = msgspec.field(default_factory=lambda: {"": 0.8})
    confidences: tuple[Share, ...] = tuple((place + 0.5) / CONFIDENCES for place in range(CONFIDENCES))


class ReasoningStudent:
    """An opened model. Make one with ``load_reasoner``. It holds one trace at a time."""

    def __init__(self, card: ReasonerCard, model: bytes, where: str) -> None:
        if card.vocabulary != VOCABULARY_HASH:
            raise ModelError("was trained on other words than this runtime speaks", where=where, mend=AGAIN)
        if len(card.confidences) != CONFIDENCES or "" not in card.watch or "" not in card.warning:
            raise ModelError("its card lacks thresholds or confidences", where=where, mend=AGAIN)
        try:
            self.quantiser = Quantiser(np.array(card.bins, dtype=float))
        except ValueError as error:
            raise ModelError(f"its card's bins do not fit: {error}", where=where, mend=AGAIN) from None
        self.card = card
        self._session = open_session(model, where)
        inputs = {node.name: (node.type, node.shape) for node in self._session.get_inputs()}
        buffer = inputs.get("keys", ("", []))[1]
        single = "tensor(float)"
        wanted = {
            "mix": (single, [1, len(TOKENS)]),
            "at": (single, [1, POSITIONS]),
            "keys": (single, buffer),
            "values": (single, buffer),
        }
        outputs = {node.name for node in self._session.get_outputs()}
        if inputs != wanted or len(buffer) != 4 or buffer[2] != POSITIONS or outputs != {"logits", "key", "value"}:
            raise ModelError(f"has inputs {inputs} and outputs {sorted(outputs)}, no reasoning student's", where=where, mend=AGAIN)
        self._keys = np.zeros(buffer, dtype=np.float32)
        self._values = np.zeros(buffer, dtype=np.float32)
        self._at = np.eye(POSITIONS, dtype=np.float32)[:, None, :]
        self._next = 0
        self._prompt: tuple[bytes, Singles] | None = None
        try:
            logits = self.begin(np.zeros(len(TOKENS), dtype=np.float32))
        except Exception as error:
            raise ModelError(f"does not run: {first_line(error)}", where=where, mend=AGAIN) from None
        if logits.shape != (len(TOKENS),) or not np.isfinite(logits).all():
            raise ModelError("answers with numbers that are none", where=where, mend=AGAIN)

    @property
    def digest(self) -> str:
        return f"{self.card.name}@sha256:{self.card.sha256}"

    def begin(self, prompt: Singles) -> Singles:
        """Logits (tokens,) after the prompt, which is run once and kept while it is the same."""
        key = prompt.tobytes()
        if self._prompt is None or self._prompt[0] != key:
            self._next = 0
            self._keys[:] = 0.0
            self._values[:] = 0.0
            self._prompt = (key, self.step(prompt))
        # the mask is finite: a trace before this one must not shine through it
        self._keys[:, :, 1:] = 0.0
        self._values[:, :, 1:] = 0.0
        self._next = 1
        return self._prompt[1]

    def step(self, mix: Singles) -> Singles:
        """Logits (tokens,) after one more position. Raises IndexError beyond the last one."""
        at = self._next
        logits, key, value = self._session.run(
            ("logits", "key", "value"), {"mix": mix[None], "at": self._at[at], "keys": self._keys, "values": self._values}
        )
        self._keys[:, :, at : at + 1] = key
        self._values[:, :, at : at + 1] = value
        self._next = at + 1
        found: Singles = logits[0]
        return found


def load_reasoner(name: str) -> ReasoningStudent:
    """Open the model called ``name``: one in models/, or a path that ends in .onnx. Raises ModelError."""
    card, model, _ = open_checked(name, "reasoner", ReasonerCard)
    return ReasoningStudent(card, model, Path(name).name if name.endswith(".onnx") else f"models/{name}.onnx")
