"""Students of several seeds are one row: their mean, and how far seeds alone move it."""

from __future__ import annotations

from export.reason.evaluate import of_seeds
from export.reason.methods import SEED_OF


def row(method: str, accuracy: float) -> dict[str, object]:
    return {"set": "held_out", "method": method, "n": 10, "accuracy": accuracy, "accuracy_error": 3.0, "student_ahead": 0.0}


def test_the_mean_and_its_error_over_the_seeds() -> None:
    rows = [row("student_int8", 70.0), row(f"{SEED_OF}1", 74.0), row(f"{SEED_OF}2", 78.0), row("trees", 99.0)]
    (one,) = of_seeds(rows)
    assert (one["method"], one["n"]) == ("student_int8, 3 seeds", 10)
    assert (one["accuracy"], one["accuracy_error"]) == (74.0, 2.31)  # 4 / sqrt(3)
    assert "student_ahead" not in one


def test_one_seed_has_no_spread() -> None:
    assert of_seeds([row("student_int8", 70.0), row("trees", 99.0)]) == []
