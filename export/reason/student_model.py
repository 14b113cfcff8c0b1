"""From a trained student to the files that ship: the runtime's graph, its int8 form, and the card, with what validation packs set in it."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgebms.estimator.student import open_session
from edgebms.evidence.queries import OUTLIERS, QUERIES
from edgebms.reasoner.language import CAP, CAUSES, CONFIDENCES, OF_PACK, POSITIONS, TOKENS, VOCABULARY_HASH
from edgebms.reasoner.student import ReasonerCard, ReasoningStudent
from edgebms.vocabulary import Cause
from export import model_card
from export.reason import corpus, glance, sft
from export.reason.asking import right_place
from export.reason.decoder_graph import decoder_graph
from export.reason.judge import Figure, Said, ask_all, figures
from export.reason.oracle import Oracle
from export.reason.sft import SftRecipe
from export.reason.smooth import smoothed
from export.reason.splits import SEEDS
from export.reason.traces import inputs, targets
from export.train import versions

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
FLOAT_PRODUCTS = ("stream_0", "tables_at", "logits")
"""Products that stay float: the embedding of soft bins, which 127 steps would coarsen, the tables that a position looks up, and what is said."""
BACK = ("_narrow", "_attended")
"""So do the two of each layer that lead back into the stream: what comes out of a gate is small but for a few channels, and rounding these
changed 1 verdict in 80. What reads from the stream, two thirds of the weights, is int8."""


def steps(model: bytes, mixes: Singles) -> list[dict[str, Singles]]:
    """Feeds of traces mixes (n, positions, tokens), as the runtime steps them."""
    session = open_session(model, "student")
    past = {node.name: node.shape for node in session.get_inputs() if node.name.startswith(("keys", "values"))}
    names = [node.name for node in session.get_outputs()]
    feeds = []
    for trace in mixes:
        kept = {name: np.zeros(shape, dtype=np.float32) for name, shape in past.items()}
        for at, mix in enumerate(trace):
            one = np.eye(POSITIONS, dtype=np.float32)[at : at + 1]
            feeds.append({"mix": mix[None], "at": one} | {name: buffer.copy() for name, buffer in kept.items()})
            for name, row in zip(names, session.run(names, feeds[-1]), strict=True):
                if name.startswith("key"):
                    kept[name.replace("key", "keys")][:, :, at : at + 1] = row
                elif name.startswith("value"):
                    kept[name.replace("value", "values")][:, at : at + 1] = row
    return feeds


class Feeds(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: list[dict[str, Singles]]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> dict[str, Singles] | None:
        return next(self._left, None)


def quantise(model: bytes, mixes: Singles) -> bytes:
    """int8: QDQ, S8S8, weights per channel, of the products with weights alone; calibrated on traces mixes (n, positions, tokens)."""
    graph = onnx.load_from_string(model).graph
    weights = {constant.name for constant in graph.initializer}
    spared = [
        n.name
        for n in graph.node
        if n.op_type == "MatMul" and (n.output[0] in FLOAT_PRODUCTS or n.output[0].endswith(BACK) or not set(n.input) & weights)
    ]
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model)
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                source,
                target,
                Feeds(steps(model, mixes)),
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


def names_of(rows: NDArray[np.void], asks: NDArray[np.bool_]) -> dict[str, str]:
    """For ``ReasonerCard.names``: of what training saw of each cause that has a cell, the question whose answer named it most often."""
    asked = [place for place in OUTLIERS if asks[place]]
    found = {}
    for place, cause in enumerate(CAUSES):
        own = rows[(rows["cause"] == place) & ((rows["cell"] >= 0) | (rows["probe"] >= 0))]
        if len(own) and cause not in OF_PACK:
            shares = right_place(own, own["named"][:, asked].astype(np.intp)).mean(axis=0)
            found[cause.value] = QUERIES[asked[int(shares.argmax())]].word
    return found


def save_checkpoint(model: Any, folder: Path) -> None:
    """The stock checkpoint as transformers loads it, with its tokenizer."""
    from edgebms.reasoner.language import tokenizer_json

    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<begin>", "pad_token": "<pad>"}\n', encoding="utf-8"
    )
    assert len(TOKENS) == model.config.vocab_size


def ship(
    folder: Path,
    runs: Path,
    checkpoints: Path,
    name: str,
    model: Any,
    centres: Floats,
    oracle: Oracle,
    rows: NDArray[np.void],
    check: NDArray[np.void],
    recipe: SftRecipe,
) -> None:
    """In ``folder`` ``name.onnx`` (int8) and its card, in ``runs`` the float graph, in ``checkpoints`` the stock checkpoint.

    check: validation rows, which set what a confidence stands for and the thresholds."""
    shape = sft.shape_of(model)
    graph = decoder_graph(sft.weights_of(model), shape, name)
    rng = np.random.default_rng(recipe.seed)
    some = sft.rolled(oracle, rows[rng.permutation(len(rows))[:64]], recipe.epsilon, rng)
    wanted = np.full(len(some), CAP)
    _, said = targets(some, wanted, some.cause)
    mixes = inputs(some, centres.astype(np.float32), wanted, said)[:, :-1]
    even = smoothed(sft.weights_of(model), shape, graph, steps(graph, mixes))
    small = quantise(decoder_graph(even, shape, name), mixes)
    common: dict[str, Any] = {
        "kind": "reasoner",
        "vocabulary": VOCABULARY_HASH,
        "unasked": [query.word for place, query in enumerate(QUERIES) if not oracle.asks[place]],
        "names": names_of(rows, oracle.asks),
        "bins": np.round(centres, 5).tolist(),
        "shape": asdict(shape),
        "data": {"plant_circuit": "episodes of this project's own circuit plant (hil/plant), Apache-2.0; no measured data"},
        "corpus": {"seeds": SEEDS, "packs": len(rows) // corpus.INSTANTS, "instants": len(rows)},
        "recipe": asdict(recipe),
        "seed": recipe.seed,
        "versions": versions(),
    }
    asks: dict[str, Any] = {}
    for label, form, data in (
        (name, "int8 QDQ, S8S8, per channel, smoothed; embedding, ways back into the stream and logits float", small),
        (f"{name}_float", "float32", graph),
    ):
        draft = common | {"name": label, "sha256": hashlib.sha256(data).hexdigest()}
        if not asks:  # both forms stop alike: what they differ in is rounding
            student = ReasoningStudent(msgspec.convert(draft, ReasonerCard, strict=False), data, label)
            stop = glance.best(glance.paths(student, check), check)
            asks = {"commit": stop.commit, "glance": stop.glance, "glance_queries": stop.glance_queries}
            student = ReasoningStudent(msgspec.convert(draft | asks, ReasonerCard, strict=False), data, label)
            calm = glance.suspicion(student, check, ask_all(student, check, suspicious=True))
            asks["suspicion"] = calm.below
            print(f"{label}: {stop}, {calm}", flush=True)
        draft |= asks
        student = ReasoningStudent(msgspec.convert(draft, ReasonerCard, strict=False), data, label)
        heard = ask_all(student, check)
        card = common | asks | set_on(check, heard) | {"form": form, "validation": told(figures(check, heard))}
        model_card.write(folder if label == name else runs, label, data, card)
        print(f"{label}: {card['validation']}", flush=True)
    save_checkpoint(model, checkpoints / name)


def told(found: dict[str, Figure]) -> dict[str, str]:
    """Shares in %, questions as they are."""
    return {name: f"{figure.value:.2f}" if name.startswith("queries") else str(figure) for name, figure in found.items()}


def set_on(check: NDArray[np.void], heard: Said) -> dict[str, Any]:
    """What validation packs set: what each confidence bin stands for, and the least probability of each cause for a warning, such that
    of all healthy instants at most one in two thousand is called so."""
    right = heard.cause == check["cause"]
    weight = corpus.weights(check)
    stands = []
    for place in range(CONFIDENCES):
        own = heard.confidence == place
        prior, count = (place + 0.5) / CONFIDENCES, 10.0
        stands.append(round(float((prior * count + (weight * right)[own].sum()) / (count + weight[own].sum())), 3))
    healthy = check["cause"] == CAUSES.index(Cause.HEALTHY)
    warning, watch = {"": 0.8}, {"": 0.5}
    for place, cause in enumerate(CAUSES):
        if cause in (Cause.HEALTHY, Cause.UNKNOWN):
            continue
        wrong = np.sort(heard.chances[healthy & (heard.cause == place), place])[::-1]
        allowed = int(healthy.sum() / 2000 / 1)
        least = float(wrong[allowed]) if len(wrong) > allowed else 0.5
        warning[cause.value] = round(min(max(least + 0.01, 0.6), 0.999), 3)
    return {"confidences": stands, "warning": warning, "watch": watch}
