"""The runaway event rule, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import LIMITS, make_card, make_pack
from snapshots import make_snapshot

from edgebms.guard.plausibility import Plausibility
from edgebms.guard.runaway import Runaway
from edgebms.telemetry.snapshot import Extreme, Extremes
from edgebms.vocabulary import Reason

NAN = np.nan
PLACE = 2


class Rise:
    """Four cells with a probe each unless stated; ``show`` gives a snapshot."""

    def __init__(self, cells=4, probes=4, start_s=1000.0, **pack):
        self.pack = make_pack(cells, probes, **pack)
        self.cells, self.probes = cells, probes
        self.plausibility, self.runaway = Plausibility(cells, probes), Runaway(make_card(limits=LIMITS), self.pack)
        self.at = start_s
        self.temperature, self.voltage = np.full(probes, 25.0), np.full(cells, 3.7)
        self.reason = np.zeros(probes, dtype=np.uint8)

    def show(self, step_s=1.0, **values):
        self.at += step_s
        reason = np.where(np.isnan(self.temperature) & (self.reason == 0), np.uint8(Reason.STALE), self.reason).astype(np.uint8)
        snapshot = make_snapshot(
            self.cells,
            self.probes,
            time_s=self.at,
            **{"voltage_v": self.voltage, "temperature_c": self.temperature, "temperature_reason": reason} | values,
        )
        return self.runaway.step(self.plausibility.clean(snapshot), snapshot.temperature_reason, snapshot.time_ns)

    def rise(self, seconds, rate, step_s=1.0, start_c=None):
        """The probe PLACE rises; what the last snapshot says."""
        if start_c is not None:
            self.temperature[PLACE] = start_c
            self.show(step_s)
        heat = None
        for _ in range(round(seconds / step_s)):
            self.temperature[PLACE] += rate * step_s
            heat = self.show(step_s)
        return heat


def test_a_steady_pack_has_nothing():
    rise = Rise()
    for _ in range(100):
        heat = rise.show()
    for value in heat:
        assert value[:4].tolist() == [0.0] * 4
        assert np.isnan(value[4:]).all(), "there are no broadcasts"
    assert heat.cell_runaway_k_per_s.shape == (6,)
    assert heat.fast_rise_s.shape == (6,)


@pytest.mark.parametrize(("seconds", "holds"), [(3, False), (4, True)])
def test_a_rise_counts_when_it_lasts_over_three_seconds(seconds, holds):
    rise = Rise()
    heat = rise.rise(seconds, 1.5, start_c=25.0)
    assert heat.fast_rise_s[PLACE] == (pytest.approx(seconds) if holds else 0.0)
    assert np.count_nonzero(heat.fast_rise_s > 0) == int(holds)


@pytest.mark.parametrize(("rate", "holds"), [(0.95, False), (1.0, True), (1.05, True)])
def test_a_rise_counts_from_one_kelvin_a_second(rate, holds):
    assert (Rise().rise(20, rate, start_c=25.0).fast_rise_s[PLACE] > 0) == holds


def test_the_duration_and_the_rate_are_those_of_the_rise():
    rise = Rise()
    rise.temperature[PLACE] = 78.0
    for _ in range(5):
        rise.show()
    heat = rise.rise(10, 2.0)
    assert heat.fast_rise_s[PLACE] == pytest.approx(10.0)
    assert heat.cell_runaway_k_per_s[PLACE] == pytest.approx(2.0)
    assert np.count_nonzero(heat.cell_runaway_k_per_s > 0) == 1
    assert not (heat.probe_runaway_k_per_s > 0).any()


def test_ten_hertz_and_a_kelvin_of_resolution():
    rise = Rise()
    heat = None
    for k in range(60):
        rise.temperature[PLACE] = np.floor(25 + 1.3 * k * 0.1)
        heat = rise.show(0.1)
    assert heat.fast_rise_s[PLACE] > 3


def test_a_rise_that_stops_is_over_at_once_or_within_the_resolution():
    rise = Rise()
    rise.rise(10, 2.0, start_c=25.0)
    assert rise.show().fast_rise_s[PLACE] == pytest.approx(10.0), "a second without is within a probe's steps"
    assert rise.show().fast_rise_s[PLACE] == 0.0


def test_the_resolution_is_twelve_tenths():
    rise = Rise()
    rise.rise(5, 2.0, step_s=0.1, start_c=25.0)
    for _ in range(11):
        assert rise.show(0.1).fast_rise_s[PLACE] > 3
    rise.show(0.1)
    assert rise.show(0.1).fast_rise_s[PLACE] == 0.0


def test_a_pause_within_the_resolution_is_not_counted_as_rise():
    rise = Rise()
    rise.rise(3, 2.0, start_c=25.0)
    assert rise.show().fast_rise_s[PLACE] == 0.0


def test_a_rise_goes_on_after_a_pause_within_the_resolution():
    rise = Rise()
    rise.rise(3, 2.0, start_c=25.0)
    rise.show()
    assert rise.rise(2, 2.0).fast_rise_s[PLACE] == pytest.approx(6.0)


def test_a_rise_begins_anew_after_a_fall():
    rise = Rise()
    rise.rise(3, 2.0, start_c=25.0)
    rise.temperature[PLACE] -= 1.0
    rise.show()
    assert rise.rise(3, 2.0).fast_rise_s[PLACE] == 0.0
    assert rise.rise(1, 2.0).fast_rise_s[PLACE] == pytest.approx(4.0)


@pytest.mark.parametrize("step_s", [0.1, 1.0, 6.0])
def test_a_lone_step_is_no_rise(step_s):
    rise = Rise()
    for _ in range(10):
        rise.show(step_s)
    rise.temperature[PLACE] = 60.0
    for _ in range(10):
        assert not (rise.show(step_s).fast_rise_s > 0).any()


def test_a_slow_sweep_needs_two_intervals():
    rise = Rise()
    rise.show()
    assert not (rise.rise(6, 1.1, step_s=6.0).fast_rise_s > 0).any()
    assert rise.rise(6, 1.1, step_s=6.0).fast_rise_s[PLACE] == pytest.approx(12.0)


def test_intervals_of_an_earlier_rise_do_not_count():
    rise = Rise()
    rise.rise(3, 2.0, start_c=25.0)
    for _ in range(10):
        rise.show()
    assert not (rise.rise(6, 1.1, step_s=6.0).fast_rise_s > 0).any()


def test_a_sample_that_is_repeated_counts_once():
    rise = Rise()
    rise.rise(2, 2.0, start_c=25.0)
    for k in range(1, 9):
        heat = rise.show(1.0, temperature_age_s=float(k))
    assert not (heat.fast_rise_s > 0).any()


@pytest.mark.parametrize(("start", "event"), [(79.9 - 6, False), (80.0 - 6, True)])
def test_condition_b_is_the_makers_maximum(start, event):
    heat = Rise().rise(4, 1.5, start_c=start)
    assert (heat.cell_runaway_k_per_s[PLACE] > 0) == event


@pytest.mark.parametrize("start_s", [1000.0, 1.79e9])
def test_a_rise_of_just_one_kelvin_a_second_is_enough(start_s):
    rise = Rise(start_s=start_s)
    assert rise.rise(6, 0.1, step_s=0.1, start_c=78.0).cell_runaway_k_per_s[PLACE] == 0.0
    assert rise.rise(6, 1.0, step_s=0.1, start_c=78.0).cell_runaway_k_per_s[PLACE] >= 1.0


@pytest.mark.parametrize(("left", "event"), [(0.755, False), (0.745, True)])
def test_condition_a_is_a_fall_by_a_quarter(left, event):
    rise = Rise()
    for _ in range(10):
        rise.show()
    rise.rise(5, 1.5, start_c=25.0)
    rise.voltage[PLACE] = 3.7 * left
    heat = rise.rise(3, 1.5)
    assert (heat.cell_runaway_k_per_s[PLACE] > 0) == event
    assert np.count_nonzero(heat.cell_runaway_k_per_s > 0) == int(event)


def test_a_fall_by_just_a_quarter_is_not_more():
    rise = Rise()
    rise.voltage[:] = 4.0
    for _ in range(10):
        rise.show()
    rise.rise(5, 1.5, start_c=25.0)
    rise.voltage[PLACE] = 3.0
    assert not (rise.rise(3, 1.5).cell_runaway_k_per_s > 0).any()


def test_a_fall_without_a_rise_is_no_runaway():
    rise = Rise()
    rise.show()
    rise.voltage[PLACE] = 2.0
    for _ in range(20):
        assert not (rise.show().cell_runaway_k_per_s > 0).any()


def test_a_hot_probe_without_a_rise_is_no_runaway():
    rise = Rise()
    rise.temperature[PLACE] = 120.0
    for _ in range(20):
        assert not (rise.show().cell_runaway_k_per_s > 0).any()


def test_a_fall_at_another_probe_is_not_counted_here():
    rise = Rise()
    rise.rise(3, 1.5, start_c=25.0)
    rise.voltage[0] = 2.0
    heat = rise.rise(5, 1.5)
    assert heat.fast_rise_s[PLACE] > 3
    assert not (heat.cell_runaway_k_per_s > 0).any()


def test_the_pack_median_stands_in_for_an_initial_voltage_that_was_never_seen():
    rise = Rise()
    rise.voltage[PLACE] = 2.0
    assert rise.rise(6, 1.5, start_c=25.0).cell_runaway_k_per_s[PLACE] > 0


def test_the_initial_voltage_follows_a_discharge_in_ten_minutes():
    rise = Rise()
    rise.voltage[:] = 4.0
    rise.show()
    rise.voltage[:] = 3.0
    for _ in range(600):
        rise.show()
    assert rise.runaway._initial_v == pytest.approx(3.0 + np.exp(-1), abs=0.002)


def test_the_initial_voltage_is_looked_at_every_second():
    rise = Rise()
    rise.voltage[:] = 4.0
    rise.show()
    rise.voltage[:] = 3.0
    before = rise.runaway._initial_v.copy()
    rise.show(0.9)
    assert np.array_equal(rise.runaway._initial_v, before)
    rise.show(0.1)
    assert np.all(rise.runaway._initial_v < before)


def test_a_heated_cell_keeps_the_initial_voltage_that_it_had():
    rise = Rise()
    for _ in range(5):
        rise.show()
    rise.rise(10, 1.5, start_c=25.0)
    rise.voltage[PLACE] = 3.0
    rise.rise(200, 1.5)
    assert rise.runaway._initial_v[PLACE] == pytest.approx(3.7)
    assert rise.runaway._initial_v[0] == pytest.approx(3.7)


def test_the_whole_pack_may_fall_and_each_cell_is_held_against_its_own_past():
    rise = Rise()
    for _ in range(20):
        rise.show()
    rise.rise(4, 1.5, start_c=25.0)
    rise.voltage[:] = 2.5
    assert rise.rise(3, 1.5).cell_runaway_k_per_s[PLACE] > 0


def test_a_cell_that_fell_and_then_lost_its_wire_stays_fallen():
    rise = Rise()
    for _ in range(5):
        rise.show()
    rise.voltage[PLACE] = 2.0
    rise.show()
    rise.show()
    rise.voltage[PLACE] = NAN
    assert rise.rise(5, 1.5, start_c=26.0).cell_runaway_k_per_s[PLACE] > 0


def test_a_probe_lost_while_it_rose_keeps_its_rise_for_ten_minutes():
    rise = Rise()
    rise.rise(6, 1.5, start_c=25.0)
    rise.temperature[PLACE] = NAN
    assert rise.show(599.0).fast_rise_s[PLACE] == pytest.approx(6.0)
    rise.voltage[PLACE] = 2.0
    rise.show(0.5)
    assert rise.show(0.5).cell_runaway_k_per_s[PLACE] == pytest.approx(1.5)
    heat = rise.show(0.5)
    assert np.isnan(heat.fast_rise_s[PLACE])
    assert heat.cell_runaway_k_per_s[PLACE] == 0.0


def test_of_a_probe_that_is_lost_nothing_is_known():
    rise = Rise()
    rise.show()
    rise.temperature[PLACE] = NAN
    for heat in (rise.show(), rise.show()):
        assert np.isnan(heat.fast_rise_s[PLACE])
        assert np.isnan(heat.saturated_s[PLACE])
        assert np.isnan(heat.cell_runaway_k_per_s[PLACE])
        assert np.isnan(heat.probe_runaway_k_per_s[PLACE])
        assert heat.cell_runaway_k_per_s[[0, 1, 3]].tolist() == [0.0] * 3


def test_a_probe_that_saturates_while_it_rises_is_hot_and_goes_on():
    rise = Rise()
    rise.rise(3, 2.0, start_c=60.0)
    rise.temperature[PLACE] = NAN
    rise.reason[PLACE] = Reason.SATURATED
    heat = rise.show()
    assert heat.fast_rise_s[PLACE] == pytest.approx(4.0)
    assert heat.cell_runaway_k_per_s[PLACE] == pytest.approx(2.0)
    assert heat.saturated_s[PLACE] == 0.0
    heat = rise.show(2.0)
    assert heat.saturated_s[:4].tolist() == [0.0, 0.0, 2.0, 0.0]


def test_a_probe_that_stands_at_its_saturation_says_since_when():
    rise = Rise()
    rise.show()
    rise.temperature[PLACE] = NAN
    rise.reason[PLACE] = Reason.SATURATED
    rise.show()
    assert rise.show(3.0).saturated_s[PLACE] == 3.0
    rise.temperature[PLACE], rise.reason[PLACE] = 25.0, 0
    assert not (rise.show().saturated_s > 0).any()
    rise.temperature[PLACE], rise.reason[PLACE] = NAN, Reason.SATURATED
    assert not (rise.show().saturated_s > 0).any()
    assert rise.show().saturated_s[PLACE] == 1.0


def test_a_probe_of_several_cells_names_the_cell_that_fell():
    rise = Rise(8, 4)
    for _ in range(5):
        rise.show()
    rise.rise(5, 1.5, start_c=25.0)
    rise.voltage[5] = 2.0
    heat = rise.rise(3, 1.5)
    assert np.flatnonzero(heat.cell_runaway_k_per_s > 0).tolist() == [5]
    assert not (heat.probe_runaway_k_per_s > 0).any()


def test_a_probe_of_several_cells_names_itself_when_none_fell():
    heat = Rise(8, 4).rise(6, 1.5, start_c=78.0)
    assert not (heat.cell_runaway_k_per_s > 0).any()
    assert np.flatnonzero(heat.probe_runaway_k_per_s > 0).tolist() == [PLACE]
    assert heat.probe_runaway_k_per_s[PLACE] == pytest.approx(1.5)


def test_a_probe_of_several_cells_that_is_not_hot_is_no_runaway():
    heat = Rise(8, 4).rise(6, 1.5, start_c=25.0)
    assert heat.fast_rise_s[PLACE] > 3
    assert not (heat.probe_runaway_k_per_s > 0).any()


def test_cells_and_probes_are_matched_as_the_config_says():
    heat = Rise(4, 4, probe_of_cell=(3, 1, 2, 4)).rise(6, 1.5, start_c=78.0)
    assert np.flatnonzero(heat.cell_runaway_k_per_s > 0).tolist() == [0]


def test_the_broadcast_maximum_adds_samples_between_the_sweeps():
    rise = Rise()
    rise.show()
    for k in range(1, 60):
        extremes = Extremes(temperature_max_c=Extreme(25 + 0.2 * k, PLACE, 0.0, Reason.VALID))
        heat = rise.show(0.1, temperature_age_s=0.1 * k, extremes=extremes)
    assert heat.fast_rise_s[PLACE] == pytest.approx(5.8, abs=0.11)


def test_a_pack_without_probes_has_the_broadcast_maximum():
    rise = Rise(4, 0)
    rise.show()
    for k in range(1, 12):
        extremes = Extremes(temperature_max_c=Extreme(78 + 2.0 * k, -1, 0.0, Reason.VALID))
        heat = rise.show(1.0, extremes=extremes)
    assert heat.fast_rise_s.tolist()[1] > 3
    assert heat.probe_runaway_k_per_s[1] == pytest.approx(2.0)


def test_a_cell_without_a_probe_falls_under_the_broadcast_maximum():
    rise = Rise(4, 0)
    for _ in range(5):
        rise.show()
    rise.voltage[1] = 2.0
    for k in range(1, 12):
        heat = rise.show(1.0, extremes=Extremes(temperature_max_c=Extreme(25 + 2.0 * k, -1, 0.0, Reason.VALID)))
    assert np.flatnonzero(heat.cell_runaway_k_per_s > 0).tolist() == [1]


def test_a_gap_is_no_rise():
    rise = Rise()
    rise.rise(2, 1.5, start_c=25.0)
    rise.temperature[PLACE] += 30
    assert not (rise.show(120.0).fast_rise_s > 0).any()
