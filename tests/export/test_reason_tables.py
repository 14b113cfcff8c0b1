"""A cause's recall by one method stands beside another's."""

from __future__ import annotations

from export.reason.tables import recalls


def told(method: str, cause: str, recall: float) -> dict[str, object]:
    return {"method": method, "cause": cause, "rows": 20, "detectable": 0.5, "recall": recall, "recall_detectable": 1.0}


def test_others_stand_beside_the_first() -> None:
    rows = [
        told("student_int8", "healthy", 0.9),
        told("student_int8", "venting", 0.8),
        told("trees", "venting", 0.7),
        told("trees", "healthy", 0.6),
    ]
    assert recalls(rows) == [
        "",
        "| cause (student_int8) | n | detectable | recall | recall of the detectable | recall, trees |",
        "|---|---|---|---|---|---|",
        "| healthy | 20 | 50 | 90 | 100 | 60 |",
        "| venting | 20 | 50 | 80 | 100 | 70 |",
    ]


def test_without_healthy_twins_nobody_knows_what_can_be_detected() -> None:
    rows = [told("student_int8", "healthy", 0.9) | {"detectable": 1.0}, told("student_int8", "venting", 0.8) | {"detectable": 0.0}]
    assert recalls(rows)[-2:] == ["| healthy | 20 | - | 90 | - |", "| venting | 20 | - | 80 | - |"]


def test_nobody_was_heard() -> None:
    assert recalls([]) == []
