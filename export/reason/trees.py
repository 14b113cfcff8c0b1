"""Gradient-boosted trees on evidence that is all there at once: the baseline that a student has to hold against.

All evidence: what every question answers, those about a suspect for the cell that most outlier questions name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import ABOUT_SUSPECT, NUMBERS, OUTLIERS
from edgebms.reasoner.language import CAUSES, SIZES
from edgebms.vocabulary import Chemistry
from export.reason import corpus

Singles = NDArray[np.float32]
SETTINGS = {
    "learning_rate": 0.08, "max_iter": 160, "max_leaf_nodes": 24, "min_samples_leaf": 20, "l2_regularization": 1.0, "max_features": 0.3, "max_bins": 64,
    "early_stopping": False, "random_state": 0,
}  # fmt: skip


def consensus(rows: NDArray[np.void]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(cell, rank among the outlier questions of one that names it), each (n,): the cell most of them name; -1 = none names any."""
    named = rows["named"][:, list(OUTLIERS)].astype(np.intp)
    votes = (named[:, :, None] == named[:, None, :]).sum(axis=2) * (named >= 0)
    rank = votes.argmax(axis=1)
    there = votes.max(axis=1) > 0
    cell = np.where(there, named[np.arange(len(rows)), rank], -1)
    return cell, np.where(there, rank, -1)


def bundles(rows: NDArray[np.void]) -> Singles:
    """(n, queries, 4): every answer at once, asinh, NaN = unknown."""
    out = rows["numbers"].astype(np.float32)
    _, rank = consensus(rows)
    there = np.flatnonzero(rank >= 0)
    about = np.full((len(rows), len(ABOUT_SUSPECT), NUMBERS), np.nan, dtype=np.float32)
    about[there] = rows["of_suspect"][there, rank[there]]
    out[:, list(ABOUT_SUSPECT)] = about
    return out


def prompt(rows: NDArray[np.void]) -> Singles:
    """(n, 4): chemistry, size and reach, as a student is told."""
    chemistries = [chemistry.value for chemistry in Chemistry]
    kinds = np.array([chemistries.index(str(name)) for name in rows["chemistry"]], dtype=np.float32)
    sizes = np.searchsorted(SIZES, rows["cells"])
    return np.stack((kinds, sizes, rows["longest"], rows["weeks"]), axis=1).astype(np.float32)


def features(rows: NDArray[np.void], queries: list[int]) -> Singles:
    """(n, 4 len(queries) + 4)."""
    return np.concatenate((bundles(rows)[:, queries].reshape(len(rows), -1), prompt(rows)), axis=1)


def fit(rows: NDArray[np.void], queries: list[int], settings: dict[str, Any]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(**settings)
    table = features(rows, queries)
    # a question that nothing ever answers has no column to split
    model.told = np.fmin.reduce(table, axis=0) < np.fmax.reduce(table, axis=0)
    model.fit(table[:, model.told], rows["cause"], sample_weight=corpus.weights(rows))
    return model


def chances(model: Any, rows: NDArray[np.void], queries: list[int]) -> Singles:
    """(n, causes)."""
    out = np.zeros((len(rows), len(CAUSES)), dtype=np.float32)
    out[:, model.classes_] = model.predict_proba(features(rows, queries)[:, model.told])
    return out
