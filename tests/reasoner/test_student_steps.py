"""What a trace shares with the one before it is not run again: no logit may tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_student import save_student

from edgebms.reasoner.language import POSITIONS, TOKENS
from edgebms.reasoner.student import ReasoningStudent, load_reasoner


def traced(student: ReasoningStudent, mixes: np.ndarray) -> np.ndarray:
    return np.array([student.begin(mixes[0]), *(student.step(mix) for mix in mixes[1:])])


def test_a_trace_after_another_is_the_same_as_in_a_new_student(tmp_path: Path) -> None:
    path = str(save_student(tmp_path, 3, scale=3.0))
    rng = np.random.default_rng(0)
    used, before = load_reasoner(path), rng.random((POSITIONS, len(TOKENS))).astype(np.float32)
    traced(used, before)
    for shared in (0, 1, 4, POSITIONS - 1, POSITIONS, 2):
        mixes = rng.random((POSITIONS, len(TOKENS))).astype(np.float32)
        mixes[:shared] = before[:shared]
        assert np.array_equal(traced(used, mixes), traced(load_reasoner(path), mixes))
        before = mixes


def test_what_stands_behind_a_shorter_trace_is_not_seen_by_the_next(tmp_path: Path) -> None:
    path = str(save_student(tmp_path, 4, scale=3.0))
    rng = np.random.default_rng(1)
    long, short = (rng.random((n, len(TOKENS))).astype(np.float32) for n in (POSITIONS, 3))
    short[:2] = long[:2]
    used = load_reasoner(path)
    traced(used, long)
    assert np.array_equal(traced(used, short), traced(load_reasoner(path), short))


def test_what_is_said_again_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, mixes = load_reasoner(str(save_student(tmp_path, 5))), np.eye(len(TOKENS), dtype=np.float32)[:5]
    ran: list[object] = []
    run = student._session.run_with_iobinding
    monkeypatch.setattr(student, "_session", type("Counted", (), {"run_with_iobinding": lambda _, binding: ran.append(run(binding))})())
    traced(student, mixes)
    traced(student, mixes)
    assert len(ran) == 5
    mixes[3] += 1.0
    traced(student, mixes)
    assert len(ran) == 7


def test_a_trace_ends_with_its_last_position(tmp_path: Path) -> None:
    student = load_reasoner(str(save_student(tmp_path, 6)))
    traced(student, np.zeros((POSITIONS, len(TOKENS)), dtype=np.float32))
    with pytest.raises(IndexError):
        student.step(np.zeros(len(TOKENS), dtype=np.float32))
