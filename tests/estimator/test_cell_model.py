"""The model's look-ups agree with the card's tables, and nowhere leave the finite numbers."""

import numpy as np
import pytest

from edgebms.cellcard import card_names, load_card
from edgebms.estimator.cell_model import EXCHANGE, R0, RATE, RC, CellModel

SOC = np.linspace(0.02, 0.98, 25)


@pytest.mark.parametrize("name", ["lg_hg2", "a123_lfp", "generic_nca"])
def test_open_circuit_voltage_is_the_cards(name):
    card = load_card(name)
    table = card.ocv.voltage
    model = CellModel(card, SOC.size)
    for temperature, row in zip(table.temperature_c, table.value, strict=True):
        read = model.ocv_v(SOC, np.full(SOC.size, temperature))
        # The grid of 2.5 K cuts corners of the table: most at the low end, where its temperatures differ most.
        np.testing.assert_allclose(read[2:], np.interp(SOC, table.soc, row)[2:], atol=0.008)


def test_resistances_are_the_cards_and_between_temperatures_follow_arrhenius():
    card = load_card("lg_hg2")
    model = CellModel(card, 1)
    table = card.resistance_ohm
    s = table.soc.index(0.5)
    inverse = -1 / (np.array(table.temperature_c) + 273.15)
    for temperature in (-20.0, -15.0, 5.0, 25.0, 33.0):
        model.look(np.array([0.5]), np.array([temperature]))
        expected = np.exp(np.interp(-1 / (temperature + 273.15), inverse, np.log([row[s] for row in table.value])))
        assert model.map[R0, 0] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", card_names())
def test_soc_of_ocv_is_the_inverse(name):
    model = CellModel(load_card(name), SOC.size)
    temperature = np.linspace(-15, 45, SOC.size)
    voltage = model.ocv_v(SOC, temperature)
    np.testing.assert_allclose(model.ocv_v(model.soc_of_ocv(voltage, temperature), temperature), voltage, atol=1e-4)


@pytest.mark.parametrize("name", card_names())
def test_beyond_every_range_the_numbers_stay_finite_and_rise(name):
    soc = np.linspace(-1.0, 2.0, 301)
    model = CellModel(load_card(name), soc.size)
    for temperature in (-80.0, 25.0, 200.0):
        t = np.full(soc.size, temperature)
        model.look(soc, t)
        assert np.isfinite(model.map).all() and np.isfinite(model.slope).all()
        assert (model.map[[R0, EXCHANGE, RATE]] > 0).all()
        assert (np.diff(model.ocv_v(soc, t)) >= -1e-12).all()


def test_slope_is_the_difference_of_the_map():
    model = CellModel(load_card("lg_hg2"), 1)
    at = np.array([0.131])
    model.look(at - 1e-4, np.array([3.0]))
    below = model.map.copy()
    model.look(at + 1e-4, np.array([3.0]))
    difference = (model.map - below) / 2e-4
    model.look(at, np.array([3.0]))
    np.testing.assert_allclose(model.slope[RC], difference[RC], rtol=1e-6)


def test_resistance_within_a_horizon_grows_with_it_and_falls_with_current():
    model = CellModel(load_card("lg_hg2"), 2)
    soc, temperature = np.array([0.5, 0.5]), np.array([25.0, -15.0])
    short = model.resistance_ohm(soc, temperature, 1.0, 1.0)
    long = model.resistance_ohm(soc, temperature, 1.0, 100.0)
    assert (long > short).all() and short[1] > 2 * short[0]
    assert (model.resistance_ohm(soc, temperature, 20.0, 1.0) < short).all()
