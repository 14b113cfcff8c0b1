"""``edgebms health STATE``: what a checkpoint says of a pack's health and lifetime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgebms.errors import StateError


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "health",
        help="state of health and lifetime figures from a checkpoint",
        description="Tell what a checkpoint says: state of charge and health by cell, lifetime counters with their uncertainty, standing alerts. "
        "STATE is a checkpoint, a pack's folder or the record's folder (all packs).",
    )
    parser.add_argument("state", type=Path, metavar="STATE")
    parser.add_argument("--json", action="store_true", help="one JSON object a pack, one a line")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    import msgspec

    from edgebms.record import checkpoint
    from edgebms.record.health import health, told

    for path in checkpoints(args.state):
        saved = checkpoint.load(path)
        try:
            figures = health(saved)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(
                f"does not hold what it should ({type(error).__name__})", where=str(path), mend="use the version of edgebms that wrote it"
            ) from None
        print(msgspec.json.encode(figures).decode() if args.json else told(figures), end="\n" if args.json else "")
    return 0


def checkpoints(path: Path) -> list[Path]:
    """The checkpoints that ``path`` names. Raises StateError where there is none."""
    if not path.is_dir():
        return [path]
    found = sorted([*path.glob("checkpoint.state"), *path.glob("*/checkpoint.state")])
    if not found:
        raise StateError("holds no checkpoint", where=str(path), mend="name the folder of [record] in gateway.toml, or a pack's in it")
    return found
