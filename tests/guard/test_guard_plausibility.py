"""What the rules may see, and what is held back."""

from __future__ import annotations

import numpy as np
import pytest
from snapshots import make_snapshot

from edgebms.guard.plausibility import BROADCASTS, Plausibility, SpikeFilter, SumWitness, median
from edgebms.telemetry.snapshot import Extreme, Extremes
from edgebms.vocabulary import Reason

S = 1_000_000_000
NAN = np.nan


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 8.0], 3.0), ([5.0], 5.0), ([NAN, 1.0, 9.0, NAN, 3.0], 3.0), ([NAN, 1.0, 9.0], 5.0)],
)
def test_median(values, expected):
    assert median(np.array(values)) == expected


def test_median_of_nothing_is_unknown():
    assert np.isnan(median(np.array([])))
    assert np.isnan(median(np.array([NAN])))


class Filter:
    """A spike filter of one place at floor 1, rate 0.5 a second."""

    def __init__(self):
        self.filter = SpikeFilter(1, 1.0, 0.5)

    def __call__(self, at_s, value, common=0.0, fresh=None):
        values, times = np.array([value]), np.array([round(at_s * S)])
        new = self.filter.fresh(values, times)
        if fresh is not None:
            assert bool(new[0]) == fresh
        return float(self.filter.step(values, times, new, common)[0])


def test_samples_within_a_millisecond_are_the_same():
    spikes = Filter()
    spikes(1.0, 5.0, fresh=True)
    spikes(1.0, 5.0, fresh=False)
    spikes(1.001, 5.0, fresh=False)
    spikes(1.0011, 5.0, fresh=True)
    spikes(1.0, 5.0, fresh=False)
    spikes(2.0, NAN, fresh=False)
    spikes(2.0, 5.0, fresh=True)


def test_a_lone_jump_is_held_back_and_forgotten():
    spikes = Filter()
    assert spikes(0, 5.0) == 5.0
    assert np.isnan(spikes(1, 9.0))
    assert np.isnan(spikes(1, 9.0)), "the same sample again"
    assert spikes(2, 5.2) == 5.2
    assert spikes(3, 5.4) == 5.4


def test_a_jump_that_the_next_sample_confirms_is_let_through():
    spikes = Filter()
    spikes(0, 5.0)
    assert np.isnan(spikes(1, 9.0))
    assert spikes(2, 9.1) == 9.1
    assert spikes(3, 9.2) == 9.2
    assert np.isnan(spikes(4, 5.0))
    assert spikes(5, 5.0) == 5.0


@pytest.mark.parametrize(("next_value", "shown"), [(7.1, True), (7.0, False), (6.9, False), (0.0, False), (20.0, True)])
def test_confirmed_means_beyond_half_of_the_jump_on_its_side(next_value, shown):
    spikes = Filter()
    spikes(0, 5.0)
    spikes(1, 9.0)
    # at half a second a plain change of up to 1.25 would pass
    assert np.isfinite(spikes(1.2, next_value)) == shown


def test_a_downward_jump_is_confirmed_likewise():
    spikes = Filter()
    spikes(0, 5.0)
    assert np.isnan(spikes(1, 1.0))
    assert spikes(2, 1.5) == 1.5


def test_a_spike_that_comes_again_is_held_back_again():
    spikes = SpikeFilter(2, 1.0, 0.5)
    for at, value in enumerate((5.0, 9.0, 5.2, 9.0, 5.2)):
        values, times = np.array([value, 7.0]), np.full(2, at * S)
        out = spikes.step(values, times, spikes.fresh(values, times), 0.0)
        assert np.isnan(out[0]) == (value == 9.0)
        assert out[1] == 7.0


def test_two_different_spikes_in_a_row_are_both_held_back():
    spikes = Filter()
    spikes(0, 5.0)
    assert np.isnan(spikes(1, 9.0))
    assert np.isnan(spikes(2, 0.0))
    assert spikes(3, 0.5) == 0.5


@pytest.mark.parametrize(("jump", "shown"), [(1.99, True), (2.0, True), (2.01, False), (-1.99, True), (-2.01, False)])
def test_the_edge_grows_with_the_time_between_samples(jump, shown):
    spikes = Filter()
    spikes(10, 5.0)
    assert np.isfinite(spikes(12, 5.0 + jump)) == shown


def test_what_the_whole_pack_does_is_no_jump():
    spikes = Filter()
    spikes(0, 5.0)
    assert spikes(1, 15.0, common=10.0) == 15.0
    assert np.isnan(spikes(2, 15.0, common=10.0))


def test_time_is_counted_from_the_last_sample_believed():
    spikes = Filter()
    spikes(0, 5.0)
    assert np.isnan(spikes(1, 9.0))
    assert np.isnan(spikes(2, NAN))
    assert spikes(3, 7.0) == 7.0, "2 in 3 s is under 1 + 0.5 * 3"
    assert np.isnan(spikes(4, 8.6)), "1.6 in 1 s is over 1 + 0.5 * 1"


def test_a_place_that_was_never_seen_takes_any_value():
    spikes = SpikeFilter(2, 1.0, 0.5)
    values, times = np.array([5.0, NAN]), np.array([S, S])
    spikes.step(values, times, spikes.fresh(values, times), 0.0)
    values, times = np.array([9.0, 70.0]), np.array([2 * S, 2 * S])
    out = spikes.step(values, times, spikes.fresh(values, times), 0.0)
    assert np.isnan(out[0])
    assert out[1] == 70.0


# ---- the pack voltage as a witness


def test_a_witness_that_never_spoke_cannot_tell():
    assert not SumWitness().misread(-3.0, -3.0)


def test_a_witness_tells_a_misread_cell_from_a_dead_one():
    witness = SumWitness()
    for at in range(100):
        witness.learn(8.0, at * S)
    assert witness.misread(8.0 - 3.0, -3.0), "the sum fell, the pack voltage stayed"
    assert not witness.misread(8.0, -3.0), "both fell"
    assert witness.misread(8.0 + 1.0, 1.0)
    assert not witness.misread(8.0 + 3.0, -3.0)
    assert not witness.misread(8.0 - 1.5, -3.0)
    assert not witness.misread(8.0 - 1.49, -3.0)
    assert witness.misread(8.0 - 1.51, -3.0)


def test_a_noisy_witness_is_not_asked():
    witness = SumWitness()
    for at in range(6000):
        witness.learn(8.0 + (1.0 if at % 2 else -1.0), at * S)
    assert not witness.misread(8.0 - 2.9, -2.9)
    assert witness.misread(8.0 - 3.2, -3.2)


def test_a_witness_is_asked_from_three_times_its_noise():
    witness = SumWitness()
    witness.learn(0.0, 0)
    witness.learn(1.0, 600 * S)  # mean 1, mean deviation 1
    assert witness.misread(1.0 - 3.0, -3.0)
    assert not witness.misread(1.0 - 2.99, -2.99)


def test_a_witness_follows_in_ten_minutes():
    witness = SumWitness()
    witness.learn(0.0, 0)
    for at in range(1, 601):
        witness.learn(1.0, at * S)
    # mean 1 - exp(-1); mean deviation from it (t/tau) exp(-t/tau) at t = tau
    assert witness._offset_v == pytest.approx(0.632, abs=0.002)
    assert witness._noise_v == pytest.approx(0.368, abs=0.002)


def test_a_witness_takes_a_first_value_after_a_long_gap_whole():
    witness = SumWitness()
    witness.learn(0.0, 0)
    witness.learn(5.0, 6000 * S)
    assert witness._offset_v == pytest.approx(5.0)


# ---- a pack's snapshots


def faults(clean):
    return np.flatnonzero(clean.sense_fault_v > 0).tolist()


class Cleaner:
    def __init__(self, cells=16, probes=4):
        self.plausibility = Plausibility(cells, probes)
        self.cells, self.probes, self.at = cells, probes, 0.0

    def __call__(self, **values):
        self.at += 1.0
        return self.plausibility.clean(make_snapshot(self.cells, self.probes, time_s=self.at, **values))


def test_values_pass_with_two_places_behind():
    clean = Cleaner()(voltage_v=3.6, temperature_c=[20.0, 21.0, 22.0, 25.0])
    assert clean.voltage_v.shape == (18,)
    assert np.all(clean.voltage_v[:16] == 3.6)
    assert np.isnan(clean.voltage_v[16:]).all()
    assert list(clean.voltage_fresh) == [True] * 16 + [False] * 2
    assert clean.voltage_median_v == 3.6
    assert clean.temperature_median_c == 21.5
    assert not faults(clean)


def test_a_load_step_of_the_whole_pack_passes():
    cleaner = Cleaner()
    cleaner(voltage_v=3.9)
    assert np.isfinite(cleaner(voltage_v=3.4).voltage_v[:16]).all()
    assert np.isfinite(cleaner(voltage_v=4.1).voltage_v[:16]).all()


def test_the_common_step_is_counted_from_the_last_snapshot_that_had_cells():
    cleaner = Cleaner()
    cleaner(voltage_v=3.9)
    cleaner(voltage_v=NAN)
    assert np.isfinite(cleaner(voltage_v=3.4).voltage_v[:16]).all()


@pytest.mark.parametrize(("off", "shown"), [(0.169, True), (0.171, False), (-0.169, True), (-0.171, False)])
def test_a_cell_spike_is_seen_from_170_mv_in_a_second(off, shown):
    cleaner = Cleaner()
    cleaner()
    voltage = np.full(16, 3.7)
    voltage[4] += off
    assert np.isfinite(cleaner(voltage_v=voltage).voltage_v[4]) == shown


@pytest.mark.parametrize(("off", "shown"), [(7.9, True), (8.1, False)])
def test_a_probe_spike_is_seen_from_8_k_in_a_second(off, shown):
    cleaner = Cleaner()
    cleaner()
    clean = cleaner(temperature_c=[25.0, 25.0 + off, 25.0, 25.0])
    assert np.isfinite(clean.temperature_c[1]) == shown


def settle(cleaner):
    for _ in range(30):
        cleaner()


def shifted(*places):
    voltage = np.full(16, 3.7)
    for place, off in places:
        voltage[place] += off
    return voltage


@pytest.mark.parametrize("first", [0, 7, 14])
def test_a_broken_wire_splits_two_neighbours(first):
    cleaner = Cleaner()
    clean = cleaner(voltage_v=shifted((first, 0.5), (first + 1, -0.45)))
    assert faults(clean) == [first, first + 1]
    assert clean.sense_fault_v[[first, first + 1]] == pytest.approx([0.5, 0.45])
    assert np.isnan(clean.voltage_v[[first, first + 1]]).all()
    assert np.isfinite(clean.voltage_v[:16]).sum() == 14


@pytest.mark.parametrize(
    ("upper", "lower", "fault"),
    [
        (0.21, -0.21, True),
        (0.19, -0.21, False),
        (0.21, -0.19, False),
        (0.5, -0.38, True),
        (0.5, -0.37, False),
        (0.38, -0.5, True),
        (0.37, -0.5, False),
    ],
)
def test_the_edges_of_a_broken_wire(upper, lower, fault):
    assert bool(faults(Cleaner()(voltage_v=shifted((7, upper), (8, lower))))) == fault


@pytest.mark.parametrize(("upper", "lower", "fault"), [(0.5, -0.375, True), (0.2, -0.25, False)])
def test_the_edges_of_a_broken_wire_to_the_bit(upper, lower, fault):
    voltage = np.zeros(16)
    voltage[7], voltage[8] = upper, lower
    assert bool(faults(Cleaner()(voltage_v=voltage))) == fault


def test_half_a_volt_is_not_held_against_the_pack_voltage():
    cleaner = Cleaner()
    for _ in range(30):
        cleaner(voltage_v=4.0)
    assert not faults(step_to(cleaner, np.where(np.arange(16) == 7, 3.5, 4.0), 64.0))
    assert faults(step_to(cleaner, np.where(np.arange(16) == 7, 3.49, 4.0), 64.0))


@pytest.mark.parametrize(("others", "fault"), [(0.079, True), (0.081, False)])
def test_neighbours_in_a_pack_whose_cells_stand_far_apart_are_no_broken_wire(others, fault):
    """Near empty: half of the cells ``others`` above and half below the median, two neighbours 0.4 V."""
    voltage = 3.0 + others * np.where(np.arange(16) % 2, 1.0, -1.0)
    voltage[6], voltage[7] = 2.6, 3.4
    assert faults(Cleaner()(voltage_v=voltage)) == ([6, 7] if fault else [])


def test_neighbours_that_move_to_the_same_side_are_cells_not_a_wire():
    assert not faults(Cleaner()(voltage_v=shifted((7, -0.5), (8, -0.5))))


def test_cells_that_are_no_neighbours_have_no_wire_in_common():
    assert not faults(Cleaner()(voltage_v=shifted((7, 0.5), (9, -0.5))))


def step_to(cleaner, voltage, pack_voltage_v):
    """Twice: the second sample confirms the jump."""
    cleaner(voltage_v=voltage, pack_voltage_v=pack_voltage_v)
    return cleaner(voltage_v=voltage, pack_voltage_v=pack_voltage_v)


def test_a_dead_cell_takes_the_pack_voltage_down_and_is_believed():
    cleaner = Cleaner()
    settle(cleaner)
    clean = step_to(cleaner, shifted((7, -3.7)), 15 * 3.7)
    assert not faults(clean)
    assert clean.voltage_v[7] == pytest.approx(0.0)


def test_a_misread_cell_leaves_the_pack_voltage_and_is_not_believed():
    cleaner = Cleaner()
    settle(cleaner)
    clean = step_to(cleaner, shifted((7, -3.7)), 16 * 3.7)
    assert clean.sense_fault_v[7] == pytest.approx(3.7)
    assert np.isnan(clean.voltage_v[7])


@pytest.mark.parametrize(("off", "fault"), [(-0.51, True), (-0.49, False), (0.51, True)])
def test_a_small_departure_is_not_held_against_the_pack_voltage(off, fault):
    cleaner = Cleaner()
    settle(cleaner)
    assert bool(faults(step_to(cleaner, shifted((7, off)), 16 * 3.7))) == fault


def test_without_a_pack_voltage_a_low_cell_is_believed():
    cleaner = Cleaner()
    settle(cleaner)
    assert not faults(step_to(cleaner, shifted((7, -3.7)), None))


def test_two_low_cells_are_believed():
    cleaner = Cleaner()
    settle(cleaner)
    assert not faults(step_to(cleaner, shifted((3, -3.7), (9, -3.7)), 16 * 3.7))


def test_the_witness_learns_only_while_no_cell_is_off():
    cleaner = Cleaner()
    settle(cleaner)
    for _ in range(2000):
        clean = cleaner(voltage_v=shifted((7, -3.7)), pack_voltage_v=16 * 3.7)
    assert clean.sense_fault_v[7] == pytest.approx(3.7)


def test_a_cell_beside_a_broken_wire_is_judged_by_itself():
    cleaner = Cleaner()
    settle(cleaner)
    voltage = shifted((3, 0.5), (4, -0.5), (9, -3.7))
    clean = step_to(cleaner, voltage, 16 * 3.7)
    assert faults(clean) == [3, 4, 9]


def test_a_pack_of_one_cell_has_no_neighbours():
    cleaner = Cleaner(1, 1)
    assert cleaner(voltage_v=3.0).voltage_v[0] == 3.0
    assert not faults(cleaner(voltage_v=2.9))


# ---- broadcasts


def extreme(value, index, age_s=0.0, reason=Reason.VALID):
    return Extreme(value, index, age_s, reason)


def test_a_newer_broadcast_stands_in_its_cell():
    clean = Cleaner()(
        cell_age_s=2.0, extremes=Extremes(voltage_min_v=extreme(3.6, 5, 0.1), temperature_max_c=extreme(40.0, 2)), temperature_age_s=3.0
    )
    assert clean.voltage_v[5] == 3.6
    assert clean.temperature_c[2] == 40.0
    assert clean.temperature_sample_ns.tolist() == [-2 * S, -2 * S, S, -2 * S, S, S]


def test_a_broadcast_a_little_newer_stands_in_its_cell():
    clean = Cleaner()(cell_age_s=0.8, extremes=Extremes(voltage_min_v=extreme(3.6, 5, 0.6)))
    assert clean.voltage_v[5] == 3.6


def test_a_spike_of_a_broadcast_is_held_back_in_a_pack_without_cells():
    cleaner = Cleaner()
    shown = [cleaner(voltage_v=NAN, extremes=Extremes(voltage_max_v=extreme(value, -1))).voltage_v[17] for value in (4.0, 4.5, 4.0)]
    assert shown == [4.0, pytest.approx(NAN, nan_ok=True), 4.0]


def test_an_older_broadcast_does_not():
    clean = Cleaner()(cell_age_s=0.5, extremes=Extremes(voltage_min_v=extreme(3.6, 5, 0.5), voltage_max_v=extreme(3.8, 5, 0.6)))
    assert clean.voltage_v[5] == 3.7


def test_a_broadcast_fills_a_cell_that_is_unknown():
    voltage = np.full(16, 3.7)
    voltage[5] = NAN
    clean = Cleaner()(voltage_v=voltage, extremes=Extremes(voltage_max_v=extreme(3.8, 5, 0.5)))
    assert clean.voltage_v[5] == 3.8


@pytest.mark.parametrize("index", [-1, 16, 99])
def test_a_broadcast_that_does_not_say_where_stands_behind_the_cells(index):
    clean = Cleaner()(extremes=Extremes(voltage_min_v=extreme(3.6, index), voltage_max_v=extreme(3.8, index, 0.2)))
    assert clean.voltage_v[16:].tolist() == [3.6, 3.8]
    assert np.all(clean.voltage_v[:16] == 3.7)
    assert list(clean.voltage_fresh[16:]) == [True] * BROADCASTS


@pytest.mark.parametrize("index", [0, 15])
def test_the_first_and_the_last_cell_can_be_the_extreme(index):
    clean = Cleaner()(cell_age_s=1.0, extremes=Extremes(voltage_min_v=extreme(3.6, index)))
    assert clean.voltage_v[index] == 3.6


def test_an_invalid_broadcast_is_left_out():
    clean = Cleaner()(
        cell_age_s=1.0,
        extremes=Extremes(voltage_min_v=extreme(NAN, 5, 0.0, Reason.STALE), voltage_max_v=extreme(3.9, -1, 0.0, Reason.STALE)),
    )
    assert np.isfinite(clean.voltage_v[:16]).all()
    assert np.isnan(clean.voltage_v[16:]).all()


def test_a_cell_never_received_has_an_infinite_age_and_does_no_harm():
    voltage, age = np.full(16, 3.7), np.zeros(16)
    voltage[5], age[5] = NAN, np.inf
    clean = Cleaner()(voltage_v=voltage, cell_age_s=age)
    assert not clean.voltage_fresh[5]
    assert np.isfinite(clean.voltage_v[:16]).sum() == 15


def test_of_a_cell_that_is_unknown_it_is_unknown_whether_it_is_misread():
    voltage = np.full(16, 3.7)
    voltage[5] = NAN
    clean = Cleaner()(voltage_v=voltage)
    assert np.flatnonzero(np.isnan(clean.sense_fault_v)).tolist() == [5, 16, 17]
