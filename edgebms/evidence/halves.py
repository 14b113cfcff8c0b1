"""What can be asked of the pack against its own past within a window: its first half of rows against its second.

Each function gives (values (4,), relatives (4,)), NaN = unknown, None = too little history.
"""

from __future__ import annotations

import math

import numpy as np

from edgebms.evidence.packs import DRIFT_UNIT, HEAT_UNIT_K, OFFSET_UNIT_C, SPREAD_UNIT_K, WARMING_UNIT_K_PER_H, Numbers, numbers
from edgebms.evidence.past import LEAST_ROWS, Past
from edgebms.evidence.probes import warmth
from edgebms.evidence.robust import Floats, fit

STILL_C = 0.006
"""A current that moves by less from row to row (1/h) stands still: twice the noise of a coarse sensor."""
STILL_UNIT = 10.0 * DRIFT_UNIT
LEAST_HEAT = 0.05
"""Mean square of the C-rate that stands for the heat of a pack at rest, as in ``packs.pack_warming``."""


def heat_balance(past: Past, window_s: float) -> Numbers | None:
    """Warming of the mean probe in the first half of the rows and in the second, K/h; by how much more it warms for the same heat in the second,
    K per 1/h; change of the spread from the coldest to the hottest probe, K. Relative: over 2 K/h; over 2 K/h; over 5; over 2 K.

    A pack that is carried no less heat away warms ever more slowly; one that lost its cooling bends upwards.
    """
    seen, window = warmth(past, window_s), past.window(window_s)
    if seen is None or window is None or len(seen.time_s) < 2 * LEAST_ROWS:
        return None
    known = np.isfinite(seen.fitted.mean)
    if not known.any():
        return None
    half = len(seen.time_s) // 2
    rates = window.current_a.astype(float) / past.scale.capacity_ah
    slopes, heats, spreads = [], [], []
    for part in (slice(None, half), slice(half, None)):
        columns = seen.temperature_c[part][:, known]
        line = fit(columns, np.zeros(len(columns)), seen.time_s[part], 1.0, 0.05 * window_s)
        slopes.append(float(line.per_s.mean()) * 3600.0)
        spreads.append(float(line.mean.max() - line.mean.min()))
        moved = rates[part][np.isfinite(rates[part])]
        heats.append(float((moved * moved).mean()) if len(moved) else math.nan)
    bend = slopes[1] / (heats[1] + LEAST_HEAT) - slopes[0] / (heats[0] + LEAST_HEAT)
    apart = spreads[1] - spreads[0]
    return numbers(
        (slopes[0], slopes[0] / WARMING_UNIT_K_PER_H),
        (slopes[1], slopes[1] / WARMING_UNIT_K_PER_H),
        (bend, bend / HEAT_UNIT_K),
        (apart, apart / SPREAD_UNIT_K),
    )


def current_at_rest(past: Past, window_s: float) -> Numbers | None:
    """Of the rows in which the current stands still, the one nearest to zero: in the first half of the rows and in the second, 1/h; how much it
    changed, 1/h; share of such rows, 1. Relative: over 0.002/h thrice; over 10 %. An offset never rests at zero."""
    window = past.window(window_s)
    if window is None:
        return None
    rates = window.current_a.astype(float) / past.scale.capacity_ah
    rates = rates[np.isfinite(rates)]
    if len(rates) < 2 * LEAST_ROWS:
        return None
    moved = np.abs(np.diff(rates)) < STILL_C
    still = np.append(False, moved) & np.append(moved, False)
    half = len(rates) // 2
    early, late = nearest_zero(rates[:half][still[:half]]), nearest_zero(rates[half:][still[half:]])
    share = float(still.mean())
    levels = ((level, level / OFFSET_UNIT_C) for level in (early, late, late - early))
    return numbers(*levels, (share, share / STILL_UNIT))


def nearest_zero(values: Floats) -> float:
    """NaN where there is none.

    >>> nearest_zero(np.array([-0.3, 0.1, 0.2]))
    0.1
    """
    return float(values[np.abs(values).argmin()]) if len(values) else math.nan
