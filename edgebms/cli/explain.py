"""``edgebms explain [FILE|-]``: one decision of an NDJSON file in plain words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from edgebms.errors import LogError


class _Head(msgspec.Struct, frozen=True):
    """What choosing a line needs; the chosen line is decoded whole."""

    schema: str
    pack: str
    seq: int
    alerts: list[msgspec.Raw]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="tell one decision in plain words",
        description="Tell one decision of an NDJSON file (as replay writes it) in plain words, from its own evidence alone: by default the last one.",
    )
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="NDJSON file; - or nothing = standard input")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seq", type=int, metavar="N", help="the decision with this sequence number (the last such one)")
    which.add_argument("--last-alert", action="store_true", help="the last decision with an alert")
    parser.add_argument("--pack", help="only decisions of this pack")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from edgebms.decision.explain import explain
    from edgebms.decision.types import decode

    name = "standard input" if args.file == "-" else args.file
    number, line, unread = choose(read(args.file), args.seq, args.last_alert, args.pack)
    if unread:
        print(f"edgebms: warning: {name}: {unread} lines are no decisions and were left out", file=sys.stderr)
    if line is None:
        what = f"with sequence number {args.seq}" if args.seq is not None else "with an alert" if args.last_alert else "at all"
        of_pack = f" of pack {args.pack}" if args.pack is not None else ""
        raise LogError(f"no decision{of_pack} {what}", where=name, mend="give an NDJSON file that edgebms replay wrote, or other choices")
    try:
        decision = decode(line)
    except msgspec.DecodeError as error:
        raise LogError(f"not a decision of this version: {error}", where=f"{name}: line {number}", mend="see edgebms schema") from None
    print(explain(decision), end="")
    return 0


def read(file: str) -> Iterable[bytes]:
    """The lines of ``file``, one at a time. Raises LogError."""
    if file == "-":
        if sys.stdin.isatty():
            print("edgebms: reading decisions from standard input (end with Ctrl-D); or name an NDJSON file", file=sys.stderr)
        yield from sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as lines:
            yield from lines
    except OSError as error:
        raise LogError(f"cannot be read: {error.strerror}", where=file, mend="name an NDJSON file that edgebms replay wrote") from None


def choose(lines: Iterable[bytes], seq: int | None, with_alert: bool, pack: str | None) -> tuple[int, bytes | None, int]:
    """(number of the line, line, how many lines were no decisions): the last line that fits, or None."""
    decoder = msgspec.json.Decoder(_Head)
    chosen: tuple[int, bytes | None] = (0, None)
    unread = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            head = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            unread += 1
            continue
        if (seq is None or head.seq == seq) and (not with_alert or head.alerts) and (pack is None or head.pack == pack):
            chosen = number, line
    return *chosen, unread
