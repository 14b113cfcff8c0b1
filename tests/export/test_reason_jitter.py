"""What networks learn from is jittered: the same question is answered alike within an interrogation, and nothing unknown becomes known."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.evidence.queries import QUERIES
from export.reason.asking import Asking
from export.reason.corpus import ROW
from export.reason.jitter import ALONE, TOGETHER, Jitter

N = 2000
ASKED = next(place for place, query in enumerate(QUERIES) if query.word == "sum_mismatch.pack.60s")


def test_an_answer_is_a_little_larger_or_smaller_and_never_another_sign() -> None:
    rows = np.zeros(N, dtype=ROW)
    rows["named"] = -1
    rows["numbers"][:, ASKED] = np.arcsinh([12.0, -3.0, np.nan, 0.0])
    asking = Asking.of(rows, Jitter.drawn(N, np.random.default_rng(2)))
    asked = np.full(N, ASKED)
    first, _ = asking.answer(asked)
    asking.ask(asked)
    np.testing.assert_array_equal(first, asking.answers[:, 0])
    assert np.isnan(first[:, 2]).all() and (first[:, 3] == 0.0).all()
    factor = np.log(np.sinh(first[:, :2]) / np.array([12.0, -3.0]))
    assert factor.std(axis=0) == pytest.approx(np.hypot(TOGETHER, ALONE), rel=0.1)
    assert np.corrcoef(factor.T)[0, 1] == pytest.approx(TOGETHER**2 / (TOGETHER**2 + ALONE**2), abs=0.1)
    plain, _ = Asking.of(rows).answer(asked)
    np.testing.assert_allclose(np.sinh(plain[:, :2]), np.tile([12.0, -3.0], (N, 1)), rtol=2e-3)
