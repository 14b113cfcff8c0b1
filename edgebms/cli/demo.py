"""``edgebms demo``: a recorded 16-cell pack with a growing internal short, through the real line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from edgebms.cli.demo_page import DemoPage
    from edgebms.config import Config
    from edgebms.decision.types import Alert, Decision, Number

SPEED = 60.0
PAGE_SPEED = 10.0
PLAIN_EVERY_S = 60.0
LEVELS = ("none", "watch", "warning", "critical")
STYLE = {"none": "green", "watch": "yellow", "warning": "dark_orange", "critical": "bold red"}
SEQUENCE = {"lowering": "current goes to 0 first", "open": "they are to open now", "opened": "they are open"}
BARS = "▁▂▃▄▅▆▇█"
BARS_ASCII = "_.:-=+*#"
BAR_SPAN_V = 0.05
"""The bars show at least this much between the lowest and the highest cell, so that noise looks like noise."""

INTRODUCTION = (
    "A recording of 16 cells in series in use. Inside one of them an internal short grows. "
    "Each line of CAN frames goes through the same guard, estimator and arbiter as on a gateway. "
    "Nobody acts on the commands, so that you see where it ends."
)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo", help="a recorded internal short, from frames to the alert and its reasons", description=INTRODUCTION
    )
    parser.add_argument("--speed", help=f"max, or a factor of recorded speed; default {SPEED:g} in a terminal, else max")
    parser.add_argument(
        "--page",
        nargs="?",
        const="127.0.0.1:8080",
        metavar="HOST:PORT",
        help=f"show it on a page for a browser at this address (default 127.0.0.1:8080), at {PAGE_SPEED:g} times recorded speed",
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    from rich.console import Console

    from edgebms import config as configuration
    from edgebms.cli.replay import parse_speed, replay_files

    class Pipe(Console):
        def on_broken_pipe(self) -> None:  # rich would end with code 1; a reader that went away is no failure
            raise BrokenPipeError

    console = Pipe(highlight=False)
    live = console.is_terminal and not console.is_dumb_terminal
    unasked = PAGE_SPEED if args.page is not None else SPEED if live else None
    speed = parse_speed(args.speed) if args.speed is not None else unasked
    story = Story()
    console.print(INTRODUCTION, style="dim")
    console.print()
    with resources.as_file(resources.files("edgebms") / "catalogue" / "demo") as folder:
        config = configuration.load(folder / "gateway.toml")
        stack = ExitStack()
        page = stack.enter_context(on_page(args.page, config)) if args.page is not None else None
        with stack:
            with live_table(console) if live else plain_lines(console) as show:

                def on_decision(decision: Decision) -> None:
                    story.feed(decision)
                    show(story, decision)
                    if page is not None:
                        page.offer(decision)

                totals = replay_files([folder / "demo.log.gz"], config, discard, speed=speed, on_decision=on_decision)
            tell(console, story, live)
            print(totals, file=sys.stderr)
            if page is not None:
                page.stay()
    return 0


def on_page(listen: str, config: Config) -> DemoPage:
    from edgebms.cli.demo_page import DemoPage

    return DemoPage(listen, config)


def tell(console: Console, story: Story, live: bool) -> None:
    """How it ended, and why."""
    from edgebms.decision.explain import explain

    console.print()
    for line in story.ending():
        console.print(line, soft_wrap=not live)
    if story.told is not None:
        console.print()
        console.print(f"Why, at {clock(story.told_s)}, from that decision's evidence alone (edgebms explain):", style="bold")
        console.print(explain(story.told), markup=False, soft_wrap=not live)


def discard(_line: bytes) -> None:
    """The demo shows decisions; ``edgebms replay`` prints their JSON."""


class Story:
    """What the recording told so far. Times are seconds since its first decision."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.first_s: dict[str, float] = {}
        self.runaway_s: float | None = None
        self.told: Decision | None = None
        self.told_s = 0.0
        self._start_ns: int | None = None
        self._told_rank = (-1, -1)

    def feed(self, decision: Decision) -> None:
        from edgebms.vocabulary import Action, Cause

        if self._start_ns is None:
            self._start_ns = decision.mono_ns
        self.now_s = (decision.mono_ns - self._start_ns) / 1e9
        for alert in decision.alerts:
            self.first_s.setdefault(alert.level, self.now_s)
            if alert.hazard is Cause.THERMAL_RUNAWAY and self.runaway_s is None:
                self.runaway_s = self.now_s
        # The first decision that asks for the most: the moment that a gateway would have acted.
        rank = (list(Action).index(decision.command.action), level_of(decision))
        if decision.alerts and rank > self._told_rank and self.runaway_s is None:
            self.told, self.told_s, self._told_rank = decision, self.now_s, rank

    def ending(self) -> Iterator[str]:
        """The recording in a few sentences."""
        if self.told is None:
            yield f"No alert in {clock(self.now_s)} of recording."
            return
        alert = max(self.told.alerts, key=lambda alert: LEVELS.index(alert.level))
        yield f"Alert    {alert.level.upper()}: {what(alert)}"
        yield f"Command  {self.told.command.action.replace('_', ' ')} ({self.told.command.mode}) at {clock(self.told_s)}"
        yield (
            "Lead     "
            + ", ".join(f"first {level} {clock(self.first_s[level])}" for level in LEVELS if level in self.first_s)
            + (
                f"; thermal runaway {clock(self.runaway_s)}, that is {clock(self.runaway_s - self.told_s)} after the command"
                if self.runaway_s is not None
                else ""
            )
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """What the plain lines said last."""

    alerts: frozenset[tuple[str, str]] = frozenset()
    action: str = "none"
    at_s: float = -PLAIN_EVERY_S


@contextmanager
def plain_lines(console: Console) -> Iterator[Any]:
    """A line a minute of the recording, and one for each alert that rises, clears or changes the command."""
    last = Shown()

    def show(story: Story, decision: Decision) -> None:
        nonlocal last
        alerts = {(alert.id, alert.level): alert for alert in decision.alerts}
        for key, alert in alerts.items():
            if key not in last.alerts:
                console.print(f"{clock(story.now_s)}  {alert.level.upper():8} {what(alert)}", markup=False, soft_wrap=True)
        standing = {alert.id for alert in decision.alerts}
        for ident in sorted({ident for ident, _ in last.alerts} - standing):
            console.print(f"{clock(story.now_s)}  cleared  {ident}", markup=False, soft_wrap=True)
        at_s = last.at_s
        if decision.command.action != last.action or story.now_s - at_s >= PLAIN_EVERY_S:
            console.print(f"{clock(story.now_s)}  {pack_line(decision)}  command {command_line(decision)}", markup=False, soft_wrap=True)
            at_s = story.now_s
        last = Shown(frozenset(alerts), decision.command.action, at_s)

    yield show


@contextmanager
def live_table(console: Console) -> Iterator[Any]:
    """A table that stands still while its values move."""
    from rich.live import Live

    plain = not (console.encoding or "").lower().startswith("utf")
    with Live(console=console, refresh_per_second=12, vertical_overflow="crop") as live:

        def show(story: Story, decision: Decision) -> None:
            live.update(table(story, decision, BARS_ASCII if plain else BARS))

        yield show


def table(story: Story, decision: Decision, bars: str) -> RenderableType:
    """One decision as a table of two columns, narrow enough for 60 characters."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    measured, command = decision.measured, decision.command
    grid.add_row("time", f"{clock(story.now_s)} of the recording")
    grid.add_row("pack", pack_line(decision))
    cells = measured.cell_voltage_v
    grid.add_row("cells", f"{value(cells.min, 3)} V (cell {cells.min_cell}) to {value(cells.max, 3)} V (cell {cells.max_cell})")
    if decision.cells is not None:
        grid.add_row("", Text(bar_line(decision.cells.voltage_v, bars), style="cyan") + Text("  each cell's voltage", style="dim"))
    probes = measured.temperature_c
    blind = "; a probe is at its end" if decision.quality.runaway_view.saturated else ""
    grid.add_row("heat", f"{value(probes.max, 1)} degC (probe {probes.max_probe}), coolest {value(probes.min, 1)} degC{blind}")
    limits = command.limits
    grid.add_row(
        "limits",
        f"charge {limits.charge_a:.1f} A, discharge {limits.discharge_a:.1f} A"
        + (f" ({', '.join(reason.replace('_', ' ') for reason in limits.reasons)})" if limits.reasons else ""),
    )
    grid.add_row("command", Text(command_line(decision), style="bold" if command.action != "none" else "green"))
    if not decision.alerts:
        grid.add_row("alerts", Text("none", style="green"))
    label = "alerts"
    for alert in sorted(decision.alerts, key=lambda alert: -LEVELS.index(alert.level)):
        grid.add_row(label, Text(f"{alert.level.upper()} ", style=STYLE[alert.level]) + Text(what(alert)))
        label = ""
    return grid


def pack_line(decision: Decision) -> str:
    measured, soc = decision.measured, decision.soc
    percent = "unknown" if soc.pack is None else f"{100 * soc.pack:.0f} %"
    return f"{value(measured.voltage_v, 1)} V  {value(measured.current_a, 1, sign=True)} A  SOC {percent}"


def command_line(decision: Decision) -> str:
    command = decision.command
    words = command.action.replace("_", " ")
    if command.action != "none":
        words += f" ({command.mode})"
    if command.sequence is not None:
        words += f", {SEQUENCE[command.sequence.step]}"
    return words


def what(alert: Alert) -> str:
    """``internal short, cell 11: falling cell hot 12.30 K, limit 10``"""
    where = f", cell {alert.cell}" if alert.cell is not None else f", probe {alert.probe}" if alert.probe is not None else ""
    text = alert.hazard.replace("_", " ") + where
    if alert.evidence:
        gravest = alert.evidence[0]
        text += f": {gravest.rule.replace('_', ' ')} {value(gravest.value, 2)} {gravest.unit}"
        if gravest.limit is not None:
            text += f", limit {gravest.limit:g}"
    return text


def bar_line(voltages: tuple[Number, ...], bars: str) -> str:
    """One bar a cell; a cell that is not known is ``?``.

    >>> bar_line((3.70, 3.70, None, 3.60, 3.65), BARS_ASCII)
    '##?_-'
    """
    known = [voltage for voltage in voltages if voltage is not None]
    if not known:
        return "?" * len(voltages)
    high = max(known)
    span = max(high - min(known), BAR_SPAN_V)
    return "".join("?" if voltage is None else bars[round((1 - (high - voltage) / span) * (len(bars) - 1))] for voltage in voltages)


def level_of(decision: Decision) -> int:
    return max((LEVELS.index(alert.level) for alert in decision.alerts), default=0)


def value(number: Number, digits: int, *, sign: bool = False) -> str:
    if number is None:
        return "?"
    return f"{number:{'+' if sign else ''}.{digits}f}"


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(452.4)
    '7:32'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
