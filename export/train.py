"""``python -m export train state|gru``: from the training logs to the models that ship, in minutes on one core."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import card_digest, load_card
from edgebms.errors import LogError, MissingExtra
from edgebms.estimator.kalman import TUNED
from edgebms.estimator.student import FEATURES
from export import features, model_card
from export.left_out import FOLDER, tuning_of

Singles = NDArray[np.float32]

CARD = "lg_hg2"
SET = "lg_hg2"
CHECKS = {"lg_hg2": "*Mixed2.parquet", "panasonic_18650pf": "*.parquet", "dmegc_randomwalk": "R*__rw_*5.parquet"}
"""Train files on which seeds are chosen: kept from training, but for Panasonic, of which there are few."""
SETTLE_S = 600.0
"""Scored from here on, as the evaluation does."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("train", help="train a model from seeds and write it with its card", description=__doc__)
    parser.add_argument("what", choices=("state", "gru"), help="the state student, or the plain GRU it is compared with")
    parser.add_argument("--shared", type=Path, default=None, help="the shared data (default: EDGEBMS_SHARED, or ../shared)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder to write to")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for features, which are large")
    parser.add_argument("--seeds", type=int, default=3, help="networks to train; the best on what was held out ships")
    parser.add_argument(
        "--teacher", action=argparse.BooleanOptionalAction, default=True, help="train a wider teacher first, which the students follow"
    )
    parser.add_argument("--teachers", type=Path, default=Path("export/teachers"), help="folder to write the teacher to: it does not ship")
    parser.add_argument("--variants", type=int, default=80, help="wrong cards that the student sees")
    parser.add_argument("--leave-out", default="", choices=("", *CHECKS), help="a set that it must not see, for that set's never-seen rows")
    parser.add_argument("--epochs", type=int, default=None, help="in place of the recipe's")
    parser.add_argument("--logs", type=int, default=None, help="use only so many logs (a trial of the chain)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    try:
        import torch
    except ImportError:
        raise MissingExtra("training needs torch", where="python -m export train", mend="pip install -e '.[export]'") from None
    torch.use_deterministic_algorithms(True)
    shared = args.shared or Path(os.environ.get("EDGEBMS_SHARED", "../shared"))
    if args.what == "state":
        return train_state(args, shared)
    logs = features.training_logs(shared, held_out=False)
    held = features.training_logs(shared, held_out=True)
    if not logs or not held:
        raise LogError("holds no training logs", where=str(shared), mend="name the folder that holds data/soc/train with --shared")
    if args.logs is not None:
        logs, held = logs[:: max(len(logs) // args.logs, 1)][: args.logs], held[: args.logs]
    return train_gru(args, logs, held)


def train_state(args: argparse.Namespace, shared: Path) -> int:
    from export import train_state as job
    from export.cell import CLIP, Recurrent
    from export.onnx_graph import state_graph
    from export.quantise import quantise, roll, shift

    variants = args.variants if args.logs is None else 8
    tuning = tuning_of(args.leave_out)
    model_name = f"state_without_{args.leave_out}" if args.leave_out else "state"
    sources = [source for source in features.SOURCES if source.set != args.leave_out]
    recipe = job.Recipe() if args.epochs is None else job.Recipe(epochs=args.epochs)
    for source in sources:
        if not features.source_paths(shared, source):
            raise LogError("holds no training logs", where=str(shared), mend="name the folder that holds data/soc/train with --shared")
    cards = {source.card: card_digest(load_card(source.card)) for source in sources}
    # What a training that was stopped goes on from is its own: other cards, constants or recipes are another training.
    made_of = msgspec.json.encode([FEATURES, tuning, recipe, asdict(job.BOUNDS), cards, variants, args.logs])
    folder = args.runs / model_name / hashlib.sha256(made_of).hexdigest()[:12]
    data = kept(folder / "train.npz", lambda: features.training_sequences(shared, 0, variants, args.leave_out, tuning, args.logs))
    checks, held_out = {}, []
    for source in sources:
        trained = set(features.source_paths(shared, source))
        held_out += [
            f"{source.set}/{path.stem}"
            for path in sorted((shared / "data/soc/train" / source.set).glob(CHECKS[source.set]))
            if path not in trained
        ]
        paths = sorted((shared / "data/soc/train" / source.set).glob(CHECKS[source.set]))[: args.logs]
        card, logs = load_card(source.card), [features.read_log(path) for path in paths]
        checks[source.set] = features.held_out_sequences(card, logs, tuning)
    check = next(iter(checks.values()))
    check.save(folder / "held_out.npz")
    say(f"{data.x.shape[1]} sequences, {int(data.valid.sum())} rows")
    scale = job.scaling(data)
    table = [{"set": name, "estimator": "kalman"} | accuracy(part, part.filter, part.sigma) for name, part in checks.items()]
    say("\n".join(map(str, table)))
    nets, scores = [], []

    def judge(net: Recurrent, estimator: str, seed: int) -> float:
        rows = []
        for name, part in checks.items():
            correction, sigma = job.correct(net, part, scale)
            rows.append({"set": name, "estimator": estimator, "seed": seed} | accuracy(part, part.filter + correction, sigma))
        say("\n".join(map(str, rows)))
        table.extend(rows)
        # Every set counts alike: a per cent less on a hard one is worth a per cent less on an easy one.
        return float(np.mean(np.log([row["rmse_pct"] for row in rows])))

    teaching, teacher, taught = job.Teaching() if args.teacher else None, None, None
    mark = ""
    if teaching is not None:
        if args.epochs is not None:
            teaching = replace(teaching, epochs=args.epochs)
        mark = "-" + hashlib.sha256(msgspec.json.encode(teaching)).hexdigest()[:8]
        wide = replace(recipe, hidden=teaching.hidden, epochs=teaching.epochs, rate=teaching.rate)
        teacher = job.train(data, scale, 0, wide, folder / f"teacher{mark}.pt")
        judge(teacher, "teacher", 0)
        taught = job.lesson(teacher, data, scale)
    # One student of the labels alone stands beside those of the teacher: what teaching is worth can be seen.
    lessons = [("student_float", seed, taught) for seed in range(args.seeds)] + ([("student_alone", 0, None)] if taught is not None else [])
    for estimator, seed, lesson in lessons:
        net = job.train(data, scale, seed, recipe, folder / f"seed{seed}{mark if lesson is not None else ''}.pt", lesson, teaching)
        scores.append(judge(net, estimator, seed))
        nets.append(net)
    best = int(np.argmin(scores))
    chosen = lessons[best]
    say(f"ships: {chosen[0]} of seed {chosen[1]}")
    at = job.SIGMA_AT

    def graph(net: Recurrent) -> bytes:
        return state_graph(net.weights(), CLIP, at, float(scale.centre[at]), float(scale.scale[at]), job.BOUNDS)

    model = graph(nets[best])
    small = quantise(model, scaled(data.x[:, ::8], scale.centre, scale.scale))
    x = scaled(check.x, scale.centre, scale.scale)
    moved = shift(model, small, x, check.valid)
    for name, part in checks.items():
        answer = np.stack([y for _, y, _ in roll(small, scaled(part.x, scale.centre, scale.scale))])
        table.append(
            {"set": name, "estimator": "student_int8", "seed": chosen[1]}
            | accuracy(part, part.filter + answer[..., 0], np.exp(answer[..., 1]))
        )
        say(str(table[-1]))
    if args.leave_out:
        source = next(source for source in features.SOURCES if source.set == args.leave_out)
        own = FOLDER / f"{source.card}.toml"  # fitted from characterisation alone
        paths = sorted((shared / "data/soc/train" / source.set).glob(CHECKS[source.set]))[: args.logs]
        card = load_card(str(own) if own.is_file() else source.card)
        part, name = features.held_out_sequences(card, [features.read_log(path) for path in paths], tuning), f"{source.set}, never seen"
        answer = np.stack([y for _, y, _ in roll(small, scaled(part.x, scale.centre, scale.scale))])
        table.append({"set": name, "estimator": "kalman"} | accuracy(part, part.filter, part.sigma))
        table.append(
            {"set": name, "estimator": "student_int8", "seed": chosen[1]}
            | accuracy(part, part.filter + answer[..., 0], np.exp(answer[..., 1]))
        )
        say("\n".join(map(str, table[-2:])))
    say(f"int8 against float: {moved}")
    common = {
        "kind": "state",
        "features": FEATURES,
        "centre": rounded(scale.centre),
        "scale": rounded(scale.scale),
        "domain_low": rounded(scale.low),
        "domain_high": rounded(scale.high),
        "hidden": recipe.hidden,
        "period_s": features.PERIOD_S,
        "data": {name: model_card.LICENCES[name] for name in checks},
        "left_out": args.leave_out,
        "held_out": held_out,
        "seeds": list(range(args.seeds)),
        "seed": chosen[1],
        "taught": chosen[2] is not None,
        "recipe": {
            "train": msgspec.to_builtins(recipe),
            "teacher": msgspec.to_builtins(teaching),
            "bounds": asdict(job.BOUNDS),
            "variants": variants,
        },
        "filter": {
            "tuning": msgspec.to_builtins(tuning),
            "cards": cards,
        },
        "versions": versions(),
        "held_out_table": table,
    }
    if not args.leave_out:
        model_card.write(args.models, "state_float", model, common | {"form": "float32"})
    if teacher is not None and teaching is not None:
        model_card.write(args.teachers, f"{model_name}_teacher", graph(teacher), common | {"form": "float32", "hidden": teaching.hidden})
    model_card.write(args.models, model_name, small, common | {"form": "int8 QDQ, S8S8, per channel", "int8_shift": moved})
    return 0


def kept(path: Path, make: Callable[[], features.Sequences]) -> features.Sequences:
    """What ``path`` holds of a training that was stopped, else made now and put there."""
    if path.is_file():
        return features.load(path)
    made = make()
    made.save(path)
    return made


def train_gru(args: argparse.Namespace, logs: list[features.Log], held: list[features.Log]) -> int:
    from export import baseline_gru as job
    from export.cell import CLIP
    from export.onnx_graph import soc_graph

    recipe = job.GruRecipe() if args.epochs is None else job.GruRecipe(epochs=args.epochs)
    check = features.held_out_sequences(load_card(CARD), held, TUNED)
    table, nets = [], []
    for seed in range(args.seeds):
        net = job.train(logs, seed, recipe)
        soc, sigma = job.estimate(net, check.raw)
        table.append({"estimator": "gru", "seed": seed} | accuracy(check, soc, sigma))
        say(str(table[-1]))
        nets.append(net)
    best = int(np.argmin([row["rmse_pct"] for row in table]))
    features_of = ("voltage_v", "current_a", "temperature_c")
    card = {
        "kind": "soc",
        "features": features_of,
        "centre": job.CENTRE,
        "scale": job.SCALE,
        "domain_low": [min(float(getattr(log, name).min()) for log in logs) for name in features_of],
        "domain_high": [max(float(getattr(log, name).max()) for log in logs) for name in features_of],
        "hidden": recipe.hidden,
        "period_s": features.PERIOD_S,
        "data": {SET: model_card.LICENCES[SET]},
        "held_out": [log.name for log in held],
        "seeds": list(range(args.seeds)),
        "seed": best,
        "recipe": {"train": msgspec.to_builtins(recipe)},
        "versions": versions(),
        "held_out_table": table,
        "form": "float32",
    }
    model_card.write(args.models, "gru", soc_graph(nets[best].weights(), CLIP), card)
    return 0


def scaled(x: Singles, centre: NDArray[np.float64], scale: NDArray[np.float64]) -> Singles:
    """As ``StateStudent.run`` scales, with what the filter does not know at the centre."""
    out: Singles = np.nan_to_num((x - centre.astype(np.float32)) * (1.0 / scale).astype(np.float32))
    return out


def accuracy(data: features.Sequences, soc: Singles, sigma: Singles) -> dict[str, Any]:
    """Over all rows after the first ten minutes of each sequence; in % SOC, shares as fractions."""
    since = np.arange(data.soc.shape[0])[:, None] * data.step_s
    scored = data.valid & (since >= SETTLE_S)
    wrong = np.abs(soc - data.soc)[scored].astype(np.float64)
    told = sigma[scored].astype(np.float64)
    return {
        "rmse_pct": round(100 * float(np.sqrt(np.mean(wrong**2))), 3),
        "p999_pct": round(100 * float(np.quantile(wrong, 0.999)), 2),
        "inside_2sigma": round(float(np.mean(wrong <= 2 * told)), 3),
        "sigma_pct": round(100 * float(told.mean()), 3),
    }


def rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def versions() -> dict[str, str]:
    import onnxruntime
    import torch

    import edgebms

    return {"edgebms": edgebms.__version__, "torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}


STARTED = time.monotonic()


def say(line: str) -> None:
    print(f"{time.monotonic() - STARTED:6.0f} s  {line}", file=sys.stderr, flush=True)
