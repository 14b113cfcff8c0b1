"""Capacity and resistance come from what was measured, and say how sure they are."""

import numpy as np
import pytest

from edgebms.cellcard import load_card
from edgebms.estimator.soh import Soh

CARD = load_card("generic_nmc")
CELLS = 4
TRUE = np.array([1.0, 0.9, 0.8, 0.7])
SHARP = np.full(CELLS, 0.005)


def discharge(soh, soc_start, ah, sigma=SHARP, offset_a=0.0):
    """Anchor, take ``ah`` out at 1C, anchor again; returns the SOC at the end."""
    soh.anchor(soc_start, sigma, 0.01)
    hours = ah / CARD.capacity_ah
    for _ in range(100):
        soh.count(hours * 36.0, -CARD.capacity_ah + offset_a)
    soc_end = soc_start - ah / CARD.capacity_ah / TRUE
    soh.anchor(soc_end, sigma, 0.01)
    return soc_end


def test_capacity_of_each_cell_is_found_from_two_rests():
    soh = Soh(CARD, CELLS)
    soc = np.full(CELLS, 0.95)
    for _ in range(4):
        end = discharge(soh, soc, 0.5 * CARD.capacity_ah)
        soh.anchor(end, SHARP, 0.01)
        for _ in range(100):
            soh.count(18.0, CARD.capacity_ah)
        soh.anchor(soc, SHARP, 0.01)
    assert soh.capacity == pytest.approx(TRUE, abs=0.02)
    assert (soh.capacity_sigma < 0.02).all()
    assert soh.measured.all()


def test_without_a_pair_the_card_stands_with_its_own_doubt():
    soh = Soh(CARD, CELLS)
    discharge(soh, np.full(CELLS, 0.9), 0.1 * CARD.capacity_ah)
    assert soh.capacity == pytest.approx(np.ones(CELLS))
    assert (soh.capacity_sigma >= 0.2).all()
    assert not soh.measured.any()


def test_blunt_anchors_change_nothing():
    soh = Soh(CARD, CELLS)
    discharge(soh, np.full(CELLS, 0.9), 0.5 * CARD.capacity_ah, sigma=np.full(CELLS, 0.05))
    assert not soh.measured.any()


def test_a_gap_in_the_current_breaks_the_pair():
    soh = Soh(CARD, CELLS)
    soh.anchor(np.full(CELLS, 0.9), SHARP, 0.01)
    soh.count(1800, -CARD.capacity_ah)
    soh.count(1.0, float("nan"))
    soh.anchor(np.full(CELLS, 0.4), SHARP, 0.01)
    assert not soh.measured.any()


def test_a_nonsense_pair_is_not_believed():
    soh = Soh(CARD, CELLS)
    soh.anchor(np.full(CELLS, 0.9), SHARP, 0.01)
    soh.count(10.0, -0.1)
    soh.anchor(np.full(CELLS, 0.4), SHARP, 0.01)
    assert soh.capacity == pytest.approx(np.ones(CELLS))
    assert not soh.measured.any()


def test_doubt_grows_with_time():
    soh = Soh(CARD, CELLS)
    before = soh.capacity_sigma.copy()
    soh.count(86400.0 * 400, 0.0)
    assert (soh.capacity_sigma > before).all()


def test_resistance_is_unknown_until_measured_then_slow():
    soh = Soh(CARD, CELLS)
    assert np.isnan(soh.resistance).all()
    soh.resist(1.0, np.array([1.0, 1.2, np.nan, 1.0]), np.full(CELLS, 0.1))
    assert soh.resistance[:2] == pytest.approx([1.0, 1.2])
    assert np.isnan(soh.resistance[2])
    for _ in range(1000):
        soh.resist(1.0, np.ones(CELLS), np.full(CELLS, 0.1))
    soh.resist(1.0, np.full(CELLS, 5.0), np.full(CELLS, 0.1))
    assert soh.resistance[0] == pytest.approx(1.0, abs=0.01)
    for _ in range(20_000):
        soh.resist(1.0, np.full(CELLS, 1.5), np.full(CELLS, 0.05))
    assert soh.resistance == pytest.approx(np.full(CELLS, 1.5), abs=0.05)


def test_what_was_saved_comes_back():
    soh = Soh(CARD, CELLS)
    soc = discharge(soh, np.full(CELLS, 0.95), 0.5 * CARD.capacity_ah)
    other = Soh(CARD, CELLS)
    other.restore(soh.state())
    for one in (soh, other):
        one.count(1800.0, CARD.capacity_ah)
        one.anchor(soc + 0.5 / TRUE, SHARP, 0.01)
    assert np.array_equal(soh.capacity, other.capacity)
    with pytest.raises(ValueError, match="saved for 4 cells"):
        Soh(CARD, 5).restore(soh.state())


def test_what_charges_told_survives_a_restart_and_a_runtime_before_it_did_not_know_them():
    soh = Soh(load_card("lg_hg2"), 2)
    soh.window(np.array([0.8, np.nan]), np.array([0.02**2, np.nan]))
    state = soh.state()
    again = Soh(load_card("lg_hg2"), 2)
    again.restore(state)
    for each in (soh, again):
        each.window(np.array([0.9, 0.7]), np.array([0.02**2, 0.02**2]))
    np.testing.assert_array_equal(again.capacity, soh.capacity)
    np.testing.assert_allclose(soh.capacity, [0.85, 0.7])
    old = Soh(load_card("lg_hg2"), 2)
    old.restore({name: value for name, value in state.items() if name not in ("window", "window_variance", "windows")})
    assert old.capacity[0] == pytest.approx(0.8)
