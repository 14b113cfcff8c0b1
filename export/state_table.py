"""``python -m export evaluate state-table``: the requirements on the state students, row by row, with what was measured.

Each case is one cell model with one card, once as a cell that trained (public logs, what ships) and once as a cell
that was never seen (constants, card and student of one who never saw it: ``export/left_out``). A group is one case at
one ambient temperature. RMSE of a group: root of the mean square over its runs; p99.9 over all its samples.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import load_card
from edgebms.estimator.student import load_student
from export.evaluate_state import SETTLE_S, progress, runs_of
from export.left_out import FOLDER, tuning_of
from export.marked_page import write_between
from export.state_estimators import Filter
from export.state_logs import find_logs, read_state_log
from export.state_plots import Worst
from export.state_step_cost import step_cost_ms
from export.student_estimators import Student

Floats = NDArray[np.float64]

JOINS = ("join_0.9", "join_0.6", "join_0.3")
OFFSETS = ("offset_+0.1", "offset_-0.1")
SMALL_OFFSETS = ("offset_+0.02", "offset_-0.02")
RUNS = ("none", *JOINS, *OFFSETS, *SMALL_OFFSETS)
FLAG_C = 0.05
"""A current offset is flagged when it is larger than this (1/h) and than twice its sigma."""
FLAG_FROM_C = 0.0
"""Colder, what the resistances do not explain is taken for an offset: none is flagged."""

TRAINED, NEVER, SHEET = "trained", "never seen", "never seen, no characterisation"


@dataclass(frozen=True, slots=True)
class Case:
    """One cell model as someone knows it. left_out: the set that constants and student never saw, "" = what ships."""

    name: str
    data: str
    card: str
    known: str
    left_out: str = ""
    gated: bool = True


CASES = (
    Case("lg_hg2", "public/lg_hg2", "lg_hg2", TRAINED),
    Case("dmegc_randomwalk", "public/dmegc_randomwalk", "dmegc_inr18650", TRAINED),
    Case("lg_hg2", "public/lg_hg2", str(FOLDER / "lg_hg2.toml"), NEVER, "lg_hg2"),
    Case("panasonic_18650pf", "train/panasonic_18650pf", "panasonic_18650pf", NEVER, "panasonic_18650pf"),
    Case("dmegc_randomwalk", "public/dmegc_randomwalk", "dmegc_inr18650", NEVER, "dmegc_randomwalk"),
    Case("calce_inr20r", "public/calce_inr20r", "samsung_inr20r", SHEET),
    Case("lg_hg2", "public/lg_hg2", str(FOLDER / "lg_hg2_declared.toml"), SHEET, "lg_hg2"),
    Case("panasonic_18650pf", "train/panasonic_18650pf", str(FOLDER / "panasonic_18650pf_declared.toml"), SHEET, "panasonic_18650pf"),
    Case("dmegc_randomwalk", "public/dmegc_randomwalk", str(FOLDER / "dmegc_inr18650_declared.toml"), SHEET, "dmegc_randomwalk"),
    Case("lipo5450", "public/lipo5450", "lipo_5450", SHEET, gated=False),
)


@dataclass(slots=True)
class Group:
    """What one estimator did in one case at one temperature: per kind of run the squared error of each run, its sigmas
    and all errors, in % SOC; offsets: estimated minus real offset and whether it was flagged, of the offset runs."""

    case: Case
    temperature_c: float
    estimator: str
    squares: dict[str, list[float]] = field(default_factory=dict)
    inside: dict[str, list[float]] = field(default_factory=dict)
    sigma: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, list[Floats]] = field(default_factory=dict)
    offset_error_a: list[float] = field(default_factory=list)
    flagged: list[bool] = field(default_factory=list)
    false_flags: list[bool] = field(default_factory=list)

    def rmse(self, kinds: tuple[str, ...]) -> float:
        values = [x for kind in kinds for x in self.squares.get(kind, [])]
        return float(np.sqrt(np.mean(values))) if values else float("nan")

    def p999(self, kinds: tuple[str, ...]) -> float:
        values = [x for kind in kinds for x in self.errors.get(kind, [])]
        return float(np.quantile(np.abs(np.concatenate(values)), 0.999)) if values else float("nan")

    def mean(self, what: dict[str, list[float]], kinds: tuple[str, ...]) -> float:
        values = [x for kind in kinds for x in what.get(kind, [])]
        return float(np.mean(values)) if values else float("nan")


def evaluate(case: Case, shared: Path, students: dict[str, Path], worst_runs: Worst | None = None) -> list[Group]:
    """The groups of ``case``: of the filter, and of each student in ``students`` (name -> model). worst_runs: keeps the worst."""
    card, tuning = load_card(case.card), tuning_of(case.left_out)
    logs = [read_state_log(path) for path in find_logs([shared / "data/soc" / case.data])]
    pairs = [pair for log in logs for pair in runs_of(log, list(RUNS), card)]
    groups: dict[tuple[float, str], Group] = {}
    kalman = Filter(card, tuning)
    answers = {"kalman": kalman.run(pairs)}
    for name, path in students.items():
        answers[name] = Student(card, str(path), tuning).run(pairs)
    for name, place in ((name, place) for name in answers for place in range(len(pairs))):
        (log, run), (soc, sigma) = pairs[place], answers[name][place]
        scored = (log.time_s - log.time_s[run.first] >= SETTLE_S) & np.isfinite(log.soc) & np.isfinite(soc)
        scored[: run.first] = False
        if not scored.any():
            continue
        group = groups.setdefault((log.ambient_c, name), Group(case, log.ambient_c, name))
        error, told = 100 * (soc - log.soc)[scored], 100 * sigma[scored]
        group.squares.setdefault(run.perturbation, []).append(float(np.mean(error**2)))
        group.errors.setdefault(run.perturbation, []).append(error.astype(np.float32))
        group.inside.setdefault(run.perturbation, []).append(float(np.mean(np.abs(error) <= 2 * told)))
        group.sigma.setdefault(run.perturbation, []).append(float(told.mean()))
        if worst_runs is not None and name == list(answers)[-1] and case.gated:
            said = {each: answers[each][place] for each in answers}
            worst_runs.offer(case.known, f"{case.name} {log.ambient_c:.0f}", log, run, said, float(np.sqrt(np.mean(error**2))))
        if name == "kalman":
            offset_a, sigma_a = kalman.ends[place]
            flag = log.ambient_c >= FLAG_FROM_C and abs(offset_a) > max(FLAG_C * card.capacity_ah, 2 * sigma_a)
            if run.perturbation in OFFSETS:
                group.offset_error_a.append(offset_a - run.offset_a)
                group.flagged.append(flag)
            elif run.perturbation in ("none", *JOINS):
                group.false_flags.append(flag)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row of the table: the worst of the groups it is about, against must and aim. most: lower is better."""

    what: str
    must: float
    aim: float
    groups: Callable[[Group], bool]
    value: Callable[[Group], float]
    unit: str = "%"


def known(*kinds: str) -> Callable[[Group], bool]:
    return lambda g: g.case.known in kinds and g.case.gated


def warm(g: Group) -> bool:
    return g.temperature_c >= 10


def lg_cold(at_c: float) -> Callable[[Group], bool]:
    return lambda g: g.case.known == NEVER and g.case.name == "lg_hg2" and g.temperature_c == at_c


def joins(g: Group) -> float:
    return g.rmse(JOINS)


def full_start(g: Group) -> float:
    return g.rmse(("none",))


def offset(g: Group) -> float:
    return g.rmse(OFFSETS)


def p999(g: Group) -> float:
    return g.p999(("none", *JOINS, *OFFSETS))


CHARACTERISED = known(NEVER)
REQUIREMENTS = (
    Requirement("joins, in training, 10 to 40 degC", 1.2, 0.6, lambda g: known(TRAINED)(g) and warm(g), joins),
    Requirement("joins, in training, 0 to -20 degC", 2.0, 1.2, lambda g: known(TRAINED)(g) and not warm(g), joins),
    Requirement("joins, never seen, characterised, from 10 degC", 2.2, 1.3, lambda g: CHARACTERISED(g) and warm(g), joins),
    Requirement("joins, LG left out, 0 degC", 4.0, 2.0, lg_cold(0), joins),
    Requirement("joins, LG left out, -10 degC", 5.0, 3.0, lg_cold(-10), joins),
    Requirement("joins, LG left out, -20 degC", 7.0, 4.5, lg_cold(-20), joins),
    Requirement("joins, never seen, no characterisation, 25 degC", 6.0, 3.0, lambda g: known(SHEET)(g) and g.temperature_c == 25, joins),
    Requirement("full start, in training, from 10 degC", 1.0, 0.3, lambda g: known(TRAINED)(g) and warm(g), full_start),
    Requirement("full start, never seen, from 10 degC", 2.0, 0.3, lambda g: known(NEVER, SHEET)(g) and warm(g), full_start),
    Requirement("offset +-0.1 A per Ah, in training, from 0 degC", 1.5, 0.8, lambda g: known(TRAINED)(g) and g.temperature_c >= 0, offset),
    Requirement("offset +-0.1 A per Ah, never seen, from 10 degC", 2.2, 1.3, lambda g: CHARACTERISED(g) and warm(g), offset),
    Requirement("p99.9, in training, from 10 degC", 6.0, 3.0, lambda g: known(TRAINED)(g) and warm(g), p999),
    Requirement("p99.9, never seen, characterised, from 10 degC", 8.0, 4.0, lambda g: CHARACTERISED(g) and warm(g), p999),
)


def judged(groups: list[Group], estimator: str) -> list[Group]:
    """The groups of ``estimator``; where no student was trained for a case, the filter stands alone, as it would in use."""
    have = {group.case for group in groups if group.estimator == estimator}
    return [group for group in groups if group.estimator == (estimator if group.case in have else "kalman")]


def worst(groups: list[Group], row: Requirement) -> tuple[float, str]:
    values = [(row.value(group), label(group)) for group in groups if row.groups(group)]
    values = [value for value in values if np.isfinite(value[0])]
    return max(values) if values else (float("nan"), "-")


def label(group: Group) -> str:
    return f"{group.case.name} {group.temperature_c:.0f}"


def verdict(value: float, must: float, aim: float) -> str:
    return "-" if not np.isfinite(value) else "aim" if value <= aim else "must" if value <= must else "FAILS"


def requirement_lines(groups: list[Group], names: list[str]) -> list[str]:
    """The table of the requirements as Markdown lines."""
    lines = ["| requirement | must | aim | " + " | ".join(names) + " |", "|---|---|---|" + "---|" * len(names)]
    for row in REQUIREMENTS:
        cells = []
        for name in names:
            value, where = worst(judged(groups, name), row)
            cells.append(f"{value:.2f} ({where}) {verdict(value, row.must, row.aim)}")
        lines.append(f"| {row.what} | {row.must:g} | {row.aim:g} | " + " | ".join(cells) + " |")
    for name in names:
        if name != "kalman":
            lines += against_filter(groups, name, len(names))
    for what, chosen, least in (("from 10 degC", warm, 0.88), ("colder", lambda g: not warm(g), 0.80)):
        cells = []
        for name in names:
            cells.append(calibration([g for g in judged(groups, name) if g.case.gated and chosen(g)], least))
        lines.append(
            f"| inside two sigma, each group {what}, mean sigma at most twice the RMSE | {least:.2f} | 0.93 | " + " | ".join(cells) + " |"
        )
    return lines


def against_filter(groups: list[Group], name: str, columns: int) -> list[str]:
    """How much better than the tuned filter: joins and offsets pooled, and the group where it is worst."""
    kinds = (*JOINS, *OFFSETS)
    base = {(g.case, g.temperature_c): g for g in judged(groups, "kalman")}
    mine = [g for g in judged(groups, name) if g.case.gated]
    pooled = [np.sqrt(np.mean([g.rmse(kinds) ** 2 for g in which])) for which in (mine, [base[g.case, g.temperature_c] for g in mine])]
    gain = 100 * (1 - pooled[0] / pooled[1])
    behind = max(
        (
            (g.rmse(kind) - base[g.case, g.temperature_c].rmse(kind), label(g), g.case.known)
            for g in mine
            for kind in (JOINS, OFFSETS)
            if np.isfinite(g.rmse(kind))
        ),
        default=(float("nan"), "-", ""),
    )
    gained = "aim" if gain >= 50 else "must" if gain >= 20 else "FAILS"
    told = [f"{gain:.0f} % {gained}", f"{behind[0]:+.2f} ({behind[1]}, {behind[2]}) {'must' if behind[0] <= 0.2 else 'FAILS'}"]
    empty = " | - " * (columns - 2)
    return [
        f"| better than the filter, joins and offsets pooled ({name}) | 20 % | 50 % | -{empty} | {told[0]} |",
        f"| worst group against the filter ({name}) | +0.2 | +0.2 | -{empty} | {told[1]} |",
    ]


def calibration(groups: list[Group], least: float) -> str:
    """The group with the fewest inside two sigma, the one with the widest sigma, and how many groups hold."""
    kinds = ("none", *JOINS, *OFFSETS, *SMALL_OFFSETS)
    rows = [(g.mean(g.inside, kinds), g.mean(g.sigma, kinds) / g.rmse(kinds), label(g)) for g in groups]
    if not rows:
        return "-"
    low, wide = min(rows), max(rows, key=lambda row: row[1])
    hold = sum(inside >= least and ratio <= 2 for inside, ratio, _ in rows)
    return (
        f"{low[0]:.2f} ({low[2]}), sigma {wide[1]:.1f} x ({wide[2]}), {hold} of {len(rows)} hold {'must' if hold == len(rows) else 'FAILS'}"
    )


def offset_lines(groups: list[Group]) -> list[str]:
    """What the filter says of the current sensor at the end of a run with an offset."""
    lines = ["| case | degC | offset found within, A (mean, worst) | flagged | flagged without an offset |", "|---|---|---|---|---|"]
    for group in judged(groups, "kalman"):
        if group.offset_error_a and group.temperature_c >= 0:
            size = np.abs(group.offset_error_a)
            lines.append(
                f"| {group.case.name} ({group.case.known}) | {group.temperature_c:.0f} | {size.mean():.3f}, {size.max():.3f} "
                f"| {sum(group.flagged)} of {len(group.flagged)} | {sum(group.false_flags)} of {len(group.false_flags)} |"
            )
    return lines


def group_lines(groups: list[Group], names: list[str]) -> list[str]:
    """Every group: RMSE by kind of run, p99.9, share inside two sigma and mean sigma over RMSE, estimators side by side."""
    head = [f"{what} {name}" for what in ("join", "full start", "+-0.1", "+-0.02", "p99.9", "in 2 sigma", "sigma/RMSE") for name in names]
    lines = ["| case | degC | " + " | ".join(head) + " |", "|---|---|" + "---|" * len(head)]
    every = ("none", *JOINS, *OFFSETS, *SMALL_OFFSETS)
    by = {(g.case, g.temperature_c, g.estimator): g for g in groups}
    for case, temperature in sorted({(g.case, g.temperature_c) for g in groups}, key=lambda k: (CASES.index(k[0]), -k[1])):
        # Where no student was trained for the case, the filter stands alone.
        mine = [by.get((case, temperature, name), by[case, temperature, "kalman"]) for name in names]
        cells = [f"{g.rmse(kinds):.2f}" for kinds in (JOINS, ("none",), OFFSETS, SMALL_OFFSETS) for g in mine]
        cells += [f"{p999(g):.1f}" for g in mine] + [f"{g.mean(g.inside, every):.2f}" for g in mine]
        cells += [f"{g.mean(g.sigma, every) / g.rmse(every):.1f}" for g in mine]
        lines.append(f"| {case.name} ({case.known}) | {temperature:.0f} | " + " | ".join(cells) + " |")
    return lines


def weighted_error(groups: list[Group], name: str) -> float:
    """ "McMaster-style": the mean RMSE over the kinds of case that exist here (full start, joins at 90, 60 and 30 %, current
    offsets) and temperatures of LG HG2 as it trained, each weighing the same. Not their blind data: no figure of theirs compares."""
    values = [g.rmse((kind,)) for g in judged(groups, name) for kind in RUNS if g.case is CASES[0]]
    return float(np.nanmean(values))


BEGIN, END = "<!-- begin: python -m export evaluate state-table --write -->", "<!-- end -->"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("state-table", help="every requirement on SOC, pass or fail", description=__doc__)
    parser.add_argument("--shared", type=Path, default=None, help="the shared data (default: EDGEBMS_SHARED, or ../shared)")
    parser.add_argument("--estimators", default="kalman,student_int8", help="comma-separated: kalman, student_int8")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between this page's marks")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the worst runs into this folder")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    shared = args.shared or Path(os.environ.get("EDGEBMS_SHARED", "../shared"))
    names = [name for name in args.estimators.split(",") if name]
    groups: list[Group] = []
    worst_runs = Worst() if args.plots else None
    for case in CASES:
        progress(f"{case.name}: {case.known}")
        students = {name: path for name in names if name != "kalman" and (path := student_of(case)) is not None}
        groups += evaluate(case, shared, students, worst_runs)
    if worst_runs is not None:
        for path in worst_runs.draw(args.plots):
            progress(str(path))
    if args.json:
        print(msgspec.json.encode([row_of(group) for group in groups]).decode())
        return 0
    text = "\n".join(page(groups, names))
    print(text)
    if args.write:
        write_between(args.write, BEGIN, END, text)
    return 0


def student_of(case: Case) -> Path | None:
    """The model of one who never saw what the case leaves out; None where there is none that leads for the case's card."""
    path = FOLDER / f"state_without_{case.left_out}.onnx" if case.left_out else Path("models/state.onnx")
    return path if path.is_file() and load_student(str(path)).knows(load_card(case.card)) else None


def row_of(group: Group) -> dict[str, Any]:
    return {
        "set": group.case.name,
        "known": group.case.known,
        "temperature_c": group.temperature_c,
        "estimator": group.estimator,
        "join_rmse_pct": joins(group),
        "none_rmse_pct": full_start(group),
        "offset_rmse_pct": offset(group),
        "p999_pct": p999(group),
        "inside_2sigma": group.mean(group.inside, RUNS),
        "sigma_pct": group.mean(group.sigma, RUNS),
    }


def page(groups: list[Group], names: list[str]) -> list[str]:
    lines = requirement_lines(groups, names)
    scores = ", ".join(f"{name} {weighted_error(groups, name):.2f} %" for name in names)
    if "student_int8" in names:
        student = load_student("state")
        cost = step_cost_ms(load_card(CASES[0].card), student)
        lines.append(f"| filter and student, 96 cells, one step, one core, ms | 0.5 | 0.15 | - | {cost:.2f} {verdict(cost, 0.5, 0.15)} |")
        moved = float(msgspec.json.decode(Path("models/state.json").read_bytes())["int8_shift"]["correction_p999_pct"])
        lines.append(
            f"| int8 against float, a sample's shift, p99.9 (of the training) | 0.5 | 0.2 | - | {moved:.2f} {verdict(moved, 0.5, 0.2)} |"
        )
    lines += ["", f"McMaster-style mean over the cases of LG HG2: {scores}.", "", *offset_lines(groups), "", *group_lines(groups, names)]
    return lines
