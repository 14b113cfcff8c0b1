"""``python -m hil run | check | list | schema``."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"


def add(verbs: Any) -> None:
    run = verbs.add_parser("run", help="run scenarios against the real daemon")
    add_selection(run)
    run.add_argument("--seed", type=int, help="for all of them, in place of their own")
    run.add_argument("--jobs", type=int, default=0, metavar="N", help="so many at once; default one a core")
    run.add_argument("--junit-xml", type=Path, metavar="FILE")
    run.add_argument("--html", type=Path, metavar="FILE", help="one self-contained page")
    run.add_argument("--write", type=Path, metavar="FILE", help="the table of docs/results-rig.md")
    run.add_argument("--traces", type=Path, metavar="DIR", help="BLF, MF4 and NDJSON of each scenario")
    run.add_argument("--keep", type=Path, metavar="DIR", help="what failed leaves its folder here")
    run.add_argument("--hardware", type=Path, metavar="FILE", help="a physical pack emulator in place of the plant's frames (docs/hil.md)")
    run.add_argument("--port", metavar="DEVICE", help="a real microcontroller in the emulated one's place (docs/hil.md)")
    run.add_argument("--front-end", metavar="DEVICE", help="with --port: the port of its emulated front end")
    run.add_argument("--board-key", type=Path, metavar="FILE", help="its key file; default: the reference firmware's published key")
    run.add_argument("--elf", type=Path, metavar="FILE", help="an image for QEMU in place of the reference firmware's")
    run.add_argument("--link", choices=["udp", "slcan", "socketcan"], help="in place of the scenarios' own, but for link mcu")
    run.add_argument("--package", type=Path, metavar="DIR", help="the daemon is the edgebms in DIR, such as /usr/lib/edgebms")
    run.add_argument(
        "--unit", metavar="NAME", help="the daemon is this systemd unit of the installed package: root, real time (docs/hil.md)"
    )
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    run.set_defaults(func=run_verb)
    check = verbs.add_parser("check", help="parse scenarios, run nothing")
    add_selection(check)
    check.set_defaults(func=check_verb)
    show = verbs.add_parser("list", help="scenarios, a line each")
    add_selection(show)
    show.set_defaults(func=list_verb)
    verbs.add_parser("schema", help="the JSON Schema of a scenario").set_defaults(func=schema_verb)


def add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="*", metavar="NAME|FILE|DIR", help="default: all that ship")
    parser.add_argument("--tag", help="only scenarios with this tag")
    parser.add_argument("--short", action="store_true", help="a third of them: every link, every tag")


def selected(args: argparse.Namespace) -> list[Any]:
    """The scenarios asked for. Raises ConfigError."""
    from edgebms.errors import ConfigError
    from hil.scenario import load_folder

    names = [what for what in args.what if not Path(what).exists()]
    paths = [Path(what) for what in args.what if Path(what).exists()]
    scenarios = load_folder(paths) if paths else []
    if names or not paths:
        shipped = load_folder([SCENARIOS])
        known = {scenario.name: scenario for scenario in shipped}
        for name in names:
            if name not in known:
                raise ConfigError(f"no scenario and no file is called {name!r}", where="run", mend="python -m hil list shows them")
        scenarios += [known[name] for name in names] if names else shipped
    chosen = [scenario for scenario in scenarios if args.tag is None or args.tag in scenario.tags]
    return third(chosen) if args.short else chosen


def third(scenarios: list[Any]) -> list[Any]:
    """Every third of each link and tag, the shortest first among those on the machine's own clock: they cost most."""
    groups: dict[tuple[str, str, bool], list[Any]] = {}
    for scenario in scenarios:
        groups.setdefault((scenario.link, scenario.tags[0] if scenario.tags else "", scenario.realtime), []).append(scenario)
    chosen = [name for group in groups.values() for name in sorted(group, key=cost)[::3]]
    return [scenario for scenario in scenarios if scenario in chosen]


def cost(scenario: Any) -> float:
    return float(scenario.duration_s / (1.0 if scenario.realtime else 100.0 * scenario.pack.period_s))


def run_verb(args: argparse.Namespace) -> int:
    import msgspec

    from edgebms import __version__
    from hil.rig.runner import run_all

    scenarios = selected(args)
    if args.link is not None:
        scenarios = [scenario if scenario.link == "mcu" else msgspec.structs.replace(scenario, link=args.link) for scenario in scenarios]
    wide = max((len(scenario.name) for scenario in scenarios), default=0)
    results = run_all(
        scenarios, jobs=args.jobs, seed=args.seed, traces=args.traces, kept=args.keep, hardware=args.hardware, board=board_of(args),
        package=args.package, unit=args.unit, quiet=args.quiet or not sys.stderr.isatty(),
        told=lambda result: tell(result, wide),
    )  # fmt: skip
    if args.junit_xml is not None:
        from hil.report.junit import write as write_junit

        write_junit(args.junit_xml, results)
    if args.write is not None:
        from hil.report.table import write as write_table

        write_table(args.write, results, f"edgebms {__version__}.")
    if args.html is not None:
        from hil.report.page import write as write_page

        when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        write_page(args.html, results, head=f"edgebms {__version__}, {when}, {len(results)} scenarios")
    count = Counter(result.verdict for result in results)
    told = f"{count['pass']} passed, {count['fail']} failed"
    told += f", {count['known']} fail as known" if count["known"] else ""
    print(told + (f", {count['skip']} skipped" if count["skip"] else ""))
    return 1 if count["fail"] else 0


def board_of(args: argparse.Namespace) -> Any:
    """Raises ConfigError."""
    from edgebms.errors import ConfigError

    if args.front_end is not None and args.port is None:
        raise ConfigError("--front-end without --port", where="run", mend="name the board's own port too")
    if args.elf is not None and (args.port is not None or not args.elf.is_file()):
        raise ConfigError("--elf names no image that QEMU could run", where="run", mend="name a file, and leave --port out")
    if all(value is None for value in (args.port, args.elf, args.board_key)):
        return None
    from hil.rig.mcu_end import BoardChoice

    return BoardChoice(args.port, args.front_end, args.elf, args.board_key)


def tell(result: Any, wide: int) -> None:
    shown = "FAIL" if result.verdict == "fail" else result.verdict
    print(f"{shown.ljust(5)}  {result.name.ljust(wide)}  {result.run.wall_s:6.1f} s  {result.skipped}".rstrip())
    for check in result.wrong:
        print(f"         {check.asked}: {check.says}")
    for check in result.gaps:
        print(f"         known: {check.asked}: {check.known}")
    sys.stdout.flush()


def check_verb(args: argparse.Namespace) -> int:
    scenarios = selected(args)
    print(f"{len(scenarios)} scenarios are well-formed")
    return 0


def list_verb(args: argparse.Namespace) -> int:
    scenarios = selected(args)
    wide = max((len(scenario.name) for scenario in scenarios), default=0)
    for scenario in scenarios:
        print(f"{scenario.name.ljust(wide)}  {scenario.says}")
    return 0


def schema_verb(_args: argparse.Namespace) -> int:
    from hil.scenario import schema

    print(json.dumps(schema(), indent=2))
    return 0
