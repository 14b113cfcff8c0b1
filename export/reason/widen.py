"""A student goes on speaking when questions are appended: its words find their new places, and of the new questions it asks none.

Nothing is learnt anew and no weight changes, so neither does what it says of the same answers. Until the next student is taught.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgebms.errors import ModelError
from edgebms.evidence.queries import BY_WORD, NUMBERS, QUERIES
from edgebms.reasoner.language import BINS, ID, TOKENS, VOCABULARY_HASH, tokenizer_json
from export import model_card

Singles = NDArray[np.float32]


def widen(models: Path, checkpoints: Path, name: str) -> list[str]:
    """Rewrites ``name`` in both folders; returns the questions that are new to it. Raises ModelError where a word is gone: words are appended."""
    checkpoint = checkpoints / name
    before: dict[str, int] = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    if gone := sorted(set(before) - set(ID)):
        raise ModelError(
            f"speaks the word {gone[0]!r}, which is no more", where=str(checkpoint), mend="train it again: make models-reasoner"
        )
    places = np.array([ID[word] for word in sorted(before, key=before.__getitem__)])
    card = json.loads((models / f"{name}.json").read_text(encoding="utf-8"))
    new = [query.word for query in QUERIES if f"ask:{query.word}" not in before]
    model = graph_of(onnx.load(models / f"{name}.onnx"), places)
    asked = [word.removeprefix("ask:") for word in sorted(before, key=before.__getitem__) if word.startswith("ask:")]
    # what is never asked needs bins that are some
    bins = np.broadcast_to(np.arange(BINS, dtype=float), (len(QUERIES), NUMBERS, BINS)).copy()
    bins[[QUERIES.index(BY_WORD[word]) for word in asked]] = card["bins"]
    card |= {"vocabulary": VOCABULARY_HASH, "bins": bins.tolist(), "unasked": [*card["unasked"], *new]}
    for key in ("name", "sha256", "bytes"):
        card.pop(key)
    model_card.write(models, name, model.SerializeToString(), card)
    widen_checkpoint(checkpoint, places)
    return new


def placed(matrix: Singles, places: NDArray[np.intp], axis: int) -> Singles:
    """``matrix`` with its rows (or columns, axis 1) at ``places`` of all TOKENS, and nothing at the others."""
    shape = list(matrix.shape)
    shape[axis] = len(TOKENS)
    out = np.zeros(shape, dtype=matrix.dtype)
    out[(slice(None),) * axis + (places,)] = matrix
    return out


def graph_of(model: Any, places: NDArray[np.intp]) -> Any:
    """The runtime's graph over the wider vocabulary: two matrices, one input and one output know of it."""
    graph = model.graph
    for constant in graph.initializer:
        if constant.name in ("embedding", "head"):
            wide = placed(numpy_helper.to_array(constant), places, 0 if constant.name == "embedding" else 1)
            constant.CopyFrom(numpy_helper.from_array(wide, constant.name))
    for value in (*graph.input, *graph.output):
        if value.name in ("mix", "logits"):
            value.type.tensor_type.shape.dim[1].dim_value = len(TOKENS)
    return model


def widen_checkpoint(folder: Path, places: NDArray[np.intp]) -> None:
    """The stock checkpoint likewise."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    wide = {
        key: placed(tensor, places, 0) if key in ("model.embed_tokens.weight", "lm_head.weight") else tensor
        for key, tensor in tensors.items()
    }
    save_file(wide, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": len(TOKENS)}, indent=2) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
