"""The plant against published figures: an oven test of the kinetics, and the ceiling on any warning of an internal short."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgebms.vocabulary import Chemistry
from hil.plant.cell import Body, plain_circuit
from hil.plant.kinetics import HEAT_CAPACITY_J_PER_M3_K, Kinetics
from hil.plant.pack import InternalShort, Pack, Spread

RUNAWAY_K_PER_S = 1.0
OVEN = ((130.0, None, None), (155.0, 44 * 60.0, 203.0))
"""Oven degC, seconds to 1 K/s, degC there: an independent simulation of an 18650 LCO cell."""
CEILING = ((0.5, 141.0, 36.0), (1.0, 337.0, 66.0), (2.0, 755.0, 136.0), (3.0, 1321.0, 206.0), (4.0, 2320.0, 281.0), (5.0, None, 361.0))
"""Ohm, seconds from onset to runaway, seconds to 55 degC: 3 Ah, 30 mOhm, full and at rest."""


def oven(oven_c: float, seconds: float = 7200.0, start_c: float = 25.0) -> tuple[float | None, float]:
    """(seconds until the cell warms at 1 K/s by itself or None, the cell's temperature then or its highest)."""
    kinetics = Kinetics(Chemistry.LCO, 1)
    body = Body.of_18650s(3.0)
    temperature = np.array([start_c])
    time_s, highest = 0.0, start_c
    while time_s < seconds:
        rate = (kinetics.advance(temperature, 0.5) * body.volume_m3 + (oven_c - temperature) * body.cooling_w_per_k) / (
            HEAT_CAPACITY_J_PER_M3_K * body.volume_m3
        )
        if rate[0] >= RUNAWAY_K_PER_S and temperature[0] > oven_c:
            return time_s, float(temperature[0])
        temperature = temperature + rate * 0.5
        time_s += 0.5
        highest = max(highest, float(temperature[0]))
    return None, highest


def short_ceiling(resistance_ohm: float, seconds: float = 7200.0) -> tuple[float | None, float | None]:
    """(seconds from onset to runaway, seconds to 55 degC) of one full cell at rest; None = not within ``seconds``."""
    short = InternalShort(0, 0.0, resistance_ohm)
    # The published ceiling has a separator that never fails; with ours runaway comes some 15 % earlier.
    pack = Pack(plain_circuit(), 1, np.random.default_rng(0), spread=Spread(0, 0, 0), shorts=(short,), separator_fails_c=float("inf"))
    warm_s = None
    hot_for_s = 0.0
    while pack.time_s < seconds:
        pack.step(0.5, 0.0)
        if warm_s is None and pack.temperature_c[0] > 55:
            warm_s = pack.time_s
        # The short alone may warm faster than 1 K/s: runaway is what the reactions do, for more than 3 s.
        hot_for_s = hot_for_s + 0.5 if pack.heat_rate_k_per_s[0] >= RUNAWAY_K_PER_S and pack.temperature_c[0] > 100 else 0.0
        if hot_for_s > 3:
            return pack.time_s, warm_s
    return None, warm_s


def lines() -> Iterator[str]:
    """The two tables, ours next to the published."""
    yield "oven test, 18650 LCO     to 1 K/s, s  (known)   at degC  (known)"
    for oven_c, known_s, known_c in OVEN:
        seconds, at_c = oven(oven_c)
        yield f"  {oven_c:5.0f} degC            {cell(seconds):>12}  {cell(known_s):>7}   {at_c:7.0f}  {cell(known_c):>7}"
    yield "internal short, 3 Ah, 30 mOhm, full, at rest"
    yield "  Ohm    onset to runaway, s  (known)   onset to 55 degC, s  (known)"
    for ohm, known_s, known_warm_s in CEILING:
        seconds, warm_s = short_ceiling(ohm)
        yield f"  {ohm:4.1f}   {cell(seconds):>19}  {cell(known_s):>7}   {cell(warm_s):>19}  {cell(known_warm_s):>7}"


def cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f}"
