"""What the voltage of a rested cell says of its SOC, without any counting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.estimator.cell_model import ERROR, HYSTERESIS, CellModel

Floats = NDArray[np.float64]

STEP = 0.01


def rested_soc(model: CellModel, voltage_v: Floats, temperature_c: Floats) -> tuple[Floats, Floats]:
    """SOC of rested cells by the open-circuit voltage, and its standard deviation; (cells,), all finite.

    The deviation is the voltage's error (sensor, card, the side of the hysteresis that is not known)
    over the curve's slope: on a plateau it is large, and says so.
    """
    soc = model.soc_of_ocv(voltage_v, temperature_c)
    slope = (model.ocv_v(soc + STEP, temperature_c) - model.ocv_v(soc - STEP, temperature_c)) / (2.0 * STEP)
    model.look(soc, temperature_c)
    error = np.sqrt(model.card.accuracy.sensor_v**2 + model.map[ERROR] ** 2 + model.map[HYSTERESIS] ** 2)
    return soc, error / np.maximum(slope, 1e-3)
