"""The filter's contract: causal, cells apart, unknown stays unknown, and it finds the truth and its own error."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import drive, simulate

from edgebms.cellcard import load_card
from edgebms.estimator.kalman import OFFSET, Kalman
from edgebms.vocabulary import Source

CARD = load_card("lg_hg2")
LFP = load_card("a123_lfp")
ROOM = np.full(1, 25.0)


def follow(kalman, current, voltage, dt_s=1.0, temperature_c=25.0, start_s=0.0):
    """SOC and sigma of every step, (steps, cells). voltage: (steps,) or (steps, cells)."""
    voltage = voltage.reshape(len(current), -1)
    soc, sigma = [], []
    for k, a in enumerate(current):
        kalman.step(start_s + k * dt_s, float(a), voltage[k], np.full(kalman.cells, temperature_c))
        soc.append(kalman.soc.copy())
        sigma.append(kalman.soc_sigma.copy())
    return np.array(soc), np.array(sigma)


def test_joined_under_load_it_finds_the_state_of_charge_within_ten_minutes():
    current = drive(1500, CARD.capacity_ah)
    logs = [simulate(CARD, start, current, 1.0) for start in (0.9, 0.6, 0.35)]
    soc, voltage = (np.stack(column, axis=1) for column in zip(*logs, strict=True))
    told, sigma = follow(Kalman(CARD, 3), current[200:], voltage[200:])
    error = np.abs(told[600:] - soc[800:])
    assert error.max() < 0.015
    assert (np.mean(error < 2 * sigma[600:], axis=0) > 0.95).all()
    assert sigma[600:].max() < 0.05


def test_a_full_rested_start_is_not_spoiled():
    current = np.concatenate([np.zeros(60), drive(3000, CARD.capacity_ah)])
    soc, voltage = simulate(CARD, 1.0, current, 1.0)
    told, _ = follow(Kalman(CARD, 1), current, voltage)
    assert np.abs(told[60:, 0] - soc[60:]).max() < 0.01


def test_it_finds_the_resistance_of_an_aged_cell():
    scales = np.array([0.8, 1.3])
    current = drive(2500, CARD.capacity_ah)
    kalman = Kalman(CARD, 2)
    follow(kalman, current, np.stack([simulate(CARD, 0.95, current, 1.0, scale=scale)[1] for scale in scales], axis=1))
    assert kalman.resistance_scale == pytest.approx(scales, abs=0.1)
    assert (np.abs(kalman.resistance_scale - scales) < 3 * kalman.resistance_scale_sigma).all()


@pytest.mark.parametrize("offset_c", [0.1, -0.1])
def test_it_sees_an_offset_of_the_current_sensor_and_does_not_follow_it(offset_c):
    offset_a = offset_c * CARD.capacity_ah
    current = drive(5400, CARD.capacity_ah, mean_c=-0.3)
    soc, voltage = simulate(CARD, 0.95, current, 1.0)
    kalman = Kalman(CARD, 1)
    told, _ = follow(kalman, current + offset_a, voltage)
    counted = 0.95 + np.cumsum(current + offset_a) / 3600 / CARD.capacity_ah
    assert abs(counted[-1] - soc[-1]) > 0.13
    assert abs(told[-1, 0] - soc[-1]) < 0.03
    assert np.sign(kalman.current_offset_a) == np.sign(offset_a)
    assert 0.5 < kalman.current_offset_a / offset_a < 1.3


@pytest.mark.parametrize("offset_c", [0.1, -0.1])
def test_a_discharge_smaller_than_the_sensors_offset_is_no_charge(offset_c):
    current = np.full(1500, -0.05 * CARD.capacity_ah)
    soc, voltage = simulate(CARD, 1.0, current, 30.0)
    kalman = Kalman(CARD, 1)
    told, _ = follow(kalman, current + offset_c * CARD.capacity_ah, voltage, 30.0)
    assert np.abs(told[:, 0] - soc).max() < 0.03
    assert kalman.current_offset_a == pytest.approx(offset_c * CARD.capacity_ah, abs=0.02 * CARD.capacity_ah)


def test_an_offset_that_is_known_is_in_the_voltage_that_is_expected():
    kalman, _ = settled()
    offset_a = 0.1 * CARD.capacity_ah
    kalman._x[OFFSET] = 0.0
    before = kalman.state()
    kalman.step(1200.0, -CARD.capacity_ah, np.full(1, 3.5), ROOM)
    plain_v = kalman.innovation_v[0]
    kalman.restore(before)
    kalman._x[OFFSET] = offset_a
    kalman.step(1200.0, -CARD.capacity_ah + offset_a, np.full(1, 3.5), ROOM)
    assert kalman.innovation_v[0] == pytest.approx(plain_v, abs=1e-6)


def test_permuting_the_cells_permutes_the_results_exactly():
    current = drive(300, CARD.capacity_ah)
    voltage = np.stack([simulate(CARD, start, current, 1.0, seed=i)[1] for i, start in enumerate((0.9, 0.7, 0.5, 0.3, 0.2))], axis=1)
    order = [3, 0, 4, 2, 1]
    temperature = np.array([10.0, 20.0, 25.0, 30.0, 35.0])
    one, two = Kalman(CARD, 5), Kalman(CARD, 5)
    for k, a in enumerate(current):
        one.step(float(k), float(a), voltage[k], temperature)
        two.step(float(k), float(a), voltage[k, order], temperature[order])
    for name in ("soc", "soc_sigma", "innovation_v", "resistance_scale", "polarisation_v"):
        assert np.array_equal(getattr(one, name)[order], getattr(two, name)), name
    assert one.current_offset_a == two.current_offset_a


def test_a_cell_is_the_same_alone_or_among_others():
    current = drive(200, CARD.capacity_ah)
    voltage = np.stack([simulate(CARD, s, current, 1.0)[1] for s in (0.8, 0.4)], axis=1)
    both, _ = follow(Kalman(CARD, 2), current, voltage)
    alone, _ = follow(Kalman(CARD, 1), current, voltage[:, 1])
    # Sums over arrays of another width may round another way; nothing else may differ.
    np.testing.assert_allclose(both[:, 1], alone[:, 0], rtol=0, atol=1e-12)


def test_it_is_causal_and_deterministic():
    current = drive(400, CARD.capacity_ah)
    _, voltage = simulate(CARD, 0.8, current, 1.0)
    whole, _ = follow(Kalman(CARD, 1), current, voltage)
    part, _ = follow(Kalman(CARD, 1), current[:250], voltage[:250])
    assert np.array_equal(whole[:250], part)
    assert np.array_equal(whole, follow(Kalman(CARD, 1), current, voltage)[0])


def test_before_the_first_voltage_nothing_is_claimed():
    kalman = Kalman(CARD, 2)
    kalman.step(0.0, -1.0, np.array([np.nan, 3.7]), np.full(2, 25.0))
    assert np.isnan(kalman.soc[0]) and np.isnan(kalman.soc_sigma[0]) and np.isnan(kalman.resistance_scale[0])
    assert kalman.source[0] == Source.UNKNOWN
    assert np.isfinite(kalman.soc[1]) and kalman.source[1] == Source.FILTER


def test_a_cell_that_appears_later_is_as_one_that_starts_then():
    current = drive(300, CARD.capacity_ah)
    _, voltage = simulate(CARD, 0.7, current, 1.0)
    late = np.where(np.arange(300) < 100, np.nan, voltage)
    told, sigma = follow(Kalman(CARD, 1), current, late)
    fresh, fresh_sigma = follow(Kalman(CARD, 1), current[100:], voltage[100:])
    assert np.array_equal(told[100:], fresh) and np.array_equal(sigma[100:], fresh_sigma)


@cache
def settling(start):
    current = drive(1200, CARD.capacity_ah)
    soc, voltage = simulate(CARD, start, current, 1.0)
    kalman = Kalman(CARD, 1)
    follow(kalman, current, voltage)
    return kalman.state(), soc[-1]


def settled(start=0.7):
    """A filter after twenty minutes of load, and the truth. Made once a start, then restored."""
    state, soc = settling(start)
    kalman = Kalman(CARD, 1)
    kalman.restore(state)
    return kalman, soc


def test_without_a_voltage_it_counts_and_its_sigma_grows():
    kalman, _ = settled()
    soc, sigma = kalman.soc[0], kalman.soc_sigma[0]
    for k in range(1200, 1800):
        kalman.step(float(k), -CARD.capacity_ah, np.full(1, np.nan), ROOM)
    assert np.isnan(kalman.innovation_v[0])
    assert kalman.soc[0] == pytest.approx(soc - 600 / 3600, abs=0.02)
    assert kalman.soc_sigma[0] > sigma


def test_without_a_current_its_sigma_grows_until_it_says_so():
    kalman, _ = settled()
    before = kalman.soc_sigma[0]
    for k in range(1200, 1800):
        kalman.step(float(k), float("nan"), np.full(1, np.nan), ROOM)
    assert kalman.soc_sigma[0] > before + 0.05
    assert np.isfinite(kalman.soc[0])


def test_without_a_temperature_it_takes_the_last_or_room_and_goes_on():
    kalman, soc = settled()
    kalman.step(1200.0, 0.0, np.array([3.9]), np.array([np.nan]))
    assert np.isfinite(kalman.soc[0])
    never = Kalman(CARD, 1)
    never.step(0.0, 0.0, np.array([3.9]), np.array([np.nan]))
    assert np.isfinite(never.soc[0])
    assert soc > 0


def test_a_spike_of_one_sample_moves_little():
    kalman, _ = settled()
    before = kalman.soc[0]
    kalman.step(1200.0, -1.0, np.array([1.0]), ROOM)
    assert abs(kalman.soc[0] - before) < 0.02


def test_a_night_of_rest_is_an_anchor():
    kalman, _ = settled(start=0.7)
    true = 0.42
    rested = np.interp(true, CARD.ocv.voltage.soc, CARD.ocv.voltage.value[4])
    kalman.step(1201.0, 0.0, np.full(1, np.nan), ROOM)
    assert kalman.since_anchor_s[0] > 0
    for k in range(30):
        kalman.step(40_000.0 + 60.0 * k, 0.0, np.array([rested]), ROOM)
    # It slept with a little current before and after: the rest's voltage leads, not the count from before.
    assert abs(kalman.soc[0] - true) < 0.04 or kalman.soc_sigma[0] > abs(kalman.soc[0] - true) / 3
    assert kalman.since_anchor_s[0] == 0.0 and kalman.source[0] == Source.OCV and kalman.anchored[0]


def test_a_gap_under_load_widens_the_sigma_and_the_voltage_heals_it():
    kalman, _ = settled(start=0.9)
    kalman.step(1199.0 + 1800.0, -CARD.capacity_ah, np.full(1, np.nan), ROOM)
    assert kalman.soc_sigma[0] > 0.2
    current = drive(1800, CARD.capacity_ah)
    soc, voltage = simulate(CARD, 0.6, current, 1.0)
    told, sigma = follow(kalman, current, voltage, start_s=3000.0)
    assert abs(told[-1, 0] - soc[-1]) < 0.015 and sigma[-1, 0] < 0.03


@pytest.mark.parametrize("dt_s", [0.1, 1.0, 10.0, 60.0])
def test_any_sampling_from_a_tenth_of_a_second_to_a_minute(dt_s):
    steps = int((600 if dt_s < 1 else 1800) / dt_s)
    hold = max(int(60 / dt_s), 1)
    current = np.repeat(drive(steps // hold + 1, CARD.capacity_ah), hold)[:steps]
    soc, voltage = simulate(CARD, 0.8, current, dt_s)
    told, sigma = follow(Kalman(CARD, 1), current, voltage, dt_s)
    assert abs(told[-1, 0] - soc[-1]) < 0.02
    assert abs(told[-1, 0] - soc[-1]) < 3 * sigma[-1, 0]


def test_more_samples_of_the_same_minutes_claim_little_more():
    """A card's error is not averaged away by sampling faster."""
    sigmas = []
    for dt_s in (0.2, 2.0):
        current = np.full(int(900 / dt_s), -1.0)
        _, voltage = simulate(CARD, 0.8, current, dt_s)
        sigmas.append(follow(Kalman(CARD, 1), current, voltage, dt_s)[1][-1, 0])
    assert sigmas[0] == pytest.approx(sigmas[1], rel=0.1)


def test_time_that_stands_still_or_goes_back_does_no_harm():
    kalman, _ = settled()
    soc = kalman.soc[0]
    for time_s in (1199.0, 1199.0, 500.0, float("nan"), 1200.0):
        kalman.step(time_s, -1.0, np.array([3.8]), ROOM)
        assert np.isfinite(kalman.soc[0]) and kalman.soc_sigma[0] > 0
    assert abs(kalman.soc[0] - soc) < 0.1


def test_saved_and_restored_it_goes_on_as_if_nothing_had_been():
    current = drive(600, CARD.capacity_ah)
    _, voltage = simulate(CARD, 0.8, current, 1.0)
    kalman = Kalman(CARD, 1)
    follow(kalman, current[:300], voltage[:300])
    other = Kalman(CARD, 1)
    other.restore({name: values.copy() for name, values in kalman.state().items()})
    assert np.array_equal(other.soc, kalman.soc) and np.array_equal(other.soc_sigma, kalman.soc_sigma)
    one = follow(kalman, current[300:], voltage[300:], start_s=300.0)
    two = follow(other, current[300:], voltage[300:], start_s=300.0)
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])
    assert kalman.current_offset_a == other.current_offset_a


def test_another_packs_state_is_refused():
    with pytest.raises(ValueError, match="3 cells"):
        Kalman(CARD, 2).restore(Kalman(CARD, 3).state())


def test_what_was_handed_out_does_not_change_later():
    kalman = Kalman(CARD, 1)
    kalman.step(0.0, 0.0, np.array([3.9]), ROOM)
    soc, innovation = kalman.soc, kalman.innovation_v
    before = soc.copy(), innovation.copy()
    kalman.step(60.0, -3.0, np.array([3.5]), ROOM)
    assert np.array_equal(soc, before[0]) and np.array_equal(innovation, before[1])


def test_on_the_plateau_of_lfp_it_does_not_claim_to_know():
    current = drive(900, LFP.capacity_ah, mean_c=-0.2)
    soc, voltage = simulate(LFP, 0.6, current, 1.0)
    told, sigma = follow(Kalman(LFP, 1), current, voltage)
    assert sigma[-1, 0] > 0.04
    assert abs(told[-1, 0] - soc[-1]) < 3 * sigma[-1, 0]


def test_the_knee_of_lfp_tells_where_it_is():
    current = np.full(5400, -0.5 * LFP.capacity_ah)
    soc, voltage = simulate(LFP, 0.7, current, 1.0)
    seen = voltage > LFP.limits.voltage_min_v
    told, sigma = follow(Kalman(LFP, 1), current[seen], voltage[seen])
    error = abs(told[-1, 0] - soc[seen][-1])
    assert error < 0.05 and sigma[-1, 0] < 0.05


def test_a_generic_card_is_less_sure_than_a_fitted_one():
    current = drive(900, 2.5)
    _, voltage = simulate(load_card("lg_hg2"), 0.7, current, 1.0)
    fitted = follow(Kalman(load_card("lg_hg2"), 1), current, voltage)[1][-1, 0]
    generic = follow(Kalman(load_card("generic_nmc"), 1), current, voltage)[1][-1, 0]
    assert generic > 2 * fitted


def test_many_logs_beside_each_other_are_what_each_is_alone():
    currents = [drive(400, CARD.capacity_ah, seed=s) for s in (1, 2)]
    logs = [simulate(CARD, 0.8, current, 1.0)[1] for current in currents]
    many = Kalman(CARD, 2)
    for k in range(400):
        many.step_many(np.full(2, float(k > 0)), np.array([c[k] for c in currents]), np.array([v[k] for v in logs]), np.full(2, 25.0))
    for i in range(2):
        alone, _ = follow(Kalman(CARD, 1), currents[i], logs[i])
        assert many.soc[i] == pytest.approx(alone[-1, 0], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(0, 1e7), st.just(float("nan"))),
            st.one_of(st.floats(-1e4, 1e4), st.just(float("nan"))),
            st.one_of(st.floats(-1e3, 1e3), st.sampled_from([float("nan"), float("inf")])),
            st.one_of(st.floats(-300, 1e3), st.just(float("nan"))),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_whatever_comes_in_nothing_breaks_and_sigma_stays_a_sigma(rows):
    kalman = Kalman(LFP, 2)
    time_s = 0.0
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for gap_s, current, voltage, temperature in rows:
            time_s = max(time_s + gap_s, time_s) if gap_s == gap_s else gap_s
            kalman.step(time_s, current, np.array([voltage, 3.3]), np.array([temperature, 25.0]))
            time_s = time_s if time_s == time_s else 0.0
            known = ~np.isnan(kalman.soc)
            assert np.isfinite(kalman.soc_sigma[known]).all() and (kalman.soc_sigma[known] > 0).all()
            assert (np.abs(kalman.soc[known] - 0.5) < 0.6).all()
