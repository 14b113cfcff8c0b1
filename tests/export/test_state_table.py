"""``python -m export evaluate state-table``: must and aim by hand, the worst group counts, a missing student is the filter."""

import numpy as np
import pytest

from export.left_out import FOLDER, tuning_of
from export.state_table import (
    CASES,
    JOINS,
    OFFSETS,
    REQUIREMENTS,
    Group,
    against_filter,
    calibration,
    judged,
    requirement_lines,
    verdict,
    worst,
)


def group(case, temperature_c, estimator, rmse, inside=0.95, sigma=1.0):
    made = Group(case, temperature_c, estimator)
    for kind in ("none", *JOINS, *OFFSETS):
        made.squares[kind] = [rmse**2] * 2
        made.inside[kind], made.sigma[kind] = [inside], [sigma * rmse]
        made.errors[kind] = [np.full(100, rmse, dtype=np.float32)]
    return made


def test_a_row_is_judged_by_its_worst_group():
    groups = [group(CASES[0], 25.0, "kalman", 0.5), group(CASES[0], 10.0, "kalman", 1.4), group(CASES[0], -10.0, "kalman", 9.0)]
    value, where = worst(groups, REQUIREMENTS[0])
    assert value == pytest.approx(1.4) and where == "lg_hg2 10"
    assert "FAILS" in requirement_lines(groups, ["kalman"])[2]
    assert [verdict(x, 1.2, 0.6) for x in (0.5, 1.0, 1.3, float("nan"))] == ["aim", "must", "FAILS", "-"]


def test_a_student_that_is_worse_somewhere_fails_though_it_is_better_on_the_whole():
    base = [group(CASES[0], 25.0, "kalman", 0.5), group(CASES[0], -20.0, "kalman", 5.0)]
    student = [group(CASES[0], 25.0, "student_int8", 0.9), group(CASES[0], -20.0, "student_int8", 2.0)]
    lines = against_filter(base + student, "student_int8", 2)
    assert "must" in lines[0] or "aim" in lines[0]
    assert "+0.40" in lines[1] and "FAILS" in lines[1]


def test_without_a_student_the_filter_stands():
    groups = [group(CASES[0], 25.0, "kalman", 0.5), group(CASES[1], 25.0, "kalman", 0.7), group(CASES[0], 25.0, "student_int8", 0.4)]
    assert {(g.case.name, g.estimator) for g in judged(groups, "student_int8")} == {
        ("lg_hg2", "student_int8"),
        ("dmegc_randomwalk", "kalman"),
    }


def test_a_sigma_that_is_wide_enough_for_anything_does_not_count_as_calibrated():
    assert "1 of 1 hold" in calibration([group(CASES[0], 25.0, "kalman", 0.5, sigma=1.5)], 0.88)
    assert "0 of 1 hold" in calibration([group(CASES[0], 25.0, "kalman", 0.5, sigma=2.5)], 0.88)
    assert "0 of 1 hold" in calibration([group(CASES[0], 25.0, "kalman", 0.5, inside=0.8)], 0.88)


def test_every_never_seen_case_has_what_it_needs():
    for case in CASES:
        if case.left_out:
            assert tuning_of(case.left_out) != tuning_of("")
            assert case.card != case.left_out or case.left_out == "panasonic_18650pf"
            assert not case.card.endswith(".toml") or (FOLDER / case.card).is_file()
