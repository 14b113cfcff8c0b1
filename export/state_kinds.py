"""``python -m export evaluate state-kinds``: the student against the filter by kind of load, on train logs alone.

A correction that was learned on drives is not one for every load: how far it is trusted (``kept`` and ``quiet`` of
``onnx_graph.Bounds``) is chosen by kind of load. RMSE after ten minutes, root of the mean square over runs.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import load_card
from export.evaluate_state import SETTLE_S, progress, runs_of
from export.marked_page import write_between
from export.state_batch import Answer, Pair
from export.state_estimators import Filter
from export.state_logs import StateLog, read_state_log
from export.student_estimators import Student

Floats = NDArray[np.float64]

RUNS = {"joins": ("join_0.9", "join_0.6", "join_0.3"), "+-0.1 A per Ah": ("offset_+0.1", "offset_-0.1"), "full start": ("none",)}
HARM_PCT = 0.2
"""Worse by more is harm: the requirement's own figure."""
LEAST_S = 900.0
LEAST_ROWS = 20
GAP_S = 120.0
"""What flowed in a longer gap was not measured."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Logs of one set under one kind of load. trained: they are among those that the student learned on."""

    set: str
    card: str
    load: str
    patterns: tuple[str, ...]
    trained: bool


KINDS = (
    Kind("lg_hg2", "lg_hg2", "drives", ("*_Mixed[15].parquet",), True),
    Kind("lg_hg2", "lg_hg2", "drives kept apart", ("*_Mixed2.parquet",), False),
    Kind("lg_hg2", "lg_hg2", "pulses", ("characterisation/*_HPPC.parquet",), True),
    Kind("lg_hg2", "lg_hg2", "constant, 1C", ("characterisation/*_Cap_1C.parquet",), True),
    Kind("lg_hg2", "lg_hg2", "constant, C/2 and 2C", ("characterisation/*_Dis_*.parquet",), False),
    Kind("lg_hg2", "lg_hg2", "C/20", ("characterisation/*_C20DisCh.parquet",), False),
    Kind("panasonic_18650pf", "panasonic_18650pf", "drives", ("*_Cycle_[13]_*.parquet",), True),
    Kind("panasonic_18650pf", "panasonic_18650pf", "constant, 1C", ("characterisation/*_Dis_1C_*.parquet",), False),
    Kind("panasonic_18650pf", "panasonic_18650pf", "C/20", ("characterisation/*_C20_*.parquet",), False),
    Kind("dmegc_randomwalk", "dmegc_inr18650", "walks kept apart", ("R*__rw_*5.parquet",), False),
    Kind("dmegc_randomwalk", "dmegc_inr18650", "pulses", ("R*__pulse_*.parquet",), True),
    Kind("dmegc_randomwalk", "dmegc_inr18650", "constant, C/2 to 2C", ("R*__discharge_*.parquet",), True),
    Kind("dmegc_randomwalk", "dmegc_inr18650", "C/20", ("R*__ocv_c20.parquet",), False),
)
"""Panasonic's pulse tests are not among them: the discharges between the pulses are missing."""


@dataclass(frozen=True, slots=True)
class Row:
    """RMSE in % SOC of filter and student, of one kind of run of one kind of load at one temperature."""

    kind: Kind
    temperature_c: float
    run: str
    filter_pct: float
    student_pct: float


def every_second(log: StateLog) -> StateLog:
    """A pulse test samples tenths of a second: the last row of each second, with its mean current."""
    dt_s = np.diff(log.time_s, prepend=log.time_s[0])
    if np.median(dt_s) >= 0.5:
        return log
    seconds = np.floor(log.time_s - log.time_s[0])
    last = np.flatnonzero(np.diff(seconds, append=seconds[-1] + 1.0))
    lasted = np.where(dt_s > GAP_S, 0.0, np.maximum(dt_s, 1e-6))
    charge, spent = (np.diff(np.cumsum(column)[last], prepend=0.0) for column in (log.current_a * lasted, lasted))
    current = np.where(spent > 0, charge / np.maximum(spent, 1e-9), log.current_a[last])
    columns = {name: getattr(log, name)[last] for name in ("time_s", "voltage_v", "temperature_c", "soc")}
    return replace(log, current_a=current, **columns)


def rows_of(kind: Kind, shared: Path, model: str) -> list[Row]:
    """Filter and student over the logs of ``kind``, by temperature and kind of run."""
    card, folder = load_card(kind.card), shared / "data/soc/train" / kind.set
    logs = [every_second(read_state_log(path)) for pattern in kind.patterns for path in sorted(folder.glob(pattern))]
    names = [name for group in RUNS.values() for name in group]
    pairs = [(log, run) for log in logs for _, run in runs_of(log, names, card) if log.time_s[-1] - log.time_s[run.first] > LEAST_S]
    answers = [Filter(card).run(pairs), Student(card, model).run(pairs)]
    squares = [[mean_square(pair, answer) for pair, answer in zip(pairs, mine, strict=True)] for mine in answers]
    rows = []
    for temperature_c in sorted({log.ambient_c for log in logs}, reverse=True):
        for what, group in RUNS.items():
            mine = [i for i, (log, run) in enumerate(pairs) if log.ambient_c == temperature_c and run.perturbation in group]
            both = np.array([[of[i] for i in mine if np.isfinite(of[i])] for of in squares])
            if both.size:
                rows.append(Row(kind, temperature_c, what, *(float(x) for x in np.sqrt(both.mean(axis=1)))))
    return rows


def mean_square(pair: Pair, answer: Answer) -> float:
    """Of the error in % SOC where it counts; NaN where that is too short to tell."""
    (log, run), (soc, _) = pair, answer
    scored = (log.time_s - log.time_s[run.first] >= SETTLE_S) & np.isfinite(log.soc) & np.isfinite(soc)
    scored[: run.first] = False
    return float(np.mean((100.0 * (soc - log.soc)[scored]) ** 2)) if np.count_nonzero(scored) >= LEAST_ROWS else float("nan")


def table(rows: list[Row]) -> list[str]:
    """As Markdown lines: one a kind of load and temperature, filter -> student; then what of it is harm."""
    lines = ["| cell | load | trained it | degC | " + " | ".join(RUNS) + " |", "|---|---|---|---|" + "---|" * len(RUNS)]
    by = {(row.kind, row.temperature_c, row.run): row for row in rows}
    for kind, temperature_c in dict.fromkeys((row.kind, row.temperature_c) for row in rows):
        mine = [by.get((kind, temperature_c, run)) for run in RUNS]
        cells = ["-" if row is None else f"{row.filter_pct:.2f} -> {row.student_pct:.2f}" for row in mine]
        told = "yes" if kind.trained else "no"
        lines.append(f"| {kind.set} | {kind.load} | {told} | {temperature_c:.0f} | " + " | ".join(cells) + " |")
    harmed = sorted(rows, key=lambda row: row.filter_pct - row.student_pct)
    count = sum(row.student_pct - row.filter_pct > HARM_PCT for row in rows)
    worst = ", ".join(
        f"{row.student_pct - row.filter_pct:+.2f} ({row.kind.set} {row.kind.load} {row.temperature_c:.0f} degC, {row.run})"
        for row in harmed[:3]
    )
    pooled = np.sqrt(np.mean(np.array([(row.filter_pct, row.student_pct) for row in rows]) ** 2, axis=0))
    lines += ["", f"Worse by more than {HARM_PCT} in {count} of {len(rows)}; worst {worst}. Pooled {pooled[0]:.2f} -> {pooled[1]:.2f} %."]
    return lines


BEGIN, END = "<!-- begin: python -m export evaluate state-kinds --write -->", "<!-- end: kinds -->"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("state-kinds", help="student against filter by kind of load, on train logs", description=__doc__)
    parser.add_argument("--shared", type=Path, default=None, help="the shared data (default: EDGEBMS_SHARED, or ../shared)")
    parser.add_argument("--model", default="state", help="a state student: a name in models/, or a path to an ONNX file")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this page's marks")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    shared = args.shared or Path(os.environ.get("EDGEBMS_SHARED", "../shared"))
    rows: list[Row] = []
    for kind in KINDS:
        progress(f"{kind.set}: {kind.load}")
        rows += rows_of(kind, shared, args.model)
    if args.json:
        print(msgspec.json.encode({"rows": rows, "summary": [], "provenance": {"model": args.model}}).decode())
        return 0
    text = "\n".join(table(rows))
    print(text)
    if args.write:
        write_between(args.write, BEGIN, END, text)
    return 0
