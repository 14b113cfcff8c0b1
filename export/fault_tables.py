"""The tables of ``python -m export evaluate fault``: a line a file and method, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
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
    yield from event_table(rows)
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


def event_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """How long before the event rule each method warns of the right cell; nothing where no pack runs away at a cell."""
    limits_s = {(row["set"], row["file"]): row["first_warning_s"] for row in rows if row["method"] == "limits"}
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["event_s"] is not None and row["onset_s"] is not None and row["placed"]:
            groups.setdefault((row["set"], row["cause_true"], row["method"]), []).append(row)
    if not groups:
        return
    yield ""
    yield "Before the event rule (a warning or more; of the right cell, and of the right cell and cause; least share at 95 %, one-sided)"
    yield "of the time: the lead of the right cell as a share of the time from the onset to the event, beyond which nobody can warn; before"
    yield "the limits: how much sooner than the card's limits alone, or than the event where those do not warn before it"
    yield ""
    head = (
        "set",
        "fault",
        "method",
        "events",
        "cell",
        "at least",
        "cell and cause",
        "at least",
        "lead",
        "least lead",
        "of the time",
        "before the limits",
    )
    yield from markdown(head, [(*key, *event_figures(members, limits_s)) for key, members in sorted(groups.items())])


def event_figures(members: list[dict[str, Any]], limits_s: dict[tuple[str, str], float | None]) -> Iterator[object]:
    leads = [row["event_s"] - row["place_named_s"] for row in members if row["place_named_s"] is not None]
    whole = [row["event_s"] - row["onset_s"] for row in members if row["place_named_s"] is not None]
    yield len(members)
    for key in ("place_named_s", "cause_named_s"):
        before = sum(row[key] is not None and row[key] < row["event_s"] for row in members)
        yield before
        yield f"{100 * least_share(before, len(members)):.1f} %"
    yield figure(median(leads) if leads else None, 1)
    yield figure(min(leads, default=None), 1)
    yield (
        f"{100 * median(lead / time for lead, time in zip(leads, whole, strict=True) if time > 0):.0f} %"
        if any(time > 0 for time in whole)
        else "-"
    )
    sooner = []
    for row in members:
        told_s = limits_s.get((row["set"], row["file"]), math.nan)
        if row["place_named_s"] is not None and not (told_s is not None and math.isnan(told_s)):
            sooner.append(min(row["event_s"], row["event_s"] if told_s is None else told_s) - row["place_named_s"])
    yield figure(median(sooner) if sooner else None, 1)


def least_share(count: int, of: int) -> float:
    """One-sided 95 % lower bound on a share (Clopper and Pearson, 1934).

    >>> round(least_share(22, 22), 3), round(least_share(299, 300), 3), least_share(0, 5)
    (0.873, 0.984, 0.0)
    """
    from scipy.stats import beta

    return float(beta.ppf(0.05, count, of - count + 1)) if count else 0.0


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
