"""What can be asked of a temperature probe. Each function gives a Profile over the probes, None = too little history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgebms.evidence.past import Past
from edgebms.evidence.profile import Profile, profile
from edgebms.evidence.robust import Floats, Line, filled, fit, standing

SENSOR_K = 0.3
"""What two sound probes may differ by."""
NOISE_K = 0.15
COARSE_K = 0.4
SPAN_SHARE = 0.1
STILL_FLOOR = 0.1
STILL_K = 0.03
MISSING_UNIT = 0.1
RATE_UNIT_K_PER_MIN = 1.0
PEAK_ROWS = 6
"""Rows over which a rise counts as steep: of an hour's rows a minute."""
HEAT_UNIT_K = 10.0


class Warmth(NamedTuple):
    """Probes over a window: temperature_c (t, probes) with what is missing filled; share missing (probes,)."""

    time_s: Floats
    temperature_c: Floats
    missing: Floats
    fitted: Line


def warmth(past: Past, window_s: float) -> Warmth | None:
    """None = too little history, or no probe at all."""
    key = ("warmth", window_s)
    if key not in past.worked:
        window = past.window(window_s)
        if window is None or past.scale.probes < 1:
            past.worked[key] = None
        else:
            whole, missing = filled(window.temperature_c.astype(float))
            fitted = fit(whole, np.zeros(len(whole)), window.time_s, 1.0, SPAN_SHARE * window_s)
            past.worked[key] = Warmth(window.time_s, whole, missing, fitted)
    found: Warmth | None = past.worked[key]
    return found


def temperature_deviation(past: Past, window_s: float) -> Profile | None:
    """Mean distance from the median probe, K; its change with time beyond the median's, K/h; distance from the mean of its neighbours
    along the pack, K. Relative: z."""
    seen = warmth(past, window_s)
    if seen is None:
        return None
    level = seen.fitted.mean
    values = np.stack((level, seen.fitted.per_s * 3600.0, level - beside(level)))
    floors = np.stack((np.full(len(level), SENSOR_K), slope_floor(seen.fitted) * 3600.0, np.full(len(level), 1.2 * SENSOR_K)))
    z, apart = standing(values, floors)
    return profile(list(apart), z, False)


def slope_floor(fitted: Line) -> Floats:
    """Sigma of each probe's change with time, K/s: by the noise of sound probes, and by what its own rows leave unexplained, as far as counting in
    whole kelvins makes that: it steps once in a while, and has not warmed by one."""
    return np.asarray(np.hypot(NOISE_K, np.minimum(fitted.residual, COARSE_K)) * fitted.floor_per_s, dtype=float)


def beside(values: Floats) -> Floats:
    """Mean of the neighbours' values, (n,); at the ends of the one neighbour.

    >>> beside(np.array([1.0, 2.0, 5.0]))
    array([2., 3., 2.])
    """
    if len(values) < 2:
        return np.full(values.shape, np.nan)
    left, right = np.append(np.nan, values[:-1]), np.append(values[1:], np.nan)
    both = np.where(np.isnan(left), right, np.where(np.isnan(right), left, 0.5 * (left + right)))
    return np.asarray(both, dtype=float)


def thermal_rate(past: Past, window_s: float) -> Profile | None:
    """Rate of warming, K/min; latest temperature, degC; rate beyond the median probe's, K/min.

    Relative: over 1 K/min; distance above the card's highest operating temperature over 10 K; z.
    """
    seen = warmth(past, window_s)
    if seen is None:
        return None
    rate = seen.fitted.per_s * 60.0
    latest = seen.temperature_c[-1]
    z, apart = standing(rate[None], slope_floor(seen.fitted)[None] * 60.0)
    above = (latest - past.scale.temperature_max_c) / HEAT_UNIT_K
    return profile([rate, latest, apart[0]], [rate / RATE_UNIT_K_PER_MIN, above, z[0]], False, slice(2, 3))


def probe_sensor(past: Past, window_s: float) -> Profile | None:
    """Decades by which the probe moved more than the median probe; share of rows without a value; largest step from one row to the next
    beyond the median's, K. Relative: z; share over 10 %; z."""
    seen = warmth(past, window_s)
    if seen is None:
        return None
    known = seen.missing <= 0.5
    moved = np.full(len(known), np.nan)
    moved[known] = np.log10(seen.temperature_c[:, known].std(axis=0) + STILL_K)
    still, apart = standing(moved[None], np.array([[STILL_FLOOR]]))
    step = np.abs(np.diff(seen.temperature_c, axis=0)).max(axis=0)
    jump, beyond = standing(step[None], np.array([[SENSOR_K]]))
    return profile([apart[0], seen.missing, beyond[0]], [still[0], seen.missing / MISSING_UNIT, jump[0]], False)


def thermal_peak(past: Past, window_s: float) -> Profile | None:
    """Highest temperature of the window, degC; that beyond the median probe's, K; steepest rise over six rows, K/min.

    Relative: distance above the card's highest operating temperature over 10 K; z; over 1 K/min.
    """
    seen = warmth(past, window_s)
    if seen is None or len(seen.time_s) <= PEAK_ROWS:
        return None
    peak = seen.temperature_c.max(axis=0)
    z, beyond = standing(peak[None], np.array([[SENSOR_K]]))
    minutes = (seen.time_s[PEAK_ROWS:] - seen.time_s[:-PEAK_ROWS]) / 60.0
    steepest = ((seen.temperature_c[PEAK_ROWS:] - seen.temperature_c[:-PEAK_ROWS]) / minutes[:, None]).max(axis=0)
    above = (peak - past.scale.temperature_max_c) / HEAT_UNIT_K
    return profile([peak, beyond[0], steepest], [above, z[0], steepest / RATE_UNIT_K_PER_MIN], False, slice(1, 2))
