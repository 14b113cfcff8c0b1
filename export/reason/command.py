"""``python -m export reason STAGE``: the reasoner's recipe, one stage a command, each resumable."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from export.reason import corpus


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reason", help="the reasoner's recipe, stage by stage", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    made = stages.add_parser("corpus", help="packs of the plant, read at a few instants each")
    made.add_argument("--split", choices=sorted(corpus.SEEDS), default="train")
    made.add_argument("--packs", type=int, default=12_000, help="at least so many (a batch is always made whole)")
    made.add_argument("--out", type=Path, default=corpus.FOLDER)
    made.set_defaults(func=run_corpus)


def run_corpus(args: argparse.Namespace) -> int:
    print(f"{corpus.make(args.out, args.split, args.packs)} packs of {args.split} in {args.out}")
    return 0
