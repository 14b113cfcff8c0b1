"""``python -m export evaluate state``: how far an SOC estimator is off, on logs with a reference SOC."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

import edgebms
from edgebms.cellcard import CellCard, load_card
from edgebms.errors import EdgebmsError, LogError
from edgebms.estimator.kalman import TUNED
from export.state_batch import Pair
from export.state_estimators import ESTIMATORS, KNOWN, NotInstalled, StateEstimator
from export.state_logs import StateLog, check_perturbation, find_logs, plan, read_state_log

Floats = NDArray[np.float64]

SETTLE_S = 600.0
"""Scored from here after a run's first row: DESIGN section 5."""
CARDS = {
    "lg_hg2": "lg_hg2",
    "lg_hg2_10hz": "lg_hg2",
    "panasonic_18650pf": "panasonic_18650pf",
    "dmegc_randomwalk": "dmegc_inr18650",
    "a123_lfp": "a123_lfp",
    "calce_inr20r": "samsung_inr20r",
    "lipo5450": "lipo_5450",
}
"""Set -> card of the catalogue; ``--card`` overrides."""
UNTRUE = {"bmw_i3": "its SOC is the vehicle's own estimate and it is a whole pack: consistency only, no accuracy"}
"""Sets that are never scored, and why."""
PERTURBATIONS = ("none", "join_0.9", "join_0.6", "join_0.3")
ROW = (
    "file",
    "set",
    "cell",
    "temperature_c",
    "perturbation",
    "estimator",
    "n",
    "rmse_pct",
    "mae_pct",
    "p999_pct",
    "max_pct",
    "inside_1sigma",
    "inside_2sigma",
)
METRICS = ROW[7:]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("state", help="SOC against a reference", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA", help="parquet files in Battery Data Format, or folders of them")
    parser.add_argument("--card", help="a card's name in the catalogue or a .toml path, for all files (default: by set)")
    parser.add_argument("--estimators", default="coulomb,kalman,student_int8", help=f"comma-separated, of {', '.join(KNOWN)}")
    parser.add_argument("--perturbations", default=",".join(PERTURBATIONS), help="comma-separated: none, join_0.9, offset_+0.02 ...")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    names, perturbations = split(args.estimators), split(args.perturbations)
    for name in names:
        if name not in KNOWN:
            raise LogError(f"no estimator called {name!r}", where="--estimators", mend=f"one of {', '.join(KNOWN)}")
    for perturbation in perturbations:
        check_perturbation(perturbation)
    left_out: dict[str, str] = {}
    logs, broken = read_logs(args.data, left_out)
    cards: dict[str, CellCard] = {}
    work: dict[str, list[Pair]] = {}
    for log in logs:
        card_name = args.card or CARDS.get(log.set)
        reason = UNTRUE.get(log.set) or (None if card_name else "no card is known for the set: name one with --card")
        if reason or card_name is None:
            left_out[log.set] = str(reason)
            continue
        card = cards.setdefault(card_name, load_card(card_name))
        work.setdefault(card_name, []).extend(runs_of(log, perturbations, card))
    rows: list[dict[str, Any]] = []
    for card_name, pairs in work.items():
        for name in names:
            progress(f"{card_name}: {name}")
            try:
                estimator = make(name, cards[card_name])
            except NotInstalled as error:
                left_out[name] = str(error)
                continue
            rows += score(pairs, cards[card_name], name, estimator)
    rows.sort(key=lambda row: row["place"])
    if not rows and broken is not None:
        raise broken
    summary = summarise(rows)
    result = {"rows": [{key: row[key] for key in ROW} for row in rows], "summary": summary, "provenance": provenance(cards, left_out)}
    if args.json:
        print(msgspec.json.encode(result).decode())
    else:
        print_tables(rows, summary, left_out)
    return broken.exit_code if broken is not None else 0


def split(words: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))


def make(name: str, card: CellCard) -> StateEstimator:
    if name not in ESTIMATORS:
        raise NotInstalled("is not installed")
    return ESTIMATORS[name](card)


def read_logs(data: list[Path], left_out: dict[str, str]) -> tuple[list[StateLog], EdgebmsError | None]:
    """All logs in ``data`` that can be read, and the first error; files that cannot are put into ``left_out``."""
    logs: list[StateLog] = []
    broken: EdgebmsError | None = None
    for path in find_logs(data):
        try:
            logs.append(read_state_log(path))
        except LogError as error:
            broken = broken or error
            left_out[path.name] = error.what
    return logs, broken


def runs_of(log: StateLog, perturbations: list[str], card: CellCard) -> list[Pair]:
    return [(log, run) for name in perturbations if (run := plan(log, name, card.capacity_ah)) is not None]


def score(pairs: list[Pair], card: CellCard, name: str, estimator: StateEstimator) -> list[dict[str, Any]]:
    """One row a run; all runs are of ``card``."""
    rows = []
    for (log, run), (soc, sigma) in zip(pairs, estimator.run(pairs), strict=True):
        scored = (log.time_s - log.time_s[run.first] >= SETTLE_S) & np.isfinite(log.soc) & np.isfinite(soc)
        scored[: run.first] = False
        row = {
            "file": log.path.name,
            "set": log.set,
            "cell": log.cell,
            "temperature_c": log.ambient_c if np.isfinite(log.ambient_c) else None,
            "perturbation": run.perturbation,
            "estimator": name,
            "n": int(np.count_nonzero(scored)),
            "card": card.name,
            "quality": card.quality,
            "place": str(log.path),
        }
        rows.append(row | metrics(soc[scored] - log.soc[scored], sigma[scored]))
    return rows


def metrics(error: Floats, sigma: Floats) -> dict[str, float | None]:
    """In per cent of SOC; None where nothing was scored or the estimator states no sigma."""
    if error.size == 0:
        return dict.fromkeys((*METRICS, "sigma_pct"))
    size = np.abs(error)
    told = bool(np.isfinite(sigma).all())
    return {
        "rmse_pct": 100 * float(np.sqrt(np.mean(error**2))),
        "mae_pct": 100 * float(size.mean()),
        "p999_pct": 100 * float(np.quantile(size, 0.999)),
        "max_pct": 100 * float(size.max()),
        "inside_1sigma": float(np.mean(size <= sigma)) if told else None,
        "inside_2sigma": float(np.mean(size <= 2 * sigma)) if told else None,
        "sigma_pct": 100 * float(sigma.mean()) if told else None,
    }


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By set, temperature, perturbation and estimator; "join" pools all joins. RMSE: root of the mean square
    over the files' RMSE (each file counts once); MAE, sigma and shares: their mean; p99.9 and max: the worst."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["n"]:
            pooled = {row["perturbation"]} | ({"join"} if row["perturbation"].startswith("join") else set())
            for perturbation in pooled:
                key = (row["set"], row["temperature_c"], perturbation, row["estimator"], row["card"], row["quality"])
                groups.setdefault(key, []).append(row)
    out = []
    for key, members in sorted(groups.items(), key=order):
        told = [m for m in members if m["sigma_pct"] is not None]
        out.append(
            dict(zip(("set", "temperature_c", "perturbation", "estimator", "card", "card_quality"), key, strict=True))
            | {
                "files": len(members),
                "n": sum(m["n"] for m in members),
                "rmse_pct": float(np.sqrt(np.mean([m["rmse_pct"] ** 2 for m in members]))),
                "mae_pct": float(np.mean([m["mae_pct"] for m in members])),
                "p999_pct": max(m["p999_pct"] for m in members),
                "max_pct": max(m["max_pct"] for m in members),
                "inside_1sigma": float(np.mean([m["inside_1sigma"] for m in told])) if told else None,
                "inside_2sigma": float(np.mean([m["inside_2sigma"] for m in told])) if told else None,
                "sigma_pct": float(np.mean([m["sigma_pct"] for m in told])) if told else None,
            }
        )
    return out


def order(group: tuple[tuple[Any, ...], Any]) -> tuple[Any, ...]:
    """By set, from warm to cold, then by name."""
    key = group[0]
    return (key[0], -(key[1] or 0.0), *key[2:])


def provenance(cards: dict[str, CellCard], left_out: dict[str, str]) -> dict[str, Any]:
    return {
        "runtime": edgebms.__version__,
        "cards": {
            card.name: {"quality": card.quality, "sha256": hashlib.sha256(msgspec.json.encode(card)).hexdigest()} for card in cards.values()
        },
        "kalman": msgspec.to_builtins(TUNED),
        "settle_s": SETTLE_S,
        "left_out": left_out,
    }


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{line[:78]:78s}", end="", file=sys.stderr, flush=True)


def print_tables(rows: list[dict[str, Any]], summary: list[dict[str, Any]], left_out: dict[str, str]) -> None:
    if sys.stderr.isatty():
        print("\r" + " " * 80 + "\r", end="", file=sys.stderr)
    width = max((len(row["file"]) for row in rows), default=4)
    print(
        f"{'file':{width}s} degC  perturbation   estimator        n   RMSE    MAE  p99.9    max   in1s   in2s  sigma   (% SOC after 10 min)"
    )
    for row in rows:
        print(
            f"{row['file']:{width}s} {cell(row['temperature_c'], 4, 0)}  {row['perturbation']:14s} {row['estimator']:12s} {row['n']:5d} {numbers(row)}"
        )
    print()
    print(
        f"{'set':18s} degC  perturbation   estimator    card                        files   RMSE    MAE  p99.9    max   in1s   in2s  sigma"
    )
    for row in summary:
        marked = f"{row['card']} ({row['card_quality']})"
        print(
            f"{row['set']:18s} {cell(row['temperature_c'], 4, 0)}  {row['perturbation']:14s} {row['estimator']:12s} {marked:28s} {row['files']:4d} {numbers(row)}"
        )
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")


def numbers(row: dict[str, Any]) -> str:
    return " ".join(cell(row[key], 6, 2) for key in (*METRICS, "sigma_pct"))


def cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}s}" if value is None else f"{value:{width}.{digits}f}"
