"""Episodes: packs in use for an hour or a day, each with a fault, a look-alike or nothing, and each fault's healthy twin.

A batch runs the packs and their twins side by side: the same build, load and sensor noise, without the fault.
Pack k of a seed is the same whatever the number of packs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import load_card
from edgebms.vocabulary import Cause
from hil.plant import loads
from hil.plant.control import Control
from hil.plant.curves import Curves, from_card
from hil.plant.detect import ENOUGH, Seen, departures
from hil.plant.draws import BatchDraw, PackDraw, Ranges, draw_batch, draw_pack, no_fuller
from hil.plant.fault import Fault
from hil.plant.faults import FAULTS, KINDS, LOOK_ALIKES, ORDINARY, draw_fault
from hil.plant.packs import Packs
from hil.plant.rows import stack
from hil.plant.sense import Schedule, Senses
from hil.plant.world import World

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

BATCH_CELLS = 10_000
BATCH_PACKS = (24, 480)
BATCH_ROWS = 70_000_000
"""Cells x snapshots of a batch: bounds its memory to about 0.4 GB."""
AMBIENT_S = 60
LONG_HOURS = 12.0
"""From here on a recording begins at midnight of a day of the year, and the pack is used as in ``loads.days``."""
SITE_K = (-6.0, 10.0)
"""How a site differs from the climate's mean: a cold yard to a warm room."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the kinds; within faults and look-alikes all ``kinds`` are equally likely."""

    ordinary: float = 0.25
    look_alikes: float = 0.20
    kinds: tuple[str, ...] = tuple(KINDS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. period_s: between two snapshots, None = drawn. cycles: measured C-rates at 1 s, see ``loads.use``.

    twins: False = no healthy twins, which halves the time; the packs are the same, but nobody judges what is detectable.
    larger: (kind, up to so many times its drawn size), log-uniform: what a corpus learns from may reach beyond what it is judged on.
    batch: packs of one card and size at most, None = as many as run well side by side."""

    seed: int
    hours: float = 1.0
    period_s: float | None = None
    mix: Mix = Mix()
    ranges: Ranges = field(default_factory=Ranges)
    cycles: tuple[Floats, ...] = field(default=(), repr=False)
    twins: bool = True
    larger: tuple[tuple[str, float], ...] = ()
    batch: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One pack's recording and its truth. t snapshots, c cells, k probes.

    time_s (t,); cell_voltage_v (t, c), temperature_c (t, k), current_a, voltage_v, insulation_ohm, gas (t,): as measured,
    NaN = nothing came. soc (t,): the mean of the cells in truth. kind: a name in ``faults.KINDS`` or "ordinary". fault: None
    for ordinary use. ran_away: (0-based cell, instant) of each cell in which the runaway event rule held, the first one first;
    event_s and event_cell are that one's, NaN and -1 = none. sigmas: a fault's largest departure from its healthy twin, in standard
    deviations of healthy runs, and in which quantity; detectable: it is at least 4; NaN, "" and False for look-alikes and
    ordinary use. detectable_s: when it has come to 4, inf = never, 0 = nobody looked.
    """

    number: int
    kind: str
    fault: Fault | None
    card: str
    parallel: float
    capacity_ah: float
    period_s: float
    sweep_s: float
    load: str
    ambient_c: float
    cooled: str
    probe_cell: tuple[int, ...]
    time_s: Floats
    cell_voltage_v: Singles
    temperature_c: Singles
    current_a: Singles
    voltage_v: Singles
    insulation_ohm: Singles
    gas: Singles
    soc: Singles
    ran_away: tuple[tuple[int, float], ...]
    hottest_c: float
    sigmas: float
    quantity: str
    detectable_s: float = 0.0

    @property
    def event_s(self) -> float:
        return self.ran_away[0][1] if self.ran_away else float("nan")

    @property
    def event_cell(self) -> int:
        return self.ran_away[0][0] if self.ran_away else -1

    @property
    def detectable(self) -> bool:
        return self.sigmas >= ENOUGH  # NaN is not

    @property
    def cause(self) -> Cause:
        return self.fault.cause if self.fault is not None else Cause.HEALTHY


def episodes(plan: Plan) -> Iterator[Episode]:
    """Without end, one batch after the other."""
    number, batch = 0, 0
    while True:
        for episode in run_batch(plan, batch, number):
            yield episode
            number += 1
        batch += 1


def run_batch(plan: Plan, batch: int, first: int) -> Iterator[Episode]:
    """The packs of batch ``batch``; its first pack has the number ``first``."""
    yield from play(plan, *troupe(plan, batch), first)


def troupe(plan: Plan, batch: int) -> tuple[Curves, BatchDraw, list[Cast]]:
    """Who plays in batch ``batch``."""
    rng = np.random.default_rng([plan.seed, batch])
    shared = draw_batch(rng, plan.ranges)
    if plan.period_s is not None:
        shared = BatchDraw(shared.card, shared.cells, shared.probes, plan.period_s)
    curves = from_card(load_card(shared.card))
    snapshots = int(plan.hours * 3600 / shared.period_s)
    fit = int(BATCH_ROWS / (1.8 * shared.cells * snapshots))
    count = max(1, min(int(np.clip(BATCH_CELLS // shared.cells, *BATCH_PACKS)), fit, plan.batch or fit))
    return curves, shared, [Cast.of(plan, curves, shared, batch, i) for i in range(count)]


@dataclass(slots=True, eq=False)
class Cast:
    """One pack's part before the play."""

    kind: str
    draw: PackDraw
    fault: Fault | None
    load: str
    request: Singles  # (seconds,) A
    air: Singles  # (minutes,) degC
    noise: np.random.Generator

    @classmethod
    def of(cls, plan: Plan, curves: Curves, shared: BatchDraw, batch: int, place: int) -> Cast:
        rng = np.random.default_rng([plan.seed, batch, place])
        seconds = int(plan.hours * 3600)
        kind = draw_kind(rng, plan.mix)
        pack = draw_pack(rng, curves, shared, plan.ranges)
        row = KINDS.get(kind)
        parallel = float(pack.build.parallel[0, 0])
        fault = None
        load = ""
        if row is not None:
            probe_of = tuple(cell * shared.probes // shared.cells for cell in range(shared.cells))
            fault = draw_fault(rng, kind, shared.cells, probe_of, parallel, float(seconds))
            most = dict(plan.larger).get(kind, 1.0)
            if most > 1.0:
                fault = replace(fault, size=fault.size * float(np.exp(rng.uniform(0.0, np.log(most)))))
            load = row.load
            pack = fitted(rng, pack, row.ambient_c, row.soc)
        day = None
        if plan.hours >= LONG_HOURS and (row is None or row.ambient_c is None):
            day = int(rng.integers(365))
            air_c = loads.season_c(day) + float(rng.uniform(*SITE_K))
            pack = fitted(rng, pack, (air_c, air_c), None)
        pack = replace(pack, soc=no_fuller(curves, pack.soc, pack.temperature_c))
        if load:
            rates = loads.LOADS[load](rng, seconds)
        else:
            rates = (loads.use if plan.hours < LONG_HOURS else loads.days)(rng, seconds, plan.cycles)
        request = rates * pack.load_strength * curves.capacity_ah * parallel
        air = loads.ambient(rng, seconds, pack.ambient_c, day)
        return cls(kind, pack, fault, load or "use", request.astype(np.float32), air.astype(np.float32), rng)


def fitted(rng: np.random.Generator, pack: PackDraw, ambient_c: tuple[float, float] | None, soc: tuple[float, float] | None) -> PackDraw:
    """``pack`` where and how full its fault needs it."""
    changes: dict[str, object] = {}
    if ambient_c is not None:
        air_c = float(rng.uniform(*ambient_c))
        changes |= {"ambient_c": air_c, "temperature_c": pack.temperature_c + (air_c - pack.ambient_c)}
    if soc is not None:
        changes["soc"] = np.clip(pack.soc - pack.soc.mean() + rng.uniform(*soc), 0.02, 1.0)
    fields = {name: changes.get(name, getattr(pack, name)) for name in PackDraw.__dataclass_fields__}
    return PackDraw(**fields)  # type: ignore[arg-type]


def draw_kind(rng: np.random.Generator, mix: Mix) -> str:
    likes = [kind for kind in mix.kinds if kind in LOOK_ALIKES]
    faults = [kind for kind in mix.kinds if kind in FAULTS]
    at = rng.random()
    if at < mix.ordinary or not (likes or faults):
        return ORDINARY
    if faults and (at >= mix.ordinary + mix.look_alikes or not likes):
        return str(rng.choice(faults))
    return str(rng.choice(likes))


def stage(curves: Curves, shared: BatchDraw, cast: list[Cast], twins: bool = True) -> tuple[World, NDArray[np.intp]]:
    """The world of ``cast`` with a twin for each fault, the twins behind; and which of the cast each row plays."""
    of = np.array([*range(len(cast)), *(i for i, part in enumerate(cast) if twins and part.kind in FAULTS)])
    packs = Packs(
        curves,
        stack([cast[i].draw.build for i in of]),
        np.array([cast[i].draw.soc for i in of]),
        np.array([cast[i].draw.temperature_c for i in of]),
        np.array([cast[i].draw.ambient_c for i in of]),
    )
    packs.effects.insulation_ohm[:, 0] = [cast[i].draw.insulation_ohm for i in of]
    schedules = [Schedule.even(shared.period_s, shared.cells, shared.probes, part.draw.sweep_s) for part in cast]
    senses = Senses(packs, [part.draw.sensors for part in cast], schedules, [part.noise for part in cast], of)
    control = Control(packs)
    control.keep(load_card(shared.card).limits)
    control.cold_charge[:, 0] = [cast[i].fault is not None and KINDS[cast[i].kind].cold_charge for i in of]
    return World(packs, senses, control), of


def play(
    plan: Plan, curves: Curves, shared: BatchDraw, cast: list[Cast], first: int, staged: Callable[[Cast], None] | None = None
) -> Iterator[Episode]:
    """Run the packs of ``cast`` and their twins, and judge each by its twin. staged: called with each of the cast before the first second."""
    world, of = stage(curves, shared, cast, plan.twins)
    for part in cast if staged is not None else ():
        staged(part)
    seen, soc = perform(plan, world, shared, cast, of)
    packs = world.packs
    twin_row = {int(pack): len(cast) + k for k, pack in enumerate(of[len(cast) :])}
    healthy = np.array([row for row in range(len(of)) if row >= len(cast) or cast[row].fault is None])
    # copies: whoever keeps one episode does not keep its batch
    judged = departures(curves, packs, seen, shared.period_s, twin_row, healthy) if twin_row else {}
    for i, part in enumerate(cast):
        events_s = packs.state.event_s[i]
        ran = np.flatnonzero(np.isfinite(events_s))
        ran = ran[np.argsort(events_s[ran], kind="stable")]
        yield Episode(
            number=first + i, kind=part.kind, fault=part.fault, card=shared.card, parallel=float(part.draw.build.parallel[0, 0]),
            capacity_ah=curves.capacity_ah * float(part.draw.build.parallel[0, 0]), period_s=shared.period_s, sweep_s=part.draw.sweep_s,
            load=part.load, ambient_c=part.draw.ambient_c, cooled=part.draw.cooled, probe_cell=tuple(int(c) for c in world.senses.probe_cell),
            time_s=seen.time_s, cell_voltage_v=seen.cell_voltage_v[:, i].copy(), temperature_c=seen.temperature_c[:, i].copy(),
            current_a=seen.current_a[:, i].copy(), voltage_v=seen.voltage_v[:, i].copy(), insulation_ohm=seen.insulation_ohm[:, i].copy(),
            gas=seen.gas[:, i].copy(), soc=soc[:, i].copy(),
            ran_away=tuple((int(cell), float(events_s[cell])) for cell in ran), hottest_c=float(world.hottest_c[i]),
            sigmas=judged[i][0] if i in judged else float("nan"), quantity=judged[i][1] if i in judged else "",
            detectable_s=judged[i][2] if i in judged else float("inf"),
        )  # fmt: skip


def perform(plan: Plan, world: World, shared: BatchDraw, cast: list[Cast], of: NDArray[np.intp]) -> tuple[Seen, Singles]:
    """Let the time pass; what was recorded of all rows, and the packs' mean SOC in truth (t, packs)."""
    seconds = int(plan.hours * 3600)
    request = np.array([part.request for part in cast])
    air = np.array([part.air for part in cast])
    every = max(1, round(shared.period_s))
    rows, snapshots = len(of), seconds // every
    seen = Seen.empty(snapshots, rows, shared.cells, shared.probes)
    soc = np.zeros((snapshots, len(cast)), np.float32)
    faults = [part.fault for part in cast]
    due_s = np.array([fault.onset_s if fault is not None else np.inf for fault in faults], float)
    packs, senses, control = world.packs, world.senses, world.control
    share = np.full(shared.cells, 1.0 / shared.cells)
    at = 0
    for second in range(seconds):
        if second % AMBIENT_S == 0:
            packs.effects.ambient_c[:, 0] = air[of, second // AMBIENT_S]
        for i in np.flatnonzero(due_s <= second):
            fault = faults[i]
            assert fault is not None
            due_s[i] = KINDS[fault.kind].act(world, int(i), fault, float(second))
        current_a = control.current(packs, request[of, second], 1.0)
        packs.step(1.0, current_a)
        senses.follow(packs, control.shunt_a(current_a))
        if second % 10 == 0:
            world.hottest_c = np.maximum(world.hottest_c, packs.state.temperature_c.max(axis=1))
        if (second + 1) % every == 0 and at < snapshots:
            seen.put(at, senses.sample(packs))
            soc[at] = packs.state.soc[: len(cast)] @ share
            at += 1
    return seen, soc
