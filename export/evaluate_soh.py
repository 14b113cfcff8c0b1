"""``python -m export evaluate soh``: capacity from the middle of a charge (30 to 80 % of the voltage window), cells that no
training saw: CALCE's train cells by each other, its public cell by both of them.

CALCE's licence is not stated: what is learned here is for this table and ships nowhere. The runtime's own capacity
(``edgebms/estimator/soh.py``) needs two rests and takes nothing from a charge yet.
"""

from __future__ import annotations

import argparse
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgebms.errors import LogError
from export.soh_window import Charges, WindowCapacity, between_marks

RATED_AH = 1.1
WINDOW_V = (2.7, 4.2)
MARKS_V = np.round(np.arange(3.75, 3.901, 0.025), 3)
"""3.9 V is 80 % of the window; a charge after a full discharge begins at 3.5 to 3.75 V under load."""
CHARGING_C = 0.25


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("soh", help="capacity from partial charges", description=__doc__)
    parser.add_argument("--shared", type=Path, default=None, help="the shared data (default: EDGEBMS_SHARED, or ../shared)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    shared = args.shared or Path(os.environ.get("EDGEBMS_SHARED", "../shared"))
    train = [read(path) for path in sorted((shared / "data/soh/train/calce_cs2").glob("*.parquet"))]
    public = [read(path) for path in sorted((shared / "data/soh/public/calce_cs2").glob("*.parquet"))]
    if len(train) < 2:
        raise LogError("holds no ageing data", where=str(shared), mend="name the folder that holds data/soh with --shared")
    rows = []
    for cell, others in [(cell, [other for other in train if other is not cell]) for cell in train] + [(cell, train) for cell in public]:
        mean = float(np.mean(np.concatenate([other.soh for other in others])))
        said, sigma = WindowCapacity(others).estimate(cell.filled)
        for name, soh, told in (("window", said, sigma), ("mean", np.full(cell.soh.size, mean), None)):
            wrong = np.abs(soh - cell.soh)
            rows.append(
                {
                    "file": cell.cell + ".parquet",
                    "cell": cell.cell,
                    "split": "public" if cell in public else "train",
                    "estimator": name,
                    "charges": int(wrong.size),
                    "mae_pct": 100 * float(wrong.mean()),
                    "rmse_pct": 100 * float(np.sqrt(np.mean(wrong**2))),
                    "max_pct": 100 * float(wrong.max()),
                    "inside_2sigma": None if told is None else float(np.mean(wrong <= 2 * told)),
                }
            )
    if args.json:
        print(msgspec.json.encode({"rows": rows, "summary": [], "provenance": {"marks_v": MARKS_V.tolist()}}).decode())
        return 0
    print("| cell | split | estimator | charges | MAE % | RMSE % | max % | inside two sigma |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        inside = "-" if row["inside_2sigma"] is None else f"{row['inside_2sigma']:.2f}"
        print(
            f"| {row['cell']} | {row['split']} | {row['estimator']} | {row['charges']} | {row['mae_pct']:.2f} | {row['rmse_pct']:.2f} "
            f"| {row['max_pct']:.1f} | {inside} |"
        )
    return 0


def read(path: Path) -> Charges:
    """The charges of one CALCE cell that pass the window from below it, with the capacity of the discharge after each."""
    import pyarrow.csv
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    names = ("test_time_second", "voltage_volt", "current_ampere", "cycle_count")
    time_s, voltage_v, current_a, cycle = (table[name].to_numpy().astype(np.float64) for name in names)
    cycles = pyarrow.csv.read_csv(path.with_name(f"{path.stem}_cycles.csv"))
    reference = dict(
        zip(cycles["cycle_count"].to_pylist(), cycles["soh_reference"].to_numpy(zero_copy_only=False).astype(np.float64), strict=True)
    )
    number, filled, soh = [], [], []
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(cycle)) + 1, [cycle.size]])
    for begin, end in pairwise(bounds.tolist()):
        charging = np.flatnonzero(current_a[begin:end] > CHARGING_C * RATED_AH)
        label = reference.get(int(cycle[begin]), float("nan"))
        if not charging.size or not np.isfinite(label):
            continue
        part = slice(begin + charging[0], end)
        found = between_marks(time_s[part], voltage_v[part], current_a[part], MARKS_V, RATED_AH)
        if found is not None:
            number.append(cycle[begin])
            filled.append(found)
            soh.append(label)
    return Charges(path.stem, np.array(number), np.array(filled), np.array(soh))
