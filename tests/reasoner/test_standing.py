"""A verdict stands as long as it is said; what is said otherwise wears it away."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_student import save_student
from test_reasoner import decide, snapshots

from edgebms.reasoner.standing import LONGEST_STEP_S, MOST_S, Standing
from edgebms.vocabulary import Cause

SHORT, SENSOR = Cause.INTERNAL_SHORT, Cause.VOLTAGE_SENSOR


def said(*words: tuple[Cause, int, bool], every_s: float = 2.0) -> list[float]:
    standing = Standing()
    return [standing.step(cause, cell, sure, i * every_s) for i, (cause, cell, sure) in enumerate(words)]


def test_it_counts_the_time_in_which_it_is_said() -> None:
    assert said(*[(SHORT, 3, True)] * 4) == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize("other", [(SHORT, 4, True), (SENSOR, 3, True), (SHORT, 3, False), (Cause.HEALTHY, -1, False)])
def test_what_is_said_otherwise_wears_it_away(other: tuple[Cause, int, bool]) -> None:
    assert said(*[(SHORT, 3, True)] * 4, *[other] * 2, (SHORT, 3, True))[-1] == 4.0
    assert said(*[(SHORT, 3, True)] * 4, *[other] * 9, (SHORT, 3, True))[-1] == 2.0


def test_a_silence_counts_as_its_beginning_alone() -> None:
    standing = Standing()
    standing.step(SHORT, 3, True, 0.0)
    assert standing.step(SHORT, 3, True, 5000.0) == LONGEST_STEP_S


def test_what_stood_for_hours_fades_within_its_bound() -> None:
    assert said(*[(SHORT, 3, True)] * 5000)[-1] == MOST_S


def test_a_warning_waits_until_its_cause_has_stood(tmp_path: Path) -> None:
    """Random weights that shout the same at once."""
    shouts = {"scale": 3.0, "warning": {"": 0.0}, "watch": {"": 0.0}, "suspicion": 1.0, "commit": 0.0}
    waited = []
    for seed in range(20):
        first: dict[float, float | None] = {}
        for hold_s in (0.0, 30.0):
            made = decide(save_student(tmp_path, seed, hold_s={"": hold_s}, **shouts), snapshots(90))
            grave = [
                i for i, found in enumerate(made) if found.reasoning is not None and found.reasoning.severity in ("warning", "critical")
            ]
            first[hold_s] = grave[0] if grave else None
        if first[0.0] is not None:
            assert first[30.0] is None or first[30.0] >= first[0.0] + 26
            waited.append(first[30.0])
        if any(at is not None for at in waited):
            return
    pytest.fail("none of the students warned after it had stood")
