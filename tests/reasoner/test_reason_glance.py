"""When to stop is read off whole interrogations as the runtime's own loop would have stopped."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from random_student import save_student

from edgebms.evidence.queries import ABOUT_SUSPECT, OUTLIERS, QUERIES
from edgebms.reasoner.language import CAP, CAUSES
from edgebms.reasoner.student import load_reasoner
from export.reason import glance
from export.reason.corpus import ROW
from export.reason.judge import ask_all

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
    assert list(asked) == list(heard.queries)
    np.testing.assert_allclose(chances[np.arange(30), asked - 1], heard.chances, atol=1e-6)


def test_it_lets_a_healthy_pack_go_when_that_costs_nothing(rows: np.ndarray) -> None:
    """Sure of all from the second question on, of the healthy a little less: the rule that lets go after two wins."""
    chances = np.full((30, CAP, len(CAUSES)), 0.01)
    chances[np.arange(30), :, rows["cause"]] = 0.82
    chances[:, 0] = 1 / len(CAUSES)
    healthy = rows["cause"] == 0
    chances[healthy, 1:, 0] = 0.62
    found = glance.best(chances, rows)
    assert (found.accuracy, found.healthy_queries) == (1.0, pytest.approx(2.0))
