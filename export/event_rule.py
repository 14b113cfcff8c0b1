"""When runaway has begun in a log, by the event rule of GB 38031-2025 C.5.3.7: the truth that alarms are held against.

(cell voltage more than 25 % below its initial one **or** temperature at the maker's maximum) **and** dT/dt of at least
1 K/s for more than 3 s. Written apart from the guard, and computed on the log as recorded, past and future at hand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RATE_K_PER_S = 1.0
HOLD_S = 3.0
VOLTAGE_LEFT = 0.75
WINDOW_S = 1.0
"""dT/dt is the slope over the second around a row, or over the interval before it in a slower log."""
INITIAL_S = 10.0
"""The initial voltage: the median of the first ten seconds."""


def event_s(
    time_s: Floats, cell_voltage_v: Floats, temperature_c: Floats, probe_of_cell: tuple[int, ...], maximum_c: float
) -> float | None:
    """The time at which the rule first holds (its 3 s included), None where it never does.

    time_s: (rows,). cell_voltage_v: (rows, cells). temperature_c: (rows, probes). NaN = not measured.
    probe_of_cell: 0-based probe that watches each cell, -1 = none. maximum_c: the maker's maximum temperature.

    >>> t = np.arange(0, 60, 0.5)
    >>> heat = np.interp(t, [0, 20, 50], [25, 25, 115])[:, None]
    >>> event_s(t, np.full((len(t), 1), 4.0), heat, (0,), 80.0)
    38.5
    """
    fallen = fallen_cells(time_s, cell_voltage_v)
    first: float | None = None
    for probe in range(temperature_c.shape[1]):
        known = np.isfinite(temperature_c[:, probe])
        if np.count_nonzero(known) < 2:
            continue
        at_s, value_c = time_s[known], temperature_c[known, probe]
        watched = [cell for cell, its_probe in enumerate(probe_of_cell) if its_probe == probe]
        holds = (value_c >= maximum_c) | fallen[known][:, watched].any(axis=1)
        holds &= rising_for_s(at_s, value_c) > HOLD_S
        if holds.any():
            begun = float(at_s[np.argmax(holds)])
            first = begun if first is None else min(first, begun)
    return first


def fallen_cells(time_s: Floats, cell_voltage_v: Floats) -> Flags:
    """(rows, cells): below 75 % of the initial voltage, or was when last seen. A logger that stopped undoes nothing."""
    fallen = np.zeros(cell_voltage_v.shape, dtype=bool)
    for cell in range(cell_voltage_v.shape[1]):
        known = np.flatnonzero(np.isfinite(cell_voltage_v[:, cell]))
        if known.size == 0:
            continue
        early = known[time_s[known] <= time_s[known[0]] + INITIAL_S]
        below = cell_voltage_v[known, cell] < VOLTAGE_LEFT * np.median(cell_voltage_v[early, cell])
        last_known = np.searchsorted(known, np.arange(len(time_s)), side="right") - 1
        fallen[:, cell] = np.where(last_known >= 0, below[np.maximum(last_known, 0)], False)
    return fallen


def rising_for_s(time_s: Floats, temperature_c: Floats) -> Floats:
    """Since when the slope has been 1 K/s or more, in s at each row; 0 where it is not.

    >>> rising_for_s(np.arange(6.0), np.array([20.0, 20, 22, 24, 26, 26])).tolist()
    [0.0, 0.0, 0.0, 1.0, 2.0, 0.0]
    """
    rows = np.arange(len(time_s))
    first = np.minimum(np.searchsorted(time_s, time_s - 0.5 * WINDOW_S - 1e-9), np.maximum(rows - 1, 0))
    last = np.searchsorted(time_s, time_s + 0.5 * WINDOW_S + 1e-9, side="right") - 1
    span_s = time_s[last] - time_s[first]
    rate = np.zeros(len(time_s))
    np.divide(temperature_c[last] - temperature_c[first], span_s, out=rate, where=span_s > 0)
    fast = rate >= RATE_K_PER_S - 1e-9
    out = np.zeros(len(time_s))
    start = -1
    for i in np.flatnonzero(fast):
        if start < 0 or not fast[i - 1]:
            start = i
        if i > start:
            out[i] = time_s[i] - time_s[start]
    return out
