"""``edgebms acknowledge -c gateway.toml PACK RULE``: a person has seen a latched alert."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgebms.control import Rule


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "acknowledge",
        help="open the latch of an alert that a person has seen, in the running daemon",
        description="Open the latch of a rule wherever its cause is over. Where the cause still stands the latch stays shut, and it is said what "
        "it takes. Without RULE: what is latched. Exit code 1 where something stays shut.",
    )
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="gateway.toml")
    parser.add_argument("pack", metavar="PACK")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("rule", nargs="?", metavar="RULE", help="as in the alert's evidence")
    which.add_argument("--all", action="store_true", help="every latched rule of the pack")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from edgebms import config as configuration
    from edgebms.control import AcknowledgeAsk, Acknowledged, Status, StatusAsk, ask
    from edgebms.errors import GatewayError

    config, where = configuration.load(args.config), str(args.config)
    if args.rule is None and not args.all:
        status = ask(config, where, StatusAsk())
        assert isinstance(status, Status)
        packs = {pack.name: pack for pack in status.packs}
        if args.pack not in packs:
            raise GatewayError(f"no pack is called {args.pack!r}", where=where, mend=f"name one of: {', '.join(packs)}")
        latched = packs[args.pack].latched
        print(f"{args.pack}: latched: {', '.join(latched)}" if latched else f"{args.pack}: nothing is latched")
        return 0
    answer = ask(config, where, AcknowledgeAsk(args.pack, args.rule))
    assert isinstance(answer, Acknowledged)
    for rule in answer.rules:
        print(f"{answer.pack}: {told(rule)}")
    if not answer.rules:
        print(f"{answer.pack}: nothing is latched")
    rest = [name for name in answer.latched if name not in {rule.rule for rule in answer.rules}]
    if rest:
        print(f"{answer.pack}: still latched: {', '.join(rest)}")
    return 1 if any(rule.stands for rule in answer.rules) else 0


def told(rule: Rule) -> str:
    """One line: what was opened, what stays shut, and what it takes."""
    places = "" if rule.opened + rule.stands == 1 else f" at {rule.opened} of {rule.opened + rule.stands} places"
    if not rule.stands:
        return f"{rule.rule} ({rule.hazard}): acknowledged, the latch is open"
    value = f"{rule.value:.4g} {rule.unit}" if rule.value is not None else "unknown"
    opened = f"opened{places}, the rest " if rule.opened else ""
    return f"{rule.rule} ({rule.hazard}): {opened}stays shut: last value {value}; its cause is over after {rule.over}"
