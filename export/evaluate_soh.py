"""``python -m export evaluate soh``: capacity from the middle of a charge (30 to 80 % of the voltage window), cells that no
training saw: CALCE's train cells by each other, its public cell by both of them.

``runtime``: the runtime's own filter, charge window and slow state on that part of the same charges: once with a card that
says how the other cells aged (``aged_charge``), once with one that has the curve of their first charges only. ``window``: the
full Gaussian process over the other cells, outside the runtime. CALCE's licence is not stated, so what is learned here is for
this table and ships nowhere.
"""

from __future__ import annotations

import argparse
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgebms.cellcard import CellCard, load_card
from edgebms.errors import LogError
from edgebms.estimator.cell_model import CellModel
from edgebms.estimator.charge_window import ChargeWindow
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.soh import Soh
from export.marked_page import write_between
from export.soh_window import Charges, Floats, WindowCapacity, aged_charge, between_marks

RATED_AH = 1.1
WINDOW_V = (2.7, 4.2)
MARKS_V = np.append(np.round(np.arange(3.75, 3.876, 0.025), 3), 3.895)
"""3.9 V is 80 % of the window, and the last sample below it must pass the last mark; a charge after a full discharge begins at 3.5 to 3.75 V under load."""
CHARGING_C = 0.25
CHARGE_C = 0.5
"""The current of these charges over the rated capacity (1/h)."""
CARD = "generic_lco"
MOST_S = 60.0
"""A longer step between two samples of a charge is no sampling."""
FIRST = 10
"""Charges of a cell whose curves are its card's."""
CURVE_V = 0.008
DROP_S = 1800.0
WINDOW_SHARE = (0.3, 0.8)
"""Of the voltage window: nothing outside of it is shown to the runtime."""
BEGIN, END = "<!-- begin: python -m export evaluate soh --write -->", "<!-- end: soh -->"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("soh", help="capacity from partial charges", description=__doc__)
    parser.add_argument("--shared", type=Path, default=None, help="the shared data (default: EDGEBMS_SHARED, or ../shared)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="the runtime sees only each N-th charge (a quick look)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between this page's marks")
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
        card = charging_card(others)
        aged = msgspec.structs.replace(card, aged_charge=aged_charge(others, MARKS_V, CHARGE_C, "CALCE CS2, all charges"))
        curve, curve_sigma = through_runtime(cell, card, args.every)
        ran, ran_sigma = through_runtime(cell, aged, args.every)
        everything = slice(None)
        for name, soh, told, seen in (
            ("window", said, sigma, everything),
            ("runtime, aged cells in the card", ran, ran_sigma, slice(None, None, args.every)),
            ("runtime, new cells' curve", curve, curve_sigma, slice(None, None, args.every)),
            ("mean", np.full(cell.soh.size, mean), None, everything),
        ):
            wrong = np.abs(soh - cell.soh[seen])
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
    text = "\n".join(table(rows))
    print(text)
    if args.write:
        write_between(args.write, BEGIN, END, text)
    return 0


def table(rows: list[dict[str, Any]]) -> list[str]:
    """As Markdown lines."""
    lines = ["| cell | split | estimator | charges | MAE % | RMSE % | max % | inside two sigma |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        inside = "-" if row["inside_2sigma"] is None else f"{row['inside_2sigma']:.2f}"
        lines.append(
            f"| {row['cell']} | {row['split']} | {row['estimator']} | {row['charges']} | {row['mae_pct']:.2f} | {row['rmse_pct']:.2f} "
            f"| {row['max_pct']:.1f} | {inside} |"
        )
    return lines


def charging_card(cells: list[Charges]) -> CellCard:
    """The generic card with the curve of the first charges of ``cells``: volts over the share of the charge, less the drop
    that the generic card has at that current. Nothing of it ships."""
    card = msgspec.structs.replace(load_card(CARD), capacity_ah=RATED_AH)
    soc, curves = np.linspace(0.0, 1.0, 101), []
    for cell in cells:
        for time_s, voltage_v, current_a in cell.parts[:FIRST]:
            ah = np.concatenate([[0.0], np.cumsum(current_a[1:] * np.diff(time_s))]) / 3600.0
            # A fresh cell takes its capacity; below the first sample lies what the discharge before left.
            at = 1.0 - (ah[np.argmax(ah)] - ah) / (cell.soh[0] * RATED_AH)
            resistance = CellModel(card, 1).resistance_ohm(np.full(1, 0.5), np.full(1, 25.0), float(current_a[0]), DROP_S)[0]
            steady = current_a > 0.9 * current_a[0]
            curves.append(np.interp(soc, at[steady], np.maximum.accumulate(voltage_v[steady]) - resistance * current_a[0]))
    curve = np.maximum.accumulate(np.mean(curves, axis=0))
    table = msgspec.structs.replace(
        card.ocv.voltage, soc=tuple(soc.tolist()), temperature_c=(25.0,), value=(tuple(curve.tolist()),), source="CALCE CS2, first charges"
    )
    flat = tuple([0.0] * soc.size)
    ocv = msgspec.structs.replace(card.ocv, voltage=table, entropic_v_per_k=flat, hysteresis_v=flat)
    error = msgspec.structs.replace(
        card.accuracy.voltage_v, value=tuple(tuple(CURVE_V for _ in row) for row in card.accuracy.voltage_v.value)
    )
    accuracy = msgspec.structs.replace(card.accuracy, voltage_v=error, resistance=0.2)
    return msgspec.structs.replace(card, ocv=ocv, accuracy=accuracy, quality="fitted")


def through_runtime(cell: Charges, card: CellCard, every: int = 1) -> tuple[Floats, Floats]:
    """What the runtime holds of the capacity after each charge of ``cell`` in order (each ``every``-th of
    them), ratio to the rated, and its sigma, (charges seen,)."""
    soh = Soh(card, 1)
    said, sigma = [], []
    low, high = (WINDOW_V[0] + share * (WINDOW_V[1] - WINDOW_V[0]) for share in WINDOW_SHARE)
    for time_s, voltage_v, current_a in cell.parts[::every]:
        one_charge(card, soh, time_s, voltage_v, current_a, low, high)
        said.append(float(soh.capacity[0]))
        sigma.append(float(soh.capacity_sigma[0]))
    return np.array(said), np.array(sigma)


def one_charge(card: CellCard, soh: Soh, time_s: Floats, voltage_v: Floats, current_a: Floats, low_v: float, high_v: float) -> None:
    """One charge between two voltages as a pack's estimator takes it (``Estimator._slow``)."""
    kalman, window = Kalman(card, 1), ChargeWindow(CellModel(card, 1))
    unknown_c, last_s = np.full(1, np.nan), float("nan")
    for at_s, volts, amps in zip(time_s.tolist(), voltage_v.tolist(), current_a.tolist(), strict=True):
        if not low_v <= volts <= high_v:
            continue
        kalman.step(at_s, amps, np.array([volts]), unknown_c)
        step_s = min(at_s - last_s, MOST_S) if last_s == last_s else 0.0
        last_s = at_s
        soh.count(step_s, amps)
        told = window.take(step_s, amps, kalman, np.array([volts]), unknown_c)
        if told is not None:
            soh.window(told.capacity, told.variance)
    told = window.close()
    if told is not None:
        soh.window(told.capacity, told.variance)


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
    number, filled, soh, parts = [], [], [], []
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
            parts.append((time_s[part], voltage_v[part], current_a[part]))
    return Charges(path.stem, np.array(number), np.array(filled), np.array(soh), parts)
