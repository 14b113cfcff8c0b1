"""When to stop is read off whole interrogations as the runtime's own loop would have stopped."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest
from random_student import save_student

from edgebms.evidence.past import Past
from edgebms.evidence.queries import ABOUT_SUSPECT, OUTLIERS, QUERIES
from edgebms.reasoner.decoder import interrogate
from edgebms.reasoner.language import CAP, CAUSES, OF_PACK
from edgebms.reasoner.student import load_reasoner
from export.reason import glance
from export.reason.corpus import ROW
from export.reason.judge import ask_all, past_like, reader

CELLS = 12


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(2)
    made = np.zeros(30, dtype=ROW)
    made["number"], made["chemistry"], made["cells"], made["probes"] = np.arange(30), "NMC", CELLS, 4
    made["cause"] = np.where(np.arange(30) % 3 == 0, 0, rng.integers(2, len(CAUSES), 30))
    made["named"] = -1
    made["named"][:, list(OUTLIERS)] = 5
    made["numbers"] = rng.normal(0, 2, (30, len(QUERIES), 4))
    made["of_suspect"] = rng.normal(0, 2, (30, len(OUTLIERS), len(ABOUT_SUSPECT), 4))
    return made


@pytest.mark.parametrize(("commit", "sure", "after"), [(0.9, 0.5, 3), (0.3, 0.2, 1), (1.0, 1.0, 3), (0.5, 0.0, 2)])
def test_it_stops_where_the_runtime_stops(tmp_path: Path, rows: np.ndarray, commit: float, sure: float, after: int) -> None:
    student = load_reasoner(str(save_student(tmp_path, 3, scale=0.4)))
    chances = glance.paths(student, rows)
    asked = glance.stops(chances, commit, sure, after)
    student.card = msgspec.structs.replace(student.card, commit=commit, glance=sure, glance_queries=after)
    heard = ask_all(student, rows)
    # what has a cell is asked about on until somebody is named
    of_pack = np.array([cause in OF_PACK for cause in CAUSES])[chances[np.arange(30), asked - 1].argmax(axis=1)]
    assert (heard.queries >= asked).all()
    assert list(asked[of_pack]) == list(heard.queries[of_pack])
    np.testing.assert_allclose(chances[np.arange(30), asked - 1][of_pack], heard.chances[of_pack], atol=1e-6)


@pytest.mark.parametrize("cap", [1, 2, CAP])
def test_what_has_a_cell_is_not_said_before_a_question_named_one(tmp_path: Path, rows: np.ndarray, cap: int) -> None:
    past = cast(Past, past_like("NMC", CELLS, 1, False))
    of_cells = 0
    for seed in range(8):
        student = load_reasoner(str(save_student(tmp_path, seed, scale=0.4, commit=0.0)))
        for row in rows[:8]:
            trace = interrogate(student, past, cap=cap, read=reader(row)).trace
            assert len(trace.asked) <= cap
            # the last answer may itself have turned the verdict to a cell's cause
            assert trace.suspect == 5 or trace.cause in OF_PACK or len(trace.asked) == cap
            of_cells += trace.suspect == 5 and trace.cause not in OF_PACK
    assert of_cells > 0


def test_it_lets_a_healthy_pack_go_when_that_costs_nothing(rows: np.ndarray) -> None:
    """Sure of all from the second question on, of the healthy a little less: the rule that lets go after two wins."""
    chances = np.full((30, CAP, len(CAUSES)), 0.01)
    chances[np.arange(30), :, rows["cause"]] = 0.82
    chances[:, 0] = 1 / len(CAUSES)
    healthy = rows["cause"] == 0
    chances[healthy, 1:, 0] = 0.62
    found = glance.best(chances, rows)
    assert (found.accuracy, found.healthy_queries) == (1.0, pytest.approx(2.0))
