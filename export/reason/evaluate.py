"""``python -m export evaluate reason``: the student beside what it has to hold against, on packs that nothing was trained on or chosen by.

Sets: held_out (the end of each hour), held_out_any (any instant of it), boundary (of held_out those whose fault departs from its healthy twin by a
half to twice what makes it detectable), many (the end of each of 10,000 hours, without twins that would tell what can be detected), long (the end of 2.5 hours), days (the end of a day), pybamm.
A method whose files are missing is left out, and said so. Where students of other seeds were trained, a row more is their mean, with its error over the seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.reasoner.language import CAUSES
from export.reason import corpus
from export.reason.command import RUNS
from export.reason.judge import Figure, Said, figures, mean, per_cause
from export.reason.methods import SEED_OF, methods
from export.reason.tables import tables
from hil.plant.detect import ENOUGH

Singles = NDArray[np.float32]
DOC = Path("docs") / "results-reasoning.md"
BOUNDARY = (0.5, 2.0)
"""Times the departure that makes a fault detectable."""
BESIDE = ("trees", "trees_of_halves", "trees_8", "student_fixed_8")
"""Whose recall of each cause stands beside the student's."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reason", help="causes named by the reasoning student and by its baselines", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=corpus.FOLDER)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--model", default="reasoner", help="a model in models/, or a path that ends in .onnx")
    parser.add_argument("--packs", type=int, default=None, help="of the held-out packs at most so many")
    parser.add_argument("--sets", nargs="+", default=["held_out", "held_out_any", "boundary", "many", "long", "days", "pybamm"])
    parser.add_argument("--methods", nargs="+", default=None, help="some of them only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, default=None, nargs="?", const=DOC, help=f"write the tables there (default {DOC})")
    parser.set_defaults(func=run)


def rows_of(args: argparse.Namespace, name: str) -> NDArray[np.void] | None:
    """The rows of a set, None = not there."""
    split = "held_out" if name.startswith("held_out") or name == "boundary" else name
    if not any((args.corpus / split).glob("batch_*.npy")):
        return None
    rows = corpus.load(args.corpus, split, args.packs)
    if name == "held_out_any":
        return rows[corpus.INSTANTS - 4 :: corpus.INSTANTS]  # the one drawn from the whole hour
    rows = rows[rows["last"]]
    if name == "boundary":
        return rows[(rows["sigmas"] >= BOUNDARY[0] * ENOUGH) & (rows["sigmas"] < BOUNDARY[1] * ENOUGH)]  # NaN is not
    return rows


def of_seeds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row: the mean over the students of all seeds, and its standard error over them; none where there is one seed."""
    seeds = [row for row in rows if row["method"] == "student_int8" or row["method"].startswith(SEED_OF)]
    if len(seeds) < 2:
        return []
    out: dict[str, Any] = {"set": seeds[0]["set"], "method": f"student_int8, {len(seeds)} seeds", "n": seeds[0]["n"]}
    for label in [label for label in seeds[0] if f"{label}_error" in seeds[0]]:
        values = np.array([row[label] for row in seeds], dtype=float)
        out[label], out[f"{label}_error"] = round(values.mean(), 2), round(values.std(ddof=1) / np.sqrt(len(values)), 2)
    return [out]


def run(args: argparse.Namespace) -> int:
    heard: dict[str, dict[str, Said]] = {}
    rows_by: dict[str, NDArray[np.void]] = {}
    summary: list[dict[str, Any]] = []
    causes: list[dict[str, Any]] = []
    left_out: list[str] = []
    sayers = methods(args)
    for name in args.sets:
        rows = rows_of(args, name)
        if rows is None:
            left_out.append(f"set {name}: not made yet")
            continue
        rows_by[name], heard[name] = rows, {}
        for method, say in sayers.items():
            if say is None:
                continue
            print(f"{name}: {method}", file=sys.stderr, flush=True)
            heard[name][method] = said = say(rows)
            row: dict[str, Any] = {"set": name, "method": method, "n": len(rows)}
            for label, figure in figures(rows, said).items():
                scale = 1.0 if label.startswith("queries") else 100.0
                row[label] = round(scale * figure.value, 2)
                row[f"{label}_error"] = None if np.isnan(figure.error) else round(scale * figure.error, 2)
            summary.append(row)
        for other, said in heard[name].items():
            if other != "student_int8" and "student_int8" in heard[name]:
                summary[-1 - list(reversed(heard[name])).index(other)] |= against(rows, heard[name]["student_int8"], said)
        summary += of_seeds([row for row in summary if row["set"] == name])
        best = [m for m in ("student_int8", "oracle", *heard[name]) if m in heard[name]][:1]
        causes += [
            {"set": name, "method": method, "cause": cause} | told
            for method in dict.fromkeys((*best, *(m for m in BESIDE if m in heard[name])))
            for cause, told in per_cause(rows, heard[name][method].cause).items()
        ]
    left_out += [f"method {method}: its files are missing" for method, say in sayers.items() if say is None]
    shares = majority(rows_by)
    sorts = {name: len(np.unique(rows[["card", "cells"]])) for name, rows in rows_by.items()}
    if args.json:
        print(
            json.dumps(
                {"rows": causes, "summary": summary, "provenance": {"left_out": left_out, "majority": shares, "cards_and_sizes": sorts}}
            )
        )
    text = tables(summary, causes, left_out, shares, sorts)
    if not args.json:
        print(text)
    if args.write is not None:
        args.write.write_text(text, encoding="utf-8")
    return 0


def against(rows: NDArray[np.void], ours: Said, theirs: Said) -> dict[str, Any]:
    """Our accuracy less theirs, pairwise, with the 95 % interval's half, in points; and the share of verdicts that differ."""
    apart = (ours.cause == rows["cause"]).astype(float) - (theirs.cause == rows["cause"])
    figure: Figure = mean(apart, corpus.weights(rows), rows["number"])
    return {
        "student_ahead": round(100 * figure.value, 2),
        "student_ahead_95": round(196 * figure.error, 2),
        "verdicts_apart": round(100 * float((ours.cause != theirs.cause).mean()), 2),
    }


def majority(rows_by: dict[str, NDArray[np.void]]) -> dict[str, float]:
    """What always saying the commonest cause would reach, %."""
    out = {}
    for name, rows in rows_by.items():
        weight = corpus.weights(rows)
        out[name] = round(100 * max(float(weight[rows["cause"] == place].sum()) for place in range(len(CAUSES))) / float(weight.sum()), 1)
    return out
