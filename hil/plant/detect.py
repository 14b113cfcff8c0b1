"""Is a fault *detectable*: does some quantity of the recording depart from its healthy twin's by 4 healthy sigmas?

Each quantity can be computed from the recording of one pack, without the twin: it is relative to the pack (its median cell, its first window)
or to its card. The twin has the same seed, so the difference is the fault's; sigma is the standard deviation of the quantity over
all healthy runs of the batch, and no less than ``FLOOR``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil.plant.curves import OCV_STEP, OCV_WIDTH, SOC_LOW, T_LOW_C, T_STEP_K, Curves
from hil.plant.packs import Packs
from hil.plant.sense import Sampled

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

WINDOW_S = 300.0
ENOUGH = 4.0
"""Standard deviations of healthy runs that make a fault detectable."""
HEALTHY_ROWS = 160
"""Healthy runs that sigma is taken over, at most."""
FLOOR = {
    "cell level, z": 0.5,
    "cell change, z": 0.5,
    "cell resistance, z": 0.5,
    "cell dip, z": 0.5,
    "cell jump, z": 0.5,
    "cell stillness, z": 0.5,
    "cells missing, 1": 0.005,
    "probe level, z": 0.5,
    "probe change, z": 0.5,
    "probe rise, z": 0.5,
    "probe stillness, z": 0.5,
    "probes missing, 1": 0.005,
    "pack warming, K": 0.2,
    "pack temperature spread, K": 0.2,
    "charge against voltage, 1": 0.002,
    "sum against pack, V": 0.05,
    "beyond the limits, V": 0.005,
    "current, 1/h": 0.05,
    "insulation, decades": 0.02,
    "gas, 1": 0.01,
}
"""Least sigma of each quantity: what sensors of this kind cannot tell apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Recordings of many rows (packs and twins) side by side: arrays (t, rows, ...) in float32."""

    time_s: Floats
    cell_voltage_v: Singles
    temperature_c: Singles
    current_a: Singles
    voltage_v: Singles
    insulation_ohm: Singles
    gas: Singles

    @classmethod
    def empty(cls, snapshots: int, rows: int, cells: int, probes: int) -> Seen:
        def blank(*shape: int) -> Singles:
            return np.empty((snapshots, rows, *shape), np.float32)

        return cls(np.zeros(snapshots), blank(cells), blank(probes), blank(), blank(), blank(), blank())

    def put(self, at: int, sampled: Sampled) -> None:
        self.time_s[at] = sampled.time_s
        for name in ("cell_voltage_v", "temperature_c", "current_a", "voltage_v", "insulation_ohm", "gas"):
            getattr(self, name)[at] = getattr(sampled, name)


def departures(
    curves: Curves, packs: Packs, seen: Seen, period_s: float, twin_row: dict[int, int], healthy: NDArray[np.intp]
) -> dict[int, tuple[float, str, float]]:
    """For each pack with a twin: (largest departure in healthy sigmas, the quantity's name, the end of the first window in which any
    quantity departs by ENOUGH of them, s; inf = never)."""
    capacity_ah = (packs.build.capacity_as.mean(axis=1) * packs.build.parallel[:, 0]) / 3600.0
    healthy = healthy[-HEALTHY_ROWS:]  # the twins come last
    wanted = sorted({*twin_row, *twin_row.values(), *(int(row) for row in healthy)})
    measured = {row: quantities(curves, seen, row, period_s, float(capacity_ah[row])) for row in wanted}
    sigma = {}
    for name, floor in FLOOR.items():
        pooled = np.concatenate([measured[int(row)][name].ravel() for row in healthy]) if healthy.size else np.zeros(0)
        known = pooled[np.isfinite(pooled)]
        sigma[name] = max(floor, float(known.std()) if known.size > 1 else floor)
    out, width = {}, rows_of_window(len(seen.time_s), period_s)
    for pack, twin in twin_row.items():
        best, first = (0.0, ""), np.inf
        for name in FLOOR:
            apart = np.abs(measured[pack][name] - measured[twin][name]) / sigma[name]
            largest = float(np.nanmax(apart)) if np.isfinite(apart).any() else 0.0
            best = max(best, (largest, name))
            reached = np.flatnonzero((apart >= ENOUGH).any(axis=-1))  # NaN is not
            if reached.size:
                first = min(first, float(seen.time_s[(int(reached[0]) + 1) * width - 1]))
        out[pack] = (*best, first)
    return out


def rows_of_window(rows: int, period_s: float) -> int:
    """Rows that each of the windows takes of a recording of ``rows``."""
    width = max(2, round(WINDOW_S / period_s))
    windows = max(1, rows // width)
    return min(windows * width, rows) // windows


def quantities(curves: Curves, seen: Seen, row: int, period_s: float, capacity_ah: float) -> dict[str, Floats]:
    """All quantities of one row, by name: (windows, cells or probes or 1)."""
    width = rows_of_window(len(seen.time_s), period_s)
    windows = max(1, len(seen.time_s) // max(2, round(WINDOW_S / period_s)))
    used = windows * width

    def cut(values: Singles) -> Singles:
        return values[:used].reshape(windows, width, -1)

    cells, probes = cut(seen.cell_voltage_v[:, row]), cut(seen.temperature_c[:, row])
    current = cut(seen.current_a[:, row])[:, :, 0]
    mean_v, mean_c = nanmean(cells).astype(float), nanmean(probes).astype(float)
    with np.errstate(all="ignore"):
        return {
            **of_cells(cells, mean_v, current, capacity_ah),
            **of_probes(probes, mean_c, period_s),
            **of_pack(curves, cells, mean_v, mean_c, current, seen, row, period_s, capacity_ah),
        }


def of_cells(cells: Singles, mean: Floats, current: Singles, capacity_ah: float) -> dict[str, Floats]:
    missing = np.isnan(cells)
    whole = not missing.any()
    level = mean - median(mean)
    swing = (current - current.mean(axis=1, keepdims=True)).astype(np.float32)
    filled = cells if whole else np.where(missing, mean[:, None, :].astype(np.float32), cells)
    # how far each cell answers to the current; a window without current says nothing: its answer shrinks to 0
    answer = np.matmul(swing[:, None, :], filled - mean[:, None, :].astype(np.float32))[:, 0, :].astype(float)
    swing_a = np.sqrt((swing.astype(float) ** 2).mean(axis=1))[:, None]
    least_a = 0.02 * capacity_ah
    volts = answer / swing.shape[1] / np.hypot(swing_a, least_a)
    steps = np.diff(filled, axis=1)
    steps -= steps.mean(axis=2, keepdims=True)
    return {
        "cell level, z": z(level, 1e-3),
        "cell change, z": z(level - level[:1], 5e-4),
        "cell resistance, z": z(volts, 2e-4),
        "cell dip, z": z(steps.min(axis=1).astype(float), 1e-3),
        "cell jump, z": z(steps.max(axis=1).astype(float), 1e-3),
        "cell stillness, z": z(np.log10(filled.std(axis=1).astype(float) + 1e-4), 0.05),
        "cells missing, 1": np.zeros_like(mean) if whole else missing.mean(axis=1),
    }


def z(values: Floats, floor: float) -> Floats:
    """Distance from the pack's median in robust standard deviations of the pack, (windows, n); ``floor``: the sensors' own."""
    apart = values - median(values)
    spread = 1.4826 * median(np.abs(apart))
    return apart / np.hypot(spread, floor)


def of_probes(probes: Singles, mean: Floats, period_s: float) -> dict[str, Floats]:
    missing = np.isnan(probes)
    whole = not missing.any()
    level = mean - median(mean)
    lag = max(1, min(round(60.0 / period_s), probes.shape[1] - 1))
    rise = probes[:, lag:] - probes[:, :-lag]
    # numpy's functions for NaN cost three times as much
    rise -= rise.mean(axis=2, keepdims=True) if whole else np.nanmean(rise, axis=2, keepdims=True)
    highest = np.fmax.reduce(rise, axis=1).astype(float)
    square = nanmean(probes * probes).astype(float) - mean * mean
    return {
        "probe level, z": z(level, 0.3),
        "probe change, z": z(level - level[:1], 0.1),
        "probe rise, z": z(highest, 0.1),
        "probe stillness, z": z(np.log10(np.sqrt(np.maximum(square, 0.0)) + 0.05), 0.05),
        "probes missing, 1": np.zeros_like(mean) if whole else missing.mean(axis=1),
    }


def of_pack(
    curves: Curves,
    cells: Singles,
    mean_v: Floats,
    mean_c: Floats,
    current: Singles,
    seen: Seen,
    row: int,
    period_s: float,
    capacity_ah: float,
) -> dict[str, Floats]:
    pack_c = np.nanmean(mean_c, axis=1, keepdims=True)
    used = cells.shape[0] * cells.shape[1]
    middle_v = median(mean_v)[:, 0]
    mean_a = current.astype(float).mean(axis=1)
    moved_ah = np.cumsum(current.astype(float).ravel()).reshape(current.shape).mean(axis=1) * period_s / 3600.0
    # one resistance for the pack's mean cell, from all windows that differ in current
    apart = np.vstack([mean_a, moved_ah, np.ones_like(mean_a)]).T
    fit = np.linalg.lstsq(apart, middle_v, rcond=None)[0] if len(mean_a) > 4 else np.zeros(3)
    soc = soc_of(curves, middle_v - np.clip(fit[0], 0.0, None) * mean_a)
    total = seen.voltage_v[:used, row].astype(float) - cells.sum(axis=2).ravel()  # NaN where a cell is missing
    highest, lowest = np.fmax.reduce(cells, axis=(1, 2)), np.fmin.reduce(cells, axis=(1, 2))
    beyond = np.maximum(highest - curves.voltage_max_v, 0.0) + np.maximum(curves.voltage_min_v - lowest, 0.0)
    shape = (cells.shape[0], -1)
    return {
        "pack warming, K": pack_c - pack_c[:1],
        "pack temperature spread, K": np.nanmax(mean_c, axis=1, keepdims=True) - np.nanmin(mean_c, axis=1, keepdims=True),
        "charge against voltage, 1": ((soc - soc[0]) - (moved_ah - moved_ah[0]) / capacity_ah)[:, None],
        "sum against pack, V": np.nanmean(total.reshape(shape), axis=1)[:, None],
        "beyond the limits, V": beyond.astype(float)[:, None],
        "current, 1/h": np.abs(current).max(axis=1).astype(float)[:, None] / capacity_ah,
        "insulation, decades": np.log10(seen.insulation_ohm[:used, row].astype(float)).reshape(shape).mean(axis=1)[:, None],
        "gas, 1": seen.gas[:used, row].astype(float).reshape(shape).max(axis=1)[:, None],
    }


def soc_of(curves: Curves, voltage_v: Floats) -> Floats:
    """SOC of an open-circuit voltage at 25 degC, from the card."""
    at = round((25.0 - T_LOW_C) / T_STEP_K) * OCV_WIDTH
    return np.interp(voltage_v, curves.ocv_v[at : at + OCV_WIDTH], SOC_LOW + OCV_STEP * np.arange(OCV_WIDTH))


def median(values: Floats) -> Floats:
    """Over the last axis, which stays with length 1; NaN are left out. (numpy's own for NaN is slow on small arrays.)"""
    ordered = np.sort(values, axis=-1)  # NaN come last
    count = values.shape[-1]
    if not np.isnan(ordered[..., -1]).any():
        low, high = (count - 1) // 2, count // 2
        return 0.5 * (ordered[..., low : low + 1] + ordered[..., high : high + 1])
    known = np.maximum(count - np.isnan(values).sum(axis=-1, keepdims=True), 1)
    low_v = np.take_along_axis(ordered, (known - 1) // 2, axis=-1)
    return 0.5 * (low_v + np.take_along_axis(ordered, known // 2, axis=-1))


def nanmean(values: Singles) -> Floats:
    """Over the middle axis, in float32 and without warnings; NaN where nothing is known."""
    missing = np.isnan(values)
    if not missing.any():
        return values.mean(axis=1)
    known = (~missing).sum(axis=1)
    return np.where(known, np.where(missing, 0.0, values).sum(axis=1) / np.maximum(known, 1), np.nan)
