"""Who may cause what: the table, and what an arbiter makes of it for every site, action and asker."""

import itertools

import pytest
from decided import (
    FLOAT_V,
    LIMITS,
    PACK,
    Decider,
    action_for,
    finding,
    findings,
    make_state,
    sites,
    snapshots,
    states,
    verdict,
    verdicts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebms.config import Site
from edgebms.decision.authority import (
    HARMS_THE_SITE,
    MAY_CAUSE,
    RANK,
    STUDENT_ASKS,
    SUSPECTS_A_SHORT,
    TAKES_THE_POWER,
    WANTS_COOLING,
    By,
    permit,
    student_asks,
)
from edgebms.telemetry.snapshot import Extreme, Extremes
from edgebms.vocabulary import Action, Cause, Level, Mode, Reason, Restraint, SiteKind

STUDENTS_MOST = {Action.NONE, Action.SERVICE, Action.COOL, Action.LIMIT, Action.STOP_CHARGE}
DECLARED = [
    Site(kind, stop_discharge=discharge, open_contactors=contactors)
    for kind, discharge, contactors in itertools.product(SiteKind, [None, *Mode], [None, *Mode])
]


def test_the_table_names_every_action_and_is_designs():
    assert set(MAY_CAUSE) == set(Action)
    assert {action for action in Action if By.REASONER in MAY_CAUSE[action]} == STUDENTS_MOST
    assert MAY_CAUSE[Action.BALANCE] == {By.ESTIMATOR}
    assert MAY_CAUSE[Action.STOP_DISCHARGE] == MAY_CAUSE[Action.OPEN_CONTACTORS] == {By.GUARD}
    assert set(HARMS_THE_SITE) == {SiteKind.NOT_STATED, SiteKind.ISLANDED, SiteKind.VEHICLE_IN_MOTION}


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("by", list(By))
def test_no_one_gets_more_than_the_table_gives_anywhere(action, by):
    for site in DECLARED:
        given_action, mode, restraint = permit(action, by, site)
        assert by in MAY_CAUSE[given_action]
        assert RANK[given_action] <= RANK[action]
        assert (restraint is None) == (given_action is action and (mode is Mode.COMMAND))
        if given_action not in TAKES_THE_POWER:
            assert mode is not Mode.ADVICE
            continue
        rule = site.stop_discharge if given_action is Action.STOP_DISCHARGE else site.open_contactors
        assert mode is (rule or (Mode.ADVICE if site.kind in HARMS_THE_SITE else Mode.COMMAND))


@pytest.mark.parametrize("cause", list(Cause))
def test_what_a_student_asks_for_rises_with_the_level(cause):
    asked = [RANK[student_asks(cause, level)] for level in Level]
    assert asked == sorted(asked) and asked[0] == 0
    assert asked[1] > 0
    assert all(len(row) == 3 for row in STUDENT_ASKS.values())


@pytest.mark.parametrize("cause", list(Cause))
def test_a_verdict_alone_never_causes_more_than_it_may_at_any_site(cause):
    for site, severity in itertools.product(DECLARED, Level):
        decision = Decider(site).at(0.0, verdict=verdict(cause, severity))
        assert decision.command.action in STUDENTS_MOST
        assert decision.command.mode is Mode.COMMAND
        assert decision.command.sequence is None
        assert decision.command.limits.discharge_a > 0.0
        for entry in decision.command.asked:
            assert entry.by == "reasoner" and entry.given in STUDENTS_MOST


def test_what_a_student_may_not_is_said():
    decision = Decider().at(0.0, verdict=verdict(Cause.INTERNAL_SHORT, Level.CRITICAL))
    entry = action_for(decision, Action.OPEN_CONTACTORS)
    assert (entry.by, entry.given, entry.mode, entry.reason) == ("reasoner", Action.STOP_CHARGE, Mode.COMMAND, Restraint.NEEDS_GUARD)
    assert entry.alert == decision.alerts[0].id
    assert decision.command.action is Action.STOP_CHARGE
    assert decision.command.limits.charge_a == 0.0 and decision.command.limits.charge_v >= FLOAT_V


def test_a_guard_that_asks_to_balance_is_refused():
    decision = Decider().at(0.0, finding(Cause.IMBALANCE, Level.WATCH, Action.BALANCE))
    entry = action_for(decision, Action.BALANCE)
    assert (entry.given, entry.mode, entry.reason) == (Action.NONE, None, Restraint.NEEDS_ESTIMATOR)
    assert decision.command.action is Action.NONE and decision.command.balance == ()


@pytest.mark.parametrize("kind", list(SiteKind))
@pytest.mark.parametrize("action", sorted(TAKES_THE_POWER))
def test_taking_the_power_away_is_advice_where_it_may_harm(kind, action):
    decision = Decider(Site(kind=kind)).at(0.0, finding(Cause.GATEWAY_FAULT, Level.CRITICAL, action), current_a=-0.5)
    command = decision.command
    assert command.action is action
    if kind in HARMS_THE_SITE:
        assert command.mode is Mode.ADVICE
        assert action_for(decision, action).reason is HARMS_THE_SITE[kind]
        assert command.limits.discharge_a == 120.0, "a limit of 0 would be the command that only advice was allowed"
        assert command.sequence is None
    else:
        assert command.mode is Mode.COMMAND and command.limits.discharge_a == 0.0


def test_the_sites_own_rule_goes_before_its_kind():
    moving = Site(SiteKind.VEHICLE_IN_MOTION, open_contactors=Mode.COMMAND)
    assert Decider(moving).at(0.0, finding(action=Action.OPEN_CONTACTORS), current_a=0.0).command.mode is Mode.COMMAND
    careful = Site(SiteKind.GRID_TIED, open_contactors=Mode.ADVICE)
    decision = Decider(careful).at(0.0, finding(action=Action.OPEN_CONTACTORS))
    assert decision.command.mode is Mode.ADVICE
    assert action_for(decision, Action.OPEN_CONTACTORS).reason is Restraint.SITE_RULE


def test_where_opening_is_only_advised_charging_stops_by_command():
    island = Site(SiteKind.ISLANDED)
    hot = Decider(island).at(0.0, finding(Cause.THERMAL_RUNAWAY, Level.CRITICAL, Action.OPEN_CONTACTORS))
    assert hot.command.limits.charge_a == 0.0 and "charge_stopped" in hot.command.limits.reasons
    empty = Decider(island).at(0.0, finding(Cause.OVER_DISCHARGE, Level.CRITICAL, Action.OPEN_CONTACTORS))
    assert empty.command.limits.charge_a == 80.0, "charging is the way out of an over-discharge"


def test_the_strongest_goes_out_and_the_weaker_still_hold():
    decision = Decider(Site(SiteKind.ISLANDED)).at(
        0.0,
        finding(Cause.OVERCHARGE, Level.WARNING, Action.STOP_CHARGE, where=1),
        finding(Cause.OVER_DISCHARGE, Level.WARNING, Action.STOP_DISCHARGE, where=2),
    )
    assert (decision.command.action, decision.command.mode) == (Action.STOP_DISCHARGE, Mode.ADVICE)
    assert decision.command.limits.charge_a == 0.0
    assert [entry.action for entry in decision.command.asked] == [Action.STOP_DISCHARGE, Action.STOP_CHARGE]


# ---- forbidden, whatever anyone says


@pytest.mark.parametrize(
    ("telemetry", "reason"),
    [
        ({"temperature_c": [25.0, 25.0, -0.5, 25.0]}, "charge_too_cold"),
        ({"temperature_c": float("nan")}, "charge_temperature_unknown"),
        ({"temperature_c": 10.0, "extremes": Extremes(temperature_min_c=Extreme(-3.0, -1, 0.0, Reason.VALID))}, "charge_too_cold"),
    ],
)
def test_no_charging_below_the_minimum_temperature_or_with_none_known(telemetry, reason):
    limits = Decider().at(0.0, **telemetry).command.limits
    assert limits.charge_a == 0.0 and limits.charge_v == FLOAT_V and reason in limits.reasons
    assert limits.discharge_a == 120.0


def test_charging_at_the_minimum_temperature_is_allowed():
    limits = Decider().at(0.0, temperature_c=LIMITS.charge_temperature_min_c).command.limits
    assert limits.charge_a == 80.0


def test_balancing_comes_from_the_estimator_and_leaves_a_suspect_out():
    state = make_state(balance=(2, 3, 7))
    decision = Decider().at(0.0, state=state)
    assert decision.command.action is Action.BALANCE and decision.command.balance == (3, 4, 8)
    assert action_for(decision, Action.BALANCE).reason is None
    suspicious = Decider().at(0.0, finding(Cause.MICRO_SHORT, Level.WATCH, Action.SERVICE, where=3), state=state)
    assert suspicious.command.balance == (3, 8)
    assert action_for(suspicious, Action.BALANCE).reason is Restraint.SUSPECTED_SHORT
    only = Decider().at(0.0, verdict=verdict(Cause.INTERNAL_SHORT, Level.NONE, cell=3), state=make_state(balance=(3,)))
    entry = action_for(only, Action.BALANCE)
    assert only.command.balance == () and (entry.given, entry.mode) == (Action.NONE, None)
    assert only.command.action is Action.NONE and only.alerts == ()


@pytest.mark.parametrize(("kind", "where"), [("pack", -1), ("probe", 0)])
def test_a_short_that_is_not_placed_at_a_cell_stops_all_balancing(kind, where):
    decision = Decider().at(
        0.0, finding(Cause.THERMAL_RUNAWAY, Level.WATCH, Action.SERVICE, kind=kind, where=where), state=make_state(balance=(0, 9))
    )
    assert decision.command.balance == ()
    unplaced = Decider().at(0.0, verdict=verdict(Cause.INTERNAL_SHORT, Level.WATCH, cell=-1), state=make_state(balance=(0, 9)))
    assert unplaced.command.balance == ()


def test_cooling_is_asked_for_under_a_thermal_alert_whatever_else_is():
    hot = finding(Cause.OVER_TEMPERATURE, Level.WATCH, Action.COOL, kind="probe", where=1)
    assert Decider().at(0.0, hot).command.cool
    assert Decider().at(0.0, hot, finding(Cause.OVERCHARGE, Level.WARNING, Action.STOP_CHARGE)).command.cool
    assert Decider().at(0.0, finding(Cause.GATEWAY_FAULT, Level.WATCH, Action.COOL)).command.cool
    assert not Decider().at(0.0).command.cool
    assert not Decider().at(0.0, finding(Cause.IMBALANCE, Level.WATCH, Action.SERVICE)).command.cool


@settings(max_examples=80, deadline=None)
@given(
    sites,
    st.lists(
        st.tuples(st.floats(0, 12), snapshots(), st.lists(findings(), max_size=4), states(), st.none() | verdicts()), min_size=1, max_size=4
    ),
)
def test_the_forbidden_list_holds_whatever_the_parts_say(site, steps):
    decider, time_s = Decider(site), 0.0
    for wait_s, snapshot, found, state, spoken in steps:
        time_s += wait_s
        decision = decider.at(time_s, *found, snapshot=snapshot, state=state, verdict=spoken)
        command, limits = decision.command, decision.command.limits
        # charging below the minimum temperature
        coldest_c = decision.measured.temperature_c.min
        if coldest_c is None or coldest_c < LIMITS.charge_temperature_min_c:
            assert limits.charge_a == 0.0
        # charge voltage
        assert FLOAT_V <= limits.charge_v <= PACK.cells * LIMITS.voltage_max_v
        assert limits.discharge_v >= PACK.cells * LIMITS.voltage_min_v
        # balancing a suspect, or without the estimator
        assert {cell - 1 for cell in command.balance} <= set(state.balance)
        for alert in decision.alerts:
            if alert.hazard in SUSPECTS_A_SHORT:
                assert alert.cell not in command.balance if alert.cell is not None else not command.balance
            # cooling off under a thermal alert
            assert command.cool or alert.hazard not in WANTS_COOLING
        # authority: what takes the power away needs a guard that asked, and a site that allows the command
        asked_by_guard = {entry.action for entry in found}
        if limits.discharge_a == 0.0 and limits.charge_a == 0.0 and "discharge_stopped" in limits.reasons:
            assert asked_by_guard & TAKES_THE_POWER
        if command.action in TAKES_THE_POWER:
            assert asked_by_guard & TAKES_THE_POWER
        if command.sequence is not None:
            assert permit(Action.OPEN_CONTACTORS, By.GUARD, site).mode is Mode.COMMAND


def test_an_ask_is_told_with_the_gravest_alert_that_asks_for_it():
    decision = Decider().at(
        0.0,
        finding(Cause.IMBALANCE, Level.WATCH, Action.SERVICE, where=1),
        finding(Cause.OVERCHARGE, Level.WARNING, Action.STOP_CHARGE, where=2),
        finding(Cause.OVERCHARGE, Level.CRITICAL, Action.STOP_CHARGE, where=9),
        finding(Cause.INSULATION, Level.WATCH, Action.NONE, kind="pack", where=-1),
    )
    assert [(entry.action, entry.alert) for entry in decision.command.asked] == [
        (Action.STOP_CHARGE, "rack-3/overcharge/cell-10/0"),
        (Action.SERVICE, "rack-3/imbalance/cell-2/0"),
    ]


@pytest.mark.parametrize(("cell", "left"), [(0, (10,)), (9, (1,)), (-1, ())])
def test_a_suspicion_without_an_alert_stops_balancing_too(cell, left):
    decision = Decider().at(0.0, verdict=verdict(Cause.INTERNAL_SHORT, Level.NONE, cell=cell), state=make_state(balance=(0, 9)))
    assert decision.command.balance == left
