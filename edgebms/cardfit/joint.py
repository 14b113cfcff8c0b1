"""One least-squares fit of a card's curves to all logs at once.

The state of charge of each row is known (counted from a known start), so the currents of the RC pairs
follow from the measured current alone, and the voltage is linear in the open-circuit voltage and in
each resistance, whose logarithms are interpolated over SOC and Arrhenius temperature just as the
runtime does (``estimator/cell_model.py``). Gauss-Newton on open-circuit voltages and logarithms,
Huber weights, smoothness where the data say nothing. scipy is imported inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.estimator.cell_model import GAS_OVER_FARADAY, KELVIN

Floats = NDArray[np.float64]

OCV_SOC = np.round(np.concatenate([[-0.02, 0.0, 0.01, 0.02, 0.03, 0.04], np.arange(0.05, 0.96, 0.025), [0.96, 0.97, 0.98, 0.99, 1.0]]), 4)
OHM_SOC = np.array([-0.02, 0.02, 0.05, 0.08, 0.11, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
NOISE_V = 0.004
"""Least standard deviation of a row: sensor and curve."""
NOISE_OF_DROP = 0.05
"""And of its overpotential, relative."""
HUBER = 2.0
SLOW_SCALE = 0.02
"""Prior of the scale of a slow log's charge, where it is free."""
ROUNDS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What the fit sees: one entry a row; (rows,) arrays. pair_a (pairs, rows): currents of the RC pairs.

    voltage_v: with the hysteresis taken off. weight: how many rows of a pulse log a row counts for.
    slow: which slow log with a free scale of its charge a row is of, -1 = none. Days of a low current may
    be counted less surely than the rest (the counter's offset); then the scale is fitted along.
    """

    soc: Floats
    temperature_c: Floats
    current_a: Floats
    voltage_v: Floats
    pair_a: Floats
    weight: Floats
    slow: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The result: temperature_c (T,), ocv_v (T, len(OCV_SOC)), others (T, len(OHM_SOC)); support (T, ...) is
    how many rows speak of each knot; rms_v of the rows by nearest temperature and SOC knot."""

    temperature_c: Floats
    ocv_v: Floats
    r0_ohm: Floats
    exchange_a: Floats
    pair_ohm: Floats
    tau_s: Floats
    ocv_support: Floats
    ohm_support: Floats
    slow_scale: Floats
    residual_v: Floats


def pair_currents(time_s: Floats, current_a: Floats, tau_s: Floats) -> Floats:
    """Currents through the resistors of RC pairs with time constants ``tau_s`` (pairs,), (pairs, rows).

    Row k's current flowed since row k-1. Exact for a current that is constant between rows.
    """
    dt = np.diff(time_s, prepend=time_s[0])
    out = np.zeros((tau_s.size, time_s.size))
    for k, tau in enumerate(tau_s):
        decay = np.exp(-dt / tau)
        fed = ((1.0 - decay) * current_a).tolist()
        level, levels = 0.0, []
        for keep, more in zip(decay.tolist(), fed, strict=True):
            level = keep * level + more
            levels.append(level)
        out[k] = levels
    return out


def thin(time_s: Floats, current_a: Floats, step_a: float) -> NDArray[np.intp]:
    """Rows to keep: dense after a step of the current, ever sparser in a rest or a long constant current."""
    keep, last_step_s, last_kept_s, level = [], time_s[0], -np.inf, current_a[0]
    for i in range(time_s.size):
        if abs(current_a[i] - level) > step_a:
            last_step_s, level = time_s[i], current_a[i]
            last_kept_s = -np.inf
        if time_s[i] - last_kept_s >= min(max(0.15 * (time_s[i] - last_step_s), 0.05), 60.0) - 1e-9:
            keep.append(i)
            last_kept_s = time_s[i]
    return np.array(keep, dtype=np.intp)


def hats(x: Floats, axis: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Index of the knot below and weight of the knot above; the end knots serve beyond."""
    if axis.size == 1:
        return np.zeros(x.shape, dtype=np.intp), np.zeros(x.shape)
    index = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, axis.size - 2)
    weight = np.clip((x - axis[index]) / (axis[index + 1] - axis[index]), 0.0, 1.0)
    return index, weight


def interpolation(at_soc: Floats, at_c: Floats, temperature_c: Floats, soc: Floats, arrhenius: bool) -> Any:
    """Sparse matrix (rows, T * S) of bilinear weights of the knots at the rows."""
    from scipy.sparse import csr_matrix

    axis, at = temperature_c, at_c
    if arrhenius:
        axis, at = -1.0 / (axis + KELVIN), -1.0 / (at + KELVIN)
    ti, tw = hats(at, axis)
    si, sw = hats(at_soc, soc)
    n, width = at_soc.size, soc.size
    up = 1 if temperature_c.size > 1 else 0
    columns = np.concatenate([ti * width + si, ti * width + si + 1, (ti + up) * width + si, (ti + up) * width + si + 1])
    weights = np.concatenate([(1 - tw) * (1 - sw), (1 - tw) * sw, tw * (1 - sw), tw * sw])
    return csr_matrix((weights, (np.tile(np.arange(n), 4), columns)), shape=(n, temperature_c.size * width))


def roughness(height: int, soc: Floats, soc_sigma: float, cross_sigma: float, low: float = 1.0) -> Any:
    """Prior rows: second differences over SOC (per knot distance of 0.05), and between neighbouring
    temperatures the difference of the slopes. Below a SOC of 0.2 both are looser, up to ``low`` times."""
    from scipy.sparse import csr_matrix

    lines, columns, values = [], [], []
    row, width = 0, soc.size
    loose = 1.0 + (low - 1.0) * np.clip((0.2 - soc) / 0.15, 0.0, 1.0)
    for t in range(height):
        for s in range(1, width - 1):
            a, b = soc[s] - soc[s - 1], soc[s + 1] - soc[s]
            size = (0.05 / (0.5 * (a + b))) ** 0.5 / soc_sigma / loose[s]
            lines += [row] * 3
            columns += [t * width + s - 1, t * width + s, t * width + s + 1]
            values += [size * b / (a + b), -size, size * a / (a + b)]
            row += 1
    for t in range(height - 1):
        for s in range(width - 1):
            size = (0.05 / (soc[s + 1] - soc[s])) ** 0.5 / cross_sigma / loose[s]
            lines += [row] * 4
            columns += [t * width + s, t * width + s + 1, (t + 1) * width + s, (t + 1) * width + s + 1]
            values += [size, -size, -size, size]
            row += 1
    return csr_matrix((values, (lines, columns)), shape=(row, height * width))


def flatness(height: int, soc: Floats, sigma: float) -> Any:
    """Prior rows: first differences over SOC, so that a curve runs out level where the data end."""
    from scipy.sparse import csr_matrix

    width = soc.size
    size = (0.05 / np.diff(soc)) ** 0.5 / sigma
    rows = np.arange(height * (width - 1))
    left = (rows // (width - 1)) * width + rows % (width - 1)
    weights = np.tile(size, height)
    return csr_matrix(
        (np.concatenate([-weights, weights]), (np.tile(rows, 2), np.concatenate([left, left + 1]))), shape=(rows.size, height * width)
    )


def fit(rows: Rows, temperature_c: Floats, tau_s: Floats, capacity_ah: float, given: Floats | None = None) -> Curves:
    """Fit all curves to ``rows``. temperature_c (T,): the temperatures of the tables.

    given (2 + pairs, T, len(OHM_SOC)): ohmic resistance, exchange current and pairs to hold on to, where
    no row tells them from the open-circuit voltage.
    """
    from scipy.sparse import block_diag, csr_matrix, diags, hstack, vstack

    pairs, height = tau_s.size, temperature_c.size
    ocv_size, knots = height * OCV_SOC.size, height * OHM_SOC.size
    typical_ohm = 0.07 / capacity_ah  # 70 mOhm Ah: a small power cell
    cold = np.repeat(np.exp(2500.0 * (1 / (temperature_c + KELVIN) - 1 / 298.15)), OHM_SOC.size)
    theta = [np.log(typical_ohm * cold**0.3), np.log(4.0 * capacity_ah / cold**2)] + [
        np.log(typical_ohm * 0.5 * cold) for _ in range(pairs)
    ]
    loose = 1.2
    if given is not None:
        theta, loose = [np.log(values.ravel()) for values in given], 0.01
    ocv = np.tile(np.interp(OCV_SOC, [0, 0.1, 1.0], [3.0, 3.4, 4.15]), height)
    slow_logs = int(rows.slow.max(initial=-1)) + 1
    scale = np.zeros(slow_logs)
    is_slow = np.flatnonzero(rows.slow >= 0)
    centre = np.concatenate([ocv, *theta, scale])
    # OCV bends by 6 mV per 0.05 of SOC (far more at the low end), resistances by 8 %.
    ocv_rough = roughness(height, OCV_SOC, 0.006, 0.001, low=6.0)
    ohm_rough = vstack([roughness(height, OHM_SOC, 0.08, 0.06, low=2.0), flatness(height, OHM_SOC, 0.35)]) * float(given is None)
    priors = block_diag([ocv_rough] + [ohm_rough] * (2 + pairs) + [csr_matrix((0, slow_logs))] * bool(slow_logs)).tocsr()
    tie = diags(np.concatenate([np.full(ocv_size, 1e-3), np.full(knots * (2 + pairs), 1.0 / loose), np.full(slow_logs, 1.0 / SLOW_SCALE)]))
    thermal = 2.0 * GAS_OVER_FARADAY * (rows.temperature_c + KELVIN)
    robust = np.ones(rows.soc.size)
    residual = np.zeros(rows.soc.size)
    for round_ in range(ROUNDS):
        if round_ == 0 or slow_logs:
            soc = rows.soc.copy()
            soc[is_slow] = 1.0 + (rows.soc[is_slow] - 1.0) * (1.0 + scale[rows.slow[is_slow]])
            ocv_map = interpolation(soc, rows.temperature_c, temperature_c, OCV_SOC, arrhenius=False)
            ohm_map = interpolation(soc, rows.temperature_c, temperature_c, OHM_SOC, arrhenius=True)
        r0, i0 = np.exp(ohm_map @ theta[0]), np.exp(ohm_map @ theta[1])
        pair = [np.exp(ohm_map @ theta[2 + k]) for k in range(pairs)]
        ratio = 0.5 * rows.current_a / i0
        terms = [r0 * rows.current_a, thermal * np.arcsinh(ratio)] + [pair[k] * rows.pair_a[k] for k in range(pairs)]
        slopes = [terms[0], -thermal * ratio / np.sqrt(1 + ratio**2), *terms[2:]]
        drop = np.sum(terms, axis=0)
        sigma = np.hypot(NOISE_V, NOISE_OF_DROP * drop)
        residual = rows.voltage_v - ocv_map @ ocv - drop
        if round_ > 2:
            z = np.abs(residual) / sigma
            robust = np.where(z > HUBER, HUBER / z, 1.0)
        weight = np.sqrt(rows.weight * robust) / sigma
        blocks = [ocv_map] + [diags(slope) @ ohm_map for slope in slopes]
        if slow_logs:
            ahead = interpolation(soc + 0.005, rows.temperature_c, temperature_c, OCV_SOC, arrhenius=False) @ ocv
            behind = interpolation(soc - 0.005, rows.temperature_c, temperature_c, OCV_SOC, arrhenius=False) @ ocv
            lever = ((ahead - behind) / 0.01 * (rows.soc - 1.0))[is_slow]
            blocks.append(csr_matrix((lever, (is_slow, rows.slow[is_slow])), shape=(soc.size, slow_logs)))
        full = vstack([diags(weight) @ hstack(blocks), priors, tie]).tocsr()
        now = np.concatenate([ocv, *theta, scale])
        target = np.concatenate([weight * residual, -(priors @ now), -(tie @ (now - centre))])
        step = np.linalg.solve((full.T @ full).toarray() + 1e-9 * np.eye(now.size), full.T @ target)
        ocv = ocv + step[:ocv_size]
        theta = [theta[i] + np.clip(step[ocv_size + i * knots : ocv_size + (i + 1) * knots], -1.0, 1.0) for i in range(2 + pairs)]
        scale = scale + np.clip(step[now.size - slow_logs :], -0.01, 0.01)
    shape = (height, OHM_SOC.size)
    ocv_support = np.asarray(ocv_map.sum(axis=0)).reshape(height, -1)
    return Curves(
        temperature_c=temperature_c,
        ocv_v=np.array([rising(line, support + 1e-3) for line, support in zip(ocv.reshape(height, -1), ocv_support, strict=True)]),
        r0_ohm=np.exp(theta[0]).reshape(shape),
        exchange_a=np.exp(theta[1]).reshape(shape),
        pair_ohm=np.exp(np.array(theta[2:])).reshape(pairs, *shape),
        tau_s=tau_s,
        ocv_support=ocv_support,
        ohm_support=np.asarray(ohm_map.sum(axis=0)).reshape(shape),
        slow_scale=scale,
        residual_v=residual,
    )


def rising(values: Floats, weights: Floats) -> Floats:
    """The nearest curve (weighted least squares) that nowhere falls: pool adjacent violators.

    >>> rising(np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4)).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        count = 1
        while pools and pools[-1][0] > value:
            before, its_weight, its_count = pools.pop()
            value = (before * its_weight + value * weight) / (its_weight + weight)
            weight, count = weight + its_weight, count + its_count
        pools.append((value, weight, count))
    return np.concatenate([np.full(count, value) for value, _, count in pools])
