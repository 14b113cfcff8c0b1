"""Limits taper, ramp, and are zero amperes, never zero volts, where the pack is not known."""

import numpy as np
import pytest

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.estimator.power import Power

CELLS = 16
CARD = load_card("generic_nmc")
LIMITS = CARD.limits
PACK = PackConfig(name="p", profile="edgebms", card="generic_nmc", cells=CELLS, parallel=2)
FULL_CHARGE_A = LIMITS.charge_c_rate * CARD.capacity_ah * 2
FULL_DISCHARGE_A = LIMITS.discharge_c_rate * CARD.capacity_ah * 2


def settle(voltage=3.7, temperature=25.0, soc=0.5, current=0.0, resistance=0.01, soh=1.0, cell=None, value=None, seconds=60):
    """Limits after ``seconds`` in one condition; ``cell`` = name of the array whose cell 3 gets ``value``."""
    arrays = {
        name: np.full(CELLS, number)
        for name, number in {"voltage": voltage, "temperature": temperature, "soc": soc, "resistance": resistance, "soh": soh}.items()
    }
    if cell:
        arrays[cell][3] = value
    power = Power(CARD, PACK)
    for second in range(seconds + 1):
        limits = power.step(
            int(second * 1e9), arrays["voltage"], current, arrays["temperature"], arrays["soc"], arrays["resistance"], arrays["soh"]
        )
    return limits


def test_a_healthy_pack_gets_the_cards_rates_times_its_parallel_cells():
    limits = settle(resistance=0.001)
    assert limits.charge_a == pytest.approx(FULL_CHARGE_A)
    assert limits.discharge_a == pytest.approx(FULL_DISCHARGE_A)
    assert limits.charge_v == pytest.approx(CELLS * LIMITS.voltage_max_v)
    assert limits.discharge_v == pytest.approx(CELLS * LIMITS.voltage_min_v)


@pytest.mark.parametrize("array", ["voltage", "temperature", "soc", "resistance"])
def test_one_unknown_cell_makes_both_currents_zero_and_no_voltage_zero(array):
    limits = settle(cell=array, value=np.nan)
    assert limits.charge_a == 0 and limits.discharge_a == 0
    assert limits.charge_v == pytest.approx(CELLS * LIMITS.voltage_float_v)
    assert limits.discharge_v > 0
    assert limits.reasons == ("charge_unknown", "discharge_unknown")


def test_unknown_current_makes_both_limits_zero():
    limits = settle(current=np.nan)
    assert limits.charge_a == 0 and limits.discharge_a == 0


def test_one_cold_cell_stops_charging_but_not_discharging():
    limits = settle(cell="temperature", value=LIMITS.charge_temperature_min_c, resistance=0.001)
    assert limits.charge_a == 0
    assert limits.discharge_a > 0
    assert "charge_cold" in limits.reasons


def test_charge_current_tapers_with_temperature_instead_of_stepping():
    temperatures = np.linspace(LIMITS.charge_temperature_max_c - 12, LIMITS.charge_temperature_max_c + 1, 27)
    charge = [settle(temperature=t, resistance=0.001).charge_a for t in temperatures]
    assert charge[0] == pytest.approx(FULL_CHARGE_A) and charge[-1] == 0
    steps = -np.diff(charge)
    assert (steps >= -1e-9).all() and steps.max() < 0.1 * FULL_CHARGE_A


def test_a_cell_at_its_voltage_limit_takes_no_more_current_than_now():
    limits = settle(cell="voltage", value=LIMITS.voltage_max_v, current=1.0, soc=0.5)
    assert limits.charge_a == pytest.approx(1.0 * 2)
    over = settle(cell="voltage", value=LIMITS.voltage_max_v + 0.05, current=1.0)
    assert over.charge_a == 0


def test_charge_voltage_yields_to_the_highest_cell_but_never_below_float():
    limits = settle(voltage=LIMITS.voltage_max_v - 0.05, cell="voltage", value=LIMITS.voltage_max_v)
    assert CELLS * LIMITS.voltage_float_v <= limits.charge_v < CELLS * LIMITS.voltage_max_v
    assert settle(voltage=3.5, cell="voltage", value=4.9).charge_v == pytest.approx(CELLS * LIMITS.voltage_float_v)


def test_state_of_charge_ends_discharge_and_narrows_charge():
    assert settle(cell="soc", value=0.0).discharge_a == 0
    assert 0 < settle(cell="soc", value=1.0, resistance=0.001).charge_a < 0.2 * FULL_CHARGE_A


def test_an_aged_cell_gets_less():
    assert settle(soh=2.0, resistance=0.001).discharge_a == pytest.approx(FULL_DISCHARGE_A / 2)


def test_limits_rise_slowly_and_fall_at_once_when_a_cell_is_lost():
    power = Power(CARD, PACK)
    good = {
        "voltage_v": np.full(CELLS, 3.7),
        "current_a": 0.0,
        "temperature_c": np.full(CELLS, 25.0),
        "soc": np.full(CELLS, 0.5),
        "resistance_ohm": np.full(CELLS, 1e-3),
        "soh_resistance": np.ones(CELLS),
    }
    assert power.step(0, **good).charge_a == 0
    assert power.step(10_000_000_000, **good).charge_a == pytest.approx(FULL_CHARGE_A / 2)
    assert power.step(30_000_000_000, **good).charge_a == pytest.approx(FULL_CHARGE_A)
    lost = good | {"voltage_v": np.where(np.arange(CELLS) == 2, np.nan, 3.7)}
    gone = power.step(30_100_000_000, **lost)
    assert gone.charge_a == 0 and gone.discharge_a == 0
    back = power.step(30_200_000_000, **good)
    assert back.charge_a < 0.01 * FULL_CHARGE_A, "a charger is not thrown from 0 to full"
    assert back.discharge_a == pytest.approx(FULL_DISCHARGE_A), "a house is not darkened by one lost reading"
    power.step(30_300_000_000, **lost)
    empty = power.step(3_600_000_000_000, **(good | {"soc": np.full(CELLS, 0.0)}))
    assert empty.discharge_a == 0, "what was known an hour ago is no reason for a slow fall"
