"""Domain randomisation: every range that the corpus draws from, in one place, and the draws of a batch and of a pack.

A batch shares its card and its number of series groups; all else differs from pack to pack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import Chemistry
from hil.plant.curves import Curves
from hil.plant.rows import Build

Floats = NDArray[np.float64]
Range = tuple[float, float]

M3_PER_AH = {Chemistry.LFP: 1.1e-5}
M3_PER_AH_OXIDE = np.pi * 0.009**2 * 0.065 / 3.0
"""Of a cell: an 18650 of 3 Ah; LFP holds half as much in the same volume."""
J_PER_M3_K = 2.14e6
AIR_W_PER_M3_K = 1816.0
"""An 18650 alone in still air (h = 7.2 W/(m2 K))."""
SMALL_AH = 5.0
FULL_MARGIN_V = 0.015
"""A pack begins no fuller than so far below the card's highest voltage: hysteresis and the sensors' errors."""
PARALLEL_DRAWN = 64
"""Card cells of a group that are drawn one by one; more are drawn as many."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """(low, high), uniform unless a comment says log. Spreads are standard deviations."""

    cards: tuple[str, ...] = (
        "lg_hg2", "dmegc_inr18650", "generic_nmc", "panasonic_18650pf", "generic_nca", "lipo_5450", "generic_lco", "generic_lfp", "generic_lfp",
    )  # fmt: skip
    cells: tuple[int, ...] = (16, 16, 24, 32, 48, 64, 88, 96, 96, 108, 144, 192, 216, 400)
    parallel: Range = (1.0, 120.0)  # log; beyond SMALL_AH as many small cells or one large one
    cells_per_probe: tuple[int, ...] = (1, 2, 2, 3, 4, 6)
    period_s: tuple[float, ...] = (1.0, 1.0, 1.0, 2.0, 5.0)  # between two recorded snapshots
    sweep: Range = (0.0, 0.9)  # share of the period that a sweep over the cells takes
    soc: Range = (0.2, 0.98)
    ambient_c: Range = (-8.0, 38.0)
    capacity_left: Range = (0.78, 1.02)
    resistance_grown: Range = (0.9, 1.7)
    tau: Range = (0.7, 1.4)
    spread_capacity: Range = (0.002, 0.012)
    spread_resistance: Range = (0.01, 0.06)
    spread_soc: Range = (0.001, 0.010)
    spread_cooling: Range = (0.02, 0.15)
    cooled: tuple[str, ...] = ("still", "air", "liquid", "liquid")
    heat_capacity: Range = (0.9, 1.15)  # factor
    link_w_per_k: Range = (0.02, 0.30)  # log; between card cells of 3 Ah
    module_cells: tuple[int, ...] = (4, 6, 8, 12, 16)
    ambient_share: Range = (0.05, 0.4)  # of an 18650 alone in air
    air_w_per_k: Range = (0.02, 0.10)  # card cell of 3 Ah to the flow
    liquid_w_per_k: Range = (0.05, 0.40)
    flow: Range = (1.5, 6.0)  # heat capacity flow over all conductances to it
    radiator: Range = (0.3, 1.5)  # loop to ambient over all conductances to it
    chiller_w_per_ah: Range = (0.02, 0.15)
    vent_c: Range = (120.0, 140.0)
    separator_c: Range = (135.0, 165.0)
    ejected: Range = (0.0, 0.35)  # see the peaks of plant-check
    ejected_lfp: Range = (0.35, 0.6)
    voltage_offset_v: Range = (0.0002, 0.0020)
    voltage_noise_v: Range = (0.0002, 0.0012)
    voltage_lsb_v: tuple[float, ...] = (0.0001, 0.001, 0.001, 0.0015)
    temperature_offset_c: Range = (0.1, 0.6)
    temperature_noise_c: Range = (0.02, 0.15)
    temperature_lsb_c: tuple[float, ...] = (0.1, 0.1, 0.5, 1.0)
    temperature_lag_s: Range = (2.0, 15.0)
    current_offset_c_rate: Range = (0.0, 0.002)
    current_noise_c_rate: Range = (0.0005, 0.003)
    current_lsb_a: tuple[float, ...] = (0.01, 0.1)
    insulation_ohm: Range = (1e6, 1e7)  # log
    load_strength: Range = (0.5, 1.3)


@dataclass(frozen=True, slots=True)
class SensorDraw:
    """One pack's sensors. The offsets are drawn once a sensor, the noise at each sample."""

    voltage_offset_v: float
    voltage_noise_v: float
    voltage_lsb_v: float
    temperature_offset_c: float
    temperature_noise_c: float
    temperature_lsb_c: float
    temperature_lag_s: float
    current_offset_a: float
    current_noise_a: float
    current_lsb_a: float


@dataclass(frozen=True, slots=True)
class BatchDraw:
    """What the packs of a batch have in common."""

    card: str
    cells: int
    probes: int
    period_s: float


@dataclass(frozen=True, slots=True, eq=False)
class PackDraw:
    """One pack before its first step. build: a group of one pack. sweep_s: from the first cell's sample to the last one's."""

    build: Build
    soc: Floats
    temperature_c: Floats
    ambient_c: float
    sensors: SensorDraw
    sweep_s: float
    insulation_ohm: float
    load_strength: float
    cooled: str


def draw_batch(rng: np.random.Generator, ranges: Ranges) -> BatchDraw:
    cells = int(rng.choice(ranges.cells))
    probes = max(2, -(-cells // int(rng.choice(ranges.cells_per_probe))))
    return BatchDraw(str(rng.choice(ranges.cards)), cells, probes, float(rng.choice(ranges.period_s)))


def draw_pack(rng: np.random.Generator, curves: Curves, batch: BatchDraw, ranges: Ranges) -> PackDraw:
    """A pack of ``batch``: its build, its start and its sensors."""
    cells = batch.cells

    def one(pair: Range) -> float:
        return float(rng.uniform(*pair))

    def log(pair: Range) -> float:
        return float(np.exp(rng.uniform(*np.log(pair))))

    parallel = float(np.round(log(ranges.parallel)))
    large = curves.capacity_ah * parallel > SMALL_AH and rng.random() < 0.5  # one large cell, not many small ones
    cooled = str(rng.choice(ranges.cooled))
    capacity, resistance = groups(rng, cells, 1.0 if large else parallel, one(ranges.spread_capacity), one(ranges.spread_resistance))
    volume_m3 = M3_PER_AH.get(curves.chemistry, M3_PER_AH_OXIDE) * curves.capacity_ah
    size = volume_m3 / (3.0 * M3_PER_AH_OXIDE)
    inward = parallel ** (-1 / 3) if large else 1.0  # a large cell has less surface for its volume
    link = np.full(cells - 1, log(ranges.link_w_per_k) * size * inward)
    module = int(rng.choice(ranges.module_cells))
    link[module - 1 :: module] *= 0.1
    per_cell = {"still": 0.0, "air": one(ranges.air_w_per_k), "liquid": one(ranges.liquid_w_per_k)}[cooled]
    coolant = per_cell * size * inward * (1 + one(ranges.spread_cooling) * rng.standard_normal(cells)).clip(0.5, 1.5)
    ambient = AIR_W_PER_M3_K * volume_m3 * inward * one(ranges.ambient_share) * np.ones(cells)
    ambient[[0, -1]] *= 1.3  # the ends lose a little more
    total = max(float(coolant.sum()), 1e-3)
    ambient_c = one(ranges.ambient_c)

    def cell(value: float) -> Floats:
        return np.array([[value]])

    build = Build(
        parallel=cell(parallel),
        capacity_as=3600.0 * curves.capacity_ah * one(ranges.capacity_left) * capacity[None, :],
        resistance=one(ranges.resistance_grown) * resistance[None, :],
        tau=cell(one(ranges.tau)),
        volume_m3=cell(volume_m3),
        heat_j_per_k=np.full((1, cells), volume_m3 * J_PER_M3_K * one(ranges.heat_capacity)),
        link_w_per_k=link[None, :],
        ambient_w_per_k=ambient[None, :],
        coolant_w_per_k=coolant[None, :],
        flow_w_per_k=cell(total * one(ranges.flow)),
        loop_j_per_k=cell(total * 120.0),
        radiator_w_per_k=cell(total * one(ranges.radiator)),
        chiller_w=cell(cells * curves.capacity_ah * one(ranges.chiller_w_per_ah) if cooled == "liquid" else 0.0),
        chiller_c=cell(20.0),
        vent_c=rng.uniform(*ranges.vent_c, (1, cells)),
        separator_c=rng.uniform(*ranges.separator_c, (1, cells)),
        ejected=cell(one(ranges.ejected_lfp if curves.chemistry is Chemistry.LFP else ranges.ejected)),
    )
    capacity_ah = curves.capacity_ah * parallel
    sensors = SensorDraw(
        one(ranges.voltage_offset_v),
        one(ranges.voltage_noise_v),
        float(rng.choice(ranges.voltage_lsb_v)),
        one(ranges.temperature_offset_c),
        one(ranges.temperature_noise_c),
        float(rng.choice(ranges.temperature_lsb_c)),
        one(ranges.temperature_lag_s),
        one(ranges.current_offset_c_rate) * capacity_ah,
        one(ranges.current_noise_c_rate) * capacity_ah,
        float(rng.choice(ranges.current_lsb_a)),
    )
    soc = np.clip(one(ranges.soc) + one(ranges.spread_soc) * rng.standard_normal(cells), 0.02, 1.0)
    return PackDraw(
        build, soc, np.full(cells, ambient_c + one((0.0, 4.0))), ambient_c, sensors, batch.period_s * one(ranges.sweep),
        log(ranges.insulation_ohm), one(ranges.load_strength), cooled,
    )  # fmt: skip


def no_fuller(curves: Curves, soc: Floats, temperature_c: Floats) -> Floats:
    """``soc`` (cells,), lowered as a whole until no cell rests above what its card charges to (some cards stop below full)."""
    grid = np.linspace(0.5, 1.0, 501)
    rested_v, _ = curves.ocv(grid, np.full_like(grid, temperature_c.mean()))
    full = float(grid[rested_v <= curves.voltage_max_v - FULL_MARGIN_V].max())
    return np.clip(soc - max(0.0, float(soc.max()) - full), 0.02, 1.0)


def groups(rng: np.random.Generator, cells: int, parallel: float, capacity: float, resistance: float) -> tuple[Floats, Floats]:
    """(capacity, resistance) factors of series groups whose ``parallel`` cells differ; each (cells,).

    Cells side by side add their capacities and their conductances; those of one delivery differ less than two deliveries.
    """
    drawn = int(min(parallel, PARALLEL_DRAWN))
    width = 1.0 / np.sqrt(parallel / drawn)
    each_capacity = np.maximum(1 + capacity * width * rng.standard_normal((cells, drawn)), 0.5)
    each_resistance = np.maximum(1 + resistance * width * rng.standard_normal((cells, drawn)), 0.5)
    common = np.maximum(1 + 0.5 * capacity * rng.standard_normal(cells), 0.5)
    return common * each_capacity.mean(axis=1), 1.0 / (1.0 / each_resistance).mean(axis=1)
