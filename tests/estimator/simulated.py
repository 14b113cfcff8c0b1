"""A cell that is its card exactly, simulated with plain interpolation (not through CellModel)."""

import numpy as np

from edgebms.cellcard import CellCard

THERMAL_V = 2 * 8.314462618 * 298.15 / 96485.33212
"""2RT/F at 25 degC."""


def row_at_25(table):
    """A table's row at 25 degC, logarithmic over 1/T: (socs, logarithms)."""
    axis = -1 / (np.array(table.temperature_c) + 273.15)
    rows = np.log(np.array(table.value))
    return np.array(table.soc), np.array([np.interp(-1 / 298.15, axis, column) for column in rows.T])


def simulate(card: CellCard, soc: float, current_a, dt_s: float, scale: float = 1.0, noise_v: float = 0.001, seed: int = 1):
    """(soc, voltage) at each step at 25 degC. scale: the real resistance over the card's."""
    current = np.asarray(current_a, dtype=float)
    moved = current * dt_s / 3600 / card.capacity_ah
    socs = soc + np.cumsum(moved)
    columns = np.array(card.ocv.voltage.value).T
    ocv_25 = np.array([np.interp(25.0, card.ocv.voltage.temperature_c, column) for column in columns])

    def at(table):
        axis, row = row_at_25(table)
        return np.exp(np.interp(socs, axis, row))

    def lag(keep, drive_to):
        level, out = 0.0, []
        for k, x in zip(np.broadcast_to(keep, current.shape).tolist(), drive_to.tolist(), strict=True):
            level = k * level + (1 - k) * x
            out.append(level)
        return np.array(out)

    hysteresis = lag(np.exp(-np.abs(moved) / card.ocv.hysteresis_swing), np.sign(current))
    volts = np.interp(socs, card.ocv.voltage.soc, ocv_25) + hysteresis * np.interp(socs, card.ocv.voltage.soc, card.ocv.hysteresis_v)
    drop = at(card.resistance_ohm) * current + THERMAL_V * np.arcsinh(0.5 * current / at(card.exchange_a))
    for pair in card.relaxation:
        axis = -1 / (np.array(pair.resistance_ohm.temperature_c) + 273.15)
        tau = np.exp(np.interp(-1 / 298.15, axis, np.log(pair.tau_s)))
        drop += at(pair.resistance_ohm) * lag(np.exp(-dt_s / tau), current)
    return socs, volts + scale * drop + np.random.default_rng(seed).normal(0, noise_v, current.size)


def drive(steps: int, capacity_ah: float, mean_c: float = -0.5, seed: int = 2):
    """A load that holds for 5 to 40 steps at a time, between 2 C down and 0.7 C up, A."""
    rng = np.random.default_rng(seed)
    out: list[float] = []
    while len(out) < steps:
        out += [float(np.clip(rng.normal(mean_c, 0.8), -2.0, 0.7)) * capacity_ah] * int(rng.integers(5, 40))
    return np.array(out[:steps])
