"""What packs were like before their episode: stretches of ordinary use of the same cells behind the same sensors.

A gateway that has known its pack for weeks holds it against itself; an episode alone has no before. A stretch begins at another state of charge
and in other weather; what the pack is, an aged cell say, it was before. An imbalance crept in over months in half of its packs: there it was
there before as well.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hil.plant import loads
from hil.plant.curves import Curves
from hil.plant.draws import BatchDraw, no_fuller
from hil.plant.episodes import Cast, Episode, Plan, play
from hil.plant.faults import KINDS, LOOK_ALIKES, ORDINARY

STRETCH_S = 1500
SOC = (0.2, 0.95)
WEATHER_K = 6.0
"""By how much the days of two weeks differ, either way."""
SETTLED_K = 4.0
NOISE_APART = 1 << 40
"""Samples by which the sensors' noise is moved on from one stretch to the next."""


def stretch(plan: Plan, curves: Curves, shared: BatchDraw, cast: list[Cast], first: int, batch: int, number: int) -> Iterator[Episode]:
    """Stretch ``number`` (from 0) of the packs ``cast``, whose first has the number ``first``, before anyone has played them."""
    before = [
        earlier(plan, curves, part, np.random.default_rng([plan.seed, batch, place, 0xEA, number])) for place, part in enumerate(cast)
    ]
    yield from play(replace(plan, hours=STRETCH_S / 3600, twins=False), curves, shared, before, first, lambda part: move_on(part, number))


def move_on(part: Cast, number: int) -> None:
    """The sensors' errors are drawn, and stay; the noise is another one."""
    part.noise.bit_generator.advance((number + 1) * NOISE_APART)  # type: ignore[attr-defined]


def earlier(plan: Plan, curves: Curves, part: Cast, rng: np.random.Generator) -> Cast:
    """``part`` at ordinary use, some days before."""
    pack = part.draw
    capacity = pack.build.capacity_as[0]
    moved = float(rng.uniform(*SOC)) - float(pack.soc.mean())
    air_c = pack.ambient_c + float(rng.uniform(-WEATHER_K, WEATHER_K))
    there = part.kind in LOOK_ALIKES and KINDS[part.kind].onset_0
    crept = part.kind == "imbalance" and part.fault is not None and part.fault.seed % 2 == 0
    known = there or crept
    warmth_c = air_c + float(rng.uniform(0.0, SETTLED_K)) + (pack.temperature_c - pack.temperature_c.mean())
    # what is taken out of a string is the same charge of each cell
    soc = no_fuller(curves, np.clip(pack.soc + moved * capacity.mean() / capacity, 0.03, 1.0), warmth_c)
    request = loads.use(rng, STRETCH_S, plan.cycles) * pack.load_strength * curves.capacity_ah * float(pack.build.parallel[0, 0])
    return Cast(
        part.kind if known else ORDINARY,
        replace(pack, soc=soc, temperature_c=warmth_c, ambient_c=air_c),
        part.fault if known else None,
        "use",
        request.astype(np.float32),
        loads.ambient(rng, STRETCH_S, air_c).astype(np.float32),
        copy.deepcopy(part.noise),
    )
