"""``python -m export evaluate reason-speed``: how long one interrogation takes, from a pack's history to the verdict, on one core.

The pack: 96 cells and 24 probes at one snapshot a second for a little over an hour, in which one cell falls away. Nothing is kept from one interrogation
to the next.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.evidence.measure import measure
from edgebms.evidence.past import Past, Scale
from edgebms.evidence.queries import QUERIES
from edgebms.history.history import History
from edgebms.reasoner.decoder import interrogate
from edgebms.reasoner.glance import Heard, glance
from edgebms.reasoner.language import TOKENS
from edgebms.reasoner.quantiser import prompt
from edgebms.reasoner.student import ReasoningStudent, load_reasoner
from edgebms.telemetry.snapshot import Snapshot

Floats = NDArray[np.float64]
SECONDS, PROBES, FALLS = 4000, 24, 17


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reason-speed", help="time that an interrogation takes", description=__doc__)
    parser.add_argument("--cells", type=int, default=96)
    parser.add_argument("--count", type=int, default=3000, help="interrogations of each kind")
    parser.add_argument("--model", default="reasoner", help="a model in models/, or a path that ends in .onnx")
    parser.add_argument("--questions", action="store_true", help="each question by itself too")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(func=run)


def history_of(cells: int) -> tuple[History, Scale]:
    pack = PackConfig(name="pack", profile="edgebms", card="lg_hg2", cells=cells, probes=PROBES)
    scale, history, rng = Scale.of(load_card(pack.card), pack), History(cells, PROBES), np.random.default_rng(1)
    ohm = scale.resistance_ohm * (1.0 + 0.03 * rng.standard_normal(cells))
    for second in range(SECONDS):
        current = 3.0 * np.sin(second / 40.0) - 0.3
        volts = 3.7 + ohm * current + 1e-3 * rng.standard_normal(cells) - np.eye(cells)[FALLS] * 2e-5 * max(second - 2000, 0)
        one = SimpleNamespace(value=np.nan)
        snapshot = SimpleNamespace(
            time_ns=second * 10**9, cell_voltage_v=volts, temperature_c=25.0 + 0.1 * rng.standard_normal(PROBES),
            current_a=SimpleNamespace(value=current), voltage_v=SimpleNamespace(value=volts.sum()), insulation_ohm=SimpleNamespace(value=2e6),
            gas=one, pressure_pa=one, coolant_temperature_c=one,
        )  # fmt: skip
        history.push(cast(Snapshot, snapshot))
    return history, scale


def timed_ms(work: Callable[[], object], count: int) -> Floats:
    """(2, count): by the clock, and of the processor: what other processes take of a busy machine is in the first alone."""
    for _ in range(20):
        work()
    out = np.zeros((2, count))
    for i in range(count):
        began, own = time.perf_counter_ns(), time.thread_time_ns()
        work()
        out[:, i] = (time.perf_counter_ns() - began) / 1e6, (time.thread_time_ns() - own) / 1e6
    return out


def twelve_steps(student: ReasoningStudent) -> None:
    """As many as a whole trace takes behind its prompt."""
    student.begin(prompt("NMC", 96))
    nothing = np.zeros(len(TOKENS), dtype=np.float32)
    for _ in range(12):
        student.step(nothing)


def run(args: argparse.Namespace) -> int:
    history, scale = history_of(args.cells)
    student = load_reasoner(args.model)
    asked = len(interrogate(student, Past.of(history, scale), suspicious=True).bundles)
    before: tuple[Heard, ...] = ()
    while more := glance(student, Past.of(history, scale), before).heard:
        before = more
    rows = {
        f"interrogation, {asked} questions": timed_ms(lambda: interrogate(student, Past.of(history, scale), suspicious=True), args.count),
        "glance": timed_ms(lambda: glance(student, Past.of(history, scale), before), args.count),
        "twelve steps of the student": timed_ms(lambda: twelve_steps(student), args.count),
    }
    if args.questions:
        trace = interrogate(student, Past.of(history, scale), suspicious=True).trace
        mine = {QUERIES[place].word for place, _ in trace.asked}
        for query in QUERIES:
            mark = "* " if query.word in mine else ""
            rows[mark + query.word] = timed_ms(lambda query=query: measure(query, Past.of(history, scale), FALLS), 50)  # type: ignore[misc]
    told = {name: [round(float(np.quantile(side, q)), 3) for side in ms for q in (0.5, 0.99, 0.999)] for name, ms in rows.items()}
    if args.json:
        print(json.dumps(told))
        return 0
    print("| | p50, ms | p99 | p99.9 | of the processor: p50 | p99 | p99.9 |\n|" + "---|" * 7)
    for name, figures in told.items():
        print(f"| {name} | " + " | ".join(f"{ms}" for ms in figures) + " |")
    return 0
