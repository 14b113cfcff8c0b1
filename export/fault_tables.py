"""The tables of ``python -m export evaluate fault``: a line a file and method, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def test_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A line a file and method; times in s since the log's first row."""
    width = max((len(row["file"]) for row in rows), default=4)
    yield (
        f"{'file':{width}s} method       true              said              level     onset   event  warning critical    lead  runaway false   days"
    )
    for row in rows:
        times = " ".join(
            cell(row[key], 7, 1) for key in ("onset_s", "event_s", "first_warning_s", "first_critical_s", "lead_s", "runaway_said_s")
        )
        yield (
            f"{row['file']:{width}s} {row['method']:12s} {row['cause_true']:17s} {row['cause']:17s} {row['level']:8s} {times}"
            f" {row['false_alarms']:5d} {row['exposure_days']:6.3f}"
        )


def summary_tables(summary: list[dict[str, Any]], rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "Faults and runaway (a warning is one of level warning or critical; times in s; events by GB 38031-2025 C.5.3.7)"
    yield "at its level: warned, or of a wrong reading or an imbalance, which do no harm yet, watched; cause named: by the gravest alert"
    yield ""
    yield from markdown(
        (
            *(
                "set",
                "fault",
                "method",
                "shown",
                "warned",
                "delay",
                "cell named",
                "events",
                "warned before",
                "critical",
                "lead",
                "least lead",
            ),
            *("called runaway", "s after event", "without event", "called runaway though", "at its level", "watched", "cause named"),
        ),
        [
            (
                *(row[key] for key in ("set", "cause_true", "method", "faults", "warned")),
                figure(row["delay_median_s"], 1),
                f"{row['cell_named']}/{row['cell_asked']}" if row["cell_asked"] else "-",
                *(row[key] for key in ("events", "warned_before", "critical")),
                *(figure(row[key], 1) for key in ("lead_median_s", "lead_min_s")),
                row["called_runaway"],
                figure(row["runaway_delay_median_s"], 1),
                row["without_runaway"],
                row["without_called_runaway"],
                *(row[key] for key in ("due", "watched", "cause_named")),
            )
            for row in summary
            if row["faults"] or row["events"] or row["without_runaway"]
        ],
    )
    yield ""
    yield "False alarms over sampled time without fault (level warning or critical); of broken limits: while, or up to an hour after, the log itself is beyond the card's"
    yield "voltages or temperature, where an alarm is due (that time is not counted)"
    yield ""
    yield from markdown(
        (
            "set",
            "method",
            "files",
            "days",
            "false",
            "a day",
            "95 % bound",
            "watches",
            "of faulty cells",
            "of broken limits",
            "of missing data",
            "by rule",
        ),
        [
            (
                *(row[key] for key in ("set", "method", "files")),
                figure(row["exposure_days"], 3),
                row["false_alarms"],
                *(figure(row[key], 3) for key in ("false_per_day", "false_per_day_upper95")),
                *(row[key] for key in ("watches", "listed_apart", "broken_limits", "unseen")),
                ", ".join(f"{rule} {count}" for rule, count in row["rules"].items()) or "-",
            )
            for row in summary
            if row["cause_true"] == "all"
        ],
    )
    labelled = [row for row in rows if row["abuse"] and row["method"] == rows[0]["method"]]
    if any(row["runaway_label_s"] is not None for row in labelled):
        yield ""
        yield "The event rule against the sets' own label of runaway (files)"
        yield ""
        yield from markdown(
            ("", "label: runaway", "label: none"),
            [
                (word, *(sum((row["event_s"] is not None) == rule and (row["runaway_label_s"] is not None) == label for row in labelled)
                         for label in (True, False)))
                for word, rule in (("rule: event", True), ("rule: none", False))
            ],
        )  # fmt: skip


def markdown(head: tuple[str, ...], lines: list[tuple[Any, ...]]) -> Iterator[str]:
    """A table that reads in a terminal and on a page."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(str(value) for value in line) + " |"


def figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def cell(value: float | None, width: int, digits: int) -> str:
    return f"{figure(value, digits):>{width}s}"
