"""``edgebms run -c gateway.toml``: the daemon. Decisions go where the configuration says; NDJSON on stdout by default."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "run",
        help="listen to the buses of a configuration and decide, until told to stop",
        description="Listen to the configured buses. SIGTERM ends it cleanly, SIGHUP reads the configuration again.",
    )
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="gateway.toml")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from edgebms.daemon import Daemon

    return Daemon(args.config).run()
