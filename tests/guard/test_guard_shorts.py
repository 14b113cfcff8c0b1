"""A cell against its pack's median: under load, at rest, and with heat."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import make_card, make_pack
from snapshots import make_snapshot

from edgebms.guard.plausibility import Plausibility, median
from edgebms.guard.shorts import CURRENT_PRIOR, FAST_S, SLOW_S, Shorts

NAN = np.nan
CELL = 2


class Falling:
    """Six cells with three probes; one C is 50 A."""

    def __init__(self, cells=6, probes=3, parallel=1):
        pack = make_pack(cells, probes, parallel=parallel)
        self.plausibility, self.shorts = Plausibility(cells, probes), Shorts(make_card(50.0), pack)
        self.cells, self.probes, self.at = cells, probes, 5000.0

    def show(self, step_s=10.0, balancing=None, **values):
        self.at += step_s
        snapshot = make_snapshot(self.cells, self.probes, time_s=self.at, **values)
        return self.shorts.step(self.plausibility.clean(snapshot), snapshot.current_a.value, balancing, snapshot.time_ns)

    def learn(self, seconds, **values):
        for _ in range(round(seconds / 10)):
            falls = self.show(**values)
        return falls


def off(volt, cell=CELL, cells=6):
    voltage = np.full(cells, 3.7)
    voltage[cell] += volt
    return voltage


# ---- under load


def reference(departures, currents, elapsed):
    """The fall by a weighted least-squares line over all the past, written out plainly. No step counts for more than a minute."""
    cells, counted = departures.shape[1], np.minimum(elapsed, 60.0)
    fast = np.zeros(cells)
    for k in range(len(departures)):
        # what was learned in a step is not decayed in that step, and decays with each later one
        weights = np.array([counted[i] * np.exp(-sum(elapsed[i + 1 : k]) / SLOW_S) for i in range(k)])
        if k:
            total, mean_x = weights.sum(), (weights * currents[:k]).sum() / weights.sum()
            mean_y = (weights[:, None] * departures[:k]).sum(axis=0) / total
            spread = (weights * (currents[:k] - mean_x) ** 2).sum() + CURRENT_PRIOR * total
            slope = (weights[:, None] * (currents[:k] - mean_x)[:, None] * departures[:k]).sum(axis=0) / spread
            usual = mean_y + slope * (currents[k] - mean_x)
        else:
            usual = np.zeros(cells)
        fast += counted[k] / FAST_S * (departures[k] - usual - fast)
    tail = sorted(fast)[max(1, -(-cells // 10))]
    sigma = max(1.4826 * median(np.abs(fast - median(fast))), (median(fast) - tail) / 1.2816)
    return -fast - 3.0 * sigma


@pytest.mark.parametrize(("parallel", "asleep_s"), [(1, 0.0), (2, 0.0), (1, 1500.0)])
def test_a_fall_is_what_a_line_in_current_does_not_explain(parallel, asleep_s):
    rng = np.random.default_rng(3)
    falling = Falling(parallel=parallel)
    resistance, offset = rng.normal(0, 0.02, 6), rng.normal(0, 0.01, 6)
    departures, currents, elapsed = [], [], []
    for k in range(80):
        step_s = float(rng.integers(5, 30)) + (asleep_s if k == 60 else 0.0)
        c_rate = rng.normal(0, 0.7)
        voltage = 3.7 + offset + resistance * c_rate + rng.normal(0, 0.002, 6) - 0.002 * np.arange(6) * k / 80
        voltage[CELL] -= 0.001 * max(0, k - 40)
        falls = falling.show(step_s, voltage_v=voltage, current_a=c_rate * 50 * parallel)
        departures.append(voltage - np.median(voltage))
        currents.append(c_rate)
        elapsed.append(step_s if k else 1.0)
    expected = reference(np.array(departures), np.array(currents), np.array(elapsed))
    assert falls.cell_fall_v[:6] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(falls.cell_fall_v[6:]).all()
    assert falls.cell_fall_v[CELL] > 0.01


def test_a_cell_of_higher_resistance_does_not_fall_with_the_load():
    falling = Falling()
    rng = np.random.default_rng(0)
    worst = 0.0
    for k in range(400):
        c_rate = rng.choice([-2.0, -1.0, 0.0, 0.5])
        falls = falling.show(voltage_v=off(0.1 * c_rate), current_a=50 * c_rate)
        if k > 50:
            worst = max(worst, falls.cell_fall_v[CELL])
    assert worst < 0.003


@pytest.mark.parametrize(("cells", "beside"), [(6, 1), (10, 1), (11, 2), (30, 3), (31, 4)])
def test_the_weaker_tenth_of_a_pack_that_falls_away_together_is_no_fall(cells, beside):
    """Near empty: ``beside`` cells fall with the lowest one, which goes further; with one less it falls alone."""
    for falling_cells, alone in ((beside + 1, False), (beside, True)):
        falling = Falling(cells)
        falling.learn(1200, voltage_v=np.full(cells, 3.7))
        voltage = np.full(cells, 3.7)
        voltage[:falling_cells] -= 0.12
        voltage[0] -= 0.05
        falls = falling.learn(60, voltage_v=voltage)
        assert (falls.cell_fall_v[0] > 0.1) == alone
        assert alone or falls.cell_fall_v[0] < 0.0


def test_the_weaker_tenth_counts_as_what_lies_beyond_1_28_sigma():
    falling = Falling(20)
    falling.learn(1200, voltage_v=np.full(20, 3.7))
    voltage = np.full(20, 3.7)
    voltage[:3] -= [0.09, 0.04, 0.03]
    falls = falling.show(60.0, voltage_v=voltage)
    assert falls.cell_fall_v[:4] == pytest.approx(np.array([0.09, 0.04, 0.03, 0.0]) - 3.0 * 0.03 / 1.2816, abs=1e-6)


def test_nothing_is_said_before_five_minutes():
    falling = Falling()
    falls = falling.show()
    for _ in range(29):
        assert np.isnan(falls.cell_fall_v).all()
        assert np.isnan(falls.falling_cell_warming_k).all()
        falls = falling.show()
    falls = falling.show()
    assert np.isfinite(falls.cell_fall_v[:6]).all()


@pytest.mark.parametrize(("step_s", "steps", "known"), [(23.0, 13, True), (2.0, 149, False), (2.0, 150, True)])
def test_five_minutes_to_the_second(step_s, steps, known):
    """The first look counts as a second."""
    falling = Falling()
    falling.show()
    for _ in range(steps):
        falls = falling.show(step_s)
    assert np.isfinite(falls.cell_fall_v[CELL]) == known


def test_a_look_is_taken_once_a_second():
    falling = Falling()
    falling.learn(600)
    first = falling.show()
    assert falling.show(0.9, voltage_v=off(-0.1)) is first
    assert falling.show(0.1, voltage_v=off(-0.1)) is not first


def test_a_long_step_counts_as_a_minute():
    falling, longer = Falling(), Falling()
    for each in (falling, longer):
        each.learn(1200)
    shown = [each.show(gap, voltage_v=off(-0.1), current_a=0.0).cell_fall_v for each, gap in ((falling, 60.0), (longer, 5000.0))]
    assert shown[0] == pytest.approx(shown[1], nan_ok=True)
    assert falling.show().cell_fall_v[CELL] > longer.show().cell_fall_v[CELL], "what was before the hole is less usual than what is now"


def test_an_unknown_cell_teaches_nothing_and_has_no_fall():
    falling, whole = Falling(), Falling()
    falling.learn(1200)
    whole.learn(1200)
    for _ in range(30):
        falls = falling.show(voltage_v=off(NAN))
        whole.show()
    assert np.isnan(falls.cell_fall_v[CELL])
    assert np.isfinite(falls.cell_fall_v[[0, 1, 3, 4, 5]]).all()
    assert falling.show().cell_fall_v[CELL] == pytest.approx(whole.show().cell_fall_v[CELL], abs=1e-6)


@pytest.mark.parametrize("values", [{"current_a": NAN}, {"voltage_v": NAN}])
def test_without_current_or_cells_it_is_unknown(values):
    falling = Falling()
    assert np.isfinite(falling.learn(600).cell_fall_v[:6]).all()
    for fall in falling.show(**values):
        assert np.isnan(fall).all()
    assert np.isfinite(falling.show().cell_fall_v[:6]).all()


@pytest.mark.parametrize(("cells", "known"), [(3, False), (4, True)])
def test_fewer_than_four_cells_have_no_median(cells, known):
    assert np.isfinite(Falling(cells, 3).learn(600).cell_fall_v[:cells]).all() == known


# ---- at rest


def rest(falling, seconds, step_s=30.0, start_h=0.0, slope=-0.02, current_a=0.0, **values):
    for k in range(round(seconds / step_s)):
        falls = falling.show(step_s, voltage_v=off(slope * (start_h + k * step_s / 3600)), current_a=current_a, **values)
    return falls


def test_self_discharge_is_the_slope_of_a_rest():
    falls = rest(Falling(), 4800)
    assert falls.rest_fall_v_per_h[CELL] == pytest.approx(0.02, rel=1e-3)
    assert falls.rest_fall_v_per_h[[0, 1, 3, 4, 5]] == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(falls.rest_fall_v_per_h[6:]).all()


def test_the_slope_is_a_straight_line_from_twenty_minutes_on():
    rng = np.random.default_rng(5)
    falling = Falling()
    departures = []
    for _ in range(160):
        voltage = 3.7 + rng.normal(0, 0.001, 6)
        departures.append(voltage - np.median(voltage))
        falls = falling.show(30.0, voltage_v=voltage)
    # the rest begins with the first snapshot; from 1200 s after it the samples count
    used = np.array(departures)[40:]
    expected = -np.polyfit(np.arange(len(used)) * 30 / 3600, used, 1)[0]
    # less what three sigmas of the pack are beyond 10 mV/h: of its middle, or of its falling tenth (of six cells the second lowest)
    middle = np.median(expected)
    sigma = max(1.4826 * np.median(np.abs(expected - middle)), (np.sort(expected)[-2] - middle) / 1.2816)
    assert falls.rest_fall_v_per_h[:6] == pytest.approx(expected - max(3 * sigma - 0.01, 0.0), abs=1e-9)


@pytest.mark.parametrize(("shorted", "found"), [(0.0, False), (0.012, False), (0.05, True)])
def test_at_a_knee_of_the_curve_sound_cells_part_and_only_one_that_falls_further_counts(shorted, found):
    """Forty cells that go on parting by 5 mV/h: some of them beyond the row's 10 mV/h. One of them is shorted besides."""
    parting = np.random.default_rng(3).normal(0, 0.005, 40)
    assert (parting < -0.01).any()
    parting[CELL] = -shorted
    falling = Falling(40)
    for k in range(160):
        falls = falling.show(30.0, voltage_v=3.7 + parting * k * 30 / 3600)
    told = falls.rest_fall_v_per_h[:40] >= 0.01
    assert told[CELL] == found
    assert not np.delete(told, CELL).any()


@pytest.mark.parametrize(("bled", "apart"), [(2, True), (3, False)])
def test_what_the_pack_parts_by_is_told_by_four_cells_that_are_not_bled(bled, apart):
    """The balancer bleeds all but the lowest ones: a shorted cell is among those that are left, and is told by its slope alone."""
    falling = Falling()
    for k in range(160):
        hours = k * 30 / 3600
        voltage = 3.7 - np.array([0.0, 0.02, 0.05, 0.0, 0.0, 0.0]) * hours
        falls = falling.show(30.0, np.arange(6) >= 6 - bled, voltage_v=voltage)
    # of the four the slopes are 0, 20, 50, 0: their middle 10, three sigmas of its spread 44 mV/h (of the falling tenth 23)
    assert falls.rest_fall_v_per_h[CELL] == pytest.approx(0.05 - (3 * 1.4826 * 0.01 - 0.01 if apart else 0.0), rel=0.02)


def test_samples_missing_in_a_rest_are_left_out():
    falling = Falling()
    for k in range(160):
        voltage = off(-0.02 * k * 30 / 3600 if k not in (70, 71, 72) else NAN)
        falls = falling.show(30.0, voltage_v=voltage)
    assert falls.rest_fall_v_per_h[CELL] == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize(("seconds", "known"), [(3000, False), (3030, True)])
def test_a_rest_is_judged_after_twenty_and_thirty_minutes(seconds, known):
    assert np.isfinite(rest(Falling(), seconds).rest_fall_v_per_h[CELL]) == known


@pytest.mark.parametrize(("current", "known"), [(0.99, True), (1.01, False), (-0.99, True), (-1.01, False)])
def test_a_rest_is_below_a_fiftieth_of_capacity(current, known):
    assert np.isfinite(rest(Falling(), 3600, current_a=current).rest_fall_v_per_h[CELL]) == known


def test_a_load_begins_the_rest_anew():
    falling = Falling()
    assert np.isfinite(rest(falling, 4000).rest_fall_v_per_h[CELL])
    assert np.isnan(falling.show(current_a=-50.0).rest_fall_v_per_h).all()
    assert np.isnan(rest(falling, 3000).rest_fall_v_per_h).all()
    falls = rest(falling, 600, start_h=3000 / 3600)
    assert falls.rest_fall_v_per_h[CELL] == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize(("gap", "known"), [(60.0, True), (61.0, False)])
def test_a_hole_in_the_data_begins_the_rest_anew(gap, known):
    falling = Falling()
    rest(falling, 4000)
    assert np.isfinite(falling.show(gap, voltage_v=off(-0.02)).rest_fall_v_per_h[CELL]) == known
    assert np.isfinite(falling.show(30.0, voltage_v=off(-0.02)).rest_fall_v_per_h[CELL]) == known


def test_a_cell_that_is_bled_has_no_self_discharge():
    bled = np.arange(6) == CELL
    falls = rest(Falling(), 4800, balancing=bled)
    assert np.isnan(falls.rest_fall_v_per_h[CELL])
    assert np.isfinite(falls.rest_fall_v_per_h[[0, 1, 3, 4, 5]]).all()


def test_a_cell_that_was_bled_for_most_of_the_rest_has_none_either():
    bled = np.arange(6) == CELL
    falling = Falling()
    rest(falling, 1800, balancing=bled)
    assert np.isnan(rest(falling, 3000).rest_fall_v_per_h[CELL])
    assert np.isfinite(rest(falling, 12000).rest_fall_v_per_h[CELL])


# ---- with heat


def warm(kelvin, probe=1):
    temperature = np.full(3, 25.0)
    temperature[probe] += kelvin
    return temperature


def test_a_falling_cell_whose_probe_warms():
    falling = Falling()
    falling.learn(1200)
    for _ in range(12):
        falls = falling.show(voltage_v=off(-0.1), temperature_c=warm(4.0))
    # cells 2 and 3 sit at probe 1; the usual departure follows within the hour
    followed = 4.0 * (1 - 10 / SLOW_S) ** 11
    assert falls.falling_cell_warming_k[:6] == pytest.approx([0.0, 0.0, followed, 0.0, 0.0, 0.0])
    assert np.isnan(falls.falling_cell_warming_k[6:]).all()


def test_a_probe_that_was_always_warmer_has_not_warmed():
    falling = Falling()
    falling.learn(1200, temperature_c=warm(8.0))
    for _ in range(12):
        falls = falling.show(voltage_v=off(-0.1), temperature_c=warm(8.0))
    assert falls.falling_cell_warming_k[CELL] == pytest.approx(0.0, abs=1e-9)


def test_a_pack_that_warms_as_a_whole_has_not_warmed_against_itself():
    falling = Falling()
    falling.learn(1200, temperature_c=25.0)
    for k in range(12):
        falls = falling.show(voltage_v=off(-0.1), temperature_c=25.0 + k)
    assert falls.falling_cell_warming_k[CELL] == pytest.approx(0.0, abs=1e-9)


def test_warming_without_a_fall_does_not_count():
    falling = Falling()
    falling.learn(1200)
    for _ in range(12):
        falls = falling.show(temperature_c=warm(4.0))
    assert falls.falling_cell_warming_k[:6].tolist() == [0.0] * 6


def test_a_fall_counts_from_fifteen_millivolt():
    falling = Falling()
    falling.learn(30000)
    seen = []
    for _ in range(60):
        falls = falling.show(1.0, voltage_v=off(-0.03), temperature_c=warm(4.0))
        assert (falls.falling_cell_warming_k[CELL] > 0) == (falls.cell_fall_v[CELL] >= 0.015)
        seen.append(falls.cell_fall_v[CELL])
    below, above = [fall for fall in seen if fall < 0.015], [fall for fall in seen if fall >= 0.015]
    assert below[-1] > 0.0145
    assert above[0] < 0.0155


def test_a_lost_probe_leaves_it_unknown_and_does_not_spoil_what_is_usual():
    falling = Falling()
    falling.learn(1200, temperature_c=warm(2.0))
    for _ in range(12):
        falls = falling.show(voltage_v=off(-0.1), temperature_c=warm(NAN))
    assert np.isnan(falls.falling_cell_warming_k[CELL])
    falls = falling.show(voltage_v=off(-0.1), temperature_c=warm(5.0))
    assert falls.falling_cell_warming_k[CELL] == pytest.approx(3.0, abs=0.01)


def test_without_probes_the_warming_is_unknown():
    falling = Falling(6, 0)
    falling.learn(1200)
    for _ in range(12):
        falls = falling.show(voltage_v=off(-0.1))
    assert falls.cell_fall_v[CELL] > 0.05
    assert np.isnan(falls.falling_cell_warming_k[CELL])


def test_a_new_rest_knows_nothing_of_the_last_one():
    from edgebms.guard.shorts import _Rest

    def through(start_s, v_per_h):
        for at_s in range(start_s, start_s + 7200, 60):
            slope = rest.step(np.array([0.0, v_per_h * (at_s - start_s) / 3600.0, 0.0, 0.0]), None, True, 60.0, at_s * 10**9)
        return slope

    rest = _Rest(4)
    assert abs(through(0, -0.05)[1]) == pytest.approx(0.05, rel=0.05)
    rest.step(np.zeros(4), None, False, 60.0, 7300 * 10**9)
    assert abs(through(8000, 0.0)[1]) < 0.001
