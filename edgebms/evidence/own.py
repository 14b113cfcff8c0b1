"""What can be asked of a cell against its own past within a window. Each function gives a Profile over the cells, None = too little history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgebms.evidence.cells import SLOPE_HOUR, SPAN_SHARE, SWING_C, Spread, moments, spread
from edgebms.evidence.past import LEAST_ROWS, Past
from edgebms.evidence.profile import Profile, profile
from edgebms.evidence.robust import MAD_TO_SIGMA, Floats, Moments, median, standing

STEP_SHARE = 0.1
"""A step of half the window's rows against the other half has a size of 1; with fewer rows on a side it shrinks."""
LEAST_MOVED = 0.01
"""Charge, as a share of the capacity, below which nothing goes with it."""
LEAST_SQUARES = 1e-12
NOISE_SHARE = 0.05
"""Of the sensor's stated error: what a mean over rows is noisy by at least."""
DIP_SIGMAS = 5.0
"""How far below the rest of a cell's rows a dip is, in standard deviations of one row."""
DIPS_UNIT = 0.01


class Ridge(NamedTuple):
    """Regression of columns (t, n) on k regressors: coefficients (k, n), regressors (t, k) centred, mean (n,), squares (n,): mean square of what is
    left, floors (k,): sigma of each coefficient for independent unit noise in the rows."""

    found: Floats
    design: Floats
    mean: Floats
    squares: Floats
    floors: Floats

    def left(self, values: Floats) -> Floats:
        """What is left of ``values`` (t, n)."""
        out = self.design @ self.found
        out += self.mean
        np.subtract(values, out, out=out)
        return out


def ridge(design: Floats, least: Floats, values: Floats, own: Moments) -> Ridge:
    """Ridge regression of each column of ``values`` (t, n) on the columns of ``design`` (t, k), all centred here.

    least (k,): root mean square of a column below which it says little. own: the columns' moments.
    """
    rows = len(design)
    centred = design - design.mean(axis=0)
    plain = centred.T @ centred
    inverse = np.linalg.inv(plain + rows * np.diag(least * least))
    along = centred.T @ values
    found = inverse @ along
    # the residuals' squares without the residuals: what is there, less what the slopes take away
    squares = np.maximum(own.squares + (found * (plain @ found - 2.0 * along)).sum(axis=0), 0.0) / rows
    return Ridge(found, centred, own.mean, squares, np.sqrt(np.diag(inverse)))


def regressors(past: Past, seen: Spread, window_s: float) -> tuple[Floats, Floats]:
    """(current, 1/h; time as a share of the window), each (t,)."""
    return seen.current_a / past.scale.capacity_ah, (seen.time_s - seen.time_s[0]) / window_s


def own_change(past: Past, window_s: float) -> Profile | None:
    """From the window's first half of rows to its second: change of the answer to the current, ohm; step that current, charge moved and an even
    drift leave, V; that drift, V/h. Relative: z, over what the median cell's rows leave unexplained."""
    seen, own = spread(past, window_s), moments(past, window_s)
    if seen is None or own is None or not seen.loaded or len(seen.time_s) < 2 * LEAST_ROWS:
        return None
    rate, time = regressors(past, seen, window_s)
    side = np.where(np.arange(len(time)) < len(time) // 2, -0.5, 0.5)
    # another state of charge shows differently as the pack is emptied: what goes with the charge is no change of the cell
    moved = np.append(0.0, np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(seen.time_s))) / SLOPE_HOUR
    design = np.stack((rate, time, side, beyond(side * rate, rate), moved), axis=1)
    line = ridge(design, np.array([SWING_C, SPAN_SHARE, STEP_SHARE, SWING_C, LEAST_MOVED]), seen.apart_v, own)
    found, floors = line.found, line.floors
    noise_v = np.hypot(usual(seen, line), NOISE_SHARE * past.scale.sensor_v)
    capacity_ah, per_h = past.scale.capacity_ah, SLOPE_HOUR / window_s
    values = np.stack((found[3] / capacity_ah, found[2], found[1] * per_h))
    z, apart = standing(values, noise_v * np.array([[floors[3] / capacity_ah], [floors[2]], [floors[1] * per_h]]))
    return profile(list(apart), z, True)


def beyond(column: Floats, other: Floats) -> Floats:
    """What of ``column`` does not go with ``other``, both (t,): nothing where only one half has a current, and then no change is told."""
    centred = other - other.mean()
    share = float(centred @ (column - column.mean())) / (float(centred @ centred) + LEAST_SQUARES)
    return column - share * other


def usual(seen: Spread, line: Ridge) -> float:
    """Root mean square of what is left of the median cell's rows, V."""
    return float(median(np.sqrt(line.squares[seen.missing <= 0.5]))[0])


def voltage_dips(past: Past, window_s: float) -> Profile | None:
    """What current, its change and time leave, less of it in rows where all cells scatter: depth of its lowest row below the cell's mean
    beyond the median cell's, V; that depth less the highest row's height, over both, -1..1; share of rows that dip. Relative: z; itself; over 1 %."""
    seen, own = spread(past, window_s), moments(past, window_s)
    if seen is None or own is None or not seen.loaded or len(seen.time_s) < 2 * LEAST_ROWS:
        return None
    rate, time = regressors(past, seen, window_s)
    # cells are sampled one after the other: while the current changes they differ
    change = np.append(0.0, np.diff(rate))
    line = ridge(np.stack((rate, change, time), axis=1), np.array([SWING_C, SWING_C, SPAN_SHARE]), seen.apart_v, own)
    left = line.left(seen.apart_v)
    known = seen.missing <= 0.5
    sensor_v = past.scale.sensor_v
    noise_v = np.hypot(sensor_v, usual(seen, line))
    left *= trusted(left[:, known], noise_v)
    depth, height = -left.min(axis=0), left.max(axis=0)
    one_sided = (depth - height) / (depth + height + 4.0 * sensor_v)
    edge_v = DIP_SIGMAS * noise_v
    share = np.where(known, 0.0, np.nan)
    for cell in np.flatnonzero(depth > edge_v):
        share[cell] = np.count_nonzero(left[:, cell] < -edge_v) / len(left)
    z, apart = standing(depth[None], np.array([[sensor_v]]))
    return profile([apart[0], one_sided, share], [z[0], one_sided, share / DIPS_UNIT], True, slice(0, 3, 2))


def trusted(left: Floats, noise_v: float) -> Floats:
    """How far each of the rows ``left`` (t, n) tells of single cells, 0..1: (t, 1). Where the current changed within a sweep all cells scatter, over
    ``noise_v``: half of them by more than the median."""
    scatter = MAD_TO_SIGMA * np.partition(np.abs(left), left.shape[1] // 2, axis=1)[:, left.shape[1] // 2]
    out: Floats = 1.0 / np.sqrt(1.0 + np.square(scatter / noise_v))
    return out[:, None]
