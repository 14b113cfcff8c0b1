"""The run as a Markdown page: what ``docs/results-rig.md`` is written by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hil.rig.judge import alert_words
from hil.rig.result import Result


def write(path: Path, results: Sequence[Result], head: str) -> None:
    """head: one line, which version ran and how."""
    count = Counter(result.verdict for result in results)
    told = [f"{count['pass']} pass", f"{count['fail']} fail", f"{count['known']} have a known gap", f"{count['skip']} were skipped here"]
    gaps = [f"- `{result.name}`: {check.asked}. {check.known[0].upper()}{check.known[1:]}." for result in results for check in result.gaps]
    skipped = [f"- `{result.name}`: {result.skipped}" for result in results if result.skipped]
    wrong = [f"- `{result.name}`: {check.asked}: {check.says}" for result in results for check in result.wrong]
    lines = [
        "# Results of the rig",
        "",
        f"Written by `make test-rig`; do not edit. {head}",
        "",
        f"{len(results)} scenarios: {', '.join(told)}. What each asks stands in `hil/scenarios/`, how to run and read them in [hil.md](hil.md).",
        "",
        *section("Failed", wrong),
        *section("Known gaps", gaps),
        *section("Skipped", skipped),
        "## All scenarios",
        "",
        "First alert: the first that stood, after the fault (of the plant, else of the bus, of the gateway, of the microcontroller; without one, after the start).",
        "Runaway: the first cell's by the event rule, in the plant's truth. Opened: the contactors. s of the scenario's time.",
        "",
        "| scenario | verdict | what it is | first alert | after s | opened at s | runaway at s |",
        "|---|---|---|---|---|---|---|",
        *(row(result) for result in results),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""] if lines else []


def row(result: Result) -> str:
    run = result.run
    events = run.events
    onset_s = next((events[name] for name in ("fault.1", "bus.1", "gateway.1", "mcu.1") if name in events), 0.0)
    first = next(((time_s, alert) for time_s, decision in run.decisions if time_s >= onset_s for alert in decision.alerts), None)
    told = (alert_words(first[1]), f"{first[0] - onset_s:.1f}") if first is not None else ("", "")
    cells = [f"`{result.name}`", result.verdict, run.scenario.says, *told, *(at(events, name) for name in ("opened", "runaway"))]
    return "| " + " | ".join(cells) + " |"


def at(events: dict[str, float], name: str) -> str:
    return f"{events[name]:.0f}" if name in events else ""
