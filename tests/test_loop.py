"""The loop over real rooms: frames of our protocol in, decisions out."""

import threading
import time

import jsonschema
import numpy as np
import pytest
from lines import CELLS, PROBES, Run, config, frames, pack

from edgebms.assembly import build_lines
from edgebms.clock import LogClock, MonotonicClock
from edgebms.decision.types import encode, schema
from edgebms.loop import Loop, PackLine
from edgebms.telemetry.encode import Encoder
from edgebms.telemetry.silence import silence_ticks_ns
from edgebms.vocabulary import ReasonerStatus
from edgebms.worker import Worker, ask_inline


def test_every_sweep_becomes_one_decision_that_fits_the_schema():
    run = Run(frames(seconds=5.0))
    assert len(run.decisions) == 50
    validator = jsonschema.Draft202012Validator(schema())
    for decision in run.json:
        validator.validate(decision)
    last = run.json[-1]
    assert last["quality"]["valid_cells"] == CELLS
    assert last["measured"]["current_a"] == pytest.approx(-5.0)
    assert last["alerts"] == [] and last["command"]["action"] == "none"
    assert 0.3 < last["soc"]["pack"] < 0.8


def test_the_same_frames_give_the_same_bytes():
    source = list(frames(seconds=3.0))
    assert Run(source).lines == Run(source).lines


def test_a_log_that_counts_from_zero_has_no_wall_clock():
    assert Run(frames(seconds=0.5)).json[-1]["time"] is None
    assert Run(frames(seconds=0.5)).json[-1]["quality"]["clock_synchronised"] is False
    assert Run(frames(seconds=0.5, start_s=1.7e9)).json[-1]["time"].startswith("2023-11-14")


def test_settling_early_or_late_gives_the_same_decisions():
    source = list(frames(seconds=4.0))
    late = Run(source, config(state="state"))
    early = []
    clock = LogClock()
    loop = Loop(build_lines(config(state="state"), ask_inline).values(), clock, lambda decision: early.append(encode(decision)), lambda: 0)
    for frame in source:
        clock.set_ns(frame.time_ns)
        loop.tick()
        loop.frame(frame)
        loop.settle()
    assert early == late.lines
    assert any(decision.soc.source == "student" for decision in late.decisions)


def test_two_packs_on_one_bus_do_not_mix():
    high, low = Encoder("edgebms", CELLS, PROBES), Encoder("edgebms", CELLS, PROBES, id_offset=0x100)
    source = sorted(
        [*frames(voltage_v=3.9, encoder=high), *frames(voltage_v=3.5, encoder=low, start_s=100.03)], key=lambda frame: frame.time_ns
    )
    run = Run(source, config(pack("a"), pack("b", id_offset=0x100)))
    means = {name: [d.measured.cell_voltage_v.max for d in run.decisions if d.pack == name] for name in "ab"}
    assert len(means["a"]) >= 49 and len(means["b"]) >= 49
    assert all(value == pytest.approx(3.9, abs=0.01) for value in means["a"])
    assert all(value == pytest.approx(3.5, abs=0.01) for value in means["b"])


def test_silence_on_the_bus_is_an_alert_and_no_old_value_is_shown_as_fresh():
    source = [*frames(seconds=3.0), *frames(seconds=1.0, start_s=130.0)]
    run = Run(source)
    silent = [d for d in run.decisions if 110e9 < d.mono_ns < 129e9]
    assert silent, "decisions go on while the bus is silent"
    assert all(d.measured.cell_voltage_v.max is None for d in silent)
    assert all(d.command.limits.charge_a == 0 and d.command.limits.discharge_a == 0 and d.command.limits.charge_v > 0 for d in silent)
    assert any(alert.hazard == "loss_of_data" for alert in silent[-1].alerts)
    assert not any(alert.hazard == "over_discharge" for d in silent for alert in d.alerts), "silence is not low voltage"


def test_a_night_of_silence_is_few_ticks():
    ticks = list(silence_ticks_ns(0, 10 * 3600 * 10**9))
    assert len(ticks) < 1000
    assert ticks[0] == 100_000_000 and ticks == sorted(ticks)


class Student:
    """A stand-in with the real one's face; ``work`` is what running it does."""

    digest = "state@sha256:test"
    period_s = 0.05

    def __init__(self, work):
        self.work = work

    def describe(self):
        return "a stand-in"

    def knows(self, card):
        return True

    def start(self, cells):
        return np.zeros((cells, 2), dtype=np.float32)

    def features(self, kalman, current_a):
        return np.zeros((CELLS, 3), dtype=np.float32)

    def inside(self, x):
        return np.ones(CELLS, dtype=bool)

    def run(self, x, hidden):
        return self.work()


def live(student, seconds=0.6, deadline_s=0.008):
    """The line on the real clock, one sweep each 50 ms, with ``student`` behind a real worker thread."""
    clock = MonotonicClock()
    lines = build_lines(config(), Worker(clock, deadline_s).ask)
    (line,) = lines.values()
    line.pipeline.estimator.__init__(line.card, pack(), student, Worker(clock, deadline_s).ask)
    out = []
    loop = Loop(
        [PackLine(line.card, line.assembler, line.pipeline)],
        clock,
        lambda decision: out.append((time.monotonic_ns(), decision, encode(decision))),
        time.monotonic_ns,
    )
    encoder = Encoder("edgebms", CELLS, PROBES, spacing_ns=0)
    for _ in range(round(seconds / 0.05)):
        for frame in frames(seconds=0.1, start_s=clock.now_ns() / 1e9, encoder=encoder):
            loop.frame(frame._replace(time_ns=clock.now_ns()))
            loop.settle()
        time.sleep(0.05)
    return out[2:]  # the student's first turn is not the first snapshot


def good_answer():
    return np.full(CELLS, 0.01), np.full(CELLS, 0.02), np.zeros((CELLS, 2), dtype=np.float32)


def test_a_student_in_time_is_heard():
    statuses = {decision.provenance.state_student for _, decision, _ in live(Student(good_answer), deadline_s=0.5)}
    assert statuses == {ReasonerStatus.OK}


def test_a_student_that_hangs_does_not_hold_the_decision_up():
    release = threading.Event()
    out = live(Student(lambda: release.wait(30)))
    release.set()
    assert len(out) >= 9, "every sweep has its decision"
    late_ms = [(at_ns - decision.mono_ns) / 1e6 for at_ns, decision, _ in out[1:]]
    assert np.median(late_ms) < 20
    statuses = [decision.provenance.state_student for _, decision, _ in out]
    assert statuses[0] in (ReasonerStatus.DEADLINE_MISSED, ReasonerStatus.SKIPPED)
    assert statuses[-1] is ReasonerStatus.SKIPPED
    assert out[-1][1].soc.source != "student"


def test_a_student_that_loops_for_ever_does_not_hold_the_decision_up():
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    out = live(Student(spin))
    stop.set()
    assert len(out) >= 9
    assert all(decision.provenance.state_student is not ReasonerStatus.OK for _, decision, _ in out)


@pytest.mark.parametrize(
    ("work", "status"),
    [
        (lambda: 1 / 0, ReasonerStatus.FAILED),
        (lambda: (np.full(CELLS, np.nan), np.full(CELLS, 0.02), np.zeros((CELLS, 2), dtype=np.float32)), ReasonerStatus.REFUSED),
        (lambda: (np.full(CELLS, 0.01), np.full(CELLS, -1.0), np.zeros((CELLS, 2), dtype=np.float32)), ReasonerStatus.REFUSED),
        (lambda: (np.full(CELLS, 0.01), np.full(CELLS, 0.02), np.full((CELLS, 2), np.nan, dtype=np.float32)), ReasonerStatus.REFUSED),
    ],
)
def test_a_student_that_raises_or_answers_nonsense_leaves_the_filter(work, status):
    out = live(Student(work), deadline_s=0.5)
    assert {decision.provenance.state_student for _, decision, _ in out} == {status}
    last = out[-1][1]
    assert last.soc.source != "student" and last.soc.pack is not None and np.isfinite(last.soc.pack)


def test_one_cells_nonsense_costs_that_cell_alone():
    def work():
        correction = np.full(CELLS, 0.01)
        correction[5] = np.nan
        return correction, np.full(CELLS, 0.02), np.zeros((CELLS, 2), dtype=np.float32)

    out = live(Student(work), deadline_s=0.5)
    last = out[-1][1]
    assert last.provenance.state_student is ReasonerStatus.REFUSED
    assert last.soc.pack is not None
