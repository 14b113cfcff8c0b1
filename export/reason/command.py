"""``python -m export reason STAGE``: the reasoner's recipe, one stage a command; each goes on where it was broken off.

In order: corpus, beliefs, oracle, fixed, trees, student, teacher. ``python -m export evaluate reason`` prints the tables.
"""

from __future__ import annotations

import argparse
import functools
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgebms.errors import LogError, MissingExtra
from edgebms.evidence.queries import BY_WORD, QUERIES
from export.reason import corpus
from export.reason.jitter import Jitter
from export.reason.splits import SEEDS

RUNS = Path("build") / "reason"
SAID = Path("build") / "reason-said"
BELIEFS = "beliefs.npy"
PLACE = {word: QUERIES.index(query) for word, query in BY_WORD.items()}


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reason", help="the reasoner's recipe, stage by stage", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    made = stages.add_parser("corpus", help="packs of the plant, read at a few instants each")
    made.add_argument("--split", choices=sorted(SEEDS), default="train")
    made.add_argument("--packs", type=int, default=12_000, help="at least so many (a batch is always made whole)")
    made.set_defaults(func=run_corpus)
    believed = stages.add_parser("beliefs", help="what trees that never saw a pack say of it: half of what the networks are taught")
    believed.set_defaults(func=run_beliefs)
    oracle = stages.add_parser("oracle", help="the network that knows what each question would tell")
    oracle.add_argument("--steps", type=int, default=None, help="in place of the recipe's")
    oracle.set_defaults(func=run_oracle)
    fixed = stages.add_parser("fixed", help="the best eight questions to ask of every pack, for comparison")
    fixed.set_defaults(func=run_fixed)
    trees = stages.add_parser("trees", help="boosted trees on all evidence and on the fixed eight")
    trees.set_defaults(func=run_trees)
    whole = stages.add_parser("transformer", help="a student-sized transformer that is told all evidence at once, for comparison")
    whole.add_argument("--steps", type=int, default=None, help="in place of the recipe's")
    whole.set_defaults(func=run_transformer)
    student = stages.add_parser("student", help="the student that ships, from the oracle's interrogations")
    student.add_argument("--steps", type=int, default=None, help="in place of the recipe's")
    student.add_argument("--seed", type=int, default=0, help="another than 0 is trained for the spread and not shipped")
    student.add_argument("--fixed", action="store_true", help="the same student on the fixed eight, for comparison; nothing is shipped")
    student.add_argument(
        "--of-teacher", action="store_true", help="from the teacher's traces that came out right, not the oracle's; not shipped"
    )
    student.add_argument("--name", default="reasoner", help="of the model's files")
    student.add_argument("--models", type=Path, default=Path("models"), help="folder to write to")
    student.add_argument("--checkpoints", type=Path, default=Path("export/checkpoints"), help="folder for the stock checkpoint")
    student.set_defaults(func=run_student)
    taught = stages.add_parser("teacher", help="mini-R1: cold start and GRPO; or how well a language model does (--teacher)")
    taught.add_argument("--teacher", default=None, metavar="NAME", help="hf:PATH or openai:URL in place of our own")
    taught.add_argument("--steps", type=int, default=None, help="of the cold start, in place of the recipe's")
    taught.add_argument("--grpo", type=int, default=150, help="steps of GRPO")
    taught.set_defaults(func=run_teacher)
    heard = stages.add_parser("listen", help="what the student that ships says over whole recordings (of python -m hil corpus)")
    heard.add_argument("data", nargs="+", type=Path, metavar="DIR", help="folders with tests.csv")
    heard.add_argument("--period", type=float, default=1.0, metavar="S", help="snapshots come no faster")
    heard.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    heard.set_defaults(func=run_listen)
    alarms = stages.add_parser(
        "alarms", help="from recordings that were listened to: how sure, and for how long, before it warns; into its card"
    )
    alarms.add_argument("data", nargs="+", type=Path, metavar="DIR", help="folders with tests.csv")
    alarms.set_defaults(func=run_alarms)
    folds = stages.add_parser("alarm-folds", help="how often thresholds set on some of these recordings are broken by the others")
    folds.add_argument("data", nargs="+", type=Path, metavar="DIR", help="folders with tests.csv")
    folds.set_defaults(func=run_folds)
    wide = stages.add_parser("widen", help="a student that was taught before questions were appended: it goes on, and asks none of them")
    wide.add_argument("--name", default="reasoner", help="of the model's files")
    wide.add_argument("--models", type=Path, default=Path("models"), help="folder of the model and its card")
    wide.add_argument("--checkpoints", type=Path, default=Path("export/checkpoints"), help="folder of the stock checkpoint")
    wide.set_defaults(func=run_widen)
    for stage in (heard, alarms, folds):
        stage.add_argument("--model", default="reasoner", help="a model in models/, or a path that ends in .onnx")
        stage.add_argument("--kept", type=Path, default=SAID, metavar="DIR", help=f"where what was said is kept (default {SAID})")
    for stage in (student, taught):
        stage.add_argument("--traces", type=int, default=4000, help="instants that a teacher is asked about at a time")
    for stage in (made, believed, oracle, fixed, trees, whole, student, taught):
        stage.add_argument("--corpus", type=Path, default=corpus.FOLDER, help="folder of the corpus")
        stage.add_argument("--runs", type=Path, default=RUNS, help="folder of what is between")
    for stage in (believed, oracle, trees, whole, student, taught):
        stage.add_argument("--use", type=int, default=None, metavar="PACKS", help="train on the first so many packs of a split only")


def run_corpus(args: argparse.Namespace) -> int:
    print(f"{corpus.make(args.corpus, args.split, args.packs)} packs of {args.split} in {args.corpus}")
    return 0


def need(*modules: str) -> None:
    """Raises MissingExtra."""
    import importlib

    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise MissingExtra(f"needs {module}", where="python -m export reason", mend="pip install -e '.[export]'") from None


def run_listen(args: argparse.Namespace) -> int:
    from export.reason.listen import listen_to_all

    for data in args.data:
        listen_to_all(args.model, data, args.kept / data.name, args.period, args.jobs)
    return 0


def run_alarms(args: argparse.Namespace) -> int:
    from export.reason import alarms

    recordings = [one for data in args.data for one in alarms.heard_of(data, args.kept / data.name)]
    warning, hold_s, rows = alarms.set_on(recordings)
    told = alarms.told_of(recordings)
    card = Path(args.model).with_suffix(".json") if args.model.endswith(".onnx") else Path("models") / f"{args.model}.json"
    alarms.write(card, warning, hold_s, told)
    print(f"{told}\n\n{alarms.table(rows)}")
    return 0


def run_folds(args: argparse.Namespace) -> int:
    from export.reason import alarm_folds, alarms

    recordings = [one for data in args.data for one in alarms.heard_of(data, args.kept / data.name)]
    print(f"{alarms.told_of(recordings)}\n\n{alarm_folds.table(alarms.stands_of(recordings))}")
    return 0


def run_widen(args: argparse.Namespace) -> int:
    from export.reason.widen import widen

    new = widen(args.models, args.checkpoints, args.name)
    print(f"{args.models / args.name}: {len(new)} questions are new to it and are not asked")
    return 0


def run_beliefs(args: argparse.Namespace) -> int:
    need("sklearn")
    from export.reason import beliefs

    beliefs.make(corpus.training(args.corpus, args.use), args.runs / BELIEFS)
    return 0


def run_oracle(args: argparse.Namespace) -> int:
    need("torch", "sklearn")
    from export.reason import beliefs, oracle, refine

    recipe = oracle.OracleRecipe() if args.steps is None else oracle.OracleRecipe(steps=args.steps)
    more = refine.RefineRecipe() if args.steps is None else refine.RefineRecipe(steps=max(args.steps // 2, 10))
    rows = corpus.training(args.corpus, args.use)
    told = beliefs.soft(rows, args.runs / BELIEFS)
    knows = oracle.train(rows, told, centres_of(args), recipe, args.runs / "oracle_asked.pt")
    refine.refine(knows, rows, told, more, recipe, args.runs / "oracle.pt")
    return 0


def run_fixed(args: argparse.Namespace) -> int:
    need("torch")
    from export.reason import oracle

    rows = corpus.load(args.corpus, "validation")
    chosen = oracle.best_fixed(oracle.read(args.runs / "oracle.pt"), rows)
    words = [QUERIES[place].word for place in chosen]
    (args.runs / "fixed.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
    print("\n".join(words))
    return 0


def fixed_of(runs: Path) -> list[int]:
    """The eight questions that ``fixed`` chose. Raises LogError."""
    try:
        words = json.loads((runs / "fixed.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise LogError(f"cannot be read: {error.strerror}", where=str(runs), mend="python -m export reason fixed") from None
    return [PLACE[word] for word in words]


def run_trees(args: argparse.Namespace) -> int:
    need("sklearn")
    from export.reason import trees

    rows = corpus.training(args.corpus, args.use)
    sets = {"trees_8": fixed_of(args.runs), "trees": list(range(len(QUERIES)))}
    for name, queries in sets.items():
        model = trees.fit(rows, queries, trees.SETTINGS)
        with (args.runs / f"{name}.pickle").open("wb") as file:
            pickle.dump((model, queries), file)
        check = corpus.load(args.corpus, "validation")
        right = trees.chances(model, check, queries).argmax(axis=1) == check["cause"]
        print(f"{name}: {100 * np.average(right, weights=corpus.weights(check)):.1f} % on validation", flush=True)
    return 0


def run_transformer(args: argparse.Namespace) -> int:
    need("torch", "transformers", "sklearn")
    from export.reason import all_at_once, beliefs

    rows = corpus.training(args.corpus, args.use)
    told = beliefs.soft(rows, args.runs / BELIEFS)
    kept = args.runs / "transformer.pt"
    all_at_once.train(rows, told, centres_of(args).astype(np.float32), kept, args.steps or all_at_once.STEPS)
    return 0


def run_student(args: argparse.Namespace) -> int:
    need("torch", "transformers")
    from export.reason import beliefs, oracle, sft, student_model

    rows = corpus.training(args.corpus, args.use)
    recipe = sft.SftRecipe(steps=args.steps or sft.SftRecipe().steps, seed=args.seed)
    centres = centres_of(args)
    knows = oracle.read(args.runs / "oracle.pt")
    fixed = fixed_of(args.runs) if args.fixed else None
    told = beliefs.soft(rows, args.runs / BELIEFS)

    def lessons(rng: np.random.Generator) -> Any:
        if args.of_teacher:
            return teacher_lessons(args, rows, rng)
        return sft.rolled(knows, rows, recipe.epsilon, rng, fixed, told, Jitter.drawn)

    name = "student_fixed" if args.fixed else "student_of_teacher" if args.of_teacher else "student"
    name += f"_{args.seed}" if args.seed else ""
    bins, asks = centres.astype(np.float32), fixed is None
    first = sft.train(lambda: sft.qwen2(sft.NANO), lessons, bins, recipe, args.runs / f"{name}.pt", asks)
    again = sft.again(recipe)
    model = sft.train(lambda: first, lessons, bins, again, args.runs / f"{name}_again.pt", asks)
    if args.fixed:
        return 0
    check = corpus.load(args.corpus, "validation")
    label = name.replace("student", args.name, 1)
    models, checkpoints = (args.models, args.checkpoints) if name == "student" else (args.runs, args.runs)
    student_model.ship(models, args.runs, checkpoints, label, model, centres, knows, rows, check, recipe)
    return 0


def centres_of(args: argparse.Namespace) -> Any:
    """The bins, fitted once on what training saw."""
    from export.reason import traces

    path = args.runs / "bins.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, traces.fitted_bins(corpus.training(args.corpus, args.use)))
    return np.load(path)


def run_teacher(args: argparse.Namespace) -> int:
    need("torch", "transformers")
    if args.teacher:
        return run_text_teacher(args)
    from export.reason import oracle, sft, teacher

    rows = corpus.training(args.corpus, args.use)
    centres = centres_of(args).astype(np.float32)
    knows = oracle.read(args.runs / "oracle.pt")
    cold = sft.SftRecipe(steps=args.steps or 1500, rate=1.5e-3)
    lessons = functools.partial(sft.rolled, knows, rows, cold.epsilon, jitter=Jitter.drawn)
    start = sft.train(teacher.deepseek_v3, lessons, centres, cold, args.runs / "teacher_cold.pt")
    # beside GRPO: as many more steps of as many traces of the same SFT, to tell what the rewards bring from what the length does
    longer = teacher.deepseek_v3()
    longer.load_state_dict(start.state_dict())
    more = replace(cold, steps=args.grpo, rate=0.1 * cold.rate, seed=cold.seed + 100)
    sft.train(lambda: longer, lessons, centres, more, args.runs / "teacher_longer.pt")
    model = teacher.deepseek_v3()
    model.load_state_dict(start.state_dict())
    curve = teacher.grpo(model, start, rows, centres, teacher.GrpoRecipe(steps=args.grpo), args.runs / "teacher_grpo.pt")
    (args.runs / "grpo_curve.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
    return 0


def teacher_lessons(args: argparse.Namespace, rows: Any, rng: np.random.Generator) -> Any:
    """Traces of the teacher that came out right."""
    import torch

    from export.reason import teacher

    model = teacher.deepseek_v3()
    model.load_state_dict(torch.load(args.runs / "teacher_grpo.pt", weights_only=True)["model"])
    some = rows[rng.permutation(len(rows))[: args.traces]]
    traces, share = teacher.accepted(model.eval(), some, centres_of(args).astype(np.float32), teacher.GrpoRecipe(), 2, rng)
    print(f"rejection sampling: {100 * share:.1f} % of {len(some)} instants have a trace that came out right", flush=True)
    return traces


def run_text_teacher(args: argparse.Namespace) -> int:
    """How well a language model interrogates, and how many of its traces could teach."""
    from export.reason import text_teacher

    rows = corpus.training(args.corpus, args.use)
    some = rows[np.random.default_rng(0).permutation(len(rows))[: args.traces]]
    _, tally = text_teacher.interviews(text_teacher.open_teacher(args.teacher), some)
    print(tally)
    for why, count in tally.invalid.most_common():
        print(f"  {count} x {why}")
    return 0
