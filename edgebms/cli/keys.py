"""``edgebms keys new|show``: keys of BMS microcontrollers (docs/firmware-bridge.md)."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgebms.errors import ConfigError, MissingExtra


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "keys",
        help="make and look at the keys of BMS microcontrollers",
        description="Keys with which advice to a BMS microcontroller is signed, and the counters that make each message new.",
    )
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    new = verbs.add_parser(
        "new", help="draw a key and begin its counter", description="Draw a key for one microcontroller; both files must be new."
    )
    new.add_argument("key", type=Path, metavar="KEYFILE")
    new.add_argument(
        "--counter", type=Path, required=True, metavar="FILE", help="on a disk that survives a power cut; the gateway writes to it"
    )
    new.add_argument("--after", type=Path, metavar="KEYFILE", help="a key change: the old key, whose number the new one follows")
    new.set_defaults(func=run_new)
    show = verbs.add_parser("show", help="a key's number and fingerprint", description="Say which key a file holds.")
    show.add_argument("key", type=Path, metavar="KEYFILE")
    show.add_argument("--secret", action="store_true", help="the key itself, to write it into the microcontroller")
    show.set_defaults(func=run_show)


def run_new(args: argparse.Namespace) -> int:
    need_library()
    from firmware_bridge.freshness import begin_counter
    from firmware_bridge.keys import KeyProblem, new_key, read_key

    try:
        number = read_key(args.after).number % 255 + 1 if args.after is not None else 1
        if args.counter.exists():
            raise KeyProblem("exists", str(args.counter), "name another file for the counter: an old one is never begun again")
        key = new_key(args.key, number)
        begin_counter(args.counter, key.fingerprint)
    except KeyProblem as problem:
        raise ConfigError(problem.what, where=problem.where, mend=problem.mend) from None
    print(f"key number {key.number}, fingerprint {key.fingerprint}, in {args.key}; its counter in {args.counter}")
    print(f"write it into the microcontroller: edgebms keys show --secret {args.key}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    need_library()
    from firmware_bridge.keys import KeyProblem, read_key

    try:
        key = read_key(args.key)
    except KeyProblem as problem:
        raise ConfigError(problem.what, where=problem.where, mend=problem.mend) from None
    print(f"number {key.number}\nfingerprint {key.fingerprint}")
    if args.secret:
        print(f"key {key.secret.hex()}")
    return 0


def need_library() -> None:
    if find_spec("cryptography") is None:
        raise MissingExtra("keys need cryptography", mend="pip install 'edgebms[mcu]'")
