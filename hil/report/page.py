"""One self-contained HTML page a run: the verdicts, then each scenario's truth and decisions over time."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from edgebms.decision.explain import explain
from edgebms.decision.types import Decision
from edgebms.vocabulary import Action
from hil.report.plot import Line, clock, plot
from hil.rig.judge import LEVELS, SILENT_S, Check, alert_words
from hil.rig.result import Result
from hil.rig.run_log import RunLog

ACTIONS = [action.value.replace("_", " ") for action in Action]
STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def write(path: Path, results: Sequence[Result], title: str = "Rig report", head: str = "") -> None:
    """head: a line under the title (when, which version)."""
    ran = [result for result in results if not result.skipped]
    count = Counter(result.verdict for result in results)
    told = [f"{count['fail']} failed"] if count["fail"] else []
    told += [f"{count['known']} fail as known"] if count["known"] else []
    told += [f"{count['skip']} skipped"] if count["skip"] else []
    rows = "".join(row(result) for result in results)
    bodies = "".join(body(result) for result in ran)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1><p class="head">{escape(head)}</p>
<p class="sum"><strong class="{"bad" if count["fail"] else "good"}">{count["pass"]} of {len(ran)} passed</strong>{"".join(f", {text}" for text in told)}</p>
<table class="all"><thead><tr><th>Scenario<th>Verdict<th>What it is<th>First alert<th>Wall, s</thead><tbody>{rows}</tbody></table>{bodies}</main></body></html>
""",
        encoding="utf-8",
    )


def row(result: Result) -> str:
    scenario = result.run.scenario
    first = next(((time_s, alert) for time_s, decision in result.run.decisions for alert in decision.alerts), None)
    told = f"{escape(alert_words(first[1]))} at {clock(round(first[0], 1))}" if first else "none"
    verdict = MARKS[result.verdict]
    link = f'<a href="#{escape(result.name)}">{escape(result.name)}</a>' if not result.skipped else escape(result.name)
    return f"<tr><td>{link}<td>{verdict}<td>{escape(result.skipped or scenario.says)}<td>{told}<td class=n>{result.run.wall_s:.1f}"


MARKS = {
    "pass": '<span class="good">✓ pass</span>',
    "fail": '<span class="bad">✗ fail</span>',
    "known": '<span class="known">○ known gap</span>',
    "skip": '<span class="skip">skipped</span>',
}


def mark(check: Check) -> str:
    return MARKS["pass" if check.passed else "known" if check.known else "fail"]


def body(result: Result) -> str:
    run = result.run
    scenario = run.scenario
    checks = "".join(
        f"<tr><td>{mark(check)}<td>{escape(check.asked)}<td>{escape(check.says if check.passed or not check.known else f'{check.says}: {check.known}')}"
        for check in result.checks
    )
    facts = [
        f"seed {run.seed}",
        f"{scenario.pack.cells} cells {scenario.pack.card}",
        scenario.link,
        scenario.site.kind.value.replace("_", " "),
    ]
    facts += [f"requirement {name}" for name in scenario.requirements]
    return f"""<details{" open" if result.verdict == "fail" else ""}><summary>{MARKS[result.verdict]} <b>{escape(result.name)}</b> {escape(scenario.says)}</summary>
<p class="head" id="{escape(result.name)}">{escape(" · ".join(facts))}</p><table class="checks"><tbody>{checks}</tbody></table>
<div class="plots">{"".join(panels(result))}</div>{story(result)}</details>"""


def panels(result: Result) -> list[str]:
    run = result.run
    end_s = run.truth[-1].time_s if run.truth else run.scenario.duration_s
    marks = sorted((time_s, event_words(run, name)) for name, time_s in run.events.items())
    truth = run.truth
    level = said(run, lambda d: float(max((LEVELS.index(alert.level) for alert in d.alerts), default=0)))
    action = said(run, lambda d: float(list(Action).index(d.command.action)))
    return [
        plot(
            "Cell voltage",
            "V",
            end_s,
            [
                Line("lowest, truth", "truth", [(t.time_s, t.cell_min_v) for t in truth]),
                Line("highest, truth", "truth2", [(t.time_s, t.cell_max_v) for t in truth]),
                Line("lowest, seen", "seen", said(run, lambda d: number(d.measured.cell_voltage_v.min))),
            ],
            marks,
        ),
        plot(
            "Temperature",
            "degC",
            end_s,
            [
                Line("hottest, truth", "truth", [(t.time_s, t.temperature_max_c) for t in truth]),
                Line("hottest, seen", "seen", said(run, lambda d: number(d.measured.temperature_c.max))),
            ],
            marks,
        ),
        plot(
            "Current and limits",
            "A",
            end_s,
            [
                Line("current, truth", "truth", [(t.time_s, t.current_a) for t in truth]),
                Line("charge limit", "limit", said(run, lambda d: d.command.limits.charge_a), step=True),
                Line("discharge limit", "limit", said(run, lambda d: -d.command.limits.discharge_a), step=True),
            ],
            marks,
        ),
        *inverter(run, end_s, marks),
        plot("Alert level", "", end_s, [Line("highest", "seen", level, step=True)], marks, LEVELS),
        plot("Action", "", end_s, [Line("asked for", "seen", action, step=True)], marks, ACTIONS),
    ]


def said(run: RunLog, value: Callable[[Decision], float]) -> list[tuple[float, float]]:
    """A value of each decision over time; a gap from a decision's expiry to the next one."""
    points: list[tuple[float, float]] = []
    expires_s = math.inf
    for time_s, decision in run.decisions:
        if time_s > expires_s:
            points.append((expires_s, math.nan))
        points.append((time_s, value(decision)))
        expires_s = time_s + decision.expires_ms / 1e3
    return points


def event_words(run: RunLog, name: str) -> str:
    """``gateway.1`` by what it is: a hung loop."""
    source, _, rest = name.partition(".")
    number, _, end = rest.partition(".")
    faults = {"fault": run.scenario.faults, "bus": run.scenario.bus, "gateway": run.scenario.gateway, "mcu": run.scenario.mcu}.get(
        source, ()
    )
    if not number:
        return name
    return faults[int(number) - 1].kind.replace("_", " ") + (" ends" if end else "")


def inverter(run: RunLog, end_s: float, marks: Sequence[tuple[float, str]]) -> list[str]:
    """What the inverter was told in 0x351, where it was told anything; a gap where nothing came."""
    points: list[list[tuple[float, float]]] = [[], []]
    before_s = math.inf
    for time_s, frame in run.sent:
        if frame.arbitration_id != 0x351 or len(frame.data) < 6:
            continue
        for line, amperes in zip(points, struct.unpack_from("<hh", frame.data, 2), strict=True):
            if time_s - before_s > SILENT_S:
                line.append((time_s, math.nan))
            line.append((time_s, amperes / 10))
        before_s = time_s
    if not points[0]:
        return []
    charge = Line("charge limit", "limit", points[0])
    discharge = Line("discharge limit", "seen", [(time_s, -amperes) for time_s, amperes in points[1]])
    return [plot("Told to the inverter", "A", end_s, [charge, discharge], marks)]


def story(result: Result) -> str:
    """What the daemon said each time that an alert or the action changed, as ``edgebms explain`` puts it."""
    entries = []
    before: object = None
    for time_s, decision in result.run.decisions:
        now = (tuple((alert.id, alert.level) for alert in decision.alerts), decision.command.action, decision.command.mode)
        if now != before and (before is not None or decision.alerts):
            entries.append(f"<dt>{clock(round(time_s, 1))}<dd><pre>{escape(explain(decision))}</pre>")
        before = now
    events = "".join(
        f"<dt>{clock(round(time_s, 1))}<dd>{escape(event_words(result.run, name))}"
        for name, time_s in sorted(result.run.events.items(), key=lambda e: e[1])
    )
    more = f"<p>{len(entries) - 40} more changes are in the NDJSON.</p>" if len(entries) > 40 else ""
    return f"<h3>What happened</h3><dl class='events'>{events}</dl><h3>What the daemon said</h3><dl>{''.join(entries[:40])}</dl>{more}"


def number(value: float | None) -> float:
    return value if value is not None else math.nan
