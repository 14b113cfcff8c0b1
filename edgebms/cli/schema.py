"""``edgebms schema``: the JSON Schema of one decision."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of a decision",
        description="Print the JSON Schema (draft 2020-12) that every line of replay and run obeys.",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:  # noqa: ARG001
    print(text(), end="")
    return 0


def text() -> str:
    """The bytes of ``decision/decision.schema.json``."""
    from edgebms.decision.types import schema

    return json.dumps(schema(), indent=2) + "\n"
