"""What a run leaves behind is looked at: each thing that should not be there fails it."""

from __future__ import annotations

import msgspec
import pytest

from edgebms.decision.types import Alert, Evidence, UnknownSignal
from edgebms.inlet.frame import Frame
from edgebms.vocabulary import Action, Cause, Mode
from hil.report.junit import write as write_junit
from hil.rig.judge import judge
from hil.rig.result import Result
from hil.rig.run_log import RunLog, Truth
from hil.rig.runner import run_one
from hil.rig.verbs import SCENARIOS
from hil.scenario import load, parse

replace = msgspec.structs.replace
BASE = {"schema": "edgebms.scenario/1", "name": "judged", "says": "made by hand", "duration_s": 20}
EVIDENCE = Evidence(rule="hot_spot", cell=None, probe=2, window_s=0.0, value=11.0, limit=10.0, unit="K")
ALERT = Alert(
    id="x", level="warning", hazard=Cause.OVER_TEMPERATURE, cell=None, probe=2, since=None, standing_s=0.0, time_to_critical_s=None,
    confidence=None, latched=False, raised_by=("guard",), evidence=(EVIDENCE,),
)  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    """A real run of twenty ordinary seconds."""
    scenario = replace(load(SCENARIOS / "bus_well.yaml"), duration_s=20.0, expect=(), never=())
    result = run_one(scenario)
    assert result.verdict == "pass", result.wrong
    return result.run


def run_of(plain, *, since_s=10.0, change=lambda decision: decision, **scenario):
    """``plain`` under another scenario, its decisions changed from ``since_s`` on."""
    decisions = [(time_s, change(decision) if time_s >= since_s else decision) for time_s, decision in plain.decisions]
    return RunLog(
        parse(BASE | scenario), 1, truth=list(plain.truth), decisions=decisions, events=dict(plain.events), log=plain.log, exit_code=0
    )


def failed(run):
    return {check.asked for check in judge(run) if not check.passed}


def with_alert(decision, **change):
    return replace(decision, alerts=(replace(ALERT, **change),))


def with_command(action, mode=Mode.COMMAND):
    return lambda decision: replace(decision, command=replace(decision.command, action=action, mode=mode))


def test_an_ordinary_run_leaves_nothing(plain):
    assert failed(run_of(plain)) == set()


def test_an_unlisted_alert_fails_a_run_and_an_allowed_one_does_not(plain):
    assert failed(run_of(plain, change=with_alert)) == {"no unlisted alert"}
    assert failed(run_of(plain, change=with_alert, allow=[{"hazard": "over_temperature"}])) == set()
    assert failed(run_of(plain, change=with_alert, allow=[{"hazard": "over_temperature", "probe": 3}])) == {"no unlisted alert"}


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "edgebms: warning: a thing", "edgebms: error: a thing"])
def test_a_bad_line_in_the_log_fails_a_run_unless_it_is_allowed(plain, line):
    run = run_of(plain)
    run.log += f"\n{line}\n"
    assert failed(run) == {"no error in the log"}
    allowing = run_of(plain, allow_log=[line.split()[-1]])
    allowing.log += f"\n{line}\n"
    assert failed(allowing) == set()


def test_a_line_that_is_no_decision_a_bad_end_and_a_daemon_that_went_fail_a_run(plain):
    run = run_of(plain)
    run.bad_lines, run.exit_code = 1, 1
    assert failed(run) == {"every line is a decision", "the daemon lives and ends cleanly"}
    run = run_of(plain)
    run.broken = "no answer"
    assert failed(run) == {"the daemon lives and ends cleanly"}


def test_bus_errors_that_the_daemon_counted_fail_a_run(plain):
    def counted(decision):
        warnings = (*decision.quality.warnings, UnknownSignal("gateway.can0", "frames_lost", (), 3))
        return replace(decision, quality=replace(decision.quality, warnings=warnings))

    assert failed(run_of(plain, change=counted)) == {"no unlisted fault of the gateway"}
    assert failed(run_of(plain, change=counted, allow=[{"hazard": "gateway_fault", "rule": "frames_lost"}])) == set()


def test_a_voltage_that_no_cell_had_fails_a_run(plain):
    def invented(decision):
        volts = replace(decision.measured.cell_voltage_v, min=1.5)
        return replace(decision, measured=replace(decision.measured, cell_voltage_v=volts))

    assert failed(run_of(plain, change=invented)) == {"cell voltages are the pack's"}
    assert failed(run_of(plain, change=invented, faults=[{"kind": "voltage_stuck", "cell": 1, "at_s": 5}])) == set()


def test_an_expectation_holds_in_time_at_its_level_at_its_place(plain):
    def asks(**expect):
        return failed(run_of(plain, change=with_alert, expect=[expect], allow=[{"hazard": "over_temperature"}]))

    assert not asks(alert={"hazard": "over_temperature"}, within_s=10.5)
    assert not asks(alert={"level": "watch", "probe": 2, "rule": "hot"}, of=9, within_s=2)
    assert asks(alert={"hazard": "over_temperature"}, within_s=8)
    assert asks(alert={"level": "critical"})
    assert asks(alert={"probe": 1})
    assert asks(alert={"rule": "temperature_rate"})
    assert asks(alert={"probe": 2}, before=9)
    assert asks(alert={"probe": 2}, of="fault")  # which never came
    assert not asks(alert={"probe": 2}, within_s=11, holds_s=8)
    assert asks(alert={"probe": 2}, within_s=11, holds_s=12)
    assert not asks(cleared={"probe": 2}, within_s=5)
    assert asks(cleared={"probe": 2}, of=12)


def test_a_command_is_told_from_advice(plain):
    advice = with_command(Action.OPEN_CONTACTORS, Mode.ADVICE)
    assert failed(run_of(plain, change=advice, expect=[{"command": {"action": "open_contactors", "mode": "command"}}]))
    assert not failed(run_of(plain, change=advice, expect=[{"command": {"action": "open_contactors", "mode": "advice"}}]))
    assert failed(run_of(plain, change=advice, never=[{"command": {"action": "open_contactors"}}]))
    assert not failed(run_of(plain, change=advice, never=[{"command": {"action": "open_contactors"}, "till": 9}]))


def test_frames_to_an_inverter_are_read(plain):
    run = run_of(plain, expect=[{"sent": {"discharge_a_min": 5.0}, "within_s": 6}, {"sent": {"silent": True}, "of": 9, "within_s": 4}])
    run.sent = [(float(s), Frame(0, 0x351, bytes.fromhex("a0026400c8000000"))) for s in range(3, 9)]
    assert failed(run) == set()
    run.scenario = parse(
        BASE | {"expect": [{"sent": {"silent": True}, "of": 4, "within_s": 4}], "never": [{"sent": {"charge_v_max": 67.2}}]}
    )
    assert len(failed(run)) == 2


def test_opening_without_load_looks_at_the_current_before(plain):
    def opening(current_a):
        run = run_of(plain, expect=[{"plant": "opened_without_load"}])
        run.truth = [changed(t, closed=t.time_s < 12, current_a=current_a) for t in plain.truth]
        return failed(run)

    assert not opening(-1.0)
    assert opening(-2.5)


def changed(truth: Truth, **change) -> Truth:
    fields = {name: getattr(truth, name) for name in Truth.__dataclass_fields__}
    return Truth(**fields | change)


def test_a_known_gap_is_never_a_pass_and_its_mark_has_to_go_once_it_holds(plain, tmp_path):
    gap = {"alert": {"hazard": "imbalance"}, "known": "not built yet"}
    run = run_of(plain, expect=[gap])
    result = Result(run, tuple(judge(run)))
    assert result.verdict == "known"
    write_junit(tmp_path / "rig.xml", [result])
    assert "fails as known" in (tmp_path / "rig.xml").read_text()
    run = run_of(plain, change=with_alert, expect=[gap | {"alert": {"probe": 2}}])
    result = Result(run, tuple(judge(run)))
    assert result.verdict == "fail"
    assert "take out" in result.wrong[0].says
    # a gap that is known hides nothing else
    run = run_of(plain, expect=[gap, {"alert": {"hazard": "insulation"}}])
    assert Result(run, tuple(judge(run))).verdict == "fail"
