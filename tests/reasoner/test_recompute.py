"""The audit's own arithmetic agrees with the runtime's on every question, and refuses a trace in which anything was altered."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
import numpy as np
import pytest
from random_student import save_student
from snapshots import make_snapshot

from edgebms.assembly import build_lines
from edgebms.cellcard import load_card
from edgebms.config import Config, PackConfig, Students
from edgebms.decision.types import ObservedValue, Query, Reasoning
from edgebms.evidence.baseline import Baseline
from edgebms.evidence.measure import measure
from edgebms.evidence.past import Past, Scale
from edgebms.evidence.queries import ANSWERS, BY_WORD, QUERIES
from edgebms.history.history import History
from edgebms.recompute import tables
from edgebms.recompute.rows import Row, Rows
from edgebms.recompute.trace import answer, differences, faults, same
from edgebms.recompute.weeks import Remembered
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Family, Whom
from edgebms.worker import ask_inline

CELLS, PROBES = 12, 5
PACK = PackConfig(name="pack", profile="edgebms", card="lg_hg2", cells=CELLS, probes=PROBES)


def snapshots(count: int, period_s: float, holes: float, seed: int = 1) -> list[Snapshot]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        at = i * period_s
        current = 2.5 * np.sin(at / 40) + (1.0 if at > count * period_s / 2 else -1.0)
        volts = 3.6 + 0.02 * current + 1e-3 * rng.standard_normal(CELLS) - np.eye(CELLS)[4] * 2e-5 * at
        warm = 25 + 0.1 * rng.standard_normal(PROBES) + np.eye(PROBES)[1] * 1e-3 * at
        volts[rng.random(CELLS) < holes] = np.nan
        warm[rng.random(PROBES) < holes] = np.nan
        if holes:
            volts[7] = np.nan
        made.append(
            make_snapshot(
                CELLS, PROBES, seq=i, time_s=at, voltage_v=volts, temperature_c=warm, current_a=float(current if rng.random() > holes / 3 else np.nan),
                insulation_ohm=float(1e6 * rng.uniform(1, 2)), gas=float(rng.random()), pressure_pa=float(1e5 + at), coolant_temperature_c=20.0,
            )
        )  # fmt: skip
    return made


Found = TypeVar("Found")
WorkedOut = Callable[[Family, list[Row], Scale, float], Found]


def once(work_out: WorkedOut[Found]) -> WorkedOut[Found]:
    # the rows are kept with what was found, so that their identity stays theirs
    kept: dict[tuple[Family, int, float], tuple[list[Row], Found]] = {}

    def found(family: Family, rows: list[Row], scale: Scale, window_s: float) -> Found:
        key = (family, id(rows), window_s)
        if key not in kept:
            kept[key] = (rows, work_out(family, rows, scale, window_s))
        return kept[key][1]

    return found


@pytest.fixture(scope="module", autouse=True)
def tables_once() -> Iterator[None]:
    """Nothing that is worked out depends on who is suspected: once a window is enough for all suspects and all alterations."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("of_cells", "of_probes", "of_pack"):
            patch.setattr(tables, name, once(getattr(tables, name)))
        yield


@pytest.mark.parametrize(
    ("count", "period_s", "holes"), [(3, 1.0, 0.0), (500, 0.5, 0.0), (1500, 1.0, 0.1), (400, 10.0, 0.3), (900, 60.0, 0.0)]
)
def test_every_answer_is_the_runtime_s(count: int, period_s: float, holes: float) -> None:
    history, rows = History(CELLS, PROBES), Rows()
    scale = Scale.of(load_card(PACK.card), PACK)
    baseline, weeks = Baseline(CELLS, PROBES), Remembered(CELLS, PROBES)
    for snapshot in snapshots(count, period_s, holes):
        history.push(snapshot)
        rows.add(snapshot)
        baseline.learn(Past.of(history, scale), snapshot.time_ns * 1e-9)
        weeks.learn(rows, scale, snapshot.time_ns * 1e-9)
    past = Past.of(history, scale, baseline.weeks)
    known = 0
    for query in QUERIES:
        for suspect in (-1,) if query.whom in (Whom.PACK, Whom.OUTLIER) else (-1, 0, 4, 11):
            bundle = measure(query, past, suspect)
            cell, pairs = answer(query.family, query.whom, query.window_s, suspect, rows, scale, weeks)
            assert cell == bundle.cell, query.word
            for (value, relative), has, is_relative in zip(pairs, bundle.values, bundle.relatives, strict=True):
                size = abs(value / relative) if relative == relative and relative else 0.0
                assert same(float(has) if np.isfinite(has) else None, value, size), (query.word, has, value)
                assert same(float(is_relative) if np.isfinite(is_relative) else None, relative, 1.0), (query.word, is_relative, relative)
                known += bool(np.isfinite(has))
    assert count < 10 or known > 300
    assert np.isfinite(measure(BY_WORD["cell_weeks.outlier.3600s"], past).relatives).any() == (count * period_s > 4 * 3600.0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[Reasoning, Rows]], Scale]:
    """Traces of several random students, each with the rows up to it."""
    found, scale = [], None
    for seed in range(6):
        student = save_student(tmp_path_factory.mktemp("students"), seed, commit=1.0, suspicion=1.0)
        line = build_lines(Config(pack=(PACK,), students=Students(state="", reasoner=str(student))), ask_inline)["pack"]
        scale, rows = Scale.of(line.card, PACK), Rows()
        made = snapshots(700, 2.0, 0.0, seed)
        for snapshot in made[:-1]:
            rows.add(snapshot)
        for snapshot in made[:-2]:
            line.pipeline.history.push(snapshot)
        line.pipeline.step(made[-2], made[-2].time_ns, None)  # a glance, which finds nobody healthy
        decision = line.pipeline.step(made[-1], made[-1].time_ns, None)
        assert decision.reasoning is not None
        found.append((decision.reasoning, rows))
    assert scale is not None
    return found, scale


def test_what_the_runtime_told_is_so(told: tuple[list[tuple[Reasoning, Rows]], Scale]) -> None:
    for reasoning, rows in told[0]:
        assert list(faults(reasoning, rows, told[1], Remembered(CELLS, PROBES))) == []


Change = Callable[[dict, random.Random], bool]


def value(trace: dict, rng: random.Random) -> bool:
    number = rng.choice([o for query in trace["trace"] for o in query["observed"]])
    key = rng.choice(["value", "relative"])
    number[key] = None if number[key] is not None and rng.random() < 0.3 else (number[key] or 0.0) * 1.01 + 0.01
    return True


def cell(trace: dict, rng: random.Random) -> bool:
    query = rng.choice(trace["trace"])
    query["cell"] = 1 + (query["cell"] or 0) % CELLS
    return True


def window(trace: dict, rng: random.Random) -> bool:
    rng.choice(trace["trace"])["window_s"] += 1.0
    return True


def question(trace: dict, rng: random.Random) -> bool:
    query = rng.choice(trace["trace"])
    query["query"] = "insulation_of_pack" if query["query"] != "insulation_of_pack" else "gas_of_pack"
    return True


def unit(trace: dict, rng: random.Random) -> bool:
    rng.choice(trace["trace"][0]["observed"])["unit"] = "mV"
    return True


def verdict_cell(trace: dict, rng: random.Random) -> bool:
    named = {query["cell"] for query in trace["trace"] if query["query"].endswith("_of_outlier")}
    trace["cell"] = next(cell for cell in range(1, 400) if cell not in named)
    return True


@pytest.mark.parametrize("change", [value, cell, window, question, unit, verdict_cell])
def test_an_altered_trace_is_refused(told: tuple[list[tuple[Reasoning, Rows]], Scale], change: Change) -> None:
    rng = random.Random(3)
    for reasoning, rows in told[0]:
        for _ in range(5):
            altered = msgspec.to_builtins(reasoning)
            change(altered, rng)
            assert list(faults(msgspec.convert(altered, Reasoning), rows, told[1], Remembered(CELLS, PROBES))), altered


@pytest.mark.parametrize(("said", "found"), [(3.5e-18, 0), (1e-9, 1)])
def test_nothing_may_differ_by_the_order_of_a_sum_alone(said: float, found: int):
    """Seen on a log at rest: the slope of a temperature that stood, summed in two orders."""
    family = Family.TEMPERATURE_DEVIATION
    observed = tuple(ObservedValue(number.name, said, number.unit, 0.0) for number in ANSWERS[family])
    told = Query("temperature_deviation_of_neighbours", 4, 600.0, observed)
    assert len(list(differences(family, told, [(0.0, 0.0)] * 4))) == 4 * found
