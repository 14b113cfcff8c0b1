"""``python -m export evaluate state-students``: filter, teacher, students and int8 on the train cycles kept from training, as the
training wrote them into the model's card; over the seeds their mean and its standard error."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgebms.errors import ModelError
from export.marked_page import write_between

BEGIN, END = "<!-- begin: python -m export evaluate state-students --write -->", "<!-- end: students -->"
ROWS = {
    "kalman": "filter",
    "teacher": "teacher (float)",
    "student_float": "student that follows the teacher (float)",
    "student_alone": "student of the labels alone (float)",
    "student_int8": "int8, as it ships",
}
FIGURES = ("rmse_pct", "p999_pct", "inside_2sigma")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "state-students", help="teacher, students and int8 as trained, from the model's card", description=__doc__
    )
    parser.add_argument("--card", type=Path, default=Path("models/state.json"), help="card of the state student")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this page's marks")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    try:
        card = msgspec.json.decode(args.card.read_bytes())
        held_out, chosen = card["held_out_table"], f"{'taught' if card.get('taught') else 'of the labels alone'}, seed {card['seed']}"
        rows = collected(held_out)
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        raise ModelError("is no card of a state student", where=str(args.card), mend="make models") from None
    if args.json:
        print(msgspec.json.encode({"rows": rows, "summary": [], "provenance": {"card": str(args.card), "ships": chosen}}).decode())
        return 0
    text = "\n".join([*table(rows), "", f"The one that ships: {chosen}."])
    print(text)
    if args.write:
        write_between(args.write, BEGIN, END, text)
    return 0


def collected(held_out: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an estimator and set: mean of each figure over the seeds, its standard error (None of one seed)."""
    rows = []
    for estimator in ROWS:
        for name in dict.fromkeys(row["set"] for row in held_out):
            mine = [row for row in held_out if row["set"] == name and row["estimator"] == estimator]
            if not mine:
                continue
            row: dict[str, Any] = {"estimator": estimator, "set": name, "seeds": len(mine)}
            for figure in FIGURES:
                values = np.array([one[figure] for one in mine])
                row[figure] = float(values.mean())
                row[f"{figure}_error"] = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """As Markdown lines: one an estimator, the sets beside each other."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    head = [f"{name}: {figure}" for name in sets for figure in ("RMSE %", "p99.9 %", "inside two sigma")]
    lines = ["| | seeds | " + " | ".join(head) + " |", "|---|---|" + "---|" * len(head)]
    for estimator, told in ROWS.items():
        mine = {row["set"]: row for row in rows if row["estimator"] == estimator}
        if mine:
            cells = [cell(mine[name], figure) if name in mine else "-" for name in sets for figure in FIGURES]
            lines.append(f"| {told} | {max(row['seeds'] for row in mine.values())} | " + " | ".join(cells) + " |")
    return lines


def cell(row: dict[str, Any], figure: str) -> str:
    error = row[f"{figure}_error"]
    return f"{row[figure]:.2f}" if error is None else f"{row[figure]:.2f} +- {error:.2f}"
