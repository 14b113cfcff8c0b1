"""A pack that looks healthy is asked two questions a tick, others at each; one that does not is interrogated in full two seconds later."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from random_student import save_student
from test_recompute import CELLS, PACK, PROBES, snapshots

from edgebms.assembly import build_lines
from edgebms.cellcard import load_card
from edgebms.config import Config, Students
from edgebms.decision.types import Reasoning
from edgebms.evidence import families
from edgebms.evidence.past import Scale
from edgebms.history.history import History
from edgebms.reasoner.glance import A_TICK
from edgebms.reasoner.language import CAP
from edgebms.reasoner.reasoner import CALM_S, SUSPICIOUS_S, Reasoner
from edgebms.reasoner.student import ReasoningStudent, load_reasoner
from edgebms.recompute.rows import Rows
from edgebms.recompute.trace import faults
from edgebms.recompute.weeks import Remembered
from edgebms.worker import ask_inline


def spoken(student: Path, count: int = 60, hold: int = 300, settle: bool = False) -> list[tuple[float, Reasoning, list[str]]]:
    """(seconds, what was said, what the audit finds wrong with it) behind ``hold`` snapshots in which nobody was asked."""
    line = build_lines(Config(pack=(PACK,), students=Students(state="", reasoner=str(student))), ask_inline)["pack"]
    scale, rows, out = Scale.of(line.card, PACK), Rows(), []
    for snapshot in snapshots(hold + count, 1.0, 0.0):
        if len(out) == 0 and snapshot.seq < hold:
            line.pipeline.history.push(snapshot)
        elif (said := line.pipeline.step(snapshot, snapshot.time_ns, None).reasoning) is not None:
            out.append((snapshot.time_ns / 1e9, said, list(faults(said, rows, scale, Remembered(CELLS, PROBES)))))
        if settle:
            line.pipeline.settle(snapshot.time_ns)
        rows.add(snapshot)
    return out


def test_a_calm_pack_has_answered_a_whole_interrogation_after_four_ticks(tmp_path: Path) -> None:
    made = spoken(save_student(tmp_path, 2, commit=1.0, glance=1.0, suspicion=0.0))
    first = made[: CAP // A_TICK]
    assert [len(said.trace) for _, said, _ in first] == [A_TICK] * len(first)
    questions = [(asked.query, asked.window_s) for _, said, _ in first for asked in said.trace]
    assert len(set(questions)) == CAP
    assert all(said.cause in ("healthy", "unknown") and said.severity == "none" for _, said, _ in first)
    assert [round(b - a, 6) for (a, *_), (b, *_) in pairwise(first)] == [CALM_S] * (len(first) - 1)
    assert [wrong for *_, wrong in made] == [[]] * len(made)


def test_what_does_not_look_healthy_is_interrogated_in_full(tmp_path: Path) -> None:
    made = spoken(save_student(tmp_path, 2, commit=1.0, glance=1.0, suspicion=1.0))
    (first_s, look, _), (next_s, full, wrong) = made[:2]
    assert (len(look.trace), look.cause, look.severity) == (A_TICK, "unknown", "none")
    assert next_s - first_s == SUSPICIOUS_S
    assert len(full.trace) == CAP
    assert wrong == []


@pytest.mark.parametrize("suspicion", [0.0, 1.0])
def test_what_is_worked_out_between_decisions_changes_none(tmp_path: Path, suspicion: float) -> None:
    student = save_student(tmp_path, 2, commit=1.0, glance=1.0, suspicion=suspicion)
    assert spoken(student, settle=True) == spoken(student)


@pytest.mark.parametrize("suspicion", [0.0, 1.0])
def test_no_decision_waits_for_an_interrogation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suspicion: float) -> None:
    """Evidence is worked out and the student run once the decision before has left; where nobody settles, on the decision's way."""
    student = save_student(tmp_path, 2, commit=1.0, suspicion=suspicion)
    worked_out: list[str] = []
    for module in (families.cells, families.own, families.packs):
        monkeypatch.setattr(module, "spread", lambda *told, own=module.spread: worked_out.append("evidence") or own(*told))
    monkeypatch.setattr(ReasoningStudent, "step", lambda *told, own=ReasoningStudent.step: worked_out.append("student") or own(*told))
    for settles in (True, False):
        line = build_lines(Config(pack=(PACK,), students=Students(state="", reasoner=str(student))), ask_inline)["pack"]
        decided = 0
        for snapshot in snapshots(400, 1.0, 0.0):
            worked_out.clear()
            said = line.pipeline.step(snapshot, snapshot.time_ns, None).reasoning
            if said is not None and snapshot.seq > 1:
                decided += 1
                assert bool(worked_out) != settles
            if settles:
                line.pipeline.settle(snapshot.time_ns)
        assert decided > 70


def test_an_interrogation_that_time_was_too_short_for_ends_on_the_decision_s_way(tmp_path: Path) -> None:
    """What was asked before goes on where it was broken off: the same decision as with all the time there is."""
    student = load_reasoner(str(save_student(tmp_path, 2, commit=1.0, suspicion=1.0)))
    card = load_card(PACK.card)
    said = []
    for looks in (10**9, 3):
        left = [looks]

        def late(since_ns: int, left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        reasoner, history = Reasoner(student, Scale.of(card, PACK), ask_inline, late), History(CELLS, PROBES)
        told = []
        for snapshot in snapshots(400, 1.0, 0.0):
            left[0] = 10**9
            told.append(reasoner.step(history, snapshot.time_ns)[1])
            history.push(snapshot)
            left[0] = looks
            reasoner.settle(history, snapshot.time_ns)
            assert looks > 3 or reasoner._ready is None or len(reasoner._ready.glance.found.trace.asked) < CAP
        said.append([verdict for verdict in told if verdict is not None])
    assert repr(said[0]) == repr(said[1])  # an unknown number is not itself
    assert max(len(verdict.trace) for verdict in said[0]) == CAP


def test_a_pack_that_nobody_settles_learns_its_weeks_too(tmp_path: Path) -> None:
    """A replay of a day knows the pack's hours as the gateway did, or an audit of its decisions would find other answers."""
    student = save_student(tmp_path, 2)
    kept = []
    for settles in (True, False):
        line = build_lines(Config(pack=(PACK,), students=Students(state="", reasoner=str(student))), ask_inline)["pack"]
        for snapshot in snapshots(4 * 360, 10.0, 0.0):
            line.pipeline.step(snapshot, snapshot.time_ns, None)
            if settles:
                line.pipeline.settle(snapshot.time_ns)
        assert line.pipeline.reasoner is not None
        kept.append(line.pipeline.reasoner.state())
    assert kept[0] == kept[1]
    assert max(kept[1]["pack"]["hours"]) >= 2
