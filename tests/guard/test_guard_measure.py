"""The quantities that limit rows watch, against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import make_card, make_pack
from snapshots import make_snapshot

from edgebms.guard.measure import Lost, Measure, TemperatureRate
from edgebms.guard.plausibility import Plausibility
from edgebms.guard.quantities import QUANTITIES
from edgebms.vocabulary import Contactor, Reason

S = 1_000_000_000
NAN = np.nan


class Measuring:
    def __init__(self, cells=4, probes=4, parallel=1):
        pack = make_pack(cells, probes, parallel=parallel)
        self.plausibility, self.measure = Plausibility(cells, probes), Measure(make_card(50.0), pack)
        self.cells, self.probes, self.at = cells, probes, 100.0

    def __call__(self, step_s=1.0, **values):
        self.at += step_s
        snapshot = make_snapshot(self.cells, self.probes, time_s=self.at, **values)
        return self.measure.step(snapshot, self.plausibility.clean(snapshot), snapshot.time_ns)


def test_every_value_has_a_quantity_and_its_places():
    values = Measuring(4, 3)().values
    assert set(values) <= set(QUANTITIES)
    for name, value in values.items():
        places = {"cell": 6, "probe": 5}.get(QUANTITIES[name].kind)
        assert isinstance(value, float) if places is None else value.shape == (places,), name


@pytest.mark.parametrize(
    ("current", "charging", "discharging"),
    [
        (1.0, False, False),
        (-1.0, False, False),
        (1.01, True, False),
        (0.99, False, False),
        (-1.01, False, True),
        (-0.99, False, False),
        (NAN, False, False),
    ],
)
def test_a_current_flows_from_a_fiftieth_of_capacity(current, charging, discharging):
    measured = Measuring()(current_a=current)
    assert (measured.charging, measured.discharging) == (charging, discharging)


def test_parallel_cells_count_for_what_flows():
    assert not Measuring(parallel=2)(current_a=1.99).charging
    assert Measuring(parallel=2)(current_a=2.01).charging


def test_departures_from_the_median():
    values = Measuring()(voltage_v=[3.6, 3.7, 3.7, 3.8], temperature_c=[20.0, 25.0, 26.0, 30.0]).values
    assert values["cell_deviation_v"][:4] == pytest.approx([-0.1, 0.0, 0.0, 0.1])
    assert values["temperature_deviation_k"][:4] == pytest.approx([-5.5, -0.5, 0.5, 4.5])


def test_currents_by_direction():
    values = Measuring()(current_a=-30.0).values
    assert (values["charge_current_a"], values["discharge_current_a"]) == (-30.0, 30.0)


def test_insulation_is_held_against_the_pack_voltage():
    measuring = Measuring()
    assert measuring(insulation_ohm=74_000.0, pack_voltage_v=370.0).values["insulation_ohm_per_v"] == 200.0
    assert measuring(insulation_ohm=74.0, pack_voltage_v=1.0).values["insulation_ohm_per_v"] == 74.0
    assert np.isnan(measuring(insulation_ohm=74.0, pack_voltage_v=0.99).values["insulation_ohm_per_v"])
    assert np.isnan(measuring(insulation_ohm=74.0, pack_voltage_v=NAN).values["insulation_ohm_per_v"])
    assert np.isnan(measuring().values["insulation_ohm_per_v"])


@pytest.mark.parametrize(
    ("contactors", "expected"), [(Contactor.OPEN, 30.0), (Contactor.CLOSED, 0.0), (Contactor.UNKNOWN, NAN), (Contactor.PRECHARGE, 0.0)]
)
def test_current_while_the_contactors_are_said_to_be_open(contactors, expected):
    assert Measuring()(current_a=-30.0, contactors=contactors).values["open_contactor_current_a"] == pytest.approx(expected, nan_ok=True)


def test_pressure_is_held_against_its_last_minute():
    measuring = Measuring()
    assert np.isnan(measuring().values["pressure_rise_pa"])
    assert measuring(pressure_pa=1e5).values["pressure_rise_pa"] == 0.0
    assert measuring(step_s=6.0, pressure_pa=1e5 + 3000).values["pressure_rise_pa"] == pytest.approx(3000)
    # a tenth of a minute moved the mean by a tenth of the rise
    assert measuring(step_s=30.0, pressure_pa=1e5 + 3000).values["pressure_rise_pa"] == pytest.approx(2700)
    assert np.isnan(measuring(pressure_pa=NAN).values["pressure_rise_pa"])
    assert measuring(step_s=5.0, pressure_pa=1e5 + 3000).values["pressure_rise_pa"] == pytest.approx(1350)
    measuring(step_s=500.0, pressure_pa=2e5)
    assert measuring(pressure_pa=2e5).values["pressure_rise_pa"] == pytest.approx(0.0)


def test_the_rate_is_in_kelvin_a_minute():
    measuring = Measuring()
    for k in range(140):
        values = measuring(temperature_c=[25.0, 25.0 + 3 * k / 60, 25.0, 25.0]).values
    assert values["temperature_rate_k_per_min"][:4] == pytest.approx([0.0, 3.0, 0.0, 0.0], abs=1e-9)


# ---- what is lost


def test_lost_cells_are_counted_from_their_last_valid_sample():
    measuring = Measuring()
    measuring()
    voltage = [3.7, NAN, 3.7, NAN]
    reasons = [0, Reason.STALE, 0, Reason.FROZEN]
    for _ in range(3):
        values = measuring(voltage_v=voltage, cell_reason=reasons).values
    assert values["cell_lost_s"].tolist() == [0.0, 3.0, 0.0, 0.0, 0.0, 0.0]
    assert values["cell_inconsistent_s"].tolist() == [0.0, 0.0, 0.0, 3.0, 0.0, 0.0]
    assert values["blind_s"] == 0.0
    values = measuring().values
    assert not values["cell_lost_s"].any()
    assert not values["cell_inconsistent_s"].any()
    values = measuring(voltage_v=voltage, cell_reason=reasons).values
    assert values["cell_lost_s"][1] == 1.0


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in (Reason.VALID, Reason.NOT_IN_PROFILE)])
def test_each_reason_is_either_absent_or_contradicting(reason):
    lost = Lost(2)
    lost.step(np.array([0, reason], dtype=np.uint8), 5 * S)
    lost.step(np.array([0, reason], dtype=np.uint8), 9 * S)
    contradicts = reason.word in ("frozen", "out_of_range", "saturated", "sum_mismatch", "spike", "broken_wire")
    assert lost.absent_s.tolist() == [0.0, 0.0 if contradicts else 4.0, 0.0, 0.0]
    assert lost.contradicting_s.tolist() == [0.0, 4.0 if contradicts else 0.0, 0.0, 0.0]


def test_a_pack_is_blind_from_the_last_time_any_cell_was_valid():
    lost = Lost(2)
    stale = np.array([Reason.STALE] * 2, dtype=np.uint8)
    lost.step(np.zeros(2, dtype=np.uint8), 10 * S)
    lost.step(stale, 12 * S)
    assert lost.all_s == 2.0
    lost.step(np.array([Reason.STALE, 0], dtype=np.uint8), 13 * S)
    assert lost.all_s == 0.0
    lost.step(stale, 17 * S)
    assert lost.all_s == 4.0
    lost.step(np.zeros(2, dtype=np.uint8), 18 * S)
    assert lost.all_s == 0.0


def test_what_was_never_valid_is_lost_since_the_first_snapshot():
    lost = Lost(2)
    never = np.array([Reason.NEVER_RECEIVED] * 2, dtype=np.uint8)
    lost.step(never, 10 * S)
    assert (lost.all_s, lost.absent_s[0]) == (0.0, 0.0)
    lost.step(never, 13 * S)
    assert (lost.all_s, lost.absent_s[0]) == (3.0, 3.0)


def test_what_the_profile_does_not_have_is_not_owed():
    lost = Lost(2)
    for at in (10, 20):
        lost.step(np.array([Reason.NOT_IN_PROFILE] * 2, dtype=np.uint8), at * S)
    assert lost.all_s == 0.0
    assert not lost.absent_s.any()


def test_a_pack_without_probes_loses_none():
    lost = Lost(0)
    for at in (10, 20):
        lost.step(np.zeros(0, dtype=np.uint8), at * S)
    assert lost.all_s == 0.0


def test_probes_and_current_are_missed_too():
    measuring = Measuring()
    measuring()
    temperature, reasons = [25.0, NAN, NAN, 25.0], [0, Reason.STALE, Reason.SATURATED, 0]
    for _ in range(4):
        values = measuring(temperature_c=temperature, temperature_reason=reasons, current_a=NAN).values
    assert values["probe_lost_s"].tolist() == [0.0, 4.0, 4.0, 0.0, 0.0, 0.0]
    assert values["heat_blind_s"] == 0.0
    assert values["current_lost_s"] == 4.0
    values = measuring(temperature_c=NAN).values
    assert (values["heat_blind_s"], values["current_lost_s"]) == (1.0, 0.0)


def test_a_current_that_the_profile_does_not_have_is_not_missed():
    measuring = Measuring()
    measuring(current_a=None)
    assert measuring(current_a=None).values["current_lost_s"] == 0.0


def test_a_current_that_never_came_is_missed_from_the_start():
    measuring = Measuring()
    measuring(current_a=NAN)
    assert measuring(step_s=3.0, current_a=NAN).values["current_lost_s"] == 3.0


# ---- temperature rate


def rate_of(series, step_s=5.0):
    """series: (n, places). The last two places are broadcasts and have no part in the median."""
    tracker = TemperatureRate(series.shape[1])
    for k, row in enumerate(series):
        out = tracker.step(row, float(np.median(row[:-2])), 1000 + k * step_s)
    return out


def with_broadcasts(series):
    return np.hstack([series, np.full((len(series), 2), NAN)])


def test_the_rate_is_a_straight_line_through_two_minutes():
    rng = np.random.default_rng(1)
    series = 25 + rng.normal(0, 1, (60, 5)).cumsum(axis=0)
    series[:, 0] += np.linspace(0, 30, 60)
    out = rate_of(with_broadcasts(series))
    last = series[-25:]
    minutes = np.arange(25) * 5 / 60
    absolute = np.polyfit(minutes, last, 1)[0]
    relative = np.polyfit(minutes, last - np.median(last, axis=1)[:, None], 1)[0]
    assert out[:5] == pytest.approx(np.minimum(absolute, relative))
    assert np.isnan(out[5:]).all()


def test_a_pack_that_warms_as_a_whole_has_no_rate():
    series = np.full((40, 5), 25.0) + np.arange(40)[:, None]
    assert rate_of(with_broadcasts(series))[:5] == pytest.approx(0.0)


def test_a_probe_that_stays_while_the_pack_cools_has_no_rate():
    series = np.full((40, 5), 25.0) - np.arange(40)[:, None]
    series[:, 2] = 25.0
    assert rate_of(with_broadcasts(series))[2] == pytest.approx(0.0)


def test_unknown_samples_are_left_out():
    series = np.full((40, 5), 25.0)
    series[:, 2] += np.arange(40) * 0.25
    series[-10:-5, 2] = NAN
    assert rate_of(with_broadcasts(series))[2] == pytest.approx(3.0)
    series[-1, 2] = NAN
    assert np.isnan(rate_of(with_broadcasts(series))[2])


@pytest.mark.parametrize(("samples", "known"), [(12, False), (13, True)])
def test_less_than_a_minute_says_nothing(samples, known):
    series = np.full((samples, 5), 25.0)
    series[:, 2] += np.arange(samples)
    out = rate_of(with_broadcasts(series))
    assert np.isfinite(out[2]) == known


@pytest.mark.parametrize(("samples", "known"), [(4, False), (5, True)])
def test_a_rate_needs_five_samples(samples, known):
    series = np.full((samples, 5), 25.0)
    series[:, 2] += np.arange(samples)
    out = rate_of(with_broadcasts(series), step_s=30.0)
    assert np.isfinite(out[2]) == known


def test_it_looks_every_five_seconds():
    tracker = TemperatureRate(7)
    row = np.full(7, 25.0)
    for k in range(200):
        if k % 10:
            row[2] = 90.0
        else:
            row[2] = 25.0 + k / 100
        out = tracker.step(row.copy(), 25.0, 1000 + k * 0.5)
    assert out[2] == pytest.approx(0.01 * 2 * 60)


def test_what_is_older_than_two_minutes_is_forgotten_after_a_gap():
    tracker = TemperatureRate(7)
    row = np.full(7, 25.0)
    for k in range(30):
        row[2] = 25.0 + k
        tracker.step(row.copy(), 25.0, 1000 + 5.0 * k)
    row[2] = 25.0
    assert np.isnan(tracker.step(row.copy(), 25.0, 5000.0)[2])
