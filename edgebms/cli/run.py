"""``edgebms run -c gateway.toml``: the daemon. Decisions go where the configuration says; NDJSON on stdout by default."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "run",
        help="listen to the buses of a configuration and decide, until told to stop",
        description="Listen to the configured buses. SIGTERM ends it cleanly, SIGHUP reads the configuration again.",
    )
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="gateway.toml")
    add_page(parser)
    parser.add_argument("--clock", choices=("rig",), help="time comes as frames on the buses: for the rig alone (rigclock.py)")
    parser.set_defaults(func=run)


def add_page(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--page",
        nargs="?",
        const="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="a status page for a browser at this address (default 127.0.0.1:8080), whatever [outlet.page] says",
    )


def run(args: argparse.Namespace) -> int:
    import msgspec

    from edgebms.config import Config, page_at
    from edgebms.daemon import Daemon
    from edgebms.outlet.outlet import Gateway
    from edgebms.outlets import Opened, open_outlets
    from edgebms.rigclock import RigClock

    clock = RigClock() if args.clock == "rig" else None
    if args.page is None:
        return Daemon(args.config, clock=clock).run()
    page = page_at(args.page, "--page")

    def opener(config: Config, gateway: Gateway, standing: Mapping[str, Opened]) -> dict[str, Opened]:
        # asked at each reload too: what the command line says stays
        shown = msgspec.structs.replace(config, outlet=msgspec.structs.replace(config.outlet, page=page))
        return open_outlets(shown, gateway, standing)

    return Daemon(args.config, opener=opener, clock=clock).run()
