"""From interrogations to what a student reads and should say: inputs over the words, targets at every position.

A trace has POSITIONS positions: the prompt, t questions with their answers, then the verdict's first four words (t differs from trace to
trace; what is behind stays empty). At each position up to t the causes are learnt, before t's cap also the next question; after it
where, severity, time to critical, confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import NUMBERS, OUTLIERS, QUERIES
from edgebms.evidence.reach import Reach
from edgebms.reasoner.language import (
    BINS,
    CAP,
    CAUSES,
    CONFIDENCES,
    CRITICAL_IN,
    FIRST_BIN,
    FIRST_CAUSE,
    FIRST_CONFIDENCE,
    FIRST_CRITICAL,
    FIRST_QUERY,
    FIRST_SEVERITY,
    LOCAL,
    OF_PACK,
    POSITIONS,
    TOKENS,
    WHERE,
    WHERE_PACK,
    critical_bin,
)
from edgebms.reasoner.quantiser import fit_bins, prompt
from edgebms.vocabulary import Cause
from export.reason.asking import OUTLIER_RANK, Asking, right_place

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]

TEMPERATURE_NAT = 0.02
"""Of the oracle's promised falls as targets of the next question."""
HARD = 0.3
"""Share of the row's beliefs (the truth, or half of it: see ``beliefs``) in a cause's target; the rest is what the oracle says."""
WHERE_TOKENS = np.array([WHERE_PACK, *(WHERE[place] for place in OUTLIERS)])


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """n whole interrogations. queries, cells (n, 8); answers (n, 8, 4) asinh; chances (n, 9, causes) the oracle's; falls (n, 8, questions),
    -inf = may not be asked; right (n, 8): the answer names the faulty cell. prompts (n, tokens); cause, severity, critical (n,): words' places;
    beliefs (n, causes): what each row is taught to be."""

    queries: NDArray[np.uint8]
    answers: NDArray[np.float16]
    cells: NDArray[np.int16]
    chances: NDArray[np.float16]
    falls: NDArray[np.float16]
    right: NDArray[np.bool_]
    prompts: NDArray[np.uint16]
    cause: NDArray[np.intp]
    severity: NDArray[np.intp]
    critical: NDArray[np.intp]
    beliefs: NDArray[np.float16]

    @classmethod
    def of(cls, asking: Asking, chances: Singles, falls: Singles, beliefs: Singles | None = None) -> Traces:
        """beliefs (n, causes): None = the truth alone."""
        rows = asking.rows
        if beliefs is None:
            beliefs = np.eye(len(CAUSES), dtype=np.float32)[rows["cause"].astype(np.intp)]
        return cls(
            queries=asking.queries.astype(np.uint8),
            answers=asking.answers.astype(np.float16),
            cells=asking.cells.astype(np.int16),
            chances=chances.astype(np.float16),
            falls=falls.astype(np.float16),
            right=right_place(rows, asking.cells) & (OUTLIER_RANK[asking.queries] >= 0),
            prompts=prompt_words(rows),
            cause=rows["cause"].astype(np.intp),
            severity=rows["severity"].astype(np.intp),
            critical=np.array([critical_bin(float(s)) for s in rows["to_critical_s"]], dtype=np.intp),
            beliefs=beliefs.astype(np.float16),
        )

    def __len__(self) -> int:
        return len(self.queries)

    def joined(self, other: Traces) -> Traces:
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Traces(*(np.concatenate(pair) for pair in pairs))


def prompt_words(rows: NDArray[np.void]) -> NDArray[np.uint16]:
    """(n, 5): the words of each prompt."""
    told = zip(rows["chemistry"], rows["cells"], rows["longest"], rows["weeks"], strict=True)
    words = [np.flatnonzero(prompt(str(c), int(n), Reach(int(longest), bool(weeks)))) for c, n, longest, weeks in told]
    return np.array(words, dtype=np.uint16)


def fitted_bins(rows: NDArray[np.void], most: int = 20_000) -> Floats:
    """(questions, 4, 16) centres from what training saw: of a suspect, those of all cells that an outlier question named."""
    rows = rows[:: max(len(rows) // most, 1)]
    out = np.zeros((len(QUERIES), NUMBERS, BINS))
    about = 0
    for place, query in enumerate(QUERIES):
        if query.whom.value in ("suspect", "neighbours"):
            values = rows["of_suspect"][:: max(len(rows) // 4000, 1), :, about].reshape(-1, NUMBERS)
            about += 1
        else:
            values = rows["numbers"][:, place]
        for number in range(NUMBERS):
            out[place, number] = fit_bins(np.sinh(values[:, number].astype(float)))
    return out


def shares(centres: Singles, queries: NDArray[np.integer], answers: Singles) -> tuple[NDArray[np.intp], NDArray[np.intp], Singles]:
    """Each number as a mix of two words: (left (..., 4), right (..., 4), weight of the right one). As ``Quantiser.soft``."""
    rows = centres[queries]
    inside = np.clip(np.nan_to_num(answers), rows[..., 0], rows[..., -1])
    right = np.clip((rows < inside[..., None]).sum(axis=-1), 1, BINS - 1)
    low = np.take_along_axis(rows, right[..., None] - 1, axis=-1)[..., 0]
    high = np.take_along_axis(rows, right[..., None], axis=-1)[..., 0]
    share = ((inside - low) / (high - low)).astype(np.float32)
    known = np.isfinite(answers)
    base = FIRST_BIN + np.arange(NUMBERS) * (BINS + 1)
    return (
        np.where(known, base + right - 1, base + BINS),
        np.where(known, base + right, base + BINS),
        np.where(known, share, 0.0).astype(np.float32),
    )


def inputs(traces: Traces, centres: Singles, length: NDArray[np.intp], said: NDArray[np.intp] | None = None) -> Singles:
    """(n, POSITIONS, tokens): the prompt, ``length`` (n,) questions, then the words ``said`` (n, 4) where given."""
    n = len(traces)
    mix = np.zeros((n, POSITIONS, len(TOKENS)), dtype=np.float32)
    each = np.arange(n)
    mix[each[:, None], 0, traces.prompts] = 1.0
    left, right, share = shares(centres, traces.queries, traces.answers.astype(np.float32))
    asked = np.arange(CAP)[None, :] < length[:, None]
    i, t = np.nonzero(asked)
    mix[i, t + 1, FIRST_QUERY + traces.queries[i, t].astype(np.intp)] = 1.0
    for number in range(NUMBERS):
        np.add.at(mix, (i, t + 1, left[i, t, number]), 1.0 - share[i, t, number])
        np.add.at(mix, (i, t + 1, right[i, t, number]), share[i, t, number])
    if said is not None:
        for word in range(said.shape[1]):
            mix[each, length + 1 + word, said[:, word]] = 1.0
    return mix


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """causes (n, 9, causes) and their weight (n, 9); queries (n, 8, questions) and their weight; words (n, 4, tokens) with 0 where the word
    may not stand, and their weight (n, 4): where, severity, critical, confidence; may (n, 4, tokens); may_ask (n, 8, questions)."""

    causes: Singles
    causes_weight: Singles
    queries: Singles
    queries_weight: Singles
    words: Singles
    words_weight: Singles
    may: NDArray[np.bool_]
    may_ask: NDArray[np.bool_]


def targets(traces: Traces, length: NDArray[np.intp], said_cause: NDArray[np.intp]) -> tuple[Targets, NDArray[np.intp]]:
    """What to say, and the verdict's words (n, 4) that stand in the input: cause, where, severity, critical."""
    n = len(traces)
    each = np.arange(n)
    prefix = np.arange(CAP + 1)[None, :] <= length[:, None]
    causes = (1.0 - HARD) * traces.chances.astype(np.float32)
    causes += HARD * traces.beliefs[:, None].astype(np.float32)
    falls = traces.falls.astype(np.float32)
    wanted = np.exp((falls - falls.max(axis=-1, keepdims=True)) / TEMPERATURE_NAT)
    wanted /= wanted.sum(axis=-1, keepdims=True)
    may = np.zeros((n, 4, len(TOKENS)), dtype=bool)
    words = np.zeros((n, 4, len(TOKENS)), dtype=np.float32)
    right = said_cause == traces.cause
    of_pack = np.isin(said_cause, [CAUSES.index(cause) for cause in OF_PACK])
    local = np.isin(said_cause, [CAUSES.index(cause) for cause in LOCAL])
    healthy = said_cause == CAUSES.index(Cause.HEALTHY)
    may[:, 0, WHERE_PACK] = True
    names = (OUTLIER_RANK[traces.queries] >= 0) & (traces.cells >= 0) & (np.arange(CAP) < length[:, None]) & ~of_pack[:, None]
    i, t = np.nonzero(names)
    token = WHERE_TOKENS[1 + OUTLIER_RANK[traces.queries[i, t]]]
    may[i, 0, token] = True
    good = traces.right[i, t]
    words[i[good], 0, token[good]] = 1.0
    may[local & may[:, 0, WHERE_PACK + 1 :].any(axis=1), 0, WHERE_PACK] = False  # as the grammar has it
    nobody = words[:, 0].sum(axis=1) == 0
    untold = nobody & ~may[:, 0, WHERE_PACK]
    words[nobody, 0, WHERE_PACK] = 1.0
    words[untold, 0] = may[untold, 0]
    words[:, 0] /= words[:, 0].sum(axis=1, keepdims=True)
    # healthy: severity and time are told by the grammar, not learnt
    may[:, 1, FIRST_SEVERITY + 1 : FIRST_SEVERITY + 4] = True
    words[each, 1, FIRST_SEVERITY + np.maximum(traces.severity, 1)] = 1.0
    may[:, 2, FIRST_CRITICAL : FIRST_CRITICAL + len(CRITICAL_IN)] = True
    words[each, 2, FIRST_CRITICAL + traces.critical] = 1.0
    chance = traces.chances[each, length, said_cause].astype(float)
    may[:, 3, FIRST_CONFIDENCE : FIRST_CONFIDENCE + CONFIDENCES] = True
    words[each, 3, FIRST_CONFIDENCE + np.minimum((chance * CONFIDENCES).astype(np.intp), CONFIDENCES - 1)] = 1.0
    judged = (right & ~healthy).astype(np.float32)
    said = np.stack(
        (
            FIRST_CAUSE + said_cause,
            words[:, 0].argmax(axis=1),
            FIRST_SEVERITY + np.where(healthy, 0, np.maximum(traces.severity, 1)),
            FIRST_CRITICAL + np.where(healthy | ~right, len(CRITICAL_IN) - 1, traces.critical),
        ),
        axis=1,
    )
    return Targets(
        causes=causes,
        causes_weight=prefix.astype(np.float32),
        queries=wanted,
        queries_weight=(prefix[:, :CAP]).astype(np.float32),
        words=words,
        words_weight=np.stack((judged * ~of_pack * ~untold, judged, judged, np.ones(n)), axis=1).astype(np.float32),
        may=may,
        may_ask=np.isfinite(falls),
    ), said
