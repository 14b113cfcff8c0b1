"""What packs each split of the reasoner's corpus is of: its seed, how long they run, how many share a card, which faults they have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hil.plant.draws import Ranges
from hil.plant.episodes import Mix, Plan
from hil.plant.faults import FAULTS, LOOK_ALIKES

SEEDS = {
    "train": 71,
    "validation": 72,
    "held_out": 73,
    "wider": 74,
    "pybamm": 75,
    "long": 76,
    "days": 77,
    "slow": 78,
    "many": 79,
}
"""validation: thresholds and choices. wider: as validation, from a wider domain. held_out: reported, nothing is chosen on it. pybamm: packs
of the other simulator, a day each; reported, nothing is chosen on it either. long: of the circuit plant, 2.5 hours each; reported. days: of the circuit plant, a day each; reported. slow: training too, see SLOW.
many: as held_out, 10,000 packs without their healthy twins; reported, for differences that fewer packs do not show."""
TRAIN_CELLS = (16, 16, 24, 32, 48, 64, 88, 96, 96, 108, 144)
"""A batch costs the same whatever the size of its packs: of packs of 400 cells it holds 25."""
LONG_HOURS, LONG_EVERY = 2.5, 5
LONG_CELLS = (16, 16, 24, 32, 48, 64, 96)
LONG_PERIODS_S = (5.0, 10.0)
"""A fault begins within the first 55 %: at the end nothing of its onset is within the last hour. An hour of such a pack costs what the first one does."""
DAY_HOURS, DAY_EVERY = 24.0, 3
"""Of a day the last hour shows no onset at all, and what is asked of a day (``queries.OF_A_DAY``) is answered. It costs thirty times an hour."""
DAY_CELLS = (16, 16, 24, 32)
SLOW = (
    "voltage_drift", "voltage_stuck", "voltage_tap", "probe_stuck", "probe_drift", "probe_open", "current_offset", "current_offset", "joint_loose",
    "joint_loose", "cooling_failure", "cooling_blocked", "imbalance", "short_constant", "short_micro",
)  # fmt: skip
"""Faults that a day shows and an hour does not: days with these, beside healthy ones, are the split ``slow``, which training reads behind ``train``."""
SLOW_CELLS = (16, 24, 32, 48, 64, 96)
LARGER = (("joint_loose", 8.0), ("current_offset", 6.0))
OF_A_CARD = 24
"""Packs of one card and size, but for ``train`` and ``slow``, which run as many as go well side by side: hundreds, which is quicker. A thousand packs are then of
five to ten cards and sizes: too few to judge by. To learn from they do: 3,600 packs of 64 more taught an oracle nothing (docs/reasoning-tried.md)."""
OF_MANY = 96
"""Likewise of ``many``: 10,000 packs are of a hundred cards and sizes, in half the time."""

WIDER = Ranges(
    period_s=(1.0, 2.0, 5.0, 10.0),
    ambient_c=(-15.0, 45.0),
    capacity_left=(0.70, 1.05),
    resistance_grown=(0.8, 2.2),
    tau=(0.5, 2.0),
    spread_capacity=(0.001, 0.02),
    spread_resistance=(0.005, 0.10),
    spread_soc=(0.0005, 0.02),
    spread_cooling=(0.01, 0.25),
    heat_capacity=(0.75, 1.3),
    ambient_share=(0.03, 0.6),
    voltage_offset_v=(0.0001, 0.0030),
    voltage_noise_v=(0.0001, 0.0020),
    temperature_offset_c=(0.05, 1.0),
    temperature_noise_c=(0.01, 0.25),
    current_offset_c_rate=(0.0, 0.003),
    current_noise_c_rate=(0.0002, 0.005),
    load_strength=(0.3, 1.6),
)


def even_kinds() -> tuple[str, ...]:
    """Kinds repeated so that each cause is as likely as another, whatever the number of its kinds; look-alikes once each."""
    of = {kind: row.cause for kind, row in FAULTS.items()}
    times = {cause: list(of.values()).count(cause) for cause in set(of.values())}
    whole = int(np.lcm.reduce(list(times.values())))
    repeated = [kind for kind, cause in of.items() for _ in range(whole // times[cause])]
    return (*repeated, *LOOK_ALIKES)


def plan_of(split: str, batch: int = 0) -> Plan:
    """Three in ten packs stay healthy, half of them look-alikes. Of the batches that teach or set something, each LONG_EVERY-th is long."""
    plan = Plan(seed=SEEDS[split], mix=Mix(ordinary=0.15, look_alikes=0.15, kinds=even_kinds()), batch=OF_A_CARD)
    if split == "pybamm":
        return replace(plan, hours=24.0, mix=Mix(ordinary=0.15, look_alikes=0.15))
    if split == "many":
        return replace(plan, twins=False, batch=OF_MANY)
    if split == "train":  # what is detectable is only reported
        plan = replace(plan, twins=False, batch=None, ranges=replace(plan.ranges, cells=TRAIN_CELLS))
    if split == "slow":
        mix = Mix(ordinary=0.15, look_alikes=0.15, kinds=(*SLOW, *LOOK_ALIKES))
        ranges = replace(plan.ranges, cells=SLOW_CELLS, period_s=(10.0,))
        return replace(plan, hours=DAY_HOURS, twins=False, batch=None, ranges=ranges, mix=mix, larger=LARGER)
    if split == "days" or (split in ("train", "validation") and batch % LONG_EVERY == DAY_EVERY):
        return replace(plan, hours=DAY_HOURS, ranges=replace(plan.ranges, cells=DAY_CELLS, period_s=(10.0,)))
    if split == "long" or (split in ("train", "validation") and batch % LONG_EVERY == LONG_EVERY - 1):
        return replace(plan, hours=LONG_HOURS, ranges=replace(plan.ranges, cells=LONG_CELLS, period_s=LONG_PERIODS_S))
    return replace(plan, ranges=WIDER) if split == "wider" else plan
