"""``python -m hil VERB``: the rig, from a checkout."""

from __future__ import annotations

import argparse
import sys

from edgebms.errors import EdgebmsError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hil", description="The rig: a simulated pack, its faults, and its frames.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("plant-check", help="the plant against published figures").set_defaults(func=plant_check)
    return parser


def plant_check(_args: argparse.Namespace) -> int:
    from hil.plant.check import lines

    for line in lines():
        print(line, flush=True)
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
