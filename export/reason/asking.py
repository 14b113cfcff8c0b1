"""Many interrogations side by side on corpus rows, by the runtime's grammar: who may be asked what, and what the answer is.

An answer about a suspect is about the cell that the latest outlier question named, as in ``edgebms.reasoner.grammar.Trace``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import ABOUT_SUSPECT, NUMBERS, OUTLIERS, QUERIES
from export.reason.jitter import Jitter

Singles = NDArray[np.float32]
Places = NDArray[np.intp]

COUNT = len(QUERIES)
OUTLIER_RANK = np.full(COUNT, -1, dtype=np.intp)
OUTLIER_RANK[list(OUTLIERS)] = np.arange(len(OUTLIERS))
SUSPECT_RANK = np.full(COUNT, -1, dtype=np.intp)
SUSPECT_RANK[list(ABOUT_SUSPECT)] = np.arange(len(ABOUT_SUSPECT))
FREE = SUSPECT_RANK < 0


@dataclass(slots=True, eq=False)
class Asking:
    """n interrogations of rows (n,) of a corpus, all of the same length so far.

    queries (n, t), answers (n, t, 4) asinh of the relatives, NaN = unknown; cells (n, t): whom each answer names, -1 = none. jitter: see there; None =
    the answers as they are.
    """

    rows: NDArray[np.void]
    queries: Places
    answers: Singles
    cells: Places
    _suspect: Places
    _from: Places
    _asked: NDArray[np.bool_]
    _about: Places
    _jitter: Jitter | None

    @classmethod
    def of(cls, rows: NDArray[np.void], jitter: Jitter | None = None) -> Asking:
        n = len(rows)
        return cls(
            rows=rows,
            queries=np.zeros((n, 0), dtype=np.intp),
            answers=np.zeros((n, 0, NUMBERS), dtype=np.float32),
            cells=np.zeros((n, 0), dtype=np.intp),
            _suspect=np.full(n, -1, dtype=np.intp),
            _from=np.full(n, -1, dtype=np.intp),
            _asked=np.zeros((n, COUNT), dtype=bool),
            _about=np.full((n, len(ABOUT_SUSPECT)), -2, dtype=np.intp),
            _jitter=jitter,
        )

    def may_ask(self) -> NDArray[np.bool_]:
        """(n, queries)."""
        allowed = ~self._asked & FREE
        fresh = (self._suspect[:, None] >= 0) & (self._about != self._suspect[:, None])
        allowed[:, list(ABOUT_SUSPECT)] = fresh
        return allowed

    def answer(self, queries: Places) -> tuple[Singles, Places]:
        """((n, 4), (n,)): what ``queries`` (n,) would be answered with, and about whom."""
        each = np.arange(len(queries))
        out = self.rows["numbers"][each, queries].astype(np.float32)
        cells = self.rows["named"][each, queries].astype(np.intp)
        about = ~FREE[queries]
        there = about & (self._from >= 0)
        out[about] = np.nan
        out[there] = self.rows["of_suspect"][each[there], self._from[there], SUSPECT_RANK[queries[there]]]
        cells[about] = self._suspect[about]
        return out if self._jitter is None else self._jitter.of(queries, out), cells

    def ask(self, queries: Places) -> None:
        """Put one question to each."""
        each = np.arange(len(queries))
        numbers, cells = self.answer(queries)
        self.queries = np.concatenate((self.queries, queries[:, None]), axis=1)
        self.answers = np.concatenate((self.answers, numbers[:, None]), axis=1)
        self.cells = np.concatenate((self.cells, cells[:, None]), axis=1)
        self._asked[each, queries] = True
        about = np.flatnonzero(~FREE[queries])
        self._about[about, SUSPECT_RANK[queries[about]]] = self._suspect[about]
        names = (OUTLIER_RANK[queries] >= 0) & (cells >= 0)
        self._suspect[names] = cells[names]
        self._from[names] = OUTLIER_RANK[queries[names]]


def right_probe(rows: NDArray[np.void], cells: Places) -> NDArray[np.bool_]:
    """Whether the probe that watches ``cells`` (n,) is the one that watches the fault of each row."""
    probes, count = rows["probes"].astype(int), rows["cells"].astype(int)
    probe = np.where(rows["cell"] >= 0, rows["cell"].astype(int) * probes // count, rows["probe"])
    found: NDArray[np.bool_] = (cells >= 0) & (probes > 0) & (cells * probes // count == probe)
    return found


def right_place(rows: NDArray[np.void], cells: Places) -> NDArray[np.bool_]:
    """Whether ``cells`` (n, ...) is where the fault of each row is: its cell, or one that its probe watches."""
    shape = (len(rows),) + (1,) * (cells.ndim - 1)
    cell, probe = rows["cell"].reshape(shape), rows["probe"].reshape(shape)
    probes, count = rows["probes"].astype(int).reshape(shape), rows["cells"].astype(int).reshape(shape)
    watched = cells * probes // count == probe
    found: NDArray[np.bool_] = (cells >= 0) & np.where(cell >= 0, cells == cell, (probe >= 0) & watched)
    return found
