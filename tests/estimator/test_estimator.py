"""From snapshots to the state of every cell: what a decision is built on."""

import numpy as np
import pytest
from snapshots import make_snapshot

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.estimator.cell_model import CellModel
from edgebms.estimator.estimator import BALANCE_SPREAD, Estimator
from edgebms.estimator.kalman import SOC_MAX
from edgebms.vocabulary import ReasonerStatus, Source
from edgebms.worker import ask_inline

CELLS, PROBES = 8, 2
CARD = load_card("lg_hg2")
PACK = PackConfig(name="pack", profile="edgebms", card="lg_hg2", cells=CELLS, probes=PROBES, parallel=4)
MODEL = CellModel(CARD, CELLS)


def rest_v(soc):
    return MODEL.ocv_v(np.broadcast_to(np.asarray(soc, dtype=float), (CELLS,)).copy(), np.full(CELLS, 25.0))


def run(estimator, seconds, start_s=0.0, period_s=1.0, **given):
    """Snapshots for ``seconds``, each ``period_s``; the last state."""
    for step in range(round(seconds / period_s)):
        time_s = start_s + step * period_s
        state = estimator.step(make_snapshot(CELLS, PROBES, time_s=time_s, **given), round(time_s * 1e9))
    return state


class Student:
    """A stand-in with the real one's face."""

    digest, period_s = "state@sha256:test", 1.0

    def __init__(self, correction=0.02, inside=True, known=True):
        self.correction, self.is_inside, self.known, self.asked = correction, inside, known, 0

    def knows(self, card):
        return self.known

    def start(self, cells):
        return np.zeros((cells, 2), dtype=np.float32)

    def features(self, kalman, current_a):
        return np.zeros((CELLS, 3), dtype=np.float32)

    def inside(self, x):
        return np.broadcast_to(self.is_inside, (CELLS,)).copy()

    def run(self, x, hidden):
        self.asked += 1
        return np.full(CELLS, self.correction), np.full(CELLS, 0.01), hidden + 1


def test_a_student_that_does_not_know_the_card_is_not_asked_and_the_decision_says_so():
    student = Student(known=False)
    state = run(Estimator(CARD, PACK, student, ask_inline), 30, voltage_v=rest_v(0.6))
    alone = run(Estimator(CARD, PACK, None, ask_inline), 30, voltage_v=rest_v(0.6))
    assert state.student is ReasonerStatus.OUT_OF_DOMAIN and student.asked == 0
    np.testing.assert_array_equal(state.soc, alone.soc)


def test_a_rested_pack_is_read_from_its_voltage():
    state = run(Estimator(CARD, PACK, None, ask_inline), 1200, voltage_v=rest_v(0.6))
    assert state.soc == pytest.approx(np.full(CELLS, 0.6), abs=0.03)
    assert (np.abs(state.soc - 0.6) < 2.5 * state.soc_sigma).all()
    assert state.student is ReasonerStatus.ABSENT and state.source in (Source.FILTER, Source.OCV)


def test_current_is_shared_by_the_parallel_cells():
    state = run(Estimator(CARD, PACK, None, ask_inline), 60, voltage_v=rest_v(0.6))
    single = Estimator(CARD, PackConfig(name="p", profile="edgebms", card="lg_hg2", cells=CELLS, probes=PROBES), None, ask_inline)
    alone = run(single, 60, voltage_v=rest_v(0.6))
    assert state.limits.discharge_a == pytest.approx(4 * alone.limits.discharge_a)
    assert state.limits.discharge_v == pytest.approx(alone.limits.discharge_v)


def test_nothing_known_is_nan_and_zero_amperes():
    nothing = {"voltage_v": np.nan, "temperature_c": np.nan, "current_a": None}
    state = run(Estimator(CARD, PACK, None, ask_inline), 5, **nothing)
    assert np.isnan(state.soc).all() and state.source is Source.UNKNOWN
    assert state.limits.charge_a == 0 and state.limits.discharge_a == 0
    assert state.limits.charge_v > 0 and state.limits.discharge_v > 0
    assert np.isnan(state.soh_resistance).all()
    assert np.isnan(state.soh_capacity).all() and np.isnan(state.soh_capacity_sigma).all()


def test_a_cell_that_is_not_measured_any_more_gets_less_sure():
    estimator = Estimator(CARD, PACK, None, ask_inline)
    before = run(estimator, 120, voltage_v=rest_v(0.6), current_a=-4.0)
    voltage = rest_v(0.6)
    voltage[3] = np.nan
    after = run(estimator, 600, start_s=120, voltage_v=voltage, current_a=-4.0)
    assert after.soc_sigma[3] > before.soc_sigma[3]
    assert after.soc_sigma[3] > after.soc_sigma[2]
    assert np.isfinite(after.soc).all()


def test_the_students_correction_leads_inside_its_domain_and_the_filter_outside():
    student = Student(inside=np.arange(CELLS) != 5)
    led, plain = Estimator(CARD, PACK, student, ask_inline), Estimator(CARD, PACK, None, ask_inline)
    state, filtered = run(led, 30, voltage_v=rest_v(0.6)), run(plain, 30, voltage_v=rest_v(0.6))
    assert state.student is ReasonerStatus.OUT_OF_DOMAIN and state.source is Source.STUDENT
    others = np.arange(CELLS) != 5
    assert state.soc[others] == pytest.approx(filtered.soc[others] + 0.02)
    assert state.soc[5] == filtered.soc[5]
    student.is_inside = False
    state = run(led, 5, start_s=30, voltage_v=rest_v(0.6))
    assert state.student is ReasonerStatus.OUT_OF_DOMAIN and state.source is not Source.STUDENT


def test_a_student_never_leads_out_of_the_possible():
    state = run(Estimator(CARD, PACK, Student(correction=0.5), ask_inline), 30, voltage_v=rest_v(0.98))
    assert (state.soc <= SOC_MAX).all()


@pytest.mark.parametrize(("period_s", "asked"), [(0.1, 10), (1.0, 10), (10.0, 1)])
def test_the_student_is_asked_once_a_second_at_most(period_s, asked):
    student = Student()
    run(Estimator(CARD, PACK, student, ask_inline), 10.0, period_s=period_s, voltage_v=rest_v(0.6))
    assert student.asked == pytest.approx(asked, abs=1)


def test_a_slow_packs_decision_has_the_answer_to_its_own_snapshot():
    estimator = Estimator(CARD, PACK, Student(), ask_inline)
    run(estimator, 20, period_s=10.0, voltage_v=rest_v(0.6))
    assert estimator.step(make_snapshot(CELLS, PROBES, time_s=20.0, voltage_v=rest_v(0.6)), 20 * 10**9).source is Source.STUDENT


def test_balancing_is_proposed_for_what_a_rest_shows_and_never_under_load():
    soc = np.full(CELLS, 0.6)
    soc[[1, 4]] += 2.5 * BALANCE_SPREAD
    estimator = Estimator(CARD, PACK, None, ask_inline)
    assert run(estimator, 1800, voltage_v=rest_v(soc)).balance == (1, 4)
    assert run(estimator, 30, start_s=1800, voltage_v=rest_v(soc) - 0.05, current_a=-8.0).balance == ()


def test_resistance_is_told_once_there_was_a_load():
    estimator = Estimator(CARD, PACK, None, ask_inline)
    assert np.isnan(run(estimator, 60, voltage_v=rest_v(0.6)).soh_resistance).all()
    state = run(estimator, 60, start_s=60, voltage_v=rest_v(0.6) - 0.06, current_a=-8.0)
    assert np.isfinite(state.soh_resistance).all()


def test_what_was_saved_goes_on_where_it_stood():
    first = Estimator(CARD, PACK, Student(), ask_inline)
    run(first, 300, voltage_v=rest_v(0.6), current_a=-4.0)
    second = Estimator(CARD, PACK, Student(), ask_inline)
    second.restore(first.state(), 300.0, 1.0)
    one, other = (run(e, 60, start_s=300, voltage_v=rest_v(0.6), current_a=-4.0) for e in (first, second))
    assert other.soc == pytest.approx(one.soc, abs=0.003)
    assert other.soh_resistance == pytest.approx(one.soh_resistance, rel=0.05)
