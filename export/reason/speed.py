"""``python -m export evaluate reason-speed``: how long the reasoner takes, on one core, in the decision and between two decisions.

Two packs of 96 cells and 24 probes, a snapshot a second, an hour of them before the clock starts: in one a cell falls away, so that it is interrogated in full
every two seconds; the other is healthy and glanced at. Each snapshot goes through ``Reasoner.step`` (what a decision waits for) and, once the history has
taken it, ``Reasoner.settle`` (evidence and student for the next one: the whole interrogation).
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
from edgebms.evidence.reach import Reach
from edgebms.history.history import History
from edgebms.reasoner.decoder import interrogate
from edgebms.reasoner.glance import A_TICK
from edgebms.reasoner.language import TOKENS
from edgebms.reasoner.quantiser import prompt
from edgebms.reasoner.reasoner import Reasoner
from edgebms.reasoner.student import ReasoningStudent, load_reasoner
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import ReasonerStatus
from edgebms.worker import ask_inline

Floats = NDArray[np.float64]
HOUR_S, PROBES, FALLS = 4000, 24, 17
WARM_UP = 20
STEPS = 12
QUANTILES = (0.5, 0.99, 0.999)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reason-speed", help="time that an interrogation takes", description=__doc__)
    parser.add_argument("--cells", type=int, default=96)
    parser.add_argument("--count", type=int, default=3000, help="interrogations of each kind")
    parser.add_argument("--model", default="reasoner", help="a model in models/, or a path that ends in .onnx")
    parser.add_argument("--questions", action="store_true", help="each question by itself too")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(func=run)


class Drawn:
    """A pack's snapshots, one a second. falls_v_per_s: how fast one cell falls away, for ever."""

    def __init__(self, cells: int, falls_v_per_s: float) -> None:
        pack = PackConfig(name="pack", profile="edgebms", card="lg_hg2", cells=cells, probes=PROBES)
        self.scale, self.history = Scale.of(load_card(pack.card), pack), History(cells, PROBES)
        self._rng, self._cells, self._falls = np.random.default_rng(1), cells, falls_v_per_s
        self._ohm = self.scale.resistance_ohm * (1.0 + 0.03 * self._rng.standard_normal(cells))
        self.second = 0

    def next(self) -> Snapshot:
        second, rng = self.second, self._rng
        self.second += 1
        current = 3.0 * np.sin(second / 40.0) - 0.3
        volts = 3.7 + self._ohm * current + 1e-3 * rng.standard_normal(self._cells)
        volts[FALLS] -= self._falls * max(second - 2000, 0)
        one = SimpleNamespace(value=np.nan)
        return cast(Snapshot, SimpleNamespace(
            time_ns=second * 10**9, cell_voltage_v=volts, temperature_c=25.0 + 0.1 * rng.standard_normal(PROBES),
            current_a=SimpleNamespace(value=current), voltage_v=SimpleNamespace(value=volts.sum()), insulation_ohm=SimpleNamespace(value=2e6),
            gas=one, pressure_pa=one, coolant_temperature_c=one,
        ))  # fmt: skip


def timed_ms(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor: what other processes take of a busy machine is in the first alone."""
    began, own = time.perf_counter_ns(), time.thread_time_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e6, (time.thread_time_ns() - own) / 1e6


def repeated_ms(work: Callable[[], object], count: int) -> Floats:
    """(count, 2)."""
    for _ in range(WARM_UP):
        work()
    return np.array([timed_ms(work) for _ in range(count)])


def stepped_ms(student: ReasoningStudent, drawn: Drawn, count: int, full: bool) -> tuple[Floats, Floats, float]:
    """(of the decision, (count, 2); of what came before it, (count, 2); questions, in the mean) of ``count`` interrogations (or glances) of a running pack."""
    for _ in range(HOUR_S):
        drawn.history.push(drawn.next())
    reasoner = Reasoner(student, drawn.scale, ask_inline)
    decision, before, asked, settled = [], [], [], (0.0, 0.0)
    while len(decision) < count + WARM_UP:
        snapshot, said = drawn.next(), []
        took = timed_ms(lambda: said.append(reasoner.step(drawn.history, snapshot.time_ns)))  # noqa: B023
        status, verdict = said[0]
        if status is ReasonerStatus.OK and verdict is not None and (len(verdict.trace) > A_TICK) == full:
            decision.append(took)
            before.append(settled)
            asked.append(len(verdict.trace))
        drawn.history.push(snapshot)
        settled = timed_ms(lambda: reasoner.settle(drawn.history, snapshot.time_ns))  # noqa: B023
    return np.array(decision[WARM_UP:]), np.array(before[WARM_UP:]), float(np.mean(asked))


def steps_ms(student: ReasoningStudent, count: int) -> Floats:
    """(count, 2) of as many steps as a whole trace takes behind its prompt, each trace another one."""
    rng, begun = np.random.default_rng(1), prompt("NMC", 96, Reach(2, True))

    def trace() -> None:
        student.begin(begun)
        for mix in mixes:
            student.step(mix)

    took = []
    for _ in range(count + WARM_UP):
        mixes = rng.random((STEPS, len(TOKENS))).astype(np.float32)
        took.append(timed_ms(trace))
    return np.array(took[WARM_UP:])


def run(args: argparse.Namespace) -> int:
    student = load_reasoner(args.model)
    falling = Drawn(args.cells, 2e-5)
    full, before_full, asked = stepped_ms(student, falling, args.count, full=True)
    glance, before_glance, _ = stepped_ms(student, Drawn(args.cells, 0.0), args.count, full=False)
    history, scale = falling.history, falling.scale
    rows = {
        f"full interrogation, {asked:.1f} questions: the whole of it, before its decision": before_full,
        "full interrogation: what its decision waits for": full,
        "glance: the whole of it, before its decision": before_glance,
        "glance: what its decision waits for": glance,
        "twelve steps of the student": steps_ms(student, args.count),
    }
    if args.questions:
        trace = interrogate(student, Past.of(history, scale), suspicious=True).trace
        mine = {QUERIES[place].word for place, _ in trace.asked}
        for query in QUERIES:
            mark = "* " if query.word in mine else ""
            rows[mark + query.word] = repeated_ms(lambda query=query: measure(query, Past.of(history, scale), FALLS), 50)  # type: ignore[misc]
    told = {name: [round(float(np.quantile(ms[:, side], q)), 3) for side in (0, 1) for q in QUANTILES] for name, ms in rows.items()}
    if args.json:
        print(json.dumps(told))
        return 0
    print("| | p50, ms | p99 | p99.9 | of the processor: p50 | p99 | p99.9 |\n|" + "---|" * 7)
    for name, figures in told.items():
        print(f"| {name} | " + " | ".join(f"{ms}" for ms in figures) + " |")
    return 0
