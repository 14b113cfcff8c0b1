"""Alerts: levels only rise, ids and since stay, a student's claim has its exit."""

import dataclasses
import json

import pytest
from decided import UTC_NS, Decider, finding, findings, make_state, snapshots, verdict, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebms.decision.alerts import STUDENT_CLEAR_S, STUDENT_SILENT_S, moment
from edgebms.reasoner.verdict import Asked, Observed
from edgebms.vocabulary import Action, Cause, Level, ReasonerStatus

RANKS = {"watch": 1, "warning": 2, "critical": 3}
SHORT = {"cause": Cause.INTERNAL_SHORT, "cell": 3}
HEALTHY = {"cause": Cause.HEALTHY, "severity": Level.NONE, "cell": -1}


def levels_of(decision):
    return {(alert.hazard, alert.cell, alert.probe): RANKS[alert.level] for alert in decision.alerts}


@settings(max_examples=80, deadline=None)
@given(
    snapshots(),
    st.lists(findings(), max_size=6),
    st.lists(verdicts(), min_size=1, max_size=4),
    st.lists(st.floats(0, 90), min_size=4, max_size=4),
)
def test_no_verdict_ever_lowers_or_removes_what_the_guard_raised(snapshot, found, spoken, waits):
    alone, helped = Decider(), Decider()
    time_s = 0.0
    for said, wait_s in zip(spoken, waits, strict=False):
        time_s += wait_s
        with_guard = alone.at(time_s, *found, snapshot=snapshot)
        with_student = helped.at(time_s, *found, snapshot=snapshot, verdict=said)
        guards, both = levels_of(with_guard), levels_of(with_student)
        assert all(both[place] >= level for place, level in guards.items())
        since = {alert.id: alert.since for alert in with_student.alerts}
        for alert in with_guard.alerts:
            assert since[alert.id] == alert.since, "the guard's own alert keeps its id and its since"
        strongest = list(Action)
        assert strongest.index(with_student.command.action) >= strongest.index(with_guard.command.action)


def test_one_alert_a_hazard_and_place_with_the_highest_level_and_all_evidence():
    decision = Decider().at(
        10.0,
        finding(rule="over_temperature_watch", level=Level.WATCH, kind="probe", where=1, since_s=4.0, value=56.0, limit=55.0),
        finding(rule="over_temperature", level=Level.WARNING, kind="probe", where=1, since_s=7.0, value=61.0, latched=True, window_s=5.0),
        finding(rule="over_temperature", level=Level.WATCH, kind="probe", where=2, since_s=8.0),
    )
    first, second = decision.alerts
    assert (first.level, first.hazard, first.cell, first.probe, first.latched) == ("warning", Cause.OVER_TEMPERATURE, None, 2, True)
    assert first.standing_s == 6.0 and first.since == moment(UTC_NS + 4_000_000_000)
    assert first.raised_by == ("guard",) and first.confidence is None
    assert [(e.rule, e.probe, e.value, e.limit, e.unit, e.window_s) for e in first.evidence] == [
        ("over_temperature", 2, 61.0, 60.0, "degC", 5.0),
        ("over_temperature_watch", 2, 56.0, 55.0, "degC", 0.0),
    ], "the gravest first"
    assert second.level == "watch" and second.probe == 3


def test_the_gravest_alert_comes_first_then_the_longest_standing():
    decision = Decider().at(
        9.0,
        finding(Cause.IMBALANCE, Level.WATCH, Action.SERVICE, since_s=1.0),
        finding(Cause.OVERCHARGE, Level.CRITICAL, Action.STOP_CHARGE, since_s=8.0),
        finding(Cause.OVER_CURRENT, Level.WARNING, Action.LIMIT, kind="pack", where=-1, since_s=7.0),
        finding(Cause.OVER_TEMPERATURE, Level.WARNING, Action.LIMIT, kind="probe", where=0, since_s=6.0),
    )
    assert [alert.hazard for alert in decision.alerts] == [Cause.OVERCHARGE, Cause.OVER_TEMPERATURE, Cause.OVER_CURRENT, Cause.IMBALANCE]


def test_id_and_since_stay_while_it_stands_and_are_new_when_it_comes_back():
    decider = Decider()
    watch = finding(level=Level.WATCH, action=Action.COOL, since_s=1.0, rule="watch")
    first = decider.at(2.0, watch).alerts[0]
    # the first rule clears, a later one stands: the same alert goes on
    second = decider.at(5.0, finding(level=Level.WARNING, since_s=4.0)).alerts[0]
    assert (second.id, second.since, second.standing_s) == (first.id, first.since, 4.0)
    assert decider.at(6.0).alerts == ()
    third = decider.at(9.0, finding(level=Level.WATCH, since_s=8.0)).alerts[0]
    assert third.id != first.id and third.since != first.since


def test_since_is_null_until_the_wall_clock_is_known_and_then_does_not_move():
    decider = Decider()
    assert decider.at(2.0, finding(since_s=1.0), utc=False).alerts[0].since is None
    known = decider.at(3.0, finding(since_s=1.0)).alerts[0].since
    assert known == moment(UTC_NS + 1_000_000_000)
    corrected = decider.arbiter.decide(
        snapshot_at(4.0), (finding(since_s=1.0),), make_state(), None, ReasonerStatus.ABSENT, 4_000_000_000, UTC_NS + 99_000_000_000
    )
    assert corrected.alerts[0].since == known


def snapshot_at(time_s):
    from snapshots import make_snapshot

    return make_snapshot(time_s=time_s)


def test_a_student_raises_an_alert_with_its_own_evidence():
    decision = Decider().at(1.0, verdict=verdict(**SHORT, severity=Level.WARNING))
    (alert,) = decision.alerts
    assert (alert.level, alert.cell, alert.raised_by, alert.confidence, alert.time_to_critical_s) == (
        "warning",
        4,
        ("reasoner",),
        0.98,
        420.0,
    )
    assert [(e.rule, e.cell, e.value, e.limit, e.window_s) for e in alert.evidence] == [("thermal_rate.rate", 4, 1.31, None, 60.0)]
    reasoning = decision.reasoning
    assert (reasoning.cause, reasoning.cell, reasoning.severity) == (Cause.INTERNAL_SHORT, 4, "warning")
    assert reasoning.trace[0].observed[0].relative == 6.2


def test_guard_and_student_share_one_alert_at_the_higher_level():
    decision = Decider().at(
        1.0, finding(Cause.INTERNAL_SHORT, Level.WATCH, Action.SERVICE), verdict=verdict(**SHORT, severity=Level.CRITICAL)
    )
    (alert,) = decision.alerts
    assert alert.level == "critical" and alert.raised_by == ("guard", "reasoner") and len(alert.evidence) == 2
    lower = Decider().at(1.0, finding(Cause.INTERNAL_SHORT, Level.CRITICAL, Action.SERVICE), verdict=verdict(**SHORT, severity=Level.WATCH))
    assert lower.alerts[0].level == "critical"


@pytest.mark.parametrize(
    "said", [HEALTHY, {**SHORT, "severity": Level.NONE}, {"cause": Cause.HEALTHY, "severity": Level.WARNING, "cell": -1}]
)
def test_a_verdict_without_a_hazard_raises_nothing(said):
    decision = Decider().at(1.0, verdict=verdict(**said))
    assert decision.alerts == () and decision.reasoning is not None


def test_a_students_alert_clears_when_it_spoke_otherwise_for_long_enough():
    decider = Decider()
    decider.at(0.0, verdict=verdict(**SHORT))
    assert decider.at(10.0, verdict=verdict(**HEALTHY)).alerts
    assert decider.at(10.0 + STUDENT_CLEAR_S - 0.1, verdict=verdict(**HEALTHY)).alerts
    assert not decider.at(10.0 + STUDENT_CLEAR_S, verdict=verdict(**HEALTHY)).alerts


def test_saying_it_again_starts_the_time_anew():
    decider = Decider()
    first = decider.at(0.0, verdict=verdict(**SHORT)).alerts[0]
    decider.at(50.0, verdict=verdict(**HEALTHY))
    decider.at(100.0, verdict=verdict(**SHORT))
    decider.at(101.0, verdict=verdict(**HEALTHY))
    held = decider.at(101.0 + STUDENT_CLEAR_S - 0.1, verdict=verdict(**HEALTHY)).alerts[0]
    assert held.id == first.id


def test_a_students_lower_word_lowers_its_own_alert_only_after_its_time():
    decider = Decider()
    first = decider.at(0.0, verdict=verdict(**SHORT, severity=Level.CRITICAL)).alerts[0]
    assert decider.at(1.0, verdict=verdict(**SHORT, severity=Level.WATCH)).alerts[0].level == "critical"
    later = decider.at(1.0 + STUDENT_CLEAR_S, verdict=verdict(**SHORT, severity=Level.WATCH)).alerts[0]
    assert later.level == "watch" and later.id == first.id and later.since == first.since


def test_a_silent_student_has_not_said_that_all_is_well():
    decider = Decider()
    decider.at(0.0, verdict=verdict(**SHORT))
    missed = ReasonerStatus.DEADLINE_MISSED
    decision = decider.at(STUDENT_CLEAR_S + 1, status=missed)
    assert decision.alerts and decision.reasoning is None and decision.provenance.reasoner is missed
    assert decider.at(STUDENT_SILENT_S - 0.1, status=missed).alerts
    assert not decider.at(STUDENT_SILENT_S, status=missed).alerts


@pytest.mark.parametrize("wrong", [{"cell": 16}, {"cell": -2}, {"confidence": float("nan")}])
def test_a_verdict_that_is_not_one_of_this_pack_is_refused_and_the_guard_still_speaks(wrong):
    decision = Decider().at(1.0, finding(), verdict=verdict(**wrong))
    assert decision.provenance.reasoner is ReasonerStatus.REFUSED
    assert decision.reasoning is None and [alert.raised_by for alert in decision.alerts] == [("guard",)]


def test_a_verdict_that_comes_with_another_status_is_left_out():
    decision = Decider().at(1.0, verdict=verdict(), status=ReasonerStatus.OUT_OF_DOMAIN)
    assert decision.reasoning is None and decision.alerts == () and decision.provenance.reasoner is ReasonerStatus.OUT_OF_DOMAIN


def test_a_finding_of_level_none_is_no_alert():
    assert Decider().at(1.0, finding(level=Level.NONE)).alerts == ()


def test_ids_name_pack_hazard_place_and_start():
    decision = Decider().at(
        9.0,
        finding(Cause.OVERCHARGE, where=0, since_s=1.0),
        finding(Cause.OVER_TEMPERATURE, kind="probe", where=0, since_s=2.0),
        finding(Cause.LOSS_OF_DATA, kind="pack", where=-1, since_s=3.5),
    )
    assert [(alert.id, alert.cell, alert.probe) for alert in decision.alerts] == [
        ("rack-3/overcharge/cell-1/1000", 1, None),
        ("rack-3/over_temperature/probe-1/2000", None, 1),
        ("rack-3/loss_of_data/3500", None, None),
    ]


def test_what_comes_back_is_new_also_while_others_stand():
    decider = Decider()
    other = finding(Cause.IMBALANCE, where=5)
    first = next(alert for alert in decider.at(2.0, other, finding(since_s=1.0)).alerts if alert.hazard is Cause.OVER_TEMPERATURE)
    decider.at(3.0, other)
    again = next(alert for alert in decider.at(9.0, other, finding(since_s=8.0)).alerts if alert.hazard is Cause.OVER_TEMPERATURE)
    assert again.id != first.id and again.standing_s == 1.0


@pytest.mark.parametrize(("cell", "told"), [(0, 1), (15, 16), (-1, None)])
def test_a_verdicts_place_is_counted_from_one_and_the_pack_has_none(cell, told):
    asked = Asked("thermal_rate", cell, 60.0, (Observed("rate", 1.31, "K/min", 6.2),))
    decision = Decider().at(1.0, verdict=verdict(cell=cell, trace=(asked,)))
    (alert,) = decision.alerts
    assert (alert.cell, alert.evidence[0].cell, decision.reasoning.cell, decision.reasoning.trace[0].cell) == (told, told, told, told)
    assert (alert.probe, alert.evidence[0].probe) == (None, None)


def test_an_alert_keeps_its_id_and_its_beginning_over_a_restart():
    before, after = Decider(), Decider()
    found = finding(rule="over_temperature", level=Level.WARNING, kind="probe", where=1, since_s=4.0)
    (alert,) = before.at(10.0, found).alerts
    after.arbiter.restore(before.arbiter.state())
    (same,) = after.at(20.0, found).alerts
    assert (same.id, same.since, same.standing_s) == (alert.id, alert.since, 16.0)
    assert not after.at(21.0).alerts, "what no one raises any more has ended"


def test_several_claims_of_a_student_stand_side_by_side_and_end_on_their_own():
    decider = Decider()
    decider.at(5.0, verdict=verdict(Cause.INTERNAL_SHORT, cell=3))
    decider.at(20.0, verdict=verdict(Cause.COOLING_FAILURE, cell=-1))
    both = decider.at(30.0, verdict=verdict(Cause.INTERNAL_SHORT, cell=3))
    assert {(alert.hazard, alert.cell) for alert in both.alerts} == {(Cause.INTERNAL_SHORT, 4), (Cause.COOLING_FAILURE, None)}
    # each is gone STUDENT_CLEAR_S after the first time that it was not repeated
    later = decider.at(31.0 + STUDENT_CLEAR_S - 1.5, verdict=verdict(Cause.INTERNAL_SHORT, cell=3))
    assert {alert.hazard for alert in later.alerts} == {Cause.INTERNAL_SHORT, Cause.COOLING_FAILURE}
    last = decider.at(31.0 + STUDENT_CLEAR_S, verdict=verdict(Cause.INTERNAL_SHORT, cell=3))
    assert {alert.hazard for alert in last.alerts} == {Cause.INTERNAL_SHORT}


def test_silence_counts_from_the_last_word():
    decider = Decider()
    decider.at(400.0, verdict=verdict(**SHORT))
    assert decider.at(400.0 + STUDENT_SILENT_S - 1.0).alerts
    assert not decider.at(400.0 + STUDENT_SILENT_S).alerts


def test_ids_and_beginnings_survive_a_restart_and_what_ended_meanwhile_is_gone():
    before = Decider()
    first = before.at(2.0, finding(since_s=1.0), finding(Cause.IMBALANCE, where=5, since_s=1.5)).alerts
    after = Decider()
    after.arbiter.restore(json.loads(json.dumps(before.arbiter.state())))
    (alert,) = after.at(10.0, finding(since_s=9.0)).alerts
    kept = next(old for old in first if old.hazard is alert.hazard)
    assert (alert.id, alert.since, alert.standing_s) == (kept.id, kept.since, 9.0)
    again = after.at(11.0, finding(since_s=9.0), finding(Cause.IMBALANCE, where=5, since_s=10.5)).alerts
    assert {new.id for new in again} & {old.id for old in first} == {kept.id}


def test_what_is_wrong_with_the_gateway_is_raised_by_the_gateway_and_asks_for_service_at_most():
    fault = dataclasses.replace(finding(Cause.GATEWAY_FAULT, Level.WARNING, Action.OPEN_CONTACTORS, kind="pack", where=-1), by="gateway")
    decision = Decider().at(1.0, fault, finding(Cause.GATEWAY_FAULT, Level.WATCH, Action.SERVICE, kind="pack", where=-1))
    assert [alert.raised_by for alert in decision.alerts] == [("gateway", "guard")]
    assert decision.command.action is Action.SERVICE
    assert {(entry.by, entry.given) for entry in decision.command.asked} == {("gateway", Action.SERVICE), ("guard", Action.SERVICE)}


@pytest.mark.parametrize(
    ("utc_ns", "text"),
    [(999_999_999, "1970-01-01T00:00:00.999Z"), (1_000_000, "1970-01-01T00:00:00.001Z"), (0, "1970-01-01T00:00:00.000Z")],
)
def test_moments_are_cut_to_milliseconds(utc_ns, text):
    assert moment(utc_ns) == text
