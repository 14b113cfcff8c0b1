"""``python -m hil VERB``: the rig, from a checkout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgebms.errors import EdgebmsError
from hil import corpus_command
from hil.rig import verbs as rig_verbs


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hil", description="The rig: a simulated pack, its faults, and its frames.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("plant-check", help="the plant against published figures").set_defaults(func=plant_check)
    corpus_command.add_parser(verbs)
    demo = verbs.add_parser("record-demo", help="write the shipped demo log again")
    demo.add_argument("-o", "--output", type=Path, metavar="LOG", help="default: the one in the catalogue")
    demo.set_defaults(func=record_demo)
    encode = verbs.add_parser("encode", help="a BDF file (parquet or CSV) as a candump log in our protocol")
    encode.add_argument("bdf", type=Path, metavar="FILE")
    encode.add_argument("-o", "--output", type=Path, metavar="LOG", required=True)
    encode.add_argument("--profile", default="edgebms", help="edgebms or edgebms_fd; default edgebms")
    encode.set_defaults(func=encode_bdf)
    rig_verbs.add(verbs)
    logs = verbs.add_parser("logs", help="what a folder of logs gives under a profile: frames, snapshots, share not null")
    logs.add_argument("paths", nargs="+", type=Path, metavar="LOG")
    logs.add_argument("--profile", required=True)
    logs.add_argument("--cells", type=int, required=True)
    logs.add_argument("--probes", type=int, default=0)
    logs.add_argument("--firmware")
    logs.add_argument("--channel", help="only frames of this channel")
    logs.add_argument("--period", type=float, metavar="S", help="seconds between two sweeps, where they depart from the profile's")
    logs.set_defaults(func=logs_table)
    library = verbs.add_parser("pybamm-library", help="simulate days of single cells with PyBaMM, from which its packs are composed")
    library.add_argument("--days", type=int, default=120, metavar="N", help="of four cells each (default 120)")
    library.add_argument("--out", type=Path, metavar="DIR", help="default: build/pybamm-library; what is there is not made again")
    library.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    library.set_defaults(func=pybamm_library)
    verbs.add_parser("pybamm-check", help="PyBaMM against our circuit on one drive cycle a parameter set").set_defaults(func=pybamm_check)
    cards = verbs.add_parser("pybamm-cards", help="fit a card to each PyBaMM parameter set again (for evaluation only)")
    cards.set_defaults(func=pybamm_cards)
    return parser


def pybamm_check(_args: argparse.Namespace) -> int:
    from hil.plant_pybamm.check import lines

    for line in lines():
        print(line, flush=True)
    return 0


def pybamm_cards(_args: argparse.Namespace) -> int:
    from hil.plant_pybamm.characterise import fit
    from hil.plant_pybamm.sets import SETS

    for cell_set in SETS.values():
        print(f"{cell_set.name}:", flush=True)
        for line in fit(cell_set):
            print(f"  {line}", flush=True)
    return 0


def pybamm_library(args: argparse.Namespace) -> int:
    from hil.plant_pybamm.library import CELLS, FOLDER, days_of, make

    folder = args.out or FOLDER
    make(folder, args.days, args.jobs)
    found = len(days_of(folder))
    print(f"{folder}: {found} days of {CELLS} cells, {found * CELLS} cell-days")
    return 0


def logs_table(args: argparse.Namespace) -> int:
    from edgebms.config import PackConfig
    from hil.logs_table import lines, read

    pack = PackConfig(
        name="log",
        profile=args.profile,
        card="generic_nmc",
        cells=args.cells,
        probes=args.probes,
        firmware=args.firmware,
        period_s=args.period,
        channel=args.channel,
    )
    paths = [file for path in args.paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    for line in lines([read(path, pack) for path in paths]):
        print(line, flush=True)
    return 0


def plant_check(_args: argparse.Namespace) -> int:
    from hil.plant.check import lines

    for line in lines():
        print(line, flush=True)
    return 0


def record_demo(args: argparse.Namespace) -> int:
    from hil.record_demo import DEMO_LOG, record

    path = args.output or DEMO_LOG
    count = record(path)
    print(f"{path}: {count} frames, {path.stat().st_size / 1000:.0f} kB")
    return 0


def encode_bdf(args: argparse.Namespace) -> int:
    from hil.candump import write
    from hil.encode_bdf import frames

    print(f"{args.output}: {write(args.output, frames(args.bdf, args.profile))} frames")
    return 0


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        return int(args.func(args))
    except EdgebmsError as error:
        print(f"hil: error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
