"""``edgebms run -c gateway.toml``: the daemon. Decisions go where the configuration says; NDJSON on stdout by default."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgebms.config import Config
    from edgebms.daemon import Outlet


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

    return Daemon(args.config, open_outlets).run()


def open_outlets(config: Config) -> list[Outlet]:
    """The outlets that ``config`` names. Raises ConfigError."""
    from edgebms.outlet.stream import Stream

    return [StreamOutlet(Stream(config.output.ndjson))]


class StreamOutlet:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def offer(self, decision: Any, line: bytes) -> None:
        del decision
        self._stream.write(line)

    def close(self) -> None:
        self._stream.close()
