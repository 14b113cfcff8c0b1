"""``python -m export evaluate state-students``: means and standard errors by hand, the shipped card has what it needs."""

import json

import pytest

from export.__main__ import main
from export.student_table import END, collected, table


def row(estimator, seed, rmse, name="a"):
    return {"set": name, "estimator": estimator, "seed": seed, "rmse_pct": rmse, "p999_pct": 2 * rmse, "inside_2sigma": 0.9}


def test_seeds_are_told_by_their_mean_and_its_standard_error():
    rows = collected([row("kalman", 0, 2.0), *(row("student_float", seed, rmse) for seed, rmse in enumerate((1.0, 1.2, 1.4)))])
    student = next(one for one in rows if one["estimator"] == "student_float")
    assert student["rmse_pct"] == pytest.approx(1.2) and student["rmse_pct_error"] == pytest.approx(0.2 / 3**0.5)
    lines = table(rows)
    assert "1.20 +- 0.12" in lines[-1] and "| 3 |" in lines[-1]
    assert "| filter | 1 | 2.00 | 4.00 | 0.90 |" in lines[2]


def test_the_shipped_card_is_printed_and_written_between_the_marks(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- begin: python -m export evaluate state-students --write -->\nold\n{END}\nafter\n")
    assert main(["evaluate", "state-students", "--write", str(page)]) == 0
    told = capsys.readouterr().out
    text = page.read_text()
    assert "int8, as it ships" in told and told.strip() in text
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text


def test_what_is_no_card_is_refused(tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"kind": "gru"}))
    assert main(["evaluate", "state-students", "--card", str(other)]) != 0
    assert "no card of a state student" in capsys.readouterr().err
