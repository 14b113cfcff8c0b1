"""What each method of ``python -m export evaluate reason`` says of corpus rows: the student, its other forms, and what it has to hold against."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import QUERIES
from edgebms.reasoner.language import CAP, CAUSES
from edgebms.reasoner.student import load_reasoner
from export.reason import corpus
from export.reason.command import BELIEFS, fixed_of
from export.reason.judge import HEALTHY, Said, ask_all, glanced
from export.reason.trees import consensus

Singles = NDArray[np.float32]
Method = Callable[[NDArray[np.void]], Said]
OTHER_SEEDS = (1, 2)
SEED_OF = "student_int8_seed_"
"""Students of other seeds, ``export reason student --seed N``; the one that ships is of seed 0."""


def methods(args: argparse.Namespace) -> dict[str, Method | None]:
    """name -> what it says of rows; None = its files are missing."""
    out: dict[str, Method | None] = {}

    def asking(path: Path | str, **how: Any) -> Method | None:
        if isinstance(path, Path) and not path.is_file():
            return None
        student = load_reasoner(str(path))
        return lambda rows: ask_all(student, rows, **how)

    out["student_int8"] = asking(args.model)
    out["student_float"] = asking(args.runs / "reasoner_float.onnx")
    out["student_int8_all_8"] = asking(args.model, suspicious=True)
    for cap in (0, 1, 2, 4, 6):
        out[f"student_int8_after_{cap}"] = asking(args.model, cap=cap)
    for seed in OTHER_SEEDS:
        out[f"{SEED_OF}{seed}"] = asking(args.runs / f"reasoner_{seed}.onnx")
    out["student_of_teacher"] = asking(args.runs / "reasoner_of_teacher.onnx")
    out["student_int8_glances"] = glances(args.model)
    out["student_shuffled"] = asking(args.model, shuffled=1)
    out["oracle"] = network(args, "oracle.pt")
    out["oracle_fixed_8"] = network(args, "oracle.pt", fixed=True)
    out["student_fixed_8"] = fixed_student(args)
    for name in ("cold", "longer", "grpo"):
        out[f"teacher_{name}"] = teacher(args.runs / f"teacher_{name}.pt", args.runs / "bins.npy")
    out["transformer"] = transformer(args)
    out["trees_of_halves"] = halves(args)
    for name in ("trees", "trees_8"):
        out[name] = boosted(args.runs / f"{name}.pickle")
    out["cusum"] = classical(args)
    if args.methods:
        out = {name: out.get(name) for name in args.methods}
    return out


def glances(path: str) -> Method:
    """Tick by tick, as the runtime asks."""
    student = load_reasoner(path)
    return lambda rows: glanced(student, rows, ask_all(student, rows, suspicious=True))


def classical(args: argparse.Namespace) -> Method | None:
    if not any((args.corpus / "validation").glob("batch_*.npy")):
        return None
    from export.reason.cusum import CHANNELS, Cusum

    check = corpus.load(args.corpus, "validation")
    sums = Cusum.set_on(check, corpus.weights(check))

    def say(rows: NDArray[np.void]) -> Said:
        cause, cell = sums.say(rows)
        return told(rows, np.eye(len(CAUSES), dtype=np.float32)[cause], cell, len(CHANNELS))

    return say


def told(rows: NDArray[np.void], chances: Singles, cells: NDArray[np.intp], queries: int) -> Said:
    """What a method without a grammar of its own says: the likeliest cause, of cell ``cells``."""
    cause = chances.argmax(axis=1)
    confidence = np.minimum((chances.max(axis=1) * 10).astype(np.intp), 9)
    return Said(cause, cells, np.where(cause == HEALTHY, 0, 2), np.full(len(rows), queries), chances.astype(float), confidence)


def boosted(path: Path) -> Method | None:
    if not path.is_file():
        return None
    from export.reason import trees

    with path.open("rb") as file:
        model, queries = pickle.load(file)
    return lambda rows: told(rows, trees.chances(model, rows, queries), consensus(rows)[0], len(queries))


def halves(args: argparse.Namespace) -> Method | None:
    """The mean of the trees behind the beliefs, each of which saw half of the packs."""
    path = (args.runs / BELIEFS).with_suffix(".pickle")
    if not path.is_file():
        return None
    from export.reason import trees

    models, queries = pickle.loads(path.read_bytes()), list(range(len(QUERIES)))
    return lambda rows: told(
        rows, np.mean([trees.chances(model, rows, queries) for model in models], axis=0), consensus(rows)[0], len(queries)
    )


def network(args: argparse.Namespace, name: str, fixed: bool = False) -> Method | None:
    """fixed: asked the best fixed eight in place of its own."""
    if not (args.runs / name).is_file() or (fixed and not (args.runs / "fixed.json").is_file()):
        return None
    from export.reason import oracle

    knows, given = oracle.read(args.runs / name), fixed_of(args.runs) if fixed else None

    def say(rows: NDArray[np.void]) -> Said:
        done = oracle.roll_out(knows, rows, 0.0, np.random.default_rng(0), fixed=given)
        return told(rows, done.chances[:, -1], consensus(rows)[0], CAP)

    return say


def fixed_student(args: argparse.Namespace) -> Method | None:
    if not (args.runs / "student_fixed_again.pt").is_file():
        return None
    import torch

    from export.reason import oracle, sft, traces

    model = sft.read(args.runs / "student_fixed_again.pt")
    centres = np.load(args.runs / "bins.npy").astype(np.float32)
    knows, fixed = oracle.read(args.runs / "oracle.pt"), fixed_of(args.runs)

    def say(rows: NDArray[np.void]) -> Said:
        some = sft.rolled(knows, rows, 0.0, np.random.default_rng(0), fixed)
        with torch.no_grad():
            mix = traces.inputs(some, centres, np.full(len(some), CAP))
            logits = sft.logits_of(model, mix)[:, CAP].numpy()
        return told(rows, sft.of_causes(logits), consensus(rows)[0], CAP)

    return say


def teacher(path: Path, bins: Path) -> Method | None:
    """Mini-R1 itself, at no temperature: after the cold start, after as much more of it, after GRPO."""
    if not path.is_file():
        return None
    import torch

    from export.reason import teacher

    model, centres, recipe = teacher.deepseek_v3(), np.load(bins).astype(np.float32), teacher.GrpoRecipe()
    model.load_state_dict(torch.load(path, weights_only=True)["model"])

    def say(rows: NDArray[np.void]) -> Said:
        done = teacher.sample(model.eval(), rows, centres, recipe.commit, np.random.default_rng(0), temperature=0.0)
        said = told(rows, done.chances[np.arange(len(rows)), done.length], consensus(rows)[0], CAP)
        return replace(said, queries=done.length)

    return say


def transformer(args: argparse.Namespace) -> Method | None:
    if not (args.runs / "transformer.pt").is_file():
        return None
    import torch

    from export.reason import all_at_once, sft

    model = sft.read(args.runs / "transformer.pt")
    asked = torch.load(args.runs / "transformer.pt", weights_only=True)["asked"].numpy()
    centres = np.load(args.runs / "bins.npy").astype(np.float32)
    return lambda rows: told(rows, all_at_once.chances(model, asked, rows, centres), consensus(rows)[0], len(asked))
