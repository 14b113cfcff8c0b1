"""A reasoning student with any weights at all, saved as the trainer saves one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from edgebms.evidence.queries import QUERIES
from edgebms.reasoner.language import BINS, VOCABULARY_HASH
from export.reason.decoder_graph import NANO, Shape, decoder_graph, random_weights


def save_student(folder: Path, seed: int, *, shape: Shape = NANO, scale: float = 0.3, **card: Any) -> Path:
    """Path of the ONNX file; ``card``: fields of its card in place of the usual ones."""
    model = decoder_graph(random_weights(shape, seed, scale), shape)
    bins = np.broadcast_to(np.linspace(-4.0, 4.0, BINS), (len(QUERIES), 4, BINS))
    fields = {
        "name": "random",
        "kind": "reasoner",
        "sha256": hashlib.sha256(model).hexdigest(),
        "vocabulary": VOCABULARY_HASH,
        "bins": bins.tolist(),
        **card,
    }
    path = folder / f"random{seed}.onnx"
    path.write_bytes(model)
    path.with_suffix(".json").write_text(json.dumps(fields), encoding="utf-8")
    return path
