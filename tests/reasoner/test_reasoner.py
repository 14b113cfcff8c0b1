"""The reasoner in a pack's line: whatever its weights, its decisions are well-formed, and nothing it does delays or breaks the line."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from random_student import save_student
from snapshots import make_snapshot

from edgebms.assembly import build_lines
from edgebms.cli.main import main
from edgebms.config import Config, PackConfig, Students
from edgebms.decision.explain import explain
from edgebms.decision.types import Decision, encode
from edgebms.errors import ModelError
from edgebms.evidence.baseline import Baseline
from edgebms.evidence.past import Past, Scale
from edgebms.evidence.queries import BY_WORD, QUERIES
from edgebms.reasoner.decoder import interrogate
from edgebms.reasoner.language import CAP, CAUSES, OF_PACK
from edgebms.reasoner.student import load_reasoner
from edgebms.record import checkpoint, image
from edgebms.record.counters import Counters
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Cause, ReasonerStatus
from edgebms.worker import ask_inline

SCHEMA = json.loads((Path(__file__).parents[2] / "edgebms/decision/decision.schema.json").read_text(encoding="utf-8"))
CELLS, PROBES = 16, 4


def config(student: Path, probes: int = PROBES) -> Config:
    pack = PackConfig(name="pack", profile="edgebms", card="lg_hg2", cells=CELLS, probes=probes)
    return Config(pack=(pack,), students=Students(state="", reasoner=str(student)))


def snapshots(count: int, probes: int = PROBES, seed: int = 0, holes: float = 0.0) -> list[Snapshot]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        current = 2.0 * np.sin(i / 20)
        volts = 3.7 + 0.03 * current / 2 + 1e-3 * rng.standard_normal(CELLS)
        warm = 25 + 0.1 * rng.standard_normal(probes)
        volts[rng.random(CELLS) < holes] = np.nan
        warm[rng.random(probes) < holes] = np.nan
        made.append(make_snapshot(CELLS, probes, seq=i, time_s=float(i), voltage_v=volts, temperature_c=warm, current_a=float(current)))
    return made


def decide(student: Path, made: list[Snapshot], probes: int = PROBES) -> list[Decision]:
    pipeline = build_lines(config(student, probes), ask_inline)["pack"].pipeline
    return [pipeline.step(snapshot, snapshot.time_ns, None) for snapshot in made]


@pytest.mark.parametrize("seed", range(12))
def test_any_weights_make_well_formed_decisions(tmp_path: Path, seed: int) -> None:
    scale = (0.0, 0.05, 0.3, 3.0, 1e3, 1e30)[seed % 6]
    try:
        student = save_student(tmp_path, seed, scale=scale, commit=(1.0, 0.9, 0.3)[seed % 3], stop_bias=(None, 0.0)[seed % 2])
        load_reasoner(str(student))
    except ModelError:
        assert scale > 1e3  # refused as it stands: it answers with no numbers
        return
    holes = (0.0, 0.3, 1.0)[seed % 3]
    validator = Draft202012Validator(SCHEMA)
    spoken = 0
    before = None
    for decision in decide(student, snapshots(70, seed=seed, holes=holes)):
        # against the schema: each answer, what follows it, and what it does to a first decision; more of the same is slow to check
        if ReasonerStatus.OK in (decision.provenance.reasoner, before):
            validator.validate(json.loads(encode(decision)))
        before = decision.provenance.reasoner
        assert decision.provenance.reasoner in (ReasonerStatus.OK, ReasonerStatus.SKIPPED)
        if decision.provenance.reasoner is ReasonerStatus.OK:
            assert decision.reasoning is not None
            spoken += 1
            assert len(decision.reasoning.trace) <= CAP
            assert "The reasoner says" in explain(decision)
    assert spoken >= 7


def test_a_pack_without_probes_and_of_two_rows_is_unknown_not_zero(tmp_path: Path) -> None:
    student = save_student(tmp_path, 3, commit=1.0)
    first = decide(student, snapshots(1, probes=0), probes=0)[0]
    assert first.reasoning is not None
    assert all(o.value is None and o.relative is None for query in first.reasoning.trace for o in query.observed)


def test_the_same_log_gives_the_same_decisions(tmp_path: Path) -> None:
    student = save_student(tmp_path, 5)
    made = snapshots(60)
    assert [encode(decision) for decision in decide(student, made)] == [encode(decision) for decision in decide(student, made)]


def test_when_time_is_up_it_concludes_at_once(tmp_path: Path) -> None:
    student = load_reasoner(str(save_student(tmp_path, 7, commit=1.0)))
    pipeline = build_lines(config(tmp_path / "random7.onnx"), ask_inline)["pack"]
    for snapshot in snapshots(100):
        pipeline.pipeline.history.push(snapshot)
    past = Past.of(pipeline.pipeline.history, Scale.of(pipeline.card, config(tmp_path / "random7.onnx").pack[0]))
    assert len(interrogate(student, past, suspicious=True).bundles) == CAP
    for many in range(CAP):
        looks = iter([False] * many + [True] * 20)
        found = interrogate(student, past, suspicious=True, late=lambda looks=looks: next(looks))
        assert len(found.bundles) == many
        assert found.trace.done


def test_the_question_that_names_a_cell_best_is_put_before_a_verdict_of_its_cause(tmp_path: Path) -> None:
    """Random weights that commit at once: the cause's own question is asked before it is named, whatever else was."""
    line = build_lines(config(save_student(tmp_path, 0)), ask_inline)["pack"]
    for snapshot in snapshots(100):
        line.pipeline.history.push(snapshot)
    past = Past.of(line.pipeline.history, Scale.of(line.card, config(tmp_path / "random0.onnx").pack[0]))
    best = QUERIES.index(BY_WORD["voltage_steps.outlier.60s"])
    causes = {cause.value: "voltage_steps.outlier.60s" for cause in CAUSES if cause not in OF_PACK}
    asked: dict[bool, set[bool]] = {True: set(), False: set()}
    for seed in range(12):
        for names in ({}, causes):
            student = load_reasoner(str(save_student(tmp_path, seed, scale=3.0, commit=0.0, names=names)))
            trace = interrogate(student, past, suspicious=True).trace
            if trace.cause not in OF_PACK:
                asked[bool(names)].add(best in {place for place, _ in trace.asked})
    assert asked[True] == {True}
    assert False in asked[False]


def test_one_interrogation_alone_is_a_watch_at_most(tmp_path: Path) -> None:
    """Random weights that would shout at once: the first word about a cause is a watch, whatever the student says."""
    for seed in range(6):
        student = save_student(tmp_path, seed, scale=3.0, warning={"": 0.0}, watch={"": 0.0})
        first = decide(student, snapshots(1))[0]
        assert first.reasoning is not None
        assert first.reasoning.severity in ("none", "watch")


def test_a_cause_of_the_whole_pack_stays_a_watch_until_its_history_stands(tmp_path: Path) -> None:
    save_student(tmp_path, 1)
    line = build_lines(config(tmp_path / "random1.onnx"), ask_inline)["pack"]
    for snapshot in snapshots(1500):
        line.pipeline.history.push(snapshot)
    past = Past.of(line.pipeline.history, Scale.of(line.card, config(tmp_path / "random1.onnx").pack[0]))
    baseline = Baseline(CELLS, PROBES)
    assert not baseline.bears_out(Cause.COOLING_FAILURE, past)
    for hour in range(200):
        baseline.learn(past, 3600.0 * hour)
    assert not baseline.bears_out(Cause.COOLING_FAILURE, past)  # as ever
    kept = Baseline(CELLS, PROBES)
    kept.restore(json.loads(json.dumps(baseline.state())))
    for snapshot in snapshots(1500):
        warm = snapshot.temperature_c + 20.0 * snapshot.seq / 1500
        line.pipeline.history.push(make_snapshot(CELLS, PROBES, time_s=1500.0 + snapshot.seq, temperature_c=warm, current_a=0.5))
    hot = Past.of(line.pipeline.history, past.scale)
    assert kept.bears_out(Cause.COOLING_FAILURE, hot)
    assert not kept.bears_out(Cause.CURRENT_OFFSET, past)


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ({"vocabulary": "0" * 64}, "other words"),
        ({"bins": [[[0.0]]]}, "bins do not fit"),
        ({"sha256": "0" * 64}, "differs from its card's"),
        ({"kind": "state"}, "is needed"),
        ({"confidences": [0.5]}, "confidences"),
        ({"hold_s": {"venting": 60.0}}, "lacks thresholds"),
        ({"names": {"bad_luck": "voltage_dips.outlier.300s"}}, "'bad_luck', which is no cause"),
        ({"names": {"venting": "ask_someone"}}, "'ask_someone', which is no question"),
        ({"commit": 2.0}, "no model card"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path: Path, card: dict[str, object], why: str) -> None:
    with pytest.raises(ModelError, match=why):
        load_reasoner(str(save_student(tmp_path, 1, **card)))


def test_a_black_box_s_image_and_a_checkpoint_hold_the_reasoner(tmp_path: Path) -> None:
    """A line put back from its image goes on as the first did; a checkpoint brings the slow history back."""
    student = save_student(tmp_path, 4, scale=3.0)
    made = snapshots(40)
    first = build_lines(config(student), ask_inline)["pack"]
    for snapshot in made[:25]:
        first.pipeline.step(snapshot, snapshot.time_ns, None)
        first.pipeline.settle(snapshot.time_ns)
    second = build_lines(config(student), ask_inline)["pack"]
    image.put(msgspec.msgpack.decode(msgspec.msgpack.encode(image.take(first.pipeline))), second.pipeline)
    for snapshot in made[25:]:
        again = [encode(line.pipeline.step(snapshot, snapshot.time_ns, None)) for line in (first, second)]
        assert again[0] == again[1]
    moment = checkpoint.Moment(made[-1].time_ns, made[-1].time_ns, made[-1].time_ns, "")
    _, body = checkpoint.collect(first, config(student).pack[0], Counters(1.0), moment)
    assert first.pipeline.reasoner is not None
    assert body["weeks"] == first.pipeline.reasoner.state()


def test_what_was_worked_out_for_the_next_snapshot_is_in_no_image(tmp_path: Path) -> None:
    """It can be worked out again, and is as large as the windows that it was read from."""
    line = build_lines(config(save_student(tmp_path, 4, commit=1.0, suspicion=1.0)), ask_inline)["pack"]
    reasoner = line.pipeline.reasoner
    assert reasoner is not None
    ready = 0
    for snapshot in snapshots(60):
        line.pipeline.step(snapshot, snapshot.time_ns, None)
        line.pipeline.settle(snapshot.time_ns)
        if snapshot.seq >= 50 and reasoner._ready is not None:
            ready += 1
            with_it = len(msgspec.msgpack.encode(image.take(line.pipeline)))
            reasoner._ready = reasoner._past = None
            assert len(msgspec.msgpack.encode(image.take(line.pipeline))) == with_it
    assert ready


def test_what_training_never_saw_answered_is_not_asked(tmp_path: Path) -> None:
    """Whatever the weights; and a card that names no question is refused."""
    unasked = [query.word for query in QUERIES[::2]]
    pipeline = build_lines(config(save_student(tmp_path, 3, unasked=unasked, commit=1.0, glance=1.0)), ask_inline)["pack"].pipeline
    asked: set[tuple[str, float]] = set()
    for snapshot in snapshots(120):
        decision = pipeline.step(snapshot, snapshot.time_ns, None)
        if decision.reasoning is not None:
            asked |= {(row.query, row.window_s) for row in decision.reasoning.trace}
    allowed = {(f"{query.family}_of_{query.whom}", query.window_s) for query in QUERIES if query.word not in unasked}
    assert asked and asked <= allowed
    with pytest.raises(ModelError, match="which is no question"):
        load_reasoner(str(save_student(tmp_path, 4, unasked=["mood.pack.60s"])))


def test_check_opens_the_reasoner_that_a_configuration_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = save_student(tmp_path, 1)
    text = '[[pack]]\nname = "rack"\nprofile = "edgebms"\ncard = "lg_hg2"\ncells = 16\nprobes = 4\n[students]\nreasoner = "{}"\n'
    for name, code, says in ((student, 0, "ok    reasoner"), (tmp_path / "nosuch.onnx", 7, "WRONG reasoner")):
        (tmp_path / "gateway.toml").write_text(text.format(name))
        found = main(["check", "-c", str(tmp_path / "gateway.toml")])
        assert says in capsys.readouterr().out
        assert found == code
