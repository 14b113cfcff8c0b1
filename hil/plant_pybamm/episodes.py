"""Episodes of PyBaMM packs, of the circuit plant's own kind: a day of use each, ordinary or with one fault and its healthy twin.

Pack k of a seed is the same whatever the number of packs, as long as the library is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import ConfigError
from hil.plant.curves import Curves, from_card
from hil.plant.detect import FLOOR, Seen, quantities
from hil.plant.episodes import Episode, Plan
from hil.plant.fault import Fault
from hil.plant.faults import ORDINARY
from hil.plant_pybamm.characterise import card_path, read_card
from hil.plant_pybamm.compose import KINDS, PackLog, Recipe, compose, draw_fault, draw_recipe
from hil.plant_pybamm.compose import Fault as Drawn
from hil.plant_pybamm.days import STEP_S
from hil.plant_pybamm.library import FOLDER, LibraryDay, days_of, read_day

Floats = NDArray[np.float64]

CELLS = (16, 16, 24, 32, 48, 64, 96)
CELLS_PER_PROBE = (1, 2, 3, 4)
PEERS = 4
"""Healthy packs of the same day over which a quantity's standard deviation is taken, the twin among them."""


def episodes(plan: Plan, folder: Path = FOLDER) -> Iterator[Episode]:
    """Without end; from the days in ``folder``, one after the other. Raises LogError where it holds none, ConfigError for a plan
    that these packs cannot follow, MissingExtra where a fault is to be simulated and PyBaMM is missing."""
    check(plan)
    days = days_of(folder)
    number = 0
    while True:
        day = read_day(days[number % len(days)])
        yield episode(plan, day, number)
        number += 1


def check(plan: Plan) -> None:
    for holds, where, what in (
        (plan.hours in (1.0, 24.0), "--hours", "are 24 on PyBaMM packs: its library holds days"),
        (plan.period_s in (None, STEP_S), "--period", f"is {STEP_S:g} on PyBaMM packs: its library holds such steps"),
    ):
        if not holds:
            raise ConfigError(what, where=where, mend="leave the option out")


def before(plan: Plan, day: LibraryDay, number: int) -> Episode | None:
    """Pack ``number`` of ``plan`` on the day before its own; None = the library has none."""
    if day.before is None:
        return None
    recipe = pack_of(plan, day, number)[1]
    return told_of(day.before, compose(day.before, recipe), number)


def pack_of(plan: Plan, day: LibraryDay, number: int) -> tuple[np.random.Generator, Recipe]:
    """(the generator that draws all else of pack ``number``, what the pack is)."""
    rng = np.random.default_rng([plan.seed, number, 0x9B])
    cells = int(rng.choice(CELLS))
    probes = max(2, cells // int(rng.choice(CELLS_PER_PROBE)))
    return rng, draw_recipe(day, rng, cells, probes)


def episode(plan: Plan, day: LibraryDay, number: int) -> Episode:
    """Pack ``number`` (from 0) of ``plan``."""
    rng, recipe = pack_of(plan, day, number)
    cells, probes = len(recipe.first), recipe.probes
    kind = draw_kind(rng, plan)
    drawn = draw_fault(rng, kind, cells, probes, float(day.time_s[-1])) if kind != ORDINARY else None
    log = compose(day, recipe, drawn)
    told = told_of(day, log, number)
    if drawn is None:
        return told
    healthy = [compose(day, recipe), *(compose(day, draw_recipe(day, rng, cells, probes)) for _ in range(PEERS - 1))]
    sigmas, quantity = departure(from_card(read_card(day.cell_set)), log, healthy, told.capacity_ah)
    row = KINDS[kind]
    size, unit = in_pack(drawn, day)
    fault = Fault(kind, row.cause, drawn.cell, drawn.probe, drawn.onset_s, size, unit, 0.0, 0)
    return replace(told, kind=kind, fault=fault, sigmas=sigmas, quantity=quantity)


def told_of(day: LibraryDay, log: PackLog, number: int) -> Episode:
    """``log`` as an episode of ordinary use."""
    curves = from_card(read_card(day.cell_set))
    probes = log.temperature_c.shape[1]
    return Episode(
        number=number,
        kind=ORDINARY,
        fault=None,
        card=card_path(day.cell_set).name,
        parallel=float(day.cell_set.parallel),
        capacity_ah=curves.capacity_ah * day.cell_set.parallel,
        period_s=STEP_S,
        sweep_s=0.0,
        load=day.kind,
        ambient_c=float(day.ambient_c.mean()),
        cooled="air",
        probe_cell=tuple(log.probe_of_cell.index(probe) for probe in range(probes)),
        time_s=log.time_s,
        cell_voltage_v=log.cell_voltage_v.astype(np.float32),
        temperature_c=log.temperature_c.astype(np.float32),
        current_a=log.current_a.astype(np.float32),
        voltage_v=log.voltage_v.astype(np.float32),
        insulation_ohm=np.full(len(log.time_s), 5e6, np.float32),
        gas=np.zeros(len(log.time_s), np.float32),
        soc=counted(day, curves.capacity_ah, len(log.time_s)).astype(np.float32),
        ran_away=(),
        hottest_c=float(log.temperature_c.max()),
        sigmas=float("nan"),
        quantity="",
    )


def in_pack(fault: Drawn, day: LibraryDay) -> tuple[float, str]:
    """The fault's size as it stands in the pack: (value, unit)."""
    group_ah = day.cell_set.capacity_ah * day.cell_set.parallel
    if fault.kind == "short_constant":
        return fault.size / group_ah, "ohm"
    if fault.kind == "current_offset":
        return fault.size * group_ah, "A"
    return fault.size, KINDS[fault.kind].unit


def draw_kind(rng: np.random.Generator, plan: Plan) -> str:
    """The share of ordinary use is the plan's; look-alikes are the circuit plant's matter and count as ordinary here."""
    if rng.random() < plan.mix.ordinary + plan.mix.look_alikes:
        return ORDINARY
    wanted = [kind for kind in KINDS if kind in plan.mix.kinds] or list(KINDS)
    return str(rng.choice(wanted))


def departure(curves: Curves, log: PackLog, healthy: list[PackLog], capacity_ah: float) -> tuple[float, str]:
    """(largest departure from the twin, healthy[0], in standard deviations over healthy packs; of which quantity): the circuit
    plant's own measure (see ``hil.plant.detect``)."""
    rows = len(log.time_s)
    own = quantities(curves, seen_of(log, rows), 0, STEP_S, capacity_ah)
    calm = [quantities(curves, seen_of(pack, rows), 0, STEP_S, capacity_ah) for pack in healthy]
    best = (0.0, "")
    for name, floor in FLOOR.items():
        pooled = np.concatenate([measured[name].ravel() for measured in calm])
        known = pooled[np.isfinite(pooled)]
        sigma = max(floor, float(known.std()) if known.size > 1 else floor)
        apart = np.abs(own[name] - calm[0][name]) / sigma
        if np.isfinite(apart).any():
            best = max(best, (float(np.nanmax(apart)), name))
    return best


def seen_of(log: PackLog, rows: int) -> Seen:
    def one(values: Floats) -> NDArray[np.float32]:
        return values[:rows, None].astype(np.float32)

    steady = np.full((rows, 1), 5e6, np.float32)
    return Seen(
        log.time_s[:rows], one(log.cell_voltage_v), one(log.temperature_c), one(log.current_a), one(log.voltage_v), steady, 0 * steady
    )


def counted(day: LibraryDay, capacity_ah: float, rows: int) -> Floats:
    """SOC of the set's own cell, by counting."""
    moved_as = np.append(0.0, np.cumsum(0.5 * (day.current_a[1:] + day.current_a[:-1]) * np.diff(day.time_s)))
    return day.soc + moved_as[:rows] / 3600.0 / capacity_ah
