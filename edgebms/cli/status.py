"""``edgebms status -c gateway.toml``: what the running daemon says of itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgebms.control import Status


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "status",
        help="packs, buses and outlets of the running daemon, with their counts",
        description="Ask the running daemon for its packs, buses and outlets. Exit code 1 where an alert or a fault stands, 10 without a daemon.",
    )
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="gateway.toml")
    parser.add_argument("--json", action="store_true", help="the answer as it came")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    import msgspec

    from edgebms import config as configuration
    from edgebms.control import Status, StatusAsk, ask

    status = ask(configuration.load(args.config), str(args.config), StatusAsk())
    assert isinstance(status, Status)
    print(msgspec.json.encode(status).decode() if args.json else told(status))
    wrong = any(pack.alerts for pack in status.packs) or any(outlet.faults for outlet in status.outlets)
    return 1 if wrong or status.faults or any(bus.problem for bus in status.buses) else 0


def told(status: Status) -> str:
    since = f" since {status.since}" if status.since is not None else ""
    lines = [f"edgebms {status.runtime}, process {status.pid}, running{since} for {status.running_s:.0f} s"]
    for pack in status.packs:
        age = "no decision yet" if pack.age_s is None else f"{pack.decisions} decisions, the last {pack.age_s:.1f} s ago"
        lines.append(f"pack {pack.name}: {age}, {pack.valid_cells or 0} of {pack.cells} cells valid")
        lines += [f"  alert {alert}" for alert in pack.alerts]
        lines += [f"  latched {rule}" for rule in pack.latched]
    for bus in status.buses:
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in bus.counts.items() if count or name == "frames")
        lines.append(f"bus {bus.name} ({bus.interface}): {'up' if bus.up else 'down: ' + bus.problem}; {counts}")
    for outlet in status.outlets:
        counts = f"{outlet.dropped} dropped, {outlet.lost_changes} alerts lost, {outlet.failed} failed"
        counts += f", {outlet.sent} frames sent" if outlet.sent is not None else ""
        lines.append(f"outlet {outlet.name}: {counts}" + "".join(f"; {fault}" for fault in outlet.faults))
    return "\n".join([*lines, *(f"fault {fault}" for fault in status.faults)])
