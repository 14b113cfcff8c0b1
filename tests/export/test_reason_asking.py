"""Interrogations side by side follow the runtime's grammar and read what the runtime would read; traces carry it as the runtime does."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.evidence.queries import ABOUT_SUSPECT, OUTLIERS, QUERIES
from edgebms.reasoner.grammar import Trace
from edgebms.reasoner.language import BINS, CAP, CAUSES, FIRST_QUERY, ID, TOKENS
from edgebms.reasoner.quantiser import Quantiser
from edgebms.vocabulary import Cause
from export.reason.asking import OUTLIER_RANK, Asking, right_place
from export.reason.corpus import ROW, weights
from export.reason.splits import even_kinds
from export.reason.traces import Traces, inputs, targets
from hil.plant.faults import FAULTS, LOOK_ALIKES

CELLS = 12


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(4)
    made = np.zeros(40, dtype=ROW)
    made["number"] = np.arange(40)
    made["chemistry"], made["cells"], made["probes"] = "NMC", CELLS, 4
    made["cause"] = rng.integers(2, len(CAUSES), 40)
    made["cause"][::3] = CAUSES.index(Cause.HEALTHY)
    made["cell"], made["probe"] = rng.integers(CELLS, size=40), -1
    made["named"] = rng.integers(-1, CELLS, (40, len(QUERIES)))
    made["named"][:, [place for place in range(len(QUERIES)) if place not in OUTLIERS]] = -1
    numbers = rng.normal(0, 2, made["numbers"].shape)
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    made["numbers"] = numbers
    # an answer about a cell is the same whichever question named it
    of_cell = rng.normal(0, 2, (40, CELLS, len(ABOUT_SUSPECT), 4))
    for rank, place in enumerate(OUTLIERS):
        cell = made["named"][:, place].astype(int)
        made["of_suspect"][:, rank] = np.where((cell >= 0)[:, None, None], of_cell[np.arange(40), cell], np.nan)
    made["to_critical_s"] = np.inf
    made["severity"] = 2
    return made


def test_what_may_be_asked_is_what_the_grammar_allows(rows: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    asking, traces = Asking.of(rows), [Trace() for _ in rows]
    for _ in range(CAP):
        may = asking.may_ask()
        for i, trace in enumerate(traces):
            assert sorted(trace.may_ask()) == list(np.flatnonzero(may[i]))
        wanted = np.array([rng.choice(np.flatnonzero(row)) for row in may])
        suspects = [trace.suspect for trace in traces]
        asking.ask(wanted)
        for i, trace in enumerate(traces):
            place = int(wanted[i])
            about = suspects[i] if place in ABOUT_SUSPECT else int(rows["named"][i, place])
            assert asking.cells[i, -1] == about
            trace.ask(place, about)
    assert asking.queries.shape == (40, CAP)


def test_an_answer_about_a_suspect_is_about_the_cell_named_last(rows: np.ndarray) -> None:
    first, second, about = OUTLIERS[0], OUTLIERS[5], ABOUT_SUSPECT[7]
    asking = Asking.of(rows)
    for place in (first, second, about):
        asking.ask(np.full(len(rows), place))
    for i in range(len(rows)):
        rank = 5 if rows["named"][i, second] >= 0 else 0
        np.testing.assert_array_equal(asking.answers[i, 2], rows["of_suspect"][i, rank, 7].astype(np.float32))


def test_traces_carry_an_answer_as_the_runtime_does(rows: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    centres = np.sort(rng.normal(0, 2, (len(QUERIES), 4, BINS)), axis=-1) + np.arange(BINS) * 1e-3
    asking = Asking.of(rows)
    for _ in range(CAP):
        asking.ask(np.array([rng.choice(np.flatnonzero(row)) for row in asking.may_ask()]))
    some = Traces.of(
        asking, np.full((40, CAP + 1, len(CAUSES)), 1 / len(CAUSES), np.float32), np.zeros((40, CAP, len(QUERIES)), np.float32)
    )
    mix = inputs(some, centres.astype(np.float32), np.full(40, CAP))
    quantiser = Quantiser(centres)
    for i in range(0, 40, 7):
        for t in range(CAP):
            wanted = quantiser.mix(int(asking.queries[i, t]), np.sinh(asking.answers[i, t].astype(float)))
            np.testing.assert_allclose(mix[i, t + 1], wanted, atol=2e-2)
    short = inputs(some, centres.astype(np.float32), np.full(40, 3))
    assert not short[:, 4:].any()


def test_what_is_to_be_said_is_allowed(rows: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    asking = Asking.of(rows)
    for _ in range(CAP):
        asking.ask(np.array([rng.choice(np.flatnonzero(row)) for row in asking.may_ask()]))
    some = Traces.of(
        asking, np.full((40, CAP + 1, len(CAUSES)), 1 / len(CAUSES), np.float32), np.zeros((40, CAP, len(QUERIES)), np.float32)
    )
    wanted, said = targets(some, np.full(40, CAP), some.cause)
    assert (wanted.words[~wanted.may] == 0).all()
    np.testing.assert_allclose(wanted.words.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(wanted.causes.sum(-1), 1.0, atol=1e-3)
    for i in range(40):
        trace = Trace()
        for t in range(CAP):
            trace.ask(int(asking.queries[i, t]), int(asking.cells[i, t]))
        for word in said[i]:
            trace.say(int(word))
        where = TOKENS[said[i, 1]]
        if where != "where:pack":
            assert trace.cell == rows["cell"][i] or not wanted.words_weight[i, 0], where


def test_the_right_place_is_the_cell_or_one_its_probe_watches(rows: np.ndarray) -> None:
    rows["cell"][0], rows["probe"][0] = 5, 1
    rows["cell"][1], rows["probe"][1] = -1, 1
    rows["cell"][2], rows["probe"][2] = -1, -1
    asked = np.array([[5, 4, -1], [3, 5, 6], [0, 3, -1]])
    assert right_place(rows[:3], asked).tolist() == [[True, False, False], [True, True, False], [False, False, False]]


def test_every_cause_weighs_alike(rows: np.ndarray) -> None:
    share = weights(rows)
    healthy = rows["cause"] == CAUSES.index(Cause.HEALTHY)
    assert share[healthy].sum() / share.sum() == pytest.approx(0.3)
    there = [share[rows["cause"] == cause].sum() for cause in np.unique(rows["cause"][~healthy])]
    assert there == pytest.approx([there[0]] * len(there))


def test_each_cause_is_drawn_as_often_as_another() -> None:
    kinds = even_kinds()
    assert set(kinds) == set(FAULTS) | set(LOOK_ALIKES)
    of_cause: dict[Cause, int] = {}
    for kind in kinds:
        if kind in FAULTS:
            of_cause[FAULTS[kind].cause] = of_cause.get(FAULTS[kind].cause, 0) + 1
    assert len(set(of_cause.values())) == 1


def test_places_of_questions_are_their_words(rows: np.ndarray) -> None:
    assert [ID[f"ask:{query.word}"] for query in QUERIES] == list(range(FIRST_QUERY, FIRST_QUERY + len(QUERIES)))


def test_a_cause_of_one_cell_is_taught_where_some_answer_named_it_and_else_nothing(rows: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    asking = Asking.of(rows)
    for _ in range(CAP):
        asking.ask(np.array([rng.choice(np.flatnonzero(row)) for row in asking.may_ask()]))
    even = np.full((len(rows), CAP + 1, len(CAUSES)), 1 / len(CAUSES), np.float32)
    some = Traces.of(asking, even, np.zeros((len(rows), CAP, len(QUERIES)), np.float32))
    short = CAUSES.index(Cause.INTERNAL_SHORT)
    some.cause[:] = short
    wanted, said = targets(some, np.full(len(rows), CAP), some.cause)
    named = ((OUTLIER_RANK[asking.queries] >= 0) & (asking.cells >= 0)).any(axis=1)
    right = some.right.any(axis=1)
    assert named.any()
    assert (~right & named).any()
    np.testing.assert_array_equal(wanted.words_weight[:, 0] > 0, right | ~named)
    assert (said[named, 1] != ID["where:pack"]).all()
