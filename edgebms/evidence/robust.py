"""Relative to this pack: robust distances from the other cells, and regressions that say nothing where nothing moved."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
SHRINK = 8.0
"""A pack's own spread counts against the sensors' floor as its number of cells against this."""
LEAST_OTHERS = 3
Z_MAX = 1e4


def median(values: Floats) -> Floats:
    """Over the last axis, which stays with length 1; NaN are left out, all NaN = NaN.

    >>> median(np.array([[1.0, np.nan, 3.0, 8.0]]))
    array([[3.]])
    """
    ordered = np.sort(values, axis=-1)  # NaN come last
    count = ordered.shape[-1]
    middle: Floats
    last = ordered[..., -1]
    if (last == last).all():
        middle = 0.5 * (ordered[..., (count - 1) // 2, None] + ordered[..., count // 2, None])
        return middle
    known = np.maximum((~np.isnan(values)).sum(axis=-1, keepdims=True), 1)
    low = np.take_along_axis(ordered, (known - 1) // 2, axis=-1)
    high = np.take_along_axis(ordered, known // 2, axis=-1)
    middle = 0.5 * (low + high)
    return middle


def standing(values: Floats, floor: Floats) -> tuple[Floats, Floats]:
    """How each of n cells stands among them: (z, deviation), each (k, n), for k measures at once.

    values (k, n), NaN = unknown. floor (k, 1) or (k, n): the sensors' own sigma of each value. deviation: distance from the median.
    z: that over sigma, sigma^2 = (n (1.4826 MAD)^2 + 8 floor^2) / (n + 8) + floor^2. Fewer than three known: unknown.
    """
    count = values.shape[-1]
    deviation = values - median(values)
    mad = MAD_TO_SIGMA * median(np.abs(deviation))
    square = floor * floor
    missing = np.isnan(deviation)
    known: Floats | int = count
    if missing.any():
        known = count - missing.sum(axis=-1, keepdims=True)
    sigma = np.sqrt((known * mad * mad + SHRINK * square) / (known + SHRINK) + square)
    z: Floats = np.minimum(np.maximum(deviation / sigma, -Z_MAX), Z_MAX)
    if np.min(known) < LEAST_OTHERS:
        z[np.broadcast_to(np.asarray(known) < LEAST_OTHERS, z.shape)] = np.nan
    return z, deviation


class Line(NamedTuple):
    """Regression of columns on current and time: see ``fit``. Arrays (n,) but the floors, which are for unit noise."""

    mean: Floats
    at_rest: Floats
    per_a: Floats
    per_s: Floats
    residual: Floats
    floor_mean: float
    floor_at_rest: float
    floor_per_a: float
    floor_per_s: float


class Moments(NamedTuple):
    """Of columns (t, n): mean (n,), squares (n,): sum of the squared distances from it."""

    mean: Floats
    squares: Floats


def moments_of(values: Floats) -> Moments:
    """In two passes over ``values`` (t, n), which must not be far from zero for what they move by (mV about a mean cell, not volts)."""
    mean = np.add.reduce(values) / len(values)
    return Moments(mean, np.maximum(np.einsum("ij,ij->j", values, values) - len(values) * mean * mean, 0.0))


def fit(values: Floats, current_a: Floats, time_s: Floats, swing_a: float, span_s: float, known: Moments | None = None) -> Line:
    """Ridge regression of each column of ``values`` (t, n), no NaN in it, on current and time.

    value = mean + per_a (I - mean I) + per_s (t - mean t) + residual; at_rest = mean - per_a mean I. swing_a, span_s: what counts as
    little excitation: with a current that swings by less, or rows over less time, the slopes shrink to 0.
    residual: root mean square. Floors: sigma of each for independent unit noise in the rows. known: the columns' moments, where they stand already.
    """
    rows = len(values)
    if known is None:
        mean = np.add.reduce(values) / rows
        values = values - mean  # exactly nothing where nothing moves
        there = np.einsum("ij,ij->j", values, values)
    else:
        mean, there = known
    mean_a = float(np.add.reduce(current_a)) / rows
    moved = np.empty((2, rows))
    np.subtract(current_a, mean_a, out=moved[0])
    np.subtract(time_s, float(np.add.reduce(time_s)) / rows, out=moved[1])
    plain = moved @ moved.T
    (aa, cross), (_, ss) = plain.tolist()
    aa, ss = aa + rows * swing_a * swing_a, ss + rows * span_s * span_s
    determinant = aa * ss - cross * cross
    inverse = np.array([[ss / determinant, -cross / determinant], [-cross / determinant, aa / determinant]])
    along = moved @ values  # what moved is centred, so the columns need not be
    slope = inverse @ along
    # the residuals' squares without the residuals: what is there, less what the slopes take away
    left = there + np.add.reduce(slope * (plain @ slope - 2.0 * along))
    floor_a, floor_s, floor_mean = math.sqrt(ss / determinant), math.sqrt(aa / determinant), 1.0 / math.sqrt(rows)
    return Line(
        mean=mean,
        at_rest=mean - slope[0] * mean_a,
        per_a=slope[0],
        per_s=slope[1],
        residual=np.sqrt(np.maximum(left, 0.0) / rows),
        floor_mean=floor_mean,
        floor_at_rest=math.hypot(floor_mean, floor_a * mean_a),
        floor_per_a=floor_a,
        floor_per_s=floor_s,
    )


def filled(values: Floats) -> tuple[Floats, Floats]:
    """(values with what is missing put to its column's mean, share missing of each column (n,)).

    A column of which less than half is known becomes NaN: it is unknown.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values, np.zeros(values.shape[1])
    share: Floats = missing.mean(axis=0)
    known = np.maximum(len(values) - missing.sum(axis=0), 1)
    mean = np.where(share > 0.5, np.nan, np.where(missing, 0.0, values).sum(axis=0) / known)
    return np.where(missing | (share > 0.5), mean, values), share
