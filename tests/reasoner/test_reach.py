"""A student is told how far back a pack is known before it asks anything: minutes, an hour, a day; and whether its weeks are."""

from __future__ import annotations

import numpy as np
import pytest
from snapshots import make_snapshot

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.evidence.baseline import Baseline
from edgebms.evidence.measure import measure
from edgebms.evidence.past import Past, Scale
from edgebms.evidence.queries import BY_WORD
from edgebms.history.history import History
from edgebms.reasoner.language import TOKENS
from edgebms.reasoner.quantiser import prompt

CELLS, PROBES = 16, 4


def seen_for(hours: float) -> History:
    history, rng = History(CELLS, PROBES), np.random.default_rng(1)
    for time_s in np.arange(0.0, hours * 3600.0 + 1.0, 10.0):
        voltage = 3.6 + 0.001 * rng.standard_normal(CELLS)
        history.push(make_snapshot(CELLS, PROBES, time_s=float(time_s), voltage_v=voltage, temperature_c=np.full(PROBES, 25.0)))
    return history


@pytest.fixture(scope="module")
def scale() -> Scale:
    pack = PackConfig(name="pack1", profile="edgebms", card="generic_nmc", cells=CELLS, probes=PROBES)
    return Scale.of(load_card("generic_nmc"), pack)


@pytest.mark.parametrize(("hours", "word"), [(0.1, "minutes"), (0.5, "hour"), (7.0, "hour"), (7.6, "day")])
def test_it_is_told_what_can_be_asked_about(scale: Scale, hours: float, word: str) -> None:
    past = Past.of(seen_for(hours), scale)
    told = {TOKENS[place] for place in np.flatnonzero(prompt("NMC", CELLS, past.reach))}
    assert told == {"<begin>", "chemistry:NMC", "cells:few", f"past:{word}", "weeks:unknown"}
    for window_s, longest in (("3600s", ("hour", "day")), ("86400s", ("day",))):
        answer = measure(BY_WORD[f"voltage_deviation.outlier.{window_s}"], past)
        assert np.isfinite(answer.relatives).any() == (word in longest)


def test_weeks_are_known_after_three_hours_of_the_same_pack(scale: Scale) -> None:
    history, baseline = seen_for(1.0), Baseline(CELLS, PROBES)
    for hour in range(4):
        past = Past.of(history, scale, baseline.weeks)
        assert past.reach.weeks == (hour >= 3)
        baseline.learn(past, hour * 3600.0)
