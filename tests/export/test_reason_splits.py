"""Which packs a split is of: what training reads shares no card's batch between the halves that judge each other."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the export extra")

from export.reason.beliefs import fold_of
from export.reason.corpus import PACKS_A_BATCH
from export.reason.splits import OF_A_CARD, VARIED_DAY_PERIODS_S, VARIED_PERIODS_S, plan_of
from hil.plant.episodes import troupe

pytestmark = pytest.mark.slow


def test_a_packs_siblings_say_nothing_of_it() -> None:
    packs = np.repeat([0, 1, 2, PACKS_A_BATCH, PACKS_A_BATCH + 1, 5 * PACKS_A_BATCH], 5)
    fold = fold_of(packs)
    assert len(set(fold[packs < PACKS_A_BATCH])) == 1
    assert set(fold) == {0, 1}


def test_a_single_batch_is_halved_by_its_packs() -> None:
    packs = np.repeat(np.arange(6), 5)
    fold = fold_of(packs)
    assert (fold == 0).sum() == (fold == 1).sum() == 15
    assert all(len(set(fold[packs == pack])) == 1 for pack in packs)


def test_varied_packs_are_few_of_a_card_and_some_are_read_every_30_s() -> None:
    seen = set()
    for batch in range(20):
        plan = plan_of("varied", batch)
        _, shared, cast = troupe(plan, batch)
        assert len(cast) <= OF_A_CARD
        assert shared.period_s in (*VARIED_PERIODS_S, *VARIED_DAY_PERIODS_S)
        seen.add((shared.card, shared.cells, shared.period_s, plan.hours))
    assert len(seen) >= 15
    assert any(period_s == 30.0 for _, _, period_s, _ in seen)
    assert {hours for _, _, _, hours in seen} == {1.0, 2.5, 24.0}
