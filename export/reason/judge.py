"""A student judged on corpus rows, through the runtime's own loop: what it would have said of each, and the figures of many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.measure import Bundle
from edgebms.evidence.past import Past
from edgebms.evidence.queries import QUERIES, Query
from edgebms.evidence.reach import Reach
from edgebms.reasoner.decoder import interrogate
from edgebms.reasoner.glance import glance
from edgebms.reasoner.language import CAP, CAUSES
from edgebms.reasoner.student import ReasoningStudent
from edgebms.vocabulary import Cause
from export.reason import corpus
from export.reason.asking import FREE, OUTLIER_RANK, OUTLIERS, SUSPECT_RANK, right_place, right_probe

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]
HEALTHY = CAUSES.index(Cause.HEALTHY)
PLACE = {query: place for place, query in enumerate(QUERIES)}


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Of n rows: cause (n,) place in CAUSES, cell (n,), level (n,), queries (n,), chances (n, causes), confidence bin (n,)."""

    cause: NDArray[np.intp]
    cell: NDArray[np.intp]
    level: NDArray[np.intp]
    queries: NDArray[np.intp] | Floats
    chances: Floats
    confidence: NDArray[np.intp]


@cache
def past_like(chemistry: str, cells: int, longest: int, weeks: bool) -> Any:
    """What a student is told of a pack before it asks."""
    return SimpleNamespace(scale=SimpleNamespace(chemistry=chemistry, cells=cells), reach=Reach(longest, weeks))


def past_of(row: np.void) -> Any:
    return past_like(str(row["chemistry"]), int(row["cells"]), int(row["longest"]), bool(row["weeks"]))


def reader(row: np.void, other: np.void | None = None) -> Any:
    """Answers of ``row`` (of ``other``, where given: then what is said must fall to guessing) as ``evidence.measure`` gives them."""
    source = row if other is None else other
    named = source["named"]

    def read(query: Query, past: Past, suspect: int) -> Bundle:
        del past
        place = PLACE[query]
        unknown = np.full(4, np.nan)
        if FREE[place]:
            relatives = np.sinh(source["numbers"][place].astype(float))
            return Bundle(query, int(named[place]), unknown, relatives)
        at = next((OUTLIER_RANK[o] for o in OUTLIERS if named[o] == suspect), -1)
        relatives = np.sinh(source["of_suspect"][at, SUSPECT_RANK[place]].astype(float)) if at >= 0 else unknown
        return Bundle(query, suspect, unknown, relatives)

    return read


def ask_all(
    student: ReasoningStudent, rows: NDArray[np.void], *, cap: int = CAP, suspicious: bool = False, shuffled: int | None = None
) -> Said:
    """shuffled: the seed by which each row is answered with another row's evidence."""
    n = len(rows)
    others = None if shuffled is None else np.random.default_rng(shuffled).permutation(n)
    columns: list[list[Any]] = [[], [], [], [], [], []]
    for i in range(n):
        row = rows[i]
        past = cast(Past, past_of(row))
        read = reader(row, None if others is None else rows[others[i]])
        found = interrogate(student, past, suspicious=suspicious, cap=cap, read=read)
        trace = found.trace
        told = (CAUSES.index(trace.cause), trace.cell, int(trace.severity), len(trace.asked), found.chances, trace.confidence_bin)
        for column, value in zip(columns, told, strict=True):
            column.append(value)
    whole = [np.array(column, dtype=np.intp) for column in columns[:4]]
    return Said(*whole, np.array(columns[4]), np.array(columns[5], dtype=np.intp))


def glanced(student: ReasoningStudent, rows: NDArray[np.void], full: Said) -> Said:
    """As the runtime does it tick by tick, were each row to stand still: glances until they are whole, and where one is not calm a full
    interrogation, which is ``full`` (of suspicious packs). queries: mean of a tick's."""
    cause, cell, level, queries = full.cause.copy(), full.cell.copy(), full.level.copy(), full.queries.astype(float)
    chances, confidence = full.chances.copy(), full.confidence.copy()
    for i in range(len(rows)):
        past = cast(Past, past_of(rows[i]))
        read, before, asked, ticks = reader(rows[i]), (), 0, 0
        while True:
            look = glance(student, past, before, read=read)
            asked, ticks, before = asked + len(look.found.bundles), ticks + 1, look.heard
            if not look.heard:
                break
        if look.calm:
            cause[i], cell[i], level[i], queries[i] = HEALTHY, -1, 0, asked / ticks
            chances[i], confidence[i] = look.found.chances, look.found.trace.confidence_bin
        else:
            queries[i] = (asked + full.queries[i]) / (ticks + 1)
    return Said(cause, cell, level, queries, chances, confidence)


@dataclass(frozen=True, slots=True)
class Figure:
    """A weighted share and its standard error, packs independent of each other."""

    value: float
    error: float

    def __str__(self) -> str:
        error = "" if np.isnan(self.error) else f" +-{100 * self.error:.1f}"
        return f"{100 * self.value:.1f}{error}"


def mean(values: Floats | NDArray[np.bool_], weight: Floats, packs: NDArray[np.integer]) -> Figure:
    """Weighted mean; the error counts a pack's rows as one."""
    share = weight / weight.sum()
    value = float((share * values).sum())
    _, pack = np.unique(packs, return_inverse=True)
    apart = np.bincount(pack, share * (np.asarray(values, dtype=float) - value))
    return Figure(value, float(np.sqrt((apart**2).sum())))


def figures(rows: NDArray[np.void], said: Said) -> dict[str, Figure]:
    """Accuracy on everything and on what can be detected (healthy ones too), the same on everything where a fault that cannot be detected yet may
    be called healthy, of the cell where the cause is right and has one (of it, or of one that the same probe watches), false alarms
    among the healthy, queries; each cause weighs alike, three tenths healthy."""
    right = said.cause == rows["cause"]
    out: dict[str, Figure] = {}
    healthy = rows["cause"] == HEALTHY
    found = healthy | rows["detectable"]
    packs = rows["number"]
    out["accuracy"] = mean(right, corpus.weights(rows), packs)
    if rows["detectable"].any():  # what can be detected was judged by healthy twins
        out["accuracy_detectable"] = mean(right[found], corpus.weights(rows[found]), packs[found])
        unseen = ~found & (said.cause == HEALTHY)
        out["right_or_unseen"] = mean(right | unseen, corpus.weights(rows), packs)
    if healthy.any():
        out["false_alarms"] = mean(said.cause[healthy] != HEALTHY, np.ones(healthy.sum()), packs[healthy])
    out["queries"] = mean(said.queries.astype(float), corpus.weights(rows), packs)
    if healthy.any():
        out["queries_healthy"] = mean(said.queries[healthy].astype(float), np.ones(healthy.sum()), packs[healthy])
    placed = right & rows["detectable"] & ((rows["cell"] >= 0) | (rows["probe"] >= 0)) & (said.cell > -2)
    if placed.any():
        place_right = right_place(rows, said.cell)
        out["right_cell"] = mean(place_right[placed], corpus.weights(rows[placed]), packs[placed])
        out["right_probe"] = mean((place_right | right_probe(rows, said.cell))[placed], corpus.weights(rows[placed]), packs[placed])
    chance = said.chances[np.arange(len(rows)), said.cause]
    out["calibration_error"] = calibration(chance, right, corpus.weights(rows))
    return out


def calibration(chance: Floats, right: NDArray[np.bool_], weight: Floats, bins: int = 10) -> Figure:
    """Expected calibration error over ten bins of the probability of what was said."""
    share = weight / weight.sum()
    place = np.minimum((chance * bins).astype(np.intp), bins - 1)
    apart = np.bincount(place, share * (chance - right), minlength=bins)
    return Figure(float(np.abs(apart).sum()), float("nan"))


def per_cause(rows: NDArray[np.void], cause: NDArray[np.intp]) -> dict[str, dict[str, float]]:
    """Of each cause: rows, share that is detectable, recall on all and on the detectable ones."""
    out = {}
    for place, name in enumerate(CAUSES):
        own = rows["cause"] == place
        if not own.any():
            continue
        right = cause[own] == place
        seen = rows["detectable"][own] | (place == HEALTHY)
        out[name.value] = {
            "rows": int(own.sum()),
            "detectable": round(float(seen.mean()), 3),
            "recall": round(float(right.mean()), 3),
            "recall_detectable": round(float(right[seen].mean()), 3) if seen.any() else float("nan"),
        }
    return out
