"""``python -m hil corpus``: simulated packs with faults, as BDF parquet with their truth."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgebms.errors import ConfigError
from hil.plant.draws import Ranges
from hil.plant.episodes import Episode, Mix, Plan, episodes


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("corpus", help="simulated packs with faults and their truth, as parquet and tests.csv")
    parser.add_argument("--plant", choices=("circuit", "pybamm"), default="circuit")
    parser.add_argument("--packs", type=int, required=True, metavar="N")
    parser.add_argument("--seed", type=int, required=True, metavar="S")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="'-': simulate and count only")
    parser.add_argument("--hours", type=float, default=1.0, help="length of each pack's recording; default 1")
    parser.add_argument("--period", type=float, metavar="SECONDS", help="between two snapshots; default: drawn from 1, 2 and 5")
    parser.add_argument("--cells", nargs=2, type=int, metavar=("LOW", "HIGH"), help="packs of so many series groups; default: 16 to 400")
    told = "packs that share a card and a size; default: as many as run well side by side, hundreds"
    parser.add_argument("--batch", type=int, metavar="N", help=told)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes, of the circuit plant (default 1)")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="only these faults and look-alikes; 'ordinary' for use without any")
    parser.add_argument("--cycles", type=Path, metavar="DIR", help="measured drive cycles (BDF parquet of one cell) to mix in")
    parser.add_argument("--cycles-ah", type=float, default=3.0, metavar="AH", help="capacity of that cell; default 3")
    parser.set_defaults(func=run)


def plan_of(args: argparse.Namespace) -> Plan:
    """Raises ConfigError."""
    from hil.plant.faults import KINDS, ORDINARY
    from hil.plant.loads import measured_cycles

    checked(args.packs > 0, "--packs", "must be at least 1", "name a number of packs")
    checked(args.batch is None or args.batch > 0, "--batch", "must be at least 1", "name a number of packs")
    checked(args.jobs > 0, "--jobs", "must be at least 1", "name a number of processes")
    checked(args.seed >= 0, "--seed", "must not be negative", "name any whole number from 0 up")
    checked(0.1 <= args.hours <= 24 * 30, "--hours", "must be from 0.1 to 720", "ask for several packs instead of one long recording")
    whole = args.period is None or (args.period >= 1 and args.period == int(args.period))
    checked(whole, "--period", "must be a whole number of seconds, at least 1", "the plant's own step is 1 s")
    mix = Mix()
    if args.kinds:
        unknown = [kind for kind in args.kinds if kind not in KINDS and kind != ORDINARY]
        checked(not unknown, "--kinds", f"no kind called {', '.join(unknown)}", f"known: {', '.join([ORDINARY, *KINDS])}")
        named = tuple(kind for kind in args.kinds if kind != ORDINARY)
        mix = Mix(ordinary=(ORDINARY in args.kinds) / (len(named) + (ORDINARY in args.kinds)), kinds=named)
    ranges = Ranges()
    if args.cells is not None:
        low, high = args.cells
        fitting = tuple(cells for cells in ranges.cells if low <= cells <= high)
        checked(bool(fitting), "--cells", f"no pack has {low} to {high} cells", f"sizes: {', '.join(map(str, sorted(set(ranges.cells))))}")
        ranges = replace(ranges, cells=fitting)
    cycles = ()
    if args.cycles is not None:
        checked(any(args.cycles.glob("*.parquet")), str(args.cycles), "holds no parquet files", "name a folder of drive cycles")
        cycles = measured_cycles(args.cycles, args.cycles_ah)
    return Plan(seed=args.seed, hours=args.hours, period_s=args.period, mix=mix, ranges=ranges, cycles=cycles, batch=args.batch)


def checked(holds: bool, where: str, what: str, mend: str) -> None:
    if not holds:
        raise ConfigError(what, where=where, mend=mend)


def run(args: argparse.Namespace) -> int:
    from hil.plant.batches import write_batches
    from hil.plant.corpus import first, write

    plan = plan_of(args)
    started_s, started_cpu_s = time.perf_counter(), cpu_s_of_all()
    source = first(source_of(args.plant, plan), args.packs)
    if str(args.out) == "-":
        cell_hours = sum(episode.cell_voltage_v.shape[1] * plan.hours for episode in source)
    elif args.plant == "circuit":
        cell_hours = write_batches(plan, args.packs, args.out, args.jobs, lambda line: print(line, flush=True))
    else:
        from hil.plant_pybamm.characterise import copy_cards

        copy_cards(args.out)
        cell_hours = write(source, args.out, f"plant_{args.plant}", lambda line: print(line, flush=True))
    wall_s, cpu_s = time.perf_counter() - started_s, cpu_s_of_all() - started_cpu_s
    print(f"{args.packs} packs, {cell_hours:.0f} cell-hours in {wall_s:.1f} s")
    print(f"{60 * cell_hours / wall_s:.0f} cell-hours a minute, {60 * cell_hours / cpu_s:.0f} a minute and core")
    return 0


def cpu_s_of_all() -> float:
    """The processor's seconds of this process and of those that it waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def source_of(plant: str, plan: Plan) -> Iterator[Episode]:
    """Episodes of a plant. Raises ConfigError where it is not there."""
    if plant == "circuit":
        return episodes(plan)
    try:
        from hil.plant_pybamm.episodes import episodes as pybamm_episodes
    except ImportError:
        raise ConfigError("the pybamm plant is not there", where="--plant pybamm", mend="use --plant circuit") from None
    found: Iterator[Episode] = pybamm_episodes(plan)
    return found
