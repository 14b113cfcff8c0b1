"""Capacity of an aged cell from a part of a charge, through the filter that a pack runs."""

import msgspec
import numpy as np
import pytest
from simulated import simulate
from snapshots import make_snapshot

from edgebms.cellcard import AgedCharge, load_card
from edgebms.config import PackConfig
from edgebms.estimator.cell_model import CellModel
from edgebms.estimator.charge_window import ChargeWindow
from edgebms.estimator.estimator import Estimator
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.soh import Soh
from edgebms.worker import ask_inline

CARD = load_card("lg_hg2")
WARM = np.full(1, 25.0)
STEP_S = 10.0


def charge(true, start=0.15, share=0.65, c_rate=0.4, break_at=None, card=CARD, soh=None):
    """One charge of a cell that has ``true`` of its capacity, after a drive that tells its resistance; the slow state after it."""
    soh = soh or Soh(card, 1)
    aged = msgspec.structs.replace(card, capacity_ah=card.capacity_ah * true)
    steps = int(share * true * 3600 / c_rate / STEP_S)
    before = np.tile([-1.0, 0.3], 150) * 0.05 * card.capacity_ah
    current = np.concatenate([before, np.full(steps, c_rate * card.capacity_ah), np.zeros(2)])
    if break_at is not None:
        current[before.size + int(break_at * steps) :][:3] = 0.0
    _, volts = simulate(aged, start + 0.0, current, STEP_S)
    kalman, window = Kalman(card, 1), ChargeWindow(CellModel(card, 1))
    for k, (amps, volt) in enumerate(zip(current, volts, strict=True)):
        kalman.step(k * STEP_S, float(amps), np.array([volt]), WARM)
        soh.count(STEP_S, float(amps))
        told = window.take(STEP_S, float(amps), kalman, np.array([volt]), WARM)
        if told is not None:
            soh.window(told.capacity, told.variance)
    return soh


@pytest.mark.parametrize("true", [1.0, 0.85, 0.7])
def test_a_partial_charge_tells_the_capacity_with_its_doubt(true):
    soh = charge(true)
    assert soh.measured.all()
    assert abs(soh.capacity[0] - true) <= 2 * soh.capacity_sigma[0] + 0.01
    assert soh.capacity_sigma[0] < 0.08


def test_more_charges_come_closer_and_are_never_sure():
    soh = charge(0.8)
    for _ in range(4):
        charge(0.8, soh=soh)
    assert soh.capacity[0] == pytest.approx(0.8, abs=0.04)
    assert 0.01 < soh.capacity_sigma[0] < 0.08


@pytest.mark.parametrize("less", [{"share": 0.15}, {"break_at": 0.5, "share": 0.4}, {"c_rate": 0.03, "share": 0.05}])
def test_a_charge_that_is_short_or_interrupted_says_nothing(less):
    soh = charge(0.8, **less)
    assert not soh.measured.any()
    assert soh.capacity[0] == 1.0


def test_a_flat_curve_is_not_read():
    soh = charge(0.8, start=0.35, share=0.35, card=load_card("a123_lfp"))
    assert not soh.measured.any() or soh.capacity_sigma[0] > 0.03


def aged_card(error=0.01):
    """A card whose aged cells took 0.4 of the capacity between 3.7 and 3.9 V when new and 0.2 at 0.8 of it: twice the slope."""
    points = ((0.2,), (0.3,), (0.4,))
    near = np.exp(-0.5 * ((np.array(points) - np.array(points).T) / 0.3) ** 2)
    weight = np.linalg.solve(near, np.array([0.8, 0.9, 1.0]) - 0.9)
    aged = AgedCharge(
        source="a test",
        method="made up",
        current_c=0.5,
        temperature_c=25.0,
        marks_v=(3.7, 3.9),
        filled=points,
        weight=tuple(weight.tolist()),
        spread=(0.3,),
        mean=0.9,
        error=error,
        width=0.1,
    )
    return msgspec.structs.replace(CARD, aged_charge=aged)


def ramp(card, filled, c_rate=0.5, begin_v=3.65, temperature_c=25.0):
    """A charge that takes ``filled`` of the capacity between 3.7 and 3.9 V, at ``c_rate``: what it told."""
    kalman, window = Kalman(card, 1), ChargeWindow(CellModel(card, 1))
    step_s = 10.0
    per_step_v = 0.2 / filled * c_rate * step_s / 3600.0
    warm, told = np.full(1, temperature_c), []
    for k, volt in enumerate([begin_v, *np.arange(begin_v, 3.95, per_step_v), begin_v]):
        amps = (c_rate if volt > begin_v or k == 1 else 0.0) * card.capacity_ah
        kalman.step(k * step_s, amps, np.array([volt]), warm)
        told.append(window.take(step_s, amps, kalman, np.array([volt]), warm))
    return [one for one in told if one is not None]


@pytest.mark.parametrize(("filled", "capacity"), [(0.4, 1.0), (0.3, 0.9), (0.2, 0.8)])
def test_a_card_that_knows_how_its_cells_age_is_believed(filled, capacity):
    (told,) = ramp(aged_card(), filled)
    assert told.capacity[0] == pytest.approx(capacity, abs=0.01)
    assert np.sqrt(told.variance[0]) == pytest.approx(0.01, abs=0.005)


def test_a_charge_that_no_aged_cell_took_is_doubted():
    (told,) = ramp(aged_card(), 1.2)
    assert np.sqrt(told.variance[0]) > 0.05


@pytest.mark.parametrize("less", [{"begin_v": 3.75}, {"c_rate": 0.7}, {"temperature_c": 5.0}])
def test_another_charge_than_the_cards_says_nothing(less):
    assert ramp(aged_card(), 0.3, **less) == []


@pytest.mark.parametrize("wrong", [{"marks_v": (3.9, 3.7)}, {"weight": (1.0,)}, {"spread": (0.0,)}, {"mean": float("inf")}])
def test_a_card_with_wrong_aged_charges_is_refused(wrong):
    aged = msgspec.to_builtins(aged_card().aged_charge) | wrong
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(aged, AgedCharge)


def test_a_packs_decision_carries_it_and_a_restart_keeps_it():
    card = msgspec.structs.replace(CARD, capacity_ah=0.85 * CARD.capacity_ah)
    drive = np.tile([-1.0, 0.3], 100) * 0.05 * CARD.capacity_ah
    current = np.concatenate([drive, np.full(500, 0.4 * CARD.capacity_ah), np.zeros(3)])
    _, volts = simulate(card, 0.15, current, STEP_S)
    pack = PackConfig(name="p", profile="edgebms", card="lg_hg2", cells=4, probes=1)
    estimator = Estimator(CARD, pack, None, ask_inline)
    for k, (amps, volt) in enumerate(zip(current.tolist(), volts.tolist(), strict=True)):
        snapshot = make_snapshot(4, 1, time_s=k * STEP_S, voltage_v=volt, current_a=amps)
        state = estimator.step(snapshot, snapshot.time_ns)
    assert np.abs(state.soh_capacity - 0.85).max() < 2 * state.soh_capacity_sigma.min() < 0.2
    again = Estimator(CARD, pack, None, ask_inline)
    again.restore(estimator.state(), 6000.0, 300.0)
    snapshot = make_snapshot(4, 1, time_s=6000.0, voltage_v=volts[-1], current_a=0.0)
    np.testing.assert_array_equal(again.step(snapshot, snapshot.time_ns).soh_capacity, state.soh_capacity)
