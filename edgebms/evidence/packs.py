"""What can be asked of the pack as a whole: each function gives (values (4,), relatives (4,)), NaN = unknown.

None has a peer in the pack: they are relative to the sensors' floor, to the card, or absolute where physics makes them so.
A verdict that leans on them stays at `watch` until this pack's own slow history stands (see ``baseline``).
"""

from __future__ import annotations

import math

import numpy as np

from edgebms.evidence.cells import SWING_C, spread
from edgebms.evidence.past import LEAST_ROWS, Past, soc_of
from edgebms.evidence.probes import warmth
from edgebms.evidence.robust import Floats, fit

Numbers = tuple[Floats, Floats]

SUM_FLOOR_V = 0.05
CURRENT_UNIT_C = 0.1
OFFSET_UNIT_C = 0.002
VOLTAGE_UNIT_V = 0.1
FALL_UNIT_V = 0.05
DRIFT_UNIT = 0.01
SPREAD_UNIT_K = 2.0
WARMING_UNIT_K_PER_H = 2.0
HEAT_UNIT_K = 5.0
SOUND_OHM = 1e6
GAS_UNIT = 0.05
PRESSURE_UNIT_PA = 1000.0
MISSING_UNIT = 0.1


def numbers(*pairs: tuple[float, float]) -> Numbers:
    """(value, relative) pairs as a pair of arrays."""
    both = np.array(pairs, dtype=float)
    return both[:, 0], both[:, 1]


def sum_mismatch(past: Past, window_s: float) -> Numbers | None:
    """Pack voltage less the sum of its cells: mean, V; change with time, V/h; answer to the current, ohm; latest, V.

    Relative: over the floor of a sum of so many sensors.
    """
    window = past.window(window_s)
    if window is None:
        return None
    apart = window.voltage_v.astype(float) - window.cell_voltage_v.sum(axis=1, dtype=np.float64)
    current = window.current_a.astype(float)
    rows = np.isfinite(apart + current)
    if rows.sum() < LEAST_ROWS:
        return None
    swing_a = SWING_C * past.scale.capacity_ah
    line = fit(apart[rows, None], current[rows], window.time_s[rows], swing_a, 0.1 * window_s)
    floor_v = float(np.hypot(SUM_FLOOR_V, past.scale.sensor_v * np.sqrt(past.scale.cells)))
    latest = float(apart[rows][-1])
    per_h, per_a = float(line.per_s[0]) * 3600.0, float(line.per_a[0])
    return numbers(
        (float(line.mean[0]), float(line.mean[0]) / floor_v),
        (per_h, per_h / (floor_v * line.floor_per_s * 3600.0)),
        (per_a, per_a / (floor_v * line.floor_per_a)),
        (latest, latest / floor_v),
    )


def current(past: Past, window_s: float) -> Numbers | None:
    """Highest magnitude, mean, standard deviation and least magnitude of the current, 1/h.

    Relative: highest over what the card allows in that direction; others over 0.1/h; the least over 0.002/h (an offset never rests at 0).
    """
    window = past.window(window_s)
    if window is None:
        return None
    rates = window.current_a.astype(float) / past.scale.capacity_ah
    rates = rates[np.isfinite(rates)]
    if len(rates) < LEAST_ROWS:
        return None
    peak = float(rates[np.abs(rates).argmax()])
    least = float(rates[np.abs(rates).argmin()])
    allowed = past.scale.charge_c_rate if peak > 0 else past.scale.discharge_c_rate
    mean, swing = float(rates.mean()), float(rates.std())
    return numbers((peak, peak / allowed), (mean, mean / CURRENT_UNIT_C), (swing, swing / CURRENT_UNIT_C), (least, least / OFFSET_UNIT_C))


def pack_voltage(past: Past, window_s: float) -> Numbers | None:
    """The mean cell: latest voltage, V; its answer to the current over the card's resistance, 1; largest fall from one row to the next that
    the current does not explain, V; what neither current nor time explain, V.

    Relative: place between the card's limits, -1..1; decades of the ratio; over 50 mV; over the sensor's floor.
    """
    seen = spread(past, window_s)
    if seen is None:
        return None
    scale = past.scale
    line = fit(seen.middle_v[:, None], seen.current_a, seen.time_s, SWING_C * scale.capacity_ah, 0.1 * window_s)
    latest = float(seen.middle_v[-1])
    place = 2.0 * (latest - scale.voltage_min_v) / (scale.voltage_max_v - scale.voltage_min_v) - 1.0
    ratio = float(line.per_a[0]) / scale.resistance_ohm if seen.loaded else math.nan
    steps = np.diff(seen.middle_v - line.per_a[0] * seen.current_a)
    fall = float(steps[np.abs(steps).argmax()])
    left = float(line.residual[0])
    return numbers(
        (latest, place),
        (ratio, math.log10(max(ratio, 0.01)) if math.isfinite(ratio) else math.nan),
        (fall, fall / FALL_UNIT_V),
        (left, left / scale.sensor_v),
    )


def charge_against_voltage(past: Past, window_s: float) -> Numbers | None:
    """State of charge by the mean cell's voltage (current taken out by the pack's own resistance) against counted charge: drift apart, 1/h;
    apart from the window's first to its last third, 1; charge moved, 1; resistance over the card's, 1.

    Relative: over 1 %/h, over 1 %, over 10 %, decades.
    """
    seen = spread(past, window_s)
    if seen is None or not seen.loaded:
        return None
    scale = past.scale
    step_s = np.diff(seen.time_s)
    moved = np.append(0.0, np.cumsum(0.5 * (seen.current_a[1:] + seen.current_a[:-1]) * step_s)) / (3600.0 * scale.capacity_ah)
    # the charge moved explains most of the voltage: it stands for time in the fit of the resistance
    line = fit(seen.middle_v[:, None], seen.current_a, moved * 3600.0, SWING_C * scale.capacity_ah, 36.0)
    ohm = min(max(float(line.per_a[0]), 0.0), 10.0 * scale.resistance_ohm)
    apart = soc_of(scale, seen.middle_v - ohm * seen.current_a) - moved
    drift = fit(apart[:, None], np.zeros(len(apart)), seen.time_s, 1.0, 0.1 * window_s)
    per_h = float(drift.per_s[0]) * 3600.0
    third = max(len(apart) // 3, 1)
    change = float(apart[-third:].mean() - apart[:third].mean())
    ratio = ohm / scale.resistance_ohm
    return numbers(
        (per_h, per_h / DRIFT_UNIT),
        (change, change / DRIFT_UNIT),
        (float(moved[-1]), float(moved[-1]) / 0.1),
        (ratio, math.log10(max(ratio, 0.01))),
    )


def pack_warming(past: Past, window_s: float) -> Numbers | None:
    """The mean probe's rate, K/h; that over the mean square of the C-rate (how well heat is carried away), K per 1/h; spread from the
    coldest to the hottest probe, K; mean temperature, degC.

    Relative: over 2 K/h; over 5; over 2 K; distance above the card's highest operating temperature over 5 K.
    """
    seen, window = warmth(past, window_s), past.window(window_s)
    if seen is None or window is None:
        return None
    means = seen.fitted.mean[np.isfinite(seen.fitted.mean)]
    slopes = seen.fitted.per_s[np.isfinite(seen.fitted.mean)]
    if not len(means):
        return None
    rates = window.current_a.astype(float) / past.scale.capacity_ah
    rates = rates[np.isfinite(rates)]
    heat = float((rates * rates).mean()) if len(rates) else math.nan
    per_h, level, apart = float(slopes.mean()) * 3600.0, float(means.mean()), float(means.max() - means.min())
    per_heat = per_h / (heat + 0.05)
    return numbers(
        (per_h, per_h / WARMING_UNIT_K_PER_H),
        (per_heat, per_heat / HEAT_UNIT_K),
        (apart, apart / SPREAD_UNIT_K),
        (level, (level - past.scale.temperature_max_c) / HEAT_UNIT_K),
    )


def insulation(past: Past, window_s: float) -> Numbers | None:
    """Latest resistance, ohm; fall from the window's first to its last row, decades; least, ohm; share missing, 1.

    Relative: decades below 1 Mohm; decades; decades below 1 Mohm; share over 10 %.
    """
    window = past.window(window_s)
    if window is None:
        return None
    ohm = window.insulation_ohm.astype(float)
    known = ohm[ohm > 0]  # NaN is not
    if not len(known):
        return None
    latest, least = float(known[-1]), float(known.min())
    fall = math.log10(float(known[0]) / latest)
    missing = 1.0 - len(known) / len(ohm)
    below, lowest = math.log10(SOUND_OHM / latest), math.log10(SOUND_OHM / least)
    return numbers((latest, below), (fall, fall), (least, lowest), (missing, missing / MISSING_UNIT))


def gas(past: Past, window_s: float) -> Numbers | None:
    """Highest reading of the gas sensor and its rise over the window, 1; highest pressure and its rise, Pa.

    Relative: over 0.05; over 1 kPa, the level against the window's first. A sensor that is not fitted is unknown.
    """
    window = past.window(window_s)
    if window is None:
        return None
    pairs: list[tuple[float, float]] = []
    for column, unit, absolute in ((window.gas, GAS_UNIT, True), (window.pressure_pa, PRESSURE_UNIT_PA, False)):
        known = column[np.isfinite(column)].astype(float)
        if not len(known):
            pairs += [(math.nan, math.nan), (math.nan, math.nan)]
            continue
        highest, rise = float(known.max()), float(known[-1] - known[0])
        pairs += [(highest, (highest if absolute else highest - float(known[0])) / unit), (rise, rise / unit)]
    return numbers(*pairs) if any(math.isfinite(value) for value, _ in pairs) else None


def coolant(past: Past, window_s: float) -> Numbers | None:
    """How far the coolant is below the mean probe, K; its change with time, K/h; its temperature, degC; share missing, 1.

    Relative: over 5 K; over 2 K/h; distance above the card's highest operating temperature over 5 K; share over 10 %.
    """
    window, seen = past.window(window_s), warmth(past, window_s)
    if window is None or seen is None:
        return None
    coolant_c = window.coolant_c.astype(float)
    rows = np.isfinite(coolant_c)
    means = seen.fitted.mean[np.isfinite(seen.fitted.mean)]
    if rows.sum() < LEAST_ROWS or not len(means):
        return None
    line = fit(coolant_c[rows, None], np.zeros(int(rows.sum())), window.time_s[rows], 1.0, 0.1 * window_s)
    level, per_h = float(line.mean[0]), float(line.per_s[0]) * 3600.0
    below, missing = float(means.mean()) - level, float(1.0 - rows.mean())
    return numbers(
        (below, below / HEAT_UNIT_K),
        (per_h, per_h / WARMING_UNIT_K_PER_H),
        (level, (level - past.scale.temperature_max_c) / HEAT_UNIT_K),
        (missing, missing / MISSING_UNIT),
    )


def coverage(past: Past, window_s: float) -> Numbers | None:
    """Shares that are missing: of the cells' rows, of the probes', of the current's, and of the worst cell's. Relative: over 10 %."""
    window = past.window(window_s)
    if window is None:
        return None
    lost = np.isnan(window.cell_voltage_v).mean(axis=0)
    probes = float(np.isnan(window.temperature_c).mean()) if past.scale.probes else math.nan
    shares = (float(lost.mean()), probes, float(np.isnan(window.current_a).mean()), float(lost.max()))
    return numbers(*((share, share / MISSING_UNIT) for share in shares))
