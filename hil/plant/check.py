"""The plant against published figures: an oven test of the kinetics, the ceiling on any warning of an internal short, and
the peak of a runaway by chemistry."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import Chemistry
from hil.plant.curves import plain
from hil.plant.draws import AIR_W_PER_M3_K, J_PER_M3_K, M3_PER_AH, M3_PER_AH_OXIDE
from hil.plant.packs import Packs
from hil.plant.rows import Build

Floats = NDArray[np.float64]

RUNAWAY_K_PER_S = 1.0
OVEN = ((130.0, None, None), (155.0, 44 * 60.0, 203.0))
"""Oven degC, seconds to 1 K/s, degC there: an independent simulation of an 18650 LCO cell."""
CEILING = ((0.5, 141.0, 36.0), (1.0, 337.0, 66.0), (2.0, 755.0, 136.0), (3.0, 1321.0, 206.0), (4.0, 2320.0, 281.0), (5.0, None, 361.0))
"""Ohm, seconds from onset to runaway, seconds to 55 degC: 3 Ah, 30 mOhm, full and at rest."""
PEAKS = ((Chemistry.NMC, 90.0, 1052.0), (Chemistry.LFP, 100.0, 534.0))
"""Chemistry, Ah, degC: large cells under a heater, measured."""
NEVER_C = 1e9


def alone(
    chemistry: Chemistry,
    capacity_ah: float,
    ambient_c: Floats,
    *,
    separator_c: float = NEVER_C,
    ejected: Floats | float = 0.0,
    inward: float = 1.0,
) -> Packs:
    """Full textbook cells, each a pack of its own, in air at ``ambient_c`` (p,), without coolant. inward: share of an 18650's cooling."""
    volume_m3 = M3_PER_AH.get(chemistry, M3_PER_AH_OXIDE) * capacity_ah
    one = np.ones((len(ambient_c), 1))
    build = Build(
        parallel=one, capacity_as=3600.0 * capacity_ah * one, resistance=one, tau=one, volume_m3=volume_m3 * one,
        heat_j_per_k=volume_m3 * J_PER_M3_K * one, link_w_per_k=np.zeros((len(one), 0)),
        ambient_w_per_k=volume_m3 * AIR_W_PER_M3_K * inward * one, coolant_w_per_k=0.0 * one, flow_w_per_k=one, loop_j_per_k=one,
        radiator_w_per_k=0.0 * one, chiller_w=0.0 * one, chiller_c=20.0 * one, vent_c=130.0 * one, separator_c=separator_c * one,
        ejected=np.broadcast_to(ejected, len(one)).reshape(-1, 1).copy(),
    )  # fmt: skip
    curves = plain(capacity_ah, 0.030 * 3.0 / capacity_ah, chemistry)
    return Packs(curves, build, one.copy(), 25.0 * one, ambient_c)


def ovens(oven_c: list[float], seconds: float = 7200.0) -> list[tuple[float | None, float]]:
    """For each oven: (seconds until the cell warms at 1 K/s by itself or None, its temperature then or its highest)."""
    packs = alone(Chemistry.LCO, 3.0, np.array(oven_c))
    found: list[tuple[float | None, float]] = [(None, 25.0)] * len(oven_c)
    while packs.time_s < seconds and any(at_s is None for at_s, _ in found):
        packs.step(1.0, np.zeros(len(oven_c)))
        for i, (at_s, highest_c) in enumerate(found):
            now_c = float(packs.state.temperature_c[i, 0])
            if at_s is None:
                fast = packs.state.heat_k_per_s[i, 0] >= RUNAWAY_K_PER_S and now_c > oven_c[i]
                found[i] = (packs.time_s, now_c) if fast else (None, max(highest_c, now_c))
    return found


def short_ceilings(ohms: list[float], seconds: float = 7200.0) -> list[tuple[float | None, float | None]]:
    """For each short: (seconds from onset to runaway, seconds to 55 degC) of one full cell at rest; None = not within ``seconds``.

    The published ceiling has a separator that never fails; with ours runaway comes some 15 % earlier.
    """
    packs = alone(Chemistry.LCO, 3.0, np.full(len(ohms), 25.0))
    packs.effects.short_s[:, 0] = 1.0 / np.array(ohms)
    warm_s, runaway_s, hot_for_s = (np.full(len(ohms), np.nan), np.full(len(ohms), np.nan), np.zeros(len(ohms)))
    while packs.time_s < seconds and np.isnan(runaway_s).any():
        packs.step(1.0, np.zeros(len(ohms)))
        now_c = packs.state.temperature_c[:, 0]
        warm_s[np.isnan(warm_s) & (now_c > 55)] = packs.time_s
        # The short alone may warm faster than 1 K/s: runaway is what the reactions do, for more than 3 s.
        rises = (packs.state.heat_k_per_s[:, 0] >= RUNAWAY_K_PER_S) & (now_c > 100)
        hot_for_s = np.where(rises, hot_for_s + 1.0, 0.0)
        runaway_s[np.isnan(runaway_s) & (hot_for_s > 3)] = packs.time_s
    return [(None if np.isnan(a) else float(a), None if np.isnan(b) else float(b)) for a, b in zip(runaway_s, warm_s, strict=True)]


def peaks(chemistry: Chemistry, capacity_ah: float, ejected: list[float], k_per_min: float = 10.0) -> list[tuple[float | None, float]]:
    """For each share of heat that leaves with the gas: (degC at the event rule or None, highest degC) of a large full cell under a
    heater that stops at the event or at 300 degC."""
    inward = (capacity_ah / 3.0) ** (-1 / 3)
    packs = alone(chemistry, capacity_ah, np.full(len(ejected), 25.0), separator_c=150.0, ejected=np.array(ejected), inward=inward)
    event_c, highest_c = np.full(len(ejected), np.nan), np.full(len(ejected), 25.0)
    while packs.time_s < 3000.0:
        before_c = packs.state.temperature_c[:, 0].copy()
        heats = np.isnan(event_c) & (before_c < 300.0)
        watts = packs.build.heat_j_per_k[:, 0] * k_per_min / 60.0 + packs.build.ambient_w_per_k[:, 0] * (before_c - 25.0)
        packs.effects.heater_w[:, 0] = np.where(heats, watts, 0.0)
        packs.step(1.0, np.zeros(len(ejected)))
        begun = np.isnan(event_c) & np.isfinite(packs.state.event_s[:, 0])
        event_c[begun] = before_c[begun]
        highest_c = np.maximum(highest_c, packs.state.temperature_c[:, 0])
    return [(None if np.isnan(a) else float(a), float(b)) for a, b in zip(event_c, highest_c, strict=True)]


def lines() -> Iterator[str]:
    """The three tables, ours next to the published."""
    yield "oven test, 18650 LCO     to 1 K/s, s  (known)   at degC  (known)"
    for (oven_c, known_s, known_c), (seconds, at_c) in zip(OVEN, ovens([row[0] for row in OVEN]), strict=True):
        yield f"  {oven_c:5.0f} degC            {cell(seconds):>12}  {cell(known_s):>7}   {at_c:7.0f}  {cell(known_c):>7}"
    yield "internal short, 3 Ah, 30 mOhm, full, at rest"
    yield "  Ohm    onset to runaway, s  (known)   onset to 55 degC, s  (known)"
    for (ohm, known_s, known_warm_s), (seconds, warm_s) in zip(CEILING, short_ceilings([row[0] for row in CEILING]), strict=True):
        yield f"  {ohm:4.1f}   {cell(seconds):>19}  {cell(known_s):>7}   {cell(warm_s):>19}  {cell(known_warm_s):>7}"
    yield "runaway under a heater, full cell         event at degC   peak, degC; a share of the heat leaves with the gas"
    yield "                                                             none      0.3      0.6   (measured)"
    for chemistry, capacity_ah, measured_c in PEAKS:
        runs = peaks(chemistry, capacity_ah, [0.0, 0.3, 0.6])
        highest = "  ".join(f"{highest_c:7.0f}" for _, highest_c in runs)
        yield f"  {chemistry} {capacity_ah:4.0f} Ah                           {cell(runs[1][0]):>9}      {highest}   {cell(measured_c):>9}"


def cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f}"
