"""What can be asked of a cell's voltage. Each function gives a Profile over the cells, None = too little history.

Rows without a current are left out; with none left, the current counts as unknown and what depends on it is NaN.
A cell of which less than half the rows are known is unknown. All voltages are against the mean of the cells at that instant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgebms.evidence.past import LEAST_ROWS, Past, slope_v
from edgebms.evidence.profile import Profile, ahead_of_next, profile
from edgebms.evidence.robust import Floats, Line, Moments, filled, fit, moments_of, standing

OFFSET_SHARE = 0.5
"""Share of the sensor's stated error that does not average out over a window."""
SWING_C = 0.02
"""A current that swings by less (1/h) tells no resistance."""
SPAN_SHARE = 0.1
STILL_FLOOR = 0.1
LEAST_IN_SWEEP = 5
"""With fewer cells nobody beside one tells what the sweep does."""
MISSING_UNIT = 0.1
LIMIT_UNIT_V = 0.01
SLOPE_HOUR = 3600.0


class Spread(NamedTuple):
    """The cells' voltages over a window. apart (t, cells): against the mean cell, less what the sweep makes of a changing current (``of_sweep``), missing
    ones filled; share missing (cells,)."""

    time_s: Floats
    current_a: Floats
    voltage_v: Floats
    apart_v: Floats
    missing: Floats
    middle_v: Floats
    loaded: bool


def spread(past: Past, window_s: float) -> Spread | None:
    """None = too little history."""
    key = ("spread", window_s)
    if key not in past.worked:
        past.worked[key] = _spread(past, window_s)
    found: Spread | None = past.worked[key]
    return found


def _spread(past: Past, window_s: float) -> Spread | None:
    window = past.window(window_s)
    if window is None or past.scale.cells < 1:
        return None
    time_s, current = window.time_s, window.current_a.astype(float)
    voltage = window.cell_voltage_v.astype(float)
    rows = np.isfinite(current)
    loaded = int(rows.sum()) >= LEAST_ROWS
    if loaded and not rows.all():
        time_s, current, voltage = time_s[rows], current[rows], voltage[rows]
    elif not loaded:
        current = np.zeros(len(time_s))
    whole, missing = filled(voltage)
    known = missing <= 0.5
    if not known.any():
        return None
    count = int(np.count_nonzero(known))
    middle = np.add.reduce(whole if count == len(known) else whole[:, known], axis=1) / count
    apart = whole - middle[:, None]
    if count >= LEAST_IN_SWEEP:
        if count == len(known):
            apart -= of_sweep(apart)
        else:
            apart[:, known] -= of_sweep(apart[:, known])
    return Spread(time_s, current, voltage, apart, missing, middle, loaded)


def of_sweep(apart_v: Floats) -> Floats:
    """What of each row, (t, cells), is the sweep's. Cells are read one after the other: while the current changes, those read before stand against
    those read after. A cell is as far off its own mean there as two cells beside it are off theirs, on whichever side that is nearer
    (the first and the last: as one or two)."""
    moved = apart_v - np.add.reduce(apart_v) / len(apart_v)
    pairs = 0.5 * (moved[:, :-1] + moved[:, 1:])
    before, after = np.empty_like(moved), np.empty_like(moved)
    before[:, 2:], before[:, 1] = pairs[:, :-1], moved[:, 0]
    after[:, :-2], after[:, -2] = pairs[:, 1:], moved[:, -1]
    before[:, 0], after[:, -1] = moved[:, 1], moved[:, -2]
    found: Floats = np.where(np.abs(moved - before) <= np.abs(moved - after), before, after)
    return found


def moments(past: Past, window_s: float) -> Moments | None:
    """Of each cell's distance from the mean cell."""
    key = ("moments", window_s)
    if key not in past.worked:
        seen = spread(past, window_s)
        past.worked[key] = None if seen is None else moments_of(seen.apart_v)
    found: Moments | None = past.worked[key]
    return found


def line(past: Past, window_s: float) -> Line | None:
    """The regression of each cell's distance from the mean cell on current and time."""
    key = ("line", window_s)
    if key not in past.worked:
        seen = spread(past, window_s)
        past.worked[key] = (
            None
            if seen is None
            else fit(
                seen.apart_v, seen.current_a, seen.time_s, SWING_C * past.scale.capacity_ah, SPAN_SHARE * window_s, moments(past, window_s)
            )
        )
    found: Line | None = past.worked[key]
    return found


def _floors(past: Past, *unit: float) -> Floats:
    return past.scale.sensor_v * np.array(unit)[:, None]


def voltage_deviation(past: Past, window_s: float) -> Profile | None:
    """Mean distance from the mean cell, V; the part that is left at no current, V; its change with time, V/h. Relative: z."""
    fitted, seen = line(past, window_s), spread(past, window_s)
    if fitted is None or seen is None:
        return None
    at_rest = fitted.at_rest if seen.loaded else np.full(len(fitted.mean), np.nan)
    values = np.stack((fitted.mean, at_rest, fitted.per_s * SLOPE_HOUR))
    floors = _floors(
        past,
        np.hypot(OFFSET_SHARE, fitted.floor_mean),
        np.hypot(OFFSET_SHARE, fitted.floor_at_rest),
        fitted.floor_per_s * SLOPE_HOUR,
    )
    z, apart = standing(values, floors)
    return profile(list(apart), z, True)


def resistance_deviation(past: Past, window_s: float) -> Profile | None:
    """Answer to the current beyond the median cell's, ohm; that over the card's resistance; what neither current nor time explain, V.

    Relative: z; the ratio itself; z of the unexplained.
    """
    fitted, seen = line(past, window_s), spread(past, window_s)
    if fitted is None or seen is None or not seen.loaded:
        return None
    z, apart = standing(
        np.stack((fitted.per_a, fitted.residual)), _floors(past, fitted.floor_per_a, OFFSET_SHARE * max(fitted.floor_mean, 0.1))
    )
    share = apart[0] / past.scale.resistance_ohm
    return profile([apart[0], share, apart[1]], [z[0], share, z[1]], True, slice(0, 3, 2))


def voltage_steps(past: Past, window_s: float) -> Profile | None:
    """Largest fall and rise from one row to the next, against the mean cell, and the latest row against the window's mean, V. Relative: z."""
    seen = spread(past, window_s)
    if seen is None:
        return None
    steps = np.diff(seen.apart_v, axis=0)
    values = np.stack((steps.min(axis=0), steps.max(axis=0), seen.apart_v[-1] - seen.apart_v.mean(axis=0)))
    z, apart = standing(values, _floors(past, 1.0, 1.0, 1.0))
    return profile(list(apart), z, True)


def cell_sensor(past: Past, window_s: float) -> Profile | None:
    """Decades by which the voltage moved more than the median cell's; share of rows without a value; how far the cell and one
    neighbour stand on opposite sides (a sense tap), in z. Relative: z over the pack; share over 10 %; that z."""
    fitted, seen, own = line(past, window_s), spread(past, window_s), moments(past, window_s)
    if fitted is None or seen is None or own is None:
        return None
    # the cell's variance from that of its distance, of the mean cell, and of both together
    middle = seen.middle_v - seen.middle_v.mean()
    square = (own.squares + 2.0 * (middle @ seen.apart_v) + float(middle @ middle)) / len(middle)
    moved = np.log10(np.sqrt(np.maximum(square, 0.0)) + 0.1 * past.scale.sensor_v)
    still, apart = standing(moved[None], np.array([[STILL_FLOOR]]))
    level, _ = standing(fitted.mean[None], _floors(past, np.hypot(OFFSET_SHARE, fitted.floor_mean)))
    opposed = opposite(level[0])
    return profile([apart[0], seen.missing, opposed], [still[0], seen.missing / MISSING_UNIT, opposed], True)


def opposite(z: Floats) -> Floats:
    """How far each stands against a neighbour on the other side: the root of the larger of -z z' over its neighbours, 0 = none.

    >>> opposite(np.array([0.0, 4.0, -9.0, 1.0]))
    array([0., 6., 6., 3.])
    """
    products = np.maximum(-z[:-1] * z[1:], 0.0)
    left, right = np.append(0.0, products), np.append(products, 0.0)
    apart: Floats = np.sqrt(np.fmax(left, right))
    apart[np.isnan(z)] = np.nan
    return apart


def charge_divergence(past: Past, window_s: float) -> Profile | None:
    """Distance from the median cell in state of charge, 1; its change with time (a leak), 1/h; change from the window's first to its last
    third, 1. By the card's open-circuit slope at the mean cell's voltage. Relative: z."""
    fitted, seen = line(past, window_s), spread(past, window_s)
    if fitted is None or seen is None or not seen.loaded:
        return None
    third = max(len(seen.time_s) // 3, 1)
    middle_a = seen.current_a[:third].mean() - seen.current_a[-third:].mean()
    change = seen.apart_v[-third:].mean(axis=0) - seen.apart_v[:third].mean(axis=0) + fitted.per_a * middle_a
    per_soc = slope_v(past.scale, float(np.median(seen.middle_v)))
    floors = _floors(
        past,
        np.hypot(OFFSET_SHARE, fitted.floor_at_rest),
        fitted.floor_per_s * SLOPE_HOUR,
        np.hypot(np.sqrt(2.0 / third), fitted.floor_per_a * middle_a),
    )
    z, apart = standing(np.stack((fitted.at_rest, fitted.per_s * SLOPE_HOUR, change)) / per_soc, floors / per_soc)
    return profile(list(apart), z, True)


def voltage_limits(past: Past, window_s: float) -> Profile | None:
    """Highest voltage above the card's maximum, V; lowest below its minimum, V; the nearer of the two (negative = inside).

    Relative: over 10 mV.
    """
    seen = spread(past, window_s)
    if seen is None:
        return None
    above = np.fmax.reduce(seen.voltage_v, axis=0) - past.scale.voltage_max_v
    below = past.scale.voltage_min_v - np.fmin.reduce(seen.voltage_v, axis=0)
    nearer = np.fmax(above, below)
    values = np.stack((above, below, nearer))
    relatives = values / LIMIT_UNIT_V
    # the nearer alone says who stands out, with its sign: all others lie inside
    score = relatives[2]
    ahead = ahead_of_next(score)
    return Profile(np.vstack((values, ahead)), np.vstack((relatives, ahead)), score, True)
