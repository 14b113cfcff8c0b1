"""A pack against its own weeks: what changed is told, what was always so is not, and what departs does not become usual within a day."""

from __future__ import annotations

import numpy as np
import pytest
from snapshots import make_snapshot

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.evidence.baseline import Baseline
from edgebms.evidence.measure import Bundle, measure
from edgebms.evidence.memory import Memory
from edgebms.evidence.past import Past, Scale
from edgebms.evidence.queries import BY_WORD
from edgebms.history.history import History

CELLS, PROBES, CELL, PROBE, MINUTES = 16, 4, 9, 2, 60
PACK = PackConfig(name="pack", profile="edgebms", card="lg_hg2", cells=CELLS, probes=PROBES)
SCALE = Scale.of(load_card(PACK.card), PACK)
ONE = np.eye(CELLS)[CELL]


def hour(seed: int, ohm: float = 0.0, volts: float = 0.0, kelvin: float = 0.0) -> History:
    """An hour of driving at another state of charge each; beyond a sound pack's: resistance and voltage of CELL, level of PROBE."""
    rng, build = np.random.default_rng(seed), np.random.default_rng(3)
    own_ohm = SCALE.resistance_ohm * (1 + 0.05 * build.standard_normal(CELLS)) + ohm * ONE
    own_v = 0.002 * build.standard_normal(CELLS) + volts * ONE
    own_k = 0.5 * build.standard_normal(PROBES) + kelvin * np.eye(PROBES)[PROBE]
    history, rest_v, air_c = History(CELLS, PROBES), rng.uniform(3.5, 3.9), rng.uniform(15, 30)
    for i in range(MINUTES * 6):
        current = 2.0 * np.sign(np.sin(i / 4.0)) + rng.normal(0, 0.3)
        cells = rest_v + own_v + own_ohm * current + 3e-4 * rng.standard_normal(CELLS)
        probes = air_c + own_k + 0.03 * rng.standard_normal(PROBES)
        history.push(make_snapshot(CELLS, PROBES, seq=i, time_s=10.0 * i, voltage_v=cells, temperature_c=probes, current_a=current))
    return history


def known(hours: int, **always: float) -> Baseline:
    """What a gateway has learnt in so many hours, in which ``always`` was so."""
    baseline = Baseline(CELLS, PROBES)
    for seed in range(hours):
        baseline.learn(Past.of(hour(seed, **always), SCALE), 0.0)
        baseline.pause()
    return baseline


def asked(baseline: Baseline, word: str, suspect: int = -1, **now: float) -> Bundle:
    return measure(BY_WORD[word], Past.of(hour(99, **now), SCALE, baseline.weeks), suspect)


@pytest.fixture(scope="module")
def sound() -> Baseline:
    return known(12)


def test_a_joint_that_loosened_since_last_week_is_told_with_its_cell(sound: Baseline) -> None:
    found = asked(sound, "cell_weeks.outlier.3600s", ohm=0.3 * SCALE.resistance_ohm)
    assert found.cell == CELL
    assert found.values[0] == pytest.approx(0.3, abs=0.06)
    assert found.relatives[0] > 8 > 4 > abs(found.relatives[1])


def test_a_reading_that_went_wrong_is_told_in_volts(sound: Baseline) -> None:
    found = asked(sound, "cell_weeks.outlier.3600s", volts=-0.02)
    assert found.cell == CELL
    assert found.values[1] == pytest.approx(-0.02, abs=0.002)
    assert found.relatives[1] < -8


def test_a_probe_that_drifted_is_told(sound: Baseline) -> None:
    found = asked(sound, "probe_weeks.outlier.3600s", kelvin=3.0)
    assert found.cell == SCALE.cell_of_probe[PROBE]
    assert found.relatives[0] > 8


def test_what_was_always_so_is_nothing_new() -> None:
    """By its peers the cell stands out, by its own past it does not."""
    always = {"ohm": 0.3 * SCALE.resistance_ohm, "volts": -0.02}
    baseline = known(12, **always)
    against_peers = measure(BY_WORD["resistance_deviation.suspect.3600s"], Past.of(hour(99, **always), SCALE), CELL)
    assert abs(asked(baseline, "cell_weeks.suspect.3600s", CELL, **always).relatives[:3]).max() < 3 < abs(against_peers.relatives[0])


def test_nothing_is_usual_before_three_hours() -> None:
    for hours, told in ((0, False), (2, False), (3, True)):
        baseline = known(hours)
        for word in ("cell_weeks.outlier.3600s", "probe_weeks.outlier.3600s", "pack_weeks.pack.3600s", "weeks_survey.pack.3600s"):
            assert np.isfinite(asked(baseline, word).relatives).any() == told, (hours, word)


def test_the_survey_says_that_someone_changed(sound: Baseline) -> None:
    calm, loose = (asked(sound, "weeks_survey.pack.3600s", ohm=share * SCALE.resistance_ohm).relatives for share in (0.0, 0.3))
    assert calm[0] < 4 < 8 < loose[0]
    assert loose[1] == pytest.approx(calm[1], abs=1e-9)


def test_a_view_tells_a_suspect_s_measures_side_by_side(sound: Baseline) -> None:
    past = Past.of(hour(99, ohm=0.3 * SCALE.resistance_ohm), SCALE, sound.weeks)
    view = measure(BY_WORD["joint_view.suspect.3600s"], past, CELL)
    single = [
        measure(BY_WORD[f"{word}.suspect.3600s"], past, CELL).relatives[0] for word in ("resistance_deviation", "own_change", "cell_weeks")
    ]
    assert view.relatives[:3].tolist() == single
    assert view.cell == CELL
    assert not np.isfinite(measure(BY_WORD["joint_view.suspect.86400s"], past, CELL).relatives).any()  # no day has passed
    assert not np.isfinite(measure(BY_WORD["joint_view.suspect.3600s"], past).relatives).any()  # nobody is suspected


def test_what_departs_does_not_become_usual_within_a_day() -> None:
    baseline = known(40)
    before = asked(baseline, "cell_weeks.suspect.3600s", CELL, volts=-0.02).relatives[1]
    for seed in range(24):
        baseline.learn(Past.of(hour(200 + seed, volts=-0.02), SCALE), 0.0)
        baseline.pause()
    after = asked(baseline, "cell_weeks.suspect.3600s", CELL, volts=-0.02).relatives[1]
    assert before < -8
    assert after < -4


def test_a_memory_takes_what_is_known_and_keeps_its_mean() -> None:
    memory = Memory(2)
    rng = np.random.default_rng(5)
    drawn = rng.normal(3.0, 0.5, 200)
    for at, value in enumerate(drawn):
        memory.take(np.array([value, np.nan if at % 2 else value]), np.full(2, 0.01))
    assert memory.hours.tolist() == [200.0, 100.0]
    assert memory.mean == pytest.approx(drawn.mean(), abs=0.1)
    assert memory.sigma(np.full(2, 0.01)) == pytest.approx(drawn.std(), rel=0.15)
    assert memory.apart(np.array([4.0, np.nan]))[0] == pytest.approx(4.0 - memory.mean[0])
    assert np.isnan(memory.apart(np.array([4.0, np.nan]))[1])


def test_another_pack_s_weeks_are_refused() -> None:
    kept = known(3).state()
    with pytest.raises(ValueError, match="other numbers"):
        Baseline(CELLS + 1, PROBES).restore(kept)
    with pytest.raises(KeyError):
        Baseline(CELLS, PROBES).restore({"hours": [1.0], "mean": [0.0], "square": [0.0]})
    again = Baseline(CELLS, PROBES)
    again.restore(kept)
    assert again.state() == kept
