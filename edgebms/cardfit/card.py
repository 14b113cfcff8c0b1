"""From characterisation logs to a cell card: what each log holds, one joint fit, and what is missing.

What the logs do not tell is taken from a fallback card (the chemistry's generic one), scaled to this
cell where the two can be compared, and marked so in the table's source.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.cardfit.joint import OCV_SOC, OHM_SOC, Curves, Rows, fit, pair_currents, thin
from edgebms.cardfit.log import Kinds, Log, kinds
from edgebms.cellcard import Accuracy, CardLimits, CellCard, Ocv, Relaxation, Table
from edgebms.errors import LogError
from edgebms.estimator.cell_model import PAIRS, CellModel, resample
from edgebms.vocabulary import Chemistry

Floats = NDArray[np.float64]

TAU_S = np.array([4.0, 50.0, 700.0])
"""Time constants of the RC pairs: within a factor 2 of these the fit to LG HG2's train logs is the same."""
HYSTERESIS_SWING = {Chemistry.LFP: 0.03, Chemistry.NMC: 0.05, Chemistry.NCA: 0.05, Chemistry.LCO: 0.05}
SAME_TEMPERATURE_K = 6.0
MIN_SUPPORT = 0.5
"""Rows that must speak of a knot for it to count as measured."""
MIN_PULSES = 3
SLOW_WEIGHT = 1.0
"""A row of a slow log stands for a minute, one of a pulse log for a second or less."""
DRIVE_ROW_S = 7.0
"""One row in so many seconds of a log in use: the next ones tell the same."""
DRIVE_WEIGHT = 0.5
SANE = (1e-5, 90.0)
"""Resistances, ohm, and exchange currents, A, that a card may hold; where nothing is measured a ratio may leave it."""
MIN_CONFLICT = 0.02
"""A slow log's count is taken as right unless the others contradict it by more than this."""
STEP_C = 0.1
REFERENCE_C = 25.0
COUNT_ERROR = 0.008
"""Of the charge counted from full: between 0.5 and 1.2 %, chosen on train so that the joins at 30 % lie inside their sigma."""
FLOOR_V = 0.003
"""Least model error that a card states: below, label and sensor decide."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The card, what was found in which log, what could not be identified, and the rows for the plot."""

    card: CellCard
    found: tuple[str, ...]
    missing: tuple[str, ...]
    rows: Rows
    residual_v: Floats

    def errors(self) -> list[str]:
        """Root mean square of the residual by temperature, one line each."""
        lines = []
        for temperature in self.card.ocv.voltage.temperature_c:
            near = np.abs(self.rows.temperature_c - temperature) < SAME_TEMPERATURE_K
            inner = near & (self.rows.soc > 0.2)
            if inner.any():
                lines.append(
                    f"{temperature:6.1f} degC: {1e3 * rms(self.residual_v[near]):.1f} mV, above SOC 0.2 {1e3 * rms(self.residual_v[inner]):.1f} mV"
                )
        return lines


def rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def fit_card(
    logs: list[Log],
    name: str,
    cell: str,
    chemistry: Chemistry,
    nominal_ah: float,
    reference_ah: float | None,
    limits: CardLimits,
    fallback: CellCard,
    drives: tuple[Log, ...] = (),
) -> Fitted:
    """Fit a card to ``logs``. reference_ah: the capacity that SOC counts in; None = that of the slow
    discharge nearest to 25 degC, or the nominal one where there is none. drives: logs of the cell in use, counted
    from full, which show loads and temperatures that characterisation does not. Raises LogError."""
    told = [(log, kinds(log, nominal_ah)) for log in logs]
    found = tuple(f"{log.name}: {kind.words}, {log.median_c:.0f} degC" + (" (assumed)" if log.assumed_c else "") for log, kind in told)
    missing: list[str] = []
    if reference_ah is None:
        reference_ah = slow_capacity(told) or nominal_ah
        if slow_capacity(told) is None:
            missing.append("reference capacity: no slow discharge over the whole range, so SOC counts in the nominal capacity")
    used = [(log, kind) for log, kind in told if kind.slow_discharge or kind.slow_charge or kind.pulses >= MIN_PULSES or kind.constant_c]
    missing += [f"{log.name}: left out, it holds {kind.words}" for log, kind in told if (log, kind) not in used]
    starts = [(log, kind) for log, kind in used if starts_full(log, limits, nominal_ah)]
    missing += [
        f"{log.name}: left out, it does not start full and has no net_capacity_ah from a full charge"
        for log, kind in used
        if (log, kind) not in starts
    ]
    if not starts:
        raise LogError(
            "no log from a full charge with a slow discharge, pulses or a constant-current discharge",
            where="fit",
            mend="record such a test from full, or add the column net_capacity_ah counted from the last full charge",
        )
    temperatures = group_temperatures(starts)
    swing = HYSTERESIS_SWING[chemistry]
    both = any(kind.slow_discharge and kind.slow_charge for _, kind in starts)
    hysteresis = np.zeros(OCV_SOC.size) if both else np.interp(OCV_SOC, fallback.ocv.voltage.soc, fallback.ocv.hysteresis_v)
    measured: Floats | None = None
    pulsed = any(kind.pulses >= MIN_PULSES for _, kind in starts)
    slow = [log.name for log, kind in starts if kind.slow_discharge]
    free = slow if pulsed or len(slow) > 1 else []
    scales: dict[str, float] = {}
    for round_ in range(2):
        rows = collect(starts, drives, reference_ah, hysteresis, swing, free)
        curves = fit(rows, temperatures, TAU_S, reference_ah, None if pulsed else resistances(fallback, temperatures, reference_ah))
        scales = dict(zip(free, curves.slow_scale.tolist(), strict=True))
        if round_ == 0:
            free = [name for name in free if abs(scales[name]) > MIN_CONFLICT]
            measured = half_width(starts, curves, reference_ah)
            if measured is not None:
                hysteresis = measured
    found += tuple(f"{name}: at odds with the other logs, its charge is scaled by {100 * x:+.1f} %" for name, x in scales.items())
    scale = nominal_ah / fallback.capacity_ah
    if measured is None:
        missing.append(f"hysteresis: no slow charge beside a slow discharge, {fallback.name}'s is used")
    card = CellCard(
        name=name,
        cell=cell,
        chemistry=chemistry,
        quality="fitted",
        capacity_ah=round(float(reference_ah), 5),
        limits=limits,
        ocv=ocv_of(curves, hysteresis, swing, starts, fallback, missing),
        resistance_ohm=ohm_table(
            "ohmic resistance", curves, curves.r0_ohm, fallback.resistance_ohm, 1 / scale, pulsed, starts, fallback.name, missing
        ),
        exchange_a=ohm_table(
            "charge transfer", curves, curves.exchange_a, fallback.exchange_a, scale, pulsed, starts, fallback.name, missing
        ),
        relaxation=relaxations(curves, fallback, 1 / scale, pulsed, starts, missing),
        accuracy=accuracy_of(curves, rows, fallback, starts, pulsed),
    )
    return Fitted(card, found, tuple(missing), rows, curves.residual_v)


def resistances(card: CellCard, temperature_c: Floats, capacity_ah: float) -> Floats:
    """``card``'s ohmic resistance, exchange current and pairs scaled to ``capacity_ah``, (2 + PAIRS, T, len(OHM_SOC))."""
    scale = capacity_ah / card.capacity_ah
    out = np.full((2 + PAIRS, temperature_c.size, OHM_SOC.size), 1e-6)
    out[0] = resample(card.resistance_ohm, OHM_SOC, temperature_c, log=True) / scale
    out[1] = resample(card.exchange_a, OHM_SOC, temperature_c, log=True) * scale
    for k, pair in enumerate(card.relaxation):
        out[2 + k] = resample(pair.resistance_ohm, OHM_SOC, temperature_c, log=True) / scale
    return out


def slow_capacity(told: list[tuple[Log, Kinds]]) -> float | None:
    slow = [(abs(log.median_c - REFERENCE_C), float(-log.net_ah.min())) for log, kind in told if kind.slow_discharge and kind.swing > 0.9]
    return min(slow)[1] if slow else None


def starts_full(log: Log, limits: CardLimits, nominal_ah: float) -> bool:
    """The log begins at a full charge: by its count, or by a first voltage near the top."""
    first = int(np.flatnonzero(np.isfinite(log.voltage_v))[0])
    top = log.voltage_v[first] - 0.08 * abs(log.current_a[first]) * 2.5 / nominal_ah if log.current_a[first] > 0 else log.voltage_v[first]
    span = limits.voltage_max_v - limits.voltage_min_v
    return bool(top > limits.voltage_max_v - 0.1 * span or log.net_ah[first] < -0.002 * nominal_ah)


def group_temperatures(starts: list[tuple[Log, Kinds]]) -> Floats:
    """The temperatures of the tables: those of the slow and the pulse logs, which heat themselves least."""
    steady = [log.median_c for log, kind in starts if kind.slow_discharge or kind.pulses >= MIN_PULSES]
    groups: list[list[float]] = []
    for value in sorted(steady or [log.median_c for log, _ in starts]):
        if groups and value - groups[-1][0] < SAME_TEMPERATURE_K:
            groups[-1].append(value)
        else:
            groups.append([value])
    return np.array([round(float(np.median(group)), 1) for group in groups])


def branch(log: Log, reference_ah: float, swing: float) -> Floats:
    """The hysteresis state of each row, +1 on the charge branch (where a full charge ends), (rows,)."""
    moved = np.diff(log.net_ah, prepend=log.net_ah[0]) / reference_ah
    fade = np.exp(-np.abs(moved) / swing).tolist()
    level, out = 1.0, []
    for keep, way in zip(fade, np.sign(moved).tolist(), strict=True):
        level = keep * level + (1.0 - keep) * way
        out.append(level)
    return np.array(out)


def collect(
    starts: list[tuple[Log, Kinds]], drives: tuple[Log, ...], reference_ah: float, hysteresis: Floats, swing: float, free: list[str]
) -> Rows:
    """The rows of all logs, each up to its lowest charge: what comes back into a cell after that differs
    from what was taken out by per cents, for reasons unknown."""
    parts = []
    weights = [(log, SLOW_WEIGHT if kind.slow_discharge else 1.0) for log, kind in starts] + [(log, DRIVE_WEIGHT) for log in drives]
    for i, (log, row_weight) in enumerate(weights):
        soc = 1.0 + log.net_ah / reference_ah
        end = int(np.argmin(log.net_ah)) + 1
        pair_a = pair_currents(log.time_s[:end], log.current_a[:end], TAU_S)
        if i < len(starts):
            keep = thin(log.time_s[:end], log.current_a[:end], STEP_C * reference_ah)
        else:
            step_s = float(np.median(np.diff(log.time_s)))
            keep = np.arange(0, end, max(round(DRIVE_ROW_S / step_s), 1), dtype=np.intp)
        keep = keep[np.isfinite(log.voltage_v[keep])]
        state = branch(log, reference_ah, swing)[keep]
        voltage = log.voltage_v[keep] - state * np.interp(soc[keep], OCV_SOC, hysteresis)
        weight = np.full(keep.size, row_weight)
        which = np.full(keep.size, free.index(log.name) if log.name in free else -1, dtype=np.intp)
        parts.append((soc[keep], log.temperature_c[keep], log.current_a[keep], voltage, pair_a[:, keep], weight, which))
    soc_, temperature, current, voltage_, weight_ = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 2, 3, 5))
    return Rows(
        soc_, temperature, current, voltage_, np.concatenate([p[4] for p in parts], axis=1), weight_, np.concatenate([p[6] for p in parts])
    )


def half_width(starts: list[tuple[Log, Kinds]], curves: Curves, reference_ah: float) -> Floats | None:
    """Half the distance between slow charge and slow discharge, less what the resistances take; (OCV_SOC,)."""
    widths = []
    for log, kind in starts:
        if not (kind.slow_discharge and kind.slow_charge):
            continue
        low = int(np.argmin(log.net_ah))
        slow = np.abs(log.current_a) < reference_ah / 9
        down = slow & (log.current_a < 0) & (np.arange(slow.size) <= low)
        up = slow & (log.current_a > 0) & (np.arange(slow.size) > low)
        if np.count_nonzero(up) < 10 or np.count_nonzero(down) < 10:
            continue
        soc = 1.0 + log.net_ah / reference_ah
        top, bottom = soc[down].max(), soc[down].min()
        # The charge is laid over the same range of SOC: it seldom returns just what was taken out.
        back = soc[up]
        back = bottom + (back - back.min()) * (top - bottom) / max(float(np.ptp(back)), 1e-6)
        order = np.argsort(soc[down])
        lower = np.interp(OCV_SOC, soc[down][order], log.voltage_v[down][order])
        upper = np.interp(OCV_SOC, back, log.voltage_v[up])
        current = 0.5 * (np.median(log.current_a[up]) - np.median(log.current_a[down]))
        t = int(np.argmin(np.abs(curves.temperature_c - log.median_c)))
        total = np.interp(OCV_SOC, OHM_SOC, curves.r0_ohm[t] + curves.pair_ohm[:, t].sum(axis=0) + 0.0257 / curves.exchange_a[t])
        drop = current * total
        widths.append(np.clip(0.5 * (upper - lower) - drop, 0.0, 0.05))
    if not widths:
        return None
    width = np.median(widths, axis=0)
    inner = (OCV_SOC >= 0.05) & (OCV_SOC <= 0.95)
    # At both ends the branches are steep and the laid-over SOC is off by more than the width.
    width = np.interp(OCV_SOC, OCV_SOC[inner], width[inner])
    padded = np.pad(width, 2, mode="edge")
    smooth: Floats = np.convolve(padded, np.ones(5) / 5, mode="valid")
    return smooth


def names(starts: list[tuple[Log, Kinds]]) -> str:
    listed = [log.name for log, _ in starts]
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")


def valid_range(support: Floats, soc: Floats) -> tuple[float, float]:
    spoken = soc[support.max(axis=0) >= MIN_SUPPORT]
    return (round(max(float(spoken.min()), 0.0), 3), round(min(float(spoken.max()), 1.0), 3))


def ocv_of(
    curves: Curves,
    hysteresis: Floats,
    swing: float,
    starts: list[tuple[Log, Kinds]],
    fallback: CellCard,
    missing: list[str],
) -> Ocv:
    """Open-circuit voltage at the temperatures of the logs; knots that no row speaks of run on with the
    shape of the nearest temperature that has them, or the fallback's."""
    other = CellModel(fallback, 1)
    value = curves.ocv_v.copy()
    spoken = curves.ocv_support >= MIN_SUPPORT
    for t, temperature in enumerate(curves.temperature_c):
        if spoken[t].all():
            continue
        others = [u for u in np.argsort(np.abs(curves.temperature_c - temperature)) if spoken[u].sum() > spoken[t].sum()]
        shape = value[others[0]] if others else np.array([float(other.ocv_v(np.array([s]), np.array([temperature]))[0]) for s in OCV_SOC])
        if not others and np.count_nonzero(~spoken[t]) > 3:
            missing.append(
                f"open-circuit voltage at {temperature:.0f} degC outside SOC {valid_range(spoken[t : t + 1].astype(float), OCV_SOC)}: {fallback.name}'s shape"
            )
        good = np.flatnonzero(spoken[t])
        first, last = good[0], good[-1]
        value[t, :first] = value[t, first] + shape[:first] - shape[first]
        value[t, last + 1 :] = value[t, last] + shape[last + 1 :] - shape[last]
    value = np.maximum.accumulate(value, axis=1)
    kept = OCV_SOC >= -0.02
    table = Table(
        source=f"fitted: {names(starts)}",
        method="joint least squares over slow, pulse and constant-current logs; mean of the branches",
        valid_soc=valid_range(curves.ocv_support, OCV_SOC),
        valid_temperature_c=span(curves.temperature_c),
        soc=tuple(OCV_SOC[kept].tolist()),
        temperature_c=tuple(curves.temperature_c.tolist()),
        value=tuple(tuple(np.clip(row, 0.6, 5.9).tolist()) for row in value),
    )
    entropic = np.interp(OCV_SOC, fallback.ocv.voltage.soc, fallback.ocv.entropic_v_per_k)
    return Ocv(table, tuple(entropic.tolist()), tuple(np.round(hysteresis, 5).tolist()), swing)


def span(temperature_c: Floats) -> tuple[float, float]:
    return (float(temperature_c[0]) - SAME_TEMPERATURE_K, float(temperature_c[-1]) + SAME_TEMPERATURE_K)


COLD_C = np.array([-20.0, -10.0, 0.0, 10.0, 25.0, 40.0])


def extend(curves: Curves, value: Floats, other: Table) -> tuple[Floats, Floats, bool]:
    """Add the fallback's temperatures beyond the logs', in ratio to the fitted edge: (temperatures, value, any)."""
    edge_low, edge_high = curves.temperature_c[0], curves.temperature_c[-1]
    below = COLD_C[edge_low - SAME_TEMPERATURE_K > COLD_C]
    above = COLD_C[edge_high + SAME_TEMPERATURE_K < COLD_C]
    out, axis = [], []
    for t in below:
        ratio = resample(other, OHM_SOC, np.array([t]), log=True)[0] / resample(other, OHM_SOC, np.array([edge_low]), log=True)[0]
        out.append(value[0] * ratio)
        axis.append(t)
    out += list(value)
    axis += curves.temperature_c.tolist()
    for t in above:
        ratio = resample(other, OHM_SOC, np.array([t]), log=True)[0] / resample(other, OHM_SOC, np.array([edge_high]), log=True)[0]
        out.append(value[-1] * ratio)
        axis.append(t)
    return np.array(axis), np.clip(out, *SANE), bool(below.size or above.size)


def ohm_table(
    what: str,
    curves: Curves,
    value: Floats,
    other: Table,
    scale: float,
    pulsed: bool,
    starts: list[tuple[Log, Kinds]],
    fallback_name: str,
    missing: list[str],
) -> Table:
    """A resistance (or exchange current) over SOC and temperature; the fallback's, scaled by capacity,
    where no log has pulses."""
    if not pulsed:
        missing.append(f"{what}: no log with pulses, {fallback_name}'s scaled by capacity")
        rows = tuple(tuple(float(x) * scale for x in row) for row in other.value)
        return msgspec.structs.replace(
            other, source=f"fallback {fallback_name}: {other.source}", method=f"scaled by capacity ({scale:.3g})", value=rows
        )
    axis, rows_, extended = extend(curves, value, other)
    source = f"fitted: {names(starts)}"
    if extended:
        source += f"; beyond {curves.temperature_c[0]:.0f} to {curves.temperature_c[-1]:.0f} degC in the ratio of {fallback_name}"
        missing.append(
            f"{what} beyond {curves.temperature_c[0]:.0f} to {curves.temperature_c[-1]:.0f} degC: {fallback_name}'s ratio over temperature"
        )
    return Table(
        source=source,
        method="joint least squares, logarithms linear in SOC and 1/T",
        valid_soc=valid_range(curves.ohm_support, OHM_SOC),
        valid_temperature_c=span(curves.temperature_c),
        soc=tuple(OHM_SOC.tolist()),
        temperature_c=tuple(axis.tolist()),
        value=tuple(tuple(row.tolist()) for row in rows_),
    )


def relaxations(
    curves: Curves, fallback: CellCard, scale: float, pulsed: bool, starts: list[tuple[Log, Kinds]], missing: list[str]
) -> tuple[Relaxation, ...]:
    pairs = []
    for k in range(PAIRS):
        other = fallback.relaxation[min(k, len(fallback.relaxation) - 1)]
        if not pulsed and k >= len(fallback.relaxation):
            break
        table = ohm_table(
            f"relaxation {k + 1}", curves, curves.pair_ohm[k], other.resistance_ohm, scale, pulsed, starts, fallback.name, missing
        )
        tau = tuple(float(curves.tau_s[k]) for _ in table.temperature_c) if pulsed else other.tau_s
        pairs.append(Relaxation(table, tau))
    return tuple(pairs)


ERROR_SOC = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0])


def accuracy_of(curves: Curves, rows: Rows, fallback: CellCard, starts: list[tuple[Log, Kinds]], pulsed: bool) -> Accuracy:
    """Model error as the fit's own residual, root mean square over each SOC and temperature; beyond the
    logs' temperatures the fallback's, in ratio at the edge but never less than at the edge."""
    value = np.full((curves.temperature_c.size, ERROR_SOC.size), np.nan)
    for t, temperature in enumerate(curves.temperature_c):
        near = np.abs(rows.temperature_c - temperature) < SAME_TEMPERATURE_K
        for s, soc in enumerate(ERROR_SOC):
            width = 0.5 * max(np.diff(ERROR_SOC)[max(s - 1, 0)], np.diff(ERROR_SOC)[min(s, ERROR_SOC.size - 2)])
            mine = near & (np.abs(rows.soc - soc) <= width)
            if np.count_nonzero(mine) >= 10:
                part = np.minimum(np.abs(curves.residual_v[mine]), 5 * np.median(np.abs(curves.residual_v[mine])))
                value[t, s] = np.sqrt(np.mean(part**2))
        known = np.flatnonzero(np.isfinite(value[t]))
        # Below the lowest SOC that was seen the error is not known: it grows as the curve steepens.
        filled = np.interp(np.arange(ERROR_SOC.size), known, value[t, known]) if known.size else np.full(ERROR_SOC.size, 0.02)
        if known.size:
            filled[: known[0]] *= 2.0
        # What was counted from the full charge errs too, the more the deeper: on the steep low end that is voltage.
        slope = np.interp(ERROR_SOC, OCV_SOC, np.gradient(curves.ocv_v[t], OCV_SOC))
        value[t] = np.hypot(np.maximum(filled, FLOOR_V), slope * COUNT_ERROR * (1.0 - ERROR_SOC))
    axis, extended = curves.temperature_c.tolist(), list(value)
    for t in COLD_C[curves.temperature_c[0] - SAME_TEMPERATURE_K > COLD_C][::-1]:
        ratio = resample(fallback.accuracy.voltage_v, ERROR_SOC, np.array([t]), log=True)[0]
        ratio = ratio / resample(fallback.accuracy.voltage_v, ERROR_SOC, np.array([curves.temperature_c[0]]), log=True)[0]
        axis.insert(0, float(t))
        extended.insert(0, value[0] * np.maximum(ratio, 1.0))
    table = Table(
        source=f"fitted: {names(starts)}",
        method="root mean square of the fit's residual and 0.8 % of the charge counted; cold beyond the logs in the fallback's ratio",
        valid_soc=valid_range(curves.ohm_support, OHM_SOC),
        valid_temperature_c=span(curves.temperature_c),
        soc=tuple(ERROR_SOC.tolist()),
        temperature_c=tuple(axis),
        value=tuple(tuple(row.tolist()) for row in extended),
    )
    return Accuracy(table, 0.15 if pulsed else 0.4, 0.02, 0.002)
