"""The first voltage of a cell: a rested one tells its SOC, one under load in the cold only a range, from its middle."""

import numpy as np
import pytest

from edgebms.cellcard import load_card
from edgebms.estimator.cell_model import EXCHANGE, GAS_OVER_FARADAY, KELVIN, R0, RC, CellModel
from edgebms.estimator.first_guess import first_guess
from edgebms.estimator.kalman import PAIRS, TUNED, Kalman

CARD = load_card("lg_hg2")


def voltage(soc, temperature_c, current_a, resistance):
    """Of a cell that carried ``current_a`` for the first pairs' time, its resistances ``resistance`` times the card's."""
    model, at_c = CellModel(CARD, 1), np.full(1, temperature_c)
    model.look(np.full(1, soc), at_c)
    table = model.map
    thermal = 2.0 * GAS_OVER_FARADAY * (at_c + KELVIN)
    drop = table[R0] * current_a + thermal * np.arcsinh(0.5 * current_a / table[EXCHANGE])
    drop = drop + TUNED.relaxed_share * current_a * table[RC : RC + PAIRS].sum(axis=0)
    return model.ocv_v(np.full(1, soc), at_c) + resistance * drop, at_c


@pytest.mark.parametrize("soc", [0.2, 0.3, 0.6])
@pytest.mark.parametrize("resistance", [0.8, 1.3])
def test_under_load_in_the_cold_the_truth_lies_within_what_is_told(soc, resistance):
    volts, at_c = voltage(soc, -10.0, -4.0, resistance)
    guess, sigma = first_guess(
        CellModel(CARD, 1), TUNED, volts, np.full(1, -4.0), np.full((PAIRS, 1), -1.0), at_c, np.full(1, TUNED.scale * 0.3)
    )
    assert sigma[0] > 0.04
    assert abs(guess[0] - soc) < 2 * sigma[0]


def test_where_the_best_fit_is_low_the_mean_lies_above_it():
    # The voltage of a third full cell with more resistance than the card's fits the card's at a lower, steeper place.
    volts, at_c = voltage(0.3, -10.0, -4.0, 1.3)
    guess, _ = first_guess(
        CellModel(CARD, 1), TUNED, volts, np.full(1, -4.0), np.full((PAIRS, 1), -1.0), at_c, np.full(1, TUNED.scale * 0.3)
    )
    fits = min(np.linspace(0.02, 0.98, 97), key=lambda soc: abs(voltage(soc, -10.0, -4.0, 1.0)[0][0] - volts[0]))
    assert fits < 0.28
    assert abs(guess[0] - 0.3) < abs(fits - 0.3)


@pytest.mark.parametrize("soc", [0.15, 0.5, 0.85, 1.0])
def test_a_rested_warm_cell_is_read_from_its_voltage(soc):
    volts, at_c = voltage(soc, 25.0, 0.0, 1.0)
    kalman = Kalman(CARD, 1)
    kalman.step(0.0, 0.0, volts, at_c)
    assert kalman.soc[0] == pytest.approx(soc, abs=0.015)
