"""``python -m export evaluate fault``: when each method warns, of what, and how often it warns of nothing."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import edgebms
from edgebms.cellcard import load_card
from edgebms.errors import EdgebmsError, LogError
from export.fault_kept import KEPT, Kept, outcomes
from export.fault_logs import KNOWN_FAULTY, WATCHED, FaultLog, find_logs, read_fault_log
from export.fault_methods import KNOWN, METHODS, USUAL
from export.fault_score import LEVELS, replayed, scored
from export.fault_tables import summary_tables, test_table

PERIOD_S = 1.0
"""A pack's BMS sweeps about once a second; the abuse tests were logged ten times as often."""
CONFIDENCE = 0.95


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("fault", help="alarms against measured and simulated faults", description=__doc__)
    data = "files in Battery Data Format, folders of them with tests.csv, or what --resume has kept (.ndjson): its tables"
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA", help=data)
    parser.add_argument("--methods", default=",".join(USUAL), help=f"comma-separated, of {', '.join(KNOWN)}")
    slower = "sweeps come no faster, rows between are left out; 0: as logged (default 1)"
    parser.add_argument("--period", type=float, default=PERIOD_S, metavar="S", help=slower)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="NDJSON of files already done with: they are not run again, new ones are added"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    methods = list(dict.fromkeys(word.strip() for word in args.methods.split(",") if word.strip()))
    for name in methods:
        if name not in KNOWN:
            raise LogError(f"no method called {name!r}", where="--methods", mend=f"one of {', '.join(KNOWN)}")
    if not 0 <= args.period <= 3600:
        raise LogError(f"{args.period} is no time between two sweeps", where="--period", mend="0 to 3600 s")
    left_out = {name: "is not installed" for name in methods if name not in METHODS}
    there = [name for name in methods if name in METHODS]
    rows: list[dict[str, Any]] = []
    cards: set[str] = set()
    for path in (data for data in args.data if data.suffix == KEPT):
        for card, told in outcomes(path):
            rows += [row for row in told if row["method"] in methods]
            cards.add(card)
    logs = [data for data in args.data if data.suffix != KEPT]
    paths = list(find_logs(logs)) if logs else []
    broken: EdgebmsError | None = None
    kept = Kept(args.resume, there, args.period)
    for done, (path, outcome) in enumerate(evaluated(paths, there, args.period, args.jobs, kept), start=1):
        if isinstance(outcome, EdgebmsError):
            broken = broken or outcome
            left_out[path.name] = outcome.what
        else:
            rows += outcome[1]
            cards.add(outcome[0])
        progress(done, len(paths), path)
    if not rows and broken is not None:
        raise broken
    summary = summarise(rows)
    provenance = {
        "runtime": edgebms.__version__,
        "period_s": args.period,
        "cards": {name: hashlib.sha256(msgspec.json.encode(load_card(name))).hexdigest() for name in sorted(cards)},
        "known_faulty": {car: {"cells": cells, "since": since or None} for car, (cells, since) in KNOWN_FAULTY.items()},
        "left_out": left_out,
    }
    if args.json:
        print(msgspec.json.encode({"rows": rows, "summary": summary, "provenance": provenance}).decode())
    else:
        for line in (*test_table(rows), "", *summary_tables(summary, rows)):
            print(line)
        for name, reason in left_out.items():
            print(f"left out: {name}: {reason}")
    return broken.exit_code if broken is not None else 0


def evaluated(
    paths: list[Path], methods: list[str], period_s: float, jobs: int, kept: Kept
) -> Iterator[tuple[Path, tuple[str, list[dict[str, Any]]] | EdgebmsError]]:
    """(path, (its card, a row for each method) or why not), in the order of ``paths``."""
    tasks = [(path, methods, period_s) for path in paths if kept.outcome(path) is None]
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) if jobs > 1 and len(tasks) > 1 else None
    try:
        fresh = iter(map(one, tasks) if pool is None else pool.map(one, tasks))
        for path in paths:
            outcome = kept.outcome(path)
            if outcome is None:
                outcome = next(fresh)
                kept.add(path, outcome)
            yield path, outcome
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def one(task: tuple[Path, list[str], float]) -> tuple[str, list[dict[str, Any]]] | EdgebmsError:
    path, methods, period_s = task
    try:
        log: FaultLog = read_fault_log(path, period_s)
        return log.pack.card, [scored(log, name, replayed(log, name, period_s)) for name in methods]
    except LogError as error:
        return LogError(error.what, where=error.where, mend=error.mend)


def upper_bound(count: int) -> float:
    """One-sided 95 % upper bound on the mean of a Poisson count.

    >>> round(upper_bound(0), 2), round(upper_bound(3), 2)
    (3.0, 7.75)
    """
    from scipy.stats import chi2

    return float(chi2.ppf(CONFIDENCE, 2 * (count + 1)) / 2)


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By set and method, and over all sets by method; sets of faults of our own making by cause too."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        keys = {(row["set"], "all", row["method"]), ("all", "all", row["method"])}
        if row["abuse"]:
            keys.add((row["set"], row["cause_true"], row["method"]))
        for key in keys:
            groups.setdefault(key, []).append(row)
    causes = {key[:2] for key in groups}
    single = {name for name, cause in causes if cause != "all" and sum(other == name for other, _ in causes) == 2}
    return [summary_of(key, members) for key, members in sorted(groups.items()) if key[1] == "all" or key[0] not in single]


def summary_of(key: tuple[str, str, str], members: list[dict[str, Any]]) -> dict[str, Any]:
    abuse = [row for row in members if row["abuse"]]
    shown = [row for row in abuse if row["onset_s"] is not None and row["detectable"] is not False]
    events = [row for row in abuse if row["event_s"] is not None]
    calm = [row for row in abuse if row["event_s"] is None and row["runaway_label_s"] is None]
    leads = [row["lead_s"] for row in events if row["lead_s"] is not None]
    delays = [row["first_warning_s"] - row["onset_s"] for row in shown if row["first_warning_s"] is not None]
    critical = [row for row in events if row["first_critical_s"] is not None]
    false = sum(row["false_alarms"] for row in members)
    days = sum(row["exposure_days"] for row in members)
    rules: Counter[str] = Counter()
    for row in members:
        rules.update(row["rules"])
    return {
        "set": key[0],
        "cause_true": key[1],
        "method": key[2],
        "files": len(members),
        "faults": len(shown),
        "warned": len(delays),
        "delay_median_s": median(delays),
        "cell_named": sum(row["cell_right"] is True for row in shown),
        "cell_asked": sum(row["cell_right"] is not None for row in shown),
        "due": sum(reached(row, 1 if row["cause_true"] in WATCHED else 2) for row in shown),
        "watched": sum(reached(row, 1) for row in shown),
        "cause_named": sum(row["cause"] == row["cause_true"] for row in shown),
        "events": len(events),
        "warned_before": sum(lead > 0 for lead in leads),
        "critical": len(critical),
        "lead_median_s": median(leads),
        "lead_min_s": min(leads, default=None),
        "called_runaway": sum(row["runaway_said_s"] is not None for row in events),
        "runaway_delay_median_s": median([row["runaway_said_s"] - row["event_s"] for row in events if row["runaway_said_s"] is not None]),
        "without_runaway": len(calm),
        "without_called_runaway": sum(row["runaway_said_s"] is not None for row in calm),
        "false_alarms": false,
        "exposure_days": days,
        "false_per_day": false / days if days > 0 else None,
        "false_per_day_upper95": upper_bound(false) / days if days > 0 else None,
        "watches": sum(row["watches"] for row in members),
        "listed_apart": sum(row["listed_apart"] for row in members),
        "broken_limits": sum(row["broken_limits"] for row in members),
        "unseen": sum(row["unseen"] for row in members),
        "rules": dict(rules.most_common()),
    }


def reached(row: dict[str, Any], level: int) -> bool:
    """Whether an alarm of the fault came to ``level``, a place in LEVELS."""
    return LEVELS.index(row["level"]) >= level


def median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def progress(done: int, of: int, path: Path) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:5d} of {of}  {path.name[:60]:60s}", end="" if done < of else "\n", file=sys.stderr, flush=True)
