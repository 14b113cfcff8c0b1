"""Charge that a cell lost against its pack: by the card's own curve, less what a weak cell may lose; and falls that no probe watches."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import Guarded, make_card, make_pack
from snapshots import make_snapshot

from edgebms.cellcard import load_card
from edgebms.guard.leak import LEAST_SLOPE_V, Leak
from edgebms.guard.plausibility import Plausibility
from edgebms.guard.shorts import Shorts

NAN = np.nan


def test_a_fall_is_charge_by_the_slope_of_the_cards_curve_next_to_25_degrees():
    leak = Leak(make_card())  # 30 degC: 3.0 V at 0, 3.3 at 0.1, 3.6 at 0.5, 4.2 at 1
    lost = leak.step(np.array([0.03, 0.03, 0.03, NAN, 0.03]), np.array([3.0, 4.2, 3.1, 3.6, NAN]), 0.0, 1.0)
    # at the ends the curve's own 3.0 and 1.2 V; at a tenth 2.55 V, weighted by the steps on its two sides, and a third of the way to it at 3.1 V
    assert lost[:3] == pytest.approx([0.01, 0.025, 0.03 / 2.85])
    assert np.isnan(lost[3:]).all()


def test_a_plateau_counts_as_eight_millivolts_a_percent():
    card = load_card("generic_lfp")
    assert (np.gradient(np.array(card.ocv.voltage.value[0]), np.array(card.ocv.voltage.soc)) < 0.1).any()
    lost = Leak(card).step(np.array([0.04]), np.array([3.31]), 0.0, 1.0)
    assert lost == pytest.approx([0.04 / LEAST_SLOPE_V])


def test_what_a_weak_cell_may_lose_is_a_fifth_of_what_was_drawn_within_the_hour_and_none_of_what_was_charged():
    leak = Leak(make_card())
    fall, volts = np.array([0.06]), np.array([4.2])
    for _ in range(360):
        lost = leak.step(fall, volts, -0.5, 10.0)
    kept = 0.5 * (10.0 / 3600.0) / (1.0 - np.exp(-10.0 / 3600.0)) * (1.0 - np.exp(-1.0))
    assert lost == pytest.approx([0.05 - 0.2 * kept])
    for _ in range(360):
        lost = leak.step(fall, volts, 0.5, 10.0)
    assert lost == pytest.approx([0.05 - 0.2 * kept * np.exp(-1.0)])
    leak.forget(0.25)
    assert leak.step(fall, volts, 0.0, 1e-6) == pytest.approx([0.05 - 0.05 * kept * np.exp(-1.0)])


def through(card_name: str, c_rate: float, capacity: float, leak_c_rate: float) -> list[str]:
    """Rules that name cell 5 while sixteen cells are drawn down from 90 %, for 84 minutes, in their order."""
    card = load_card(card_name)
    soc, ocv_v = np.array(card.ocv.voltage.soc), np.array(card.ocv.voltage.value[0])
    guarded = Guarded(16, 16, card=card, pack=make_pack(16, 16), period_s=10.0)
    seen: dict[str, None] = {}
    rng = np.random.default_rng(2)
    for at_s in np.arange(0.0, 8640.0, 10.0):
        drawn = c_rate * max(at_s - 3600.0, 0.0) / 3600.0
        charge = np.full(16, 0.9 - drawn)
        charge[4] = 0.9 - drawn / capacity - leak_c_rate * max(at_s - 3600.0, 0.0) / 3600.0
        volts = np.interp(charge, soc, ocv_v) + 0.0003 * rng.standard_normal(16)
        found = guarded.show(voltage_v=volts, current_a=-c_rate * card.capacity_ah if drawn else 0.0)
        seen.update(dict.fromkeys(finding.rule for finding in found if finding.where == 4))
    return list(seen)


@pytest.mark.parametrize(("card", "c_rate"), [("generic_nmc", 0.5), ("generic_nca", 0.5), ("generic_lco", 0.1)])
def test_a_cell_of_a_tenth_less_capacity_is_no_short_and_one_that_leaks_is(card, c_rate):
    """LCO's curve has half the slope that counts at least: there a short this soft is told at light load."""
    assert "cell_leaks" not in through(card, 0.5, 0.9, 0.0)
    assert "cell_leaks" in through(card, c_rate, 1.0, 0.33), "C/3: 4 ohm across 3 Ah, the softest that runs away"


@pytest.mark.parametrize(("asleep_s", "told"), [(10.0, True), (8 * 3600.0, False), (4000 * 3600.0, False)])
def test_what_a_cell_did_while_nobody_looked_is_no_fall_and_what_it_does_from_then_on_is(asleep_s, told):
    """A full cell relaxes by another 60 mV over night; then it is shorted."""
    plausibility, shorts = Plausibility(6, 3), Shorts(make_card(), make_pack(6, 3))
    at_s, leaks = 5000.0, []
    for step in range(400):
        at_s += asleep_s if step == 200 else 10.0
        volts = np.full(6, 3.7)
        volts[2] -= (0.06 if step >= 200 else 0.0) + (0.1 if step >= 300 else 0.0)
        snapshot = make_snapshot(6, 3, time_s=at_s, voltage_v=volts)
        leaks.append(shorts.step(plausibility.clean(snapshot), snapshot.current_a.value, None, snapshot.time_ns).cell_leak[2])
    assert (np.nanmax(leaks[200:300]) > 0.04) == told
    assert np.isnan(leaks[205]) != told, "at first after a night the line is not known"
    assert max(leaks[300:]) > 0.05


def test_what_was_drawn_before_a_night_excuses_no_fall_behind_it():
    told = []
    for asleep_s in (10.0, 8 * 3600.0):
        plausibility, shorts = Plausibility(6, 3), Shorts(make_card(), make_pack(6, 3))
        at_s = 5000.0
        for step in range(450):
            at_s += asleep_s if step == 360 else 10.0
            volts = np.full(6, 3.7)
            volts[2] -= 0.1 if step >= 430 else 0.0
            snapshot = make_snapshot(6, 3, time_s=at_s, voltage_v=volts, current_a=-25.0 if step < 360 else 0.0)
            out = shorts.step(plausibility.clean(snapshot), snapshot.current_a.value, None, snapshot.time_ns)
        told.append(out.cell_leak[2] - out.cell_fall_v[2] / np.interp(3.6, Leak(make_card()).ocv_v, Leak(make_card()).slope_v))
    # half a C for an hour, an hour's memory: 0.316 of the capacity, and 15 minutes later 0.246
    assert told == pytest.approx([-0.2 * 0.246, 0.0], abs=0.001)


def falls(probe_c: float, seconds: float = 400.0, lost_from_s: float = 0.0) -> np.ndarray:
    plausibility, shorts = Plausibility(6, 3), Shorts(make_card(), make_pack(6, 3))
    at_s, out = 5000.0, None
    for step in range(round((1200 + seconds) / 10)):
        falling = step >= 120
        volts = np.full(6, 3.7)
        volts[2] -= 0.1 if falling else 0.0
        warm = np.full(3, 25.0)
        warm[1] = probe_c if falling and step * 10 - 1200 >= lost_from_s else 25.0
        snapshot = make_snapshot(6, 3, time_s=at_s + 10.0 * step, voltage_v=volts, temperature_c=warm)
        out = shorts.step(plausibility.clean(snapshot), snapshot.current_a.value, None, snapshot.time_ns)
    return out.unwatched_fall_v


def test_a_fall_counts_as_unwatched_while_the_cells_own_probe_is_lost():
    lost = falls(NAN)
    assert lost[2] > 0.05 and lost[3] == pytest.approx(0.0, abs=1e-9), "cells 3 and 4 have the same probe, one of them falls"
    assert (lost[[0, 1, 4, 5]] == 0.0).all()
    assert (falls(25.0)[:6] == 0.0).all()


def test_a_probe_that_was_never_seen_is_not_lost_and_a_pack_without_any_is_judged_by_charge_alone():
    for probes in (3, 0):
        plausibility, shorts = Plausibility(6, probes), Shorts(make_card(), make_pack(6, probes))
        for step in range(180):
            volts = np.full(6, 3.7)
            volts[2] -= 0.1 if step >= 120 else 0.0
            snapshot = make_snapshot(6, probes, time_s=5000.0 + 10.0 * step, voltage_v=volts, temperature_c=np.full(probes, NAN))
            out = shorts.step(plausibility.clean(snapshot), snapshot.current_a.value, None, snapshot.time_ns)
        assert (out.unwatched_fall_v[:6] == 0.0).all()
        assert out.cell_leak[2] > 0.05 > out.cell_leak[[0, 1, 3, 4, 5]].max()


def test_of_a_cell_whose_voltage_is_lost_neither_is_none():
    """0 would clear a warning that stands."""
    plausibility, shorts = Plausibility(6, 3), Shorts(make_card(), make_pack(6, 3))
    for step in range(180):
        volts = np.full(6, 3.7)
        volts[2] = NAN if step >= 170 else 3.6 if step >= 120 else 3.7
        snapshot = make_snapshot(
            6, 3, time_s=5000.0 + 10.0 * step, voltage_v=volts, temperature_c=np.array([25.0, NAN if step > 130 else 25.0, 25.0])
        )
        out = shorts.step(plausibility.clean(snapshot), snapshot.current_a.value, None, snapshot.time_ns)
    for told in (out.unwatched_fall_v, out.falling_cell_warming_k, out.cell_leak):
        assert np.isnan(told[2]) and not np.isnan(told[0])
