"""The plant's cell from a card is the card's cell."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.cellcard import card_names, load_card
from hil.plant.cell import from_card
from hil.plant.pack import Pack, Spread


@pytest.mark.parametrize("name", card_names())
def test_open_circuit_voltage_and_resistance_are_the_cards(name):
    card = load_card(name)
    circuit = from_card(card)
    table = card.ocv.voltage
    for t, temperature in enumerate(table.temperature_c):
        at = circuit.ocv(np.array(table.soc), np.full(len(table.soc), temperature))
        assert at == pytest.approx(table.value[t], abs=1e-9)
    ohmic = card.resistance_ohm
    middle = len(ohmic.soc) // 2
    for t, temperature in enumerate(ohmic.temperature_c):
        at = circuit.r0_ohm.at(np.array([ohmic.soc[middle]]), np.array([temperature]))
        assert at[0] == pytest.approx(ohmic.value[t][middle], rel=1e-9)


def test_cells_side_by_side_share_the_current():
    card = load_card("lg_hg2")
    one = Pack(from_card(card), 1, np.random.default_rng(0), soc=0.7, spread=Spread(0, 0, 0))
    four = Pack(from_card(card, parallel=4), 1, np.random.default_rng(0), soc=0.7, spread=Spread(0, 0, 0))
    for _ in range(300):
        one.step(1.0, -2.0)
        four.step(1.0, -8.0)
    assert four.voltage_v == pytest.approx(one.voltage_v, abs=1e-9)
    assert four.soc == pytest.approx(one.soc, abs=1e-12)


def test_beyond_the_table_the_voltage_goes_on_falling():
    circuit = from_card(load_card("generic_nmc"))
    low = circuit.ocv(np.array([circuit.ocv_v.soc[0] - 0.1, circuit.ocv_v.soc[0]]), np.full(2, 25.0))
    assert low[0] < low[1]
