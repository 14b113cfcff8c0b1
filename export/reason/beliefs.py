"""What to believe of each training row: half its truth, half what boosted trees that never saw its pack say on all evidence.

A fault that its hour does not show is labelled like one that it does. Trees on all evidence say how much a row can show at all, so a
network that is taught by both learns less of what is chance. Each pack's trees are fitted on the other folds.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import LogError
from edgebms.evidence.queries import QUERIES
from edgebms.reasoner.language import CAUSES
from export.reason import trees

Singles = NDArray[np.float32]
FOLDS = 2
TRUTH = 0.5
SETTINGS = trees.SETTINGS | {"learning_rate": 0.15, "max_iter": 60}
"""Lighter than the trees that are reported: they are fitted once a fold."""


def fold_of(packs: NDArray[np.integer]) -> NDArray[np.intp]:
    """(n,): the fold of each row; a pack's rows are together."""
    _, place = np.unique(packs, return_inverse=True)
    return np.asarray(place % FOLDS, dtype=np.intp)


def said_by_others(rows: NDArray[np.void]) -> tuple[Singles, list[Any]]:
    """(n, causes): of each row, by trees that did not see its pack; and the trees."""
    fold, out, queries = fold_of(rows["number"]), np.zeros((len(rows), len(CAUSES)), dtype=np.float32), list(range(len(QUERIES)))
    models = []
    for one in range(FOLDS):
        started_s = time.monotonic()
        own = fold == one
        model = trees.fit(rows[~own], queries, SETTINGS)
        models.append(model)
        out[own] = trees.chances(model, rows[own], queries)
        right = out[own].argmax(axis=1) == rows["cause"][own]
        print(
            f"beliefs, fold {one + 1} of {FOLDS}: {100 * right.mean():.1f} % right, {time.monotonic() - started_s:.0f} s", file=sys.stderr
        )
    return out, models


def soft(rows: NDArray[np.void], kept: Path) -> Singles:
    """(n, causes): what ``make`` kept, with the truth. Raises LogError where it is missing or of other rows."""
    try:
        said = np.load(kept)
    except OSError as error:
        raise LogError(f"cannot be read: {error.strerror}", where=str(kept), mend="python -m export reason beliefs") from None
    if len(said) < len(rows):
        raise LogError(f"holds {len(said)} rows of {len(rows)}", where=str(kept), mend="python -m export reason beliefs")
    out = (1.0 - TRUTH) * said[: len(rows)].astype(np.float32)
    out[np.arange(len(rows)), rows["cause"]] += TRUTH
    return out


def make(rows: NDArray[np.void], kept: Path) -> None:
    """Writes ``kept`` (.npy), and the trees beside it (.pickle)."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    said, models = said_by_others(rows)
    np.save(kept, said.astype(np.float16))
    kept.with_suffix(".pickle").write_bytes(pickle.dumps(models))
