"""A pack in use, as the filter sees it: for tests of what stands on top of the filter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgebms.cellcard import load_card
from edgebms.estimator.cell_model import CellModel
from edgebms.estimator.kalman import Kalman

CARD = load_card("lg_hg2")


def drive(cells: int, seconds: int, seed: int = 0, temperature_c: float = 25.0) -> Iterator[tuple[float, float, np.ndarray, np.ndarray]]:
    """(time_s, current_a, voltage_v, temperature_c) every second: cells of one pack at SOCs of their own, by the card."""
    rng = np.random.default_rng(seed)
    soc = rng.uniform(0.4, 0.9, size=cells)
    model, warm = CellModel(CARD, cells), np.full(cells, temperature_c)
    current = 0.0
    for second in range(seconds):
        if second % 20 == 0:
            current = float(rng.choice((0.0, -1.0, -3.0, -5.0, 1.5)))
        soc = soc + current / (3600.0 * CARD.capacity_ah)
        resistance = model.resistance_ohm(soc, warm, current, 10.0)
        yield float(second), current, model.ocv_v(soc, warm) + resistance * current + rng.normal(scale=0.002, size=cells), warm.copy()


def driven(cells: int, seconds: int, seed: int = 0, temperature_c: float = 25.0) -> tuple[Kalman, float]:
    """The filter after the drive, and the last current."""
    kalman, current = Kalman(CARD, cells), 0.0
    for time_s, current, voltage, temperature in drive(cells, seconds, seed, temperature_c):
        kalman.step(time_s, current, voltage, temperature)
    return kalman, current
