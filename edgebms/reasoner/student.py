"""The reasoning student: a Qwen2 decoder as one static ONNX graph, stepped from here over a key and value buffer.

The graph's inputs: mix (1, tokens) weights over the words, at (1, positions) one-hot position, and of each layer N keys_N
(heads, width, positions) and values_N (heads, positions, width). Its outputs: logits (1, tokens), and of each layer key_N
(heads, width, 1) and value_N (heads, 1, width) of this step, which the host writes into its buffers. Positions not written yet are
masked by ``at``. Inputs and outputs are bound once to buffers that stay where they are.
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
from edgebms.evidence.queries import BY_WORD, QUERIES
from edgebms.model_store import open_checked
from edgebms.reasoner.language import CAUSES, CONFIDENCES, POSITIONS, TOKENS, VOCABULARY_HASH
from edgebms.reasoner.quantiser import Quantiser
from edgebms.vocabulary import Cause

Singles = NDArray[np.float32]
Share = Annotated[float, Meta(ge=0, le=1)]

AGAIN = "export the model again (make models-reasoner)"


class ReasonerCard(msgspec.Struct, frozen=True):
    """The part of a reasoning student's card that the runtime checks. Other fields are for people.

    bins: see ``Quantiser``. commit: stop asking when a cause is at least this likely; glance: enough to call a pack healthy after
    ``glance_queries``; suspicion: a glance that is not whole holds a pack healthier than that for calm. stop_bias: added to the causes' logits against the questions' (None = only ``commit`` and the cap stop).
    unasked: questions, by their words, that training never saw answered: this student does not ask them.
    names: of a cause, by its word, the question whose answer names its cell most often: it is put before such a verdict.
    watch, warning: least probability of a cause, by its word, for that level; "" = all others. hold_s: how long a cause must have stood (``Standing``)
    before it is more than a watch, s. confidences: what each bin stands for.
    """

    name: str
    kind: str
    sha256: Annotated[str, Meta(min_length=64, max_length=64)]
    vocabulary: str
    bins: list[list[list[float]]]
    commit: Share = 0.9
    glance: Share = 0.6
    glance_queries: Annotated[int, Meta(ge=1, le=8)] = 3
    suspicion: Share = 0.2
    stop_bias: float | None = None
    unasked: tuple[str, ...] = ()
    names: dict[str, str] = {}
    hold_s: dict[str, Annotated[float, Meta(ge=0)]] = msgspec.field(default_factory=lambda: {"": 0.0})
    watch: dict[str, Share] = msgspec.field(default_factory=lambda: {"": 0.5})
    warning: dict[str, Share] = msgspec.field(default_factory=lambda: {"": 0.8})
    confidences: tuple[Share, ...] = tuple((place + 0.5) / CONFIDENCES for place in range(CONFIDENCES))


class ReasoningStudent:
    """An opened model. Make one with ``load_reasoner``. It holds one trace at a time."""

    def __init__(self, card: ReasonerCard, model: bytes, where: str) -> None:
        if card.vocabulary != VOCABULARY_HASH:
            raise ModelError("was trained on other words than this runtime speaks", where=where, mend=AGAIN)
        if len(card.confidences) != CONFIDENCES or "" not in card.watch or "" not in card.warning or "" not in card.hold_s:
            raise ModelError("its card lacks thresholds or confidences", where=where, mend=AGAIN)
        try:
            self.quantiser = Quantiser(np.array(card.bins, dtype=float))
        except ValueError as error:
            raise ModelError(f"its card's bins do not fit: {error}", where=where, mend=AGAIN) from None
        if unknown := {*card.unasked, *card.names.values()} - set(BY_WORD):
            raise ModelError(f"its card names {sorted(unknown)[0]!r}, which is no question", where=where, mend=AGAIN)
        if strange := set(card.names) - set(CAUSES):
            raise ModelError(f"its card names {sorted(strange)[0]!r}, which is no cause", where=where, mend=AGAIN)
        self.asks = np.array([query.word not in card.unasked for query in QUERIES])
        """(queries,): what this student asks about."""
        self.names = {CAUSES.index(Cause(cause)): QUERIES.index(BY_WORD[word]) for cause, word in card.names.items()}
        """Place in CAUSES -> place in QUERIES, see ``ReasonerCard.names``."""
        self.card = card
        self._session = open_session(model, where)
        inputs = {node.name: node.shape for node in self._session.get_inputs() if node.type == "tensor(float)"}
        outputs = {node.name: node.shape for node in self._session.get_outputs() if node.type == "tensor(float)"}
        layers = sum(name.startswith("keys_") for name in inputs)
        if not fits(inputs, outputs, layers) or len(inputs) != len(self._session.get_inputs()):
            raise ModelError(f"has inputs {inputs} and outputs {sorted(outputs)}, no reasoning student's", where=where, mend=AGAIN)
        self._in = {name: np.zeros(shape, dtype=np.float32) for name, shape in inputs.items()}
        self._out = {name: np.zeros(shape, dtype=np.float32) for name, shape in outputs.items()}
        self._binding = self._session.io_binding()
        for name, buffer in self._in.items():
            self._binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        for name, buffer in self._out.items():
            self._binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
        self._mix, self._at, self._logits = self._in["mix"][0], self._in["at"][0], self._out["logits"][0]
        self._kept = [
            (self._in[f"keys_{n}"], self._in[f"values_{n}"], self._out[f"key_{n}"], self._out[f"value_{n}"]) for n in range(layers)
        ]
        self._next = 0
        self._said: list[tuple[bytes, Singles]] = []
        """Of each position that stands in the buffers: what was said there, and the logits behind it."""
        try:
            logits = self.begin(np.zeros(len(TOKENS), dtype=np.float32))
        except Exception as error:
            raise ModelError(f"does not run: {first_line(error)}", where=where, mend=AGAIN) from None
        if logits.shape != (len(TOKENS),) or not np.isfinite(logits).all():
            raise ModelError("answers with numbers that are none", where=where, mend=AGAIN)

    @property
    def digest(self) -> str:
        return f"{self.card.name}@sha256:{self.card.sha256}"

    def describe(self) -> str:
        """One line for people."""
        return f"{self.card.name}@sha256:{self.card.sha256[:12]}, asks {int(self.asks.sum())} of {len(QUERIES)} questions"

    def begin(self, prompt: Singles) -> Singles:
        """Logits (tokens,) after the prompt, a trace's first position."""
        self._next = 0
        return self.step(prompt)

    def step(self, mix: Singles) -> Singles:
        """Logits (tokens,) after one more position, NaN as the lowest of all. As far as a trace goes as the one before it did, nothing is run again. Raises
        IndexError beyond the last one."""
        at, asked = self._next, mix.tobytes()
        if at >= POSITIONS:
            raise IndexError("a trace has no more positions")
        if at < len(self._said):
            if self._said[at][0] == asked:
                self._next = at + 1
                return self._said[at][1]
            self._forget(at)
        self._mix[:] = mix
        self._at[at] = 1.0
        self._session.run_with_iobinding(self._binding)
        self._at[at] = 0.0
        for keys, values, key, value in self._kept:
            keys[:, :, at] = key[:, :, 0]
            values[:, at] = value[:, 0]
        self._next = at + 1
        found: Singles = np.where(np.isnan(self._logits), np.float32(-np.inf), self._logits)
        self._said.append((asked, found))
        return found

    def _forget(self, first: int) -> None:
        """The mask is finite: what stood at ``first`` and behind it must not shine through it."""
        for keys, values, _, _ in self._kept:
            keys[:, :, first:] = 0.0
            values[:, first:] = 0.0
        del self._said[first:]


def fits(inputs: dict[str, list[int]], outputs: dict[str, list[int]], layers: int) -> bool:
    """Whether the shapes of a graph's inputs and outputs are those of a student of ``layers`` layers."""
    if layers < 1 or any(len(inputs.get(f"keys_{n}", ())) != 3 for n in range(layers)):
        return False
    wanted_in, wanted_out = {"mix": [1, len(TOKENS)], "at": [1, POSITIONS]}, {"logits": [1, len(TOKENS)]}
    for n in range(layers):
        heads, width, _ = inputs[f"keys_{n}"]
        wanted_in |= {f"keys_{n}": [heads, width, POSITIONS], f"values_{n}": [heads, POSITIONS, width]}
        wanted_out |= {f"key_{n}": [heads, width, 1], f"value_{n}": [heads, 1, width]}
    return inputs == wanted_in and outputs == wanted_out


def load_reasoner(name: str) -> ReasoningStudent:
    """Open the model called ``name``: one in models/, or a path that ends in .onnx. Raises ModelError."""
    card, model, _ = open_checked(name, "reasoner", ReasonerCard)
    return ReasoningStudent(card, model, Path(name).name if name.endswith(".onnx") else f"models/{name}.onnx")
