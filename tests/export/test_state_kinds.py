"""``python -m export evaluate state-kinds``: what counts as harm, and what a second of a pulse test becomes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shared_data import shared

from export.state_kinds import KINDS, Row, every_second, table
from export.state_logs import StateLog


def log(time_s, current_a):
    flat = np.linspace(1.0, 0.5, len(time_s))
    return StateLog(Path("a"), "s", "c", 25.0, 3.0, np.array(time_s, float), np.array(current_a, float), 3.0 + flat, 25.0 + flat, flat)


def test_a_second_of_a_pulse_test_keeps_its_charge():
    random = np.random.default_rng(1)
    time_s = np.concatenate([np.arange(0.0, 20.0, 0.1), np.arange(20.0, 60.0, 10.0)])
    whole = log(time_s, random.normal(size=time_s.size))
    thin = every_second(whole)
    assert thin.time_s.size == 24
    charge = [float(np.sum(one.current_a[1:] * np.diff(one.time_s))) for one in (whole, thin)]
    first_second = float(np.sum(whole.current_a[1:10] * 0.1))  # what flowed before the first row that is kept
    assert charge[1] == pytest.approx(charge[0] - first_second)
    slow = log(np.arange(0.0, 600.0, 10.0), np.ones(60))
    assert every_second(slow) is slow


def test_what_is_worse_by_more_than_a_fifth_of_a_per_cent_is_harm():
    kind = KINDS[0]
    rows = [
        Row(kind, 25.0, "joins", 3.0, 4.0),
        Row(kind, 25.0, "full start", 4.0, 3.0),
        Row(replace(kind, trained=False), 0.0, "joins", 1.0, 1.1),
    ]
    lines = table(rows)
    assert f"| {kind.set} | {kind.load} | yes | 25 | 3.00 -> 4.00 | - | 4.00 -> 3.00 |" in lines
    assert "| no | 0 | 1.00 -> 1.10 | - | - |" in lines[3]
    assert lines[-1].startswith("Worse by more than 0.2 in 1 of 3; worst +1.00") and lines[-1].endswith("Pooled 2.94 -> 2.96 %.")


def test_every_kind_has_logs_and_says_rightly_whether_it_trained():
    pytest.importorskip("scipy")
    from export.features import SOURCES, source_paths

    root = shared("data/soc/train/lg_hg2").parents[3]
    for kind in KINDS:
        paths = {path for pattern in kind.patterns for path in (root / "data/soc/train" / kind.set).glob(pattern)}
        source = next(source for source in SOURCES if source.set == kind.set)
        assert paths and kind.trained == bool(paths & set(source_paths(root, source))), kind.load
