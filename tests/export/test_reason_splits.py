"""What a split is of: packs to judge by are few of a card, packs to learn from are many."""

from __future__ import annotations

import pytest

from export.reason.splits import OF_A_CARD, OF_MANY, SEEDS, plan_of
from hil.plant.episodes import troupe


@pytest.mark.parametrize("split", sorted(set(SEEDS) - {"train", "slow", "pybamm"}))
def test_a_split_to_judge_by_is_of_another_card_or_size_every_few_packs(split: str) -> None:
    seen = set()
    for batch in range(12):
        _, shared, cast = troupe(plan_of(split, batch), batch)
        assert len(cast) <= (OF_MANY if split == "many" else OF_A_CARD)
        seen.add((shared.card, shared.cells))
    assert len(seen) >= 8


def test_no_two_splits_share_a_seed() -> None:
    assert len(set(SEEDS.values())) == len(SEEDS)


def test_every_fifth_batch_that_teaches_runs_for_hours_and_another_for_a_day() -> None:
    hours = [plan_of("train", batch).hours for batch in range(10)]
    assert sorted(hours) == [1.0] * 6 + [2.5] * 2 + [24.0] * 2
    assert plan_of("slow").hours == 24.0
    assert plan_of("held_out", 3).hours == plan_of("held_out", 4).hours == 1.0
