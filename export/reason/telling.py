"""``python -m export evaluate reason-evidence``: what each question that names someone tells by itself, fault by fault.

Packs of the plant with one fault each and healthy ones; from an hour on each is looked at every ten minutes. A question finds a fault where it names the right cell or probe
by a number beyond what 99 % of the healthy instants show. Nothing is learnt, and nothing is chosen on these packs: this tells an evidence function that does its work from one that
the sweep, the load or the sensors drown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import OUTLIERS, QUERIES
from edgebms.evidence.views import profile_of
from export.reason import corpus
from export.reason.extract import Recording
from hil.plant.draws import Ranges
from hil.plant.episodes import Mix, Plan
from hil.plant.faults import FAULTS

SEED = 32
"""Other packs than those on which the evidence was worked at (31)."""
CELLS = (16, 24, 32, 48)
EVERY_S, FIRST_S, YOUNG_S = 600.0, 3600.0, 120.0
HEALTHY = "healthy"
QUANTILE = 99.0
PACKS_A_BATCH = 40
LEAST_SHARE = 0.05
"""A question that finds nothing of any fault by this share is left out of the table."""
KINDS = (
    "voltage_drift",
    "voltage_tap",
    "joint_loose",
    "short_constant",
    "imbalance",
    "short_micro",
    "probe_drift",
    "probe_stuck",
    "cooling_blocked",
)


class Look(NamedTuple):
    """One question's number at one instant: how large, of which kind of pack, whether it names the right one."""

    size: float
    kind: str
    right: bool


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reason-evidence", help="what each question tells by itself", description=__doc__)
    parser.add_argument("--packs", type=int, default=240)
    parser.add_argument("--period", type=float, default=10.0, metavar="S", help="between two snapshots")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=sorted(FAULTS), metavar="KIND")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(func=run)


def looks(packs: int, period_s: float, hours: float, kinds: tuple[str, ...]) -> dict[str, list[Look]]:
    """By ``question, number`` (its place in the bundle), over all packs and instants."""
    plan = Plan(
        seed=SEED,
        hours=hours,
        period_s=period_s,
        mix=Mix(ordinary=0.3, look_alikes=0.0, kinds=kinds),
        ranges=Ranges(cells=CELLS),
        twins=False,
    )
    found: dict[str, list[Look]] = {}
    for batch in range(-(-packs // PACKS_A_BATCH)):
        for episode, baseline in corpus.circuit_batch(plan, batch, PACKS_A_BATCH):
            recording = Recording(episode, baseline)
            for snapshot in range(int(FIRST_S / period_s), len(recording.time_s) - 1, max(int(EVERY_S / period_s), 1)):
                since_s = recording.time_s[snapshot] - (episode.fault.onset_s if episode.fault is not None else np.inf)
                if 0.0 <= since_s < YOUNG_S:
                    continue
                recording.learn(snapshot)
                begun = episode.fault if since_s >= 0.0 else None
                for name, size, place, of_cells in answers(recording, snapshot):
                    right = begun is not None and place == (begun.cell if of_cells else begun.probe)
                    found.setdefault(name, []).append(Look(size, episode.kind if begun is not None else HEALTHY, right))
    return found


def answers(recording: Recording, snapshot: int) -> Iterator[tuple[str, float, int, bool]]:
    """(question and number, its size, whom it is largest of, whether that is a cell)."""
    past = recording.at(snapshot)
    for at in OUTLIERS:
        query = QUERIES[at]
        profile = profile_of(past, query.family, query.window_s)
        if profile is None:
            continue
        for number, row in enumerate(np.abs(profile.relatives[:3])):
            if np.isfinite(row).any():
                place = int(np.nanargmax(row))
                yield f"{query.word} {number}", float(row[place]), place, profile.cells


def shares(found: list[Look], kinds: tuple[str, ...]) -> tuple[float, dict[str, float]]:
    """(the healthy instants' quantile, share found of each kind)."""
    size = np.array([look.size for look in found])
    kind = np.array([look.kind for look in found])
    right: NDArray[np.bool_] = np.array([look.right for look in found])
    least = float(np.percentile(size[kind == HEALTHY], QUANTILE))
    beyond = right & (size > least)
    return least, {name: float(beyond[kind == name].mean()) if (kind == name).any() else float("nan") for name in kinds}


def run(args: argparse.Namespace) -> int:
    kinds = tuple(args.kinds)
    told = {name: shares(found, kinds) for name, found in looks(args.packs, args.period, args.hours, kinds).items()}
    if args.json:
        print(json.dumps({name: {"healthy": least, **by_kind} for name, (least, by_kind) in told.items()}))
        return 0
    print(f"| question, number | healthy, {QUANTILE:.0f} % | " + " | ".join(kinds) + " |\n|" + "---|" * (len(kinds) + 2))
    for name, (least, by_kind) in told.items():
        if max(by_kind.values()) >= LEAST_SHARE:
            print(f"| {name} | {least:.1f} | " + " | ".join(f"{100 * share:.0f}" for share in by_kind.values()) + " |")
    return 0
