"""Limits and the contactor sequence over time."""

import math

import pytest
from decided import CARD, FLOAT_V, GRID, MAX_V, PACK, POWER, Decider, action_for, finding, make_state

from edgebms.config import PackConfig, Site
from edgebms.decision.contactor_sequence import LOW_CURRENT_A, TIMEOUT_S
from edgebms.decision.limits import CHARGE_V_RAMP_S, DERATE_S, DERATED, RISE_S
from edgebms.estimator.state import PowerLimits
from edgebms.vocabulary import Action, Cause, Contactor, Level, Mode, Restraint, SequenceStep, SiteKind

STOP = finding(Cause.OVERCHARGE, Level.WARNING, Action.STOP_CHARGE)
HALF = finding(Cause.OVER_CURRENT, Level.WARNING, Action.LIMIT)
OPEN = finding(Cause.THERMAL_RUNAWAY, Level.CRITICAL, Action.OPEN_CONTACTORS)


def test_without_an_ask_the_estimators_limits_go_out_as_they_are():
    limits = Decider().at(0.0).command.limits
    assert (limits.charge_a, limits.discharge_a, limits.charge_v, limits.discharge_v) == (80.0, 120.0, MAX_V, 40.0)
    assert limits.reasons == POWER.reasons


def test_stop_charge_is_zero_at_once_and_the_voltage_ramps_to_float_and_no_further():
    decider = Decider()
    decider.at(0.0)
    seen = [decider.at(t, STOP).command.limits for t in (1.0, 4.0, 10.0, 60.0)]
    assert [limits.charge_a for limits in seen] == [0.0] * 4
    assert [limits.discharge_a for limits in seen] == [120.0] * 4
    step_v = (MAX_V - FLOAT_V) / CHARGE_V_RAMP_S
    assert [limits.charge_v for limits in seen] == pytest.approx([MAX_V - step_v, MAX_V - 4 * step_v, FLOAT_V, FLOAT_V])
    back = [decider.at(t).command.limits for t in (62.0, 70.0, 100.0)]
    assert [limits.charge_a for limits in back] == pytest.approx([80.0 * 2 / RISE_S, 80.0 * 10 / RISE_S, 80.0])
    assert [limits.charge_v for limits in back] == pytest.approx([FLOAT_V + 2 * step_v, MAX_V, MAX_V])


def test_the_first_decision_is_said_without_ramps():
    assert Decider().at(0.0, STOP).command.limits.charge_v == FLOAT_V
    assert Decider().at(0.0, HALF).command.limits.discharge_a == 120.0 * DERATED
    assert Decider().at(0.0).command.limits.charge_v == MAX_V


def test_small_limits_are_limits_too():
    small = make_state(limits=PowerLimits(0.25, 0.5, MAX_V, 40.0))
    limits = Decider().at(0.0, state=small).command.limits
    assert (limits.charge_a, limits.discharge_a) == (0.25, 0.5)


def test_an_estimator_that_lowers_its_voltage_is_followed_at_once_and_up_again_on_the_ramp():
    decider, step_v = Decider(), (MAX_V - FLOAT_V) / CHARGE_V_RAMP_S
    lower = make_state(limits=PowerLimits(80.0, 120.0, MAX_V - 2.0, 40.0))
    decider.at(0.0)
    assert decider.at(1.0, state=lower).command.limits.charge_v == MAX_V - 2.0
    assert decider.at(2.0).command.limits.charge_v == pytest.approx(MAX_V - 2.0 + step_v)


def test_limit_halves_both_currents_on_a_ramp():
    decider = Decider()
    decider.at(0.0)
    seen = [decider.at(t, HALF).command.limits for t in (0.5, 1.0, 9.0)]
    assert [limits.charge_a for limits in seen] == pytest.approx([80.0 * (1 - 0.5 / DERATE_S), 80.0 * DERATED, 80.0 * DERATED])
    assert seen[-1].discharge_a == 120.0 * DERATED and "derated" in seen[-1].reasons
    assert decider.at(9.0 + RISE_S / 4).command.limits.discharge_a == pytest.approx(120.0 * (DERATED + 0.25))


def test_stop_discharge_by_command_takes_the_discharge_alone():
    limits = Decider().at(0.0, finding(Cause.OVER_DISCHARGE, Level.WARNING, Action.STOP_DISCHARGE)).command.limits
    assert (limits.charge_a, limits.discharge_a) == (80.0, 0.0) and "discharge_stopped" in limits.reasons


def test_time_that_goes_back_moves_nothing_back():
    decider = Decider()
    decider.at(10.0, STOP)
    assert decider.at(5.0).command.limits.charge_a == 0.0


@pytest.mark.parametrize(
    ("base", "charge_v", "discharge_v"),
    [
        (PowerLimits(80.0, 120.0, 0.0, 0.0), FLOAT_V, 40.0),
        (PowerLimits(-5.0, math.inf, math.nan, math.nan), FLOAT_V, 40.0),
        (PowerLimits(80.0, 120.0, 1e6, 48.0), MAX_V, 48.0),
    ],
)
def test_limits_that_make_no_sense_do_not_leave(base, charge_v, discharge_v):
    limits = Decider().at(0.0, state=make_state(limits=base)).command.limits
    assert (limits.charge_v, limits.discharge_v) == (charge_v, discharge_v)
    assert limits.charge_a == max(base.charge_a, 0.0)
    assert limits.discharge_a == (base.discharge_a if math.isfinite(base.discharge_a) else 0.0)


# ---- opening the contactors


def test_opening_takes_the_current_away_waits_and_opens():
    decider = Decider()
    first = decider.at(0.0, OPEN, current_a=-40.0)
    assert (first.command.action, first.command.mode) == (Action.STOP_DISCHARGE, Mode.COMMAND)
    assert first.command.limits.charge_a == first.command.limits.discharge_a == 0.0
    assert first.command.sequence.step is SequenceStep.LOWERING and first.command.sequence.under_load is None
    entry = action_for(first, Action.OPEN_CONTACTORS)
    assert (entry.given, entry.reason) == (Action.STOP_DISCHARGE, Restraint.LOWERING_CURRENT)
    above = decider.at(1.0, OPEN, current_a=-LOW_CURRENT_A - 0.01)
    assert above.command.sequence.step is SequenceStep.LOWERING and above.command.sequence.elapsed_s == 1.0
    low = decider.at(2.0, OPEN, current_a=LOW_CURRENT_A)
    assert (low.command.action, low.command.mode) == (Action.OPEN_CONTACTORS, Mode.COMMAND)
    assert low.command.sequence.step is SequenceStep.OPEN and low.command.sequence.under_load is False
    assert action_for(low, Action.OPEN_CONTACTORS).reason is None
    done = decider.at(3.0, OPEN, current_a=0.0, contactors=Contactor.OPEN)
    assert done.command.sequence.step is SequenceStep.OPENED and done.command.action is Action.OPEN_CONTACTORS
    assert done.command.limits.discharge_a == 0.0


@pytest.mark.parametrize(("current_a", "under_load"), [(-40.0, True), (float("nan"), None)])
def test_a_current_that_does_not_fall_is_opened_after_the_time_out_and_said(current_a, under_load):
    decider = Decider()
    decider.at(0.0, OPEN, current_a=current_a)
    assert decider.at(TIMEOUT_S - 0.1, OPEN, current_a=current_a).command.sequence.step is SequenceStep.LOWERING
    late = decider.at(TIMEOUT_S, OPEN, current_a=current_a).command
    assert late.action is Action.OPEN_CONTACTORS
    assert (late.sequence.step, late.sequence.under_load) == (SequenceStep.OPEN, under_load)
    again = decider.at(TIMEOUT_S + 0.5, OPEN, current_a=current_a).command
    assert (again.action, again.sequence.step) == (Action.OPEN_CONTACTORS, SequenceStep.OPEN), "told until the bus says that it is done"
    # what was switched under load stays said, though the current is gone afterwards
    assert decider.at(TIMEOUT_S + 1, OPEN, current_a=0.0, contactors=Contactor.OPEN).command.sequence.under_load is under_load


def test_contactors_that_are_open_already_stay_open_without_waiting():
    command = Decider().at(0.0, OPEN, current_a=0.0, contactors=Contactor.OPEN).command
    assert command.action is Action.OPEN_CONTACTORS
    assert (command.sequence.step, command.sequence.under_load) == (SequenceStep.OPENED, False)


def test_contactors_that_close_again_are_told_again():
    decider = Decider()
    decider.at(0.0, OPEN, current_a=0.0, contactors=Contactor.OPEN)
    command = decider.at(1.0, OPEN, current_a=30.0, contactors=Contactor.CLOSED).command
    assert command.sequence.step is SequenceStep.OPEN and command.action is Action.OPEN_CONTACTORS


def test_a_request_that_ends_ends_the_sequence_and_the_next_one_starts_anew():
    decider = Decider()
    decider.at(0.0, OPEN, current_a=-40.0)
    decider.at(TIMEOUT_S, OPEN, current_a=-40.0)
    cleared = decider.at(TIMEOUT_S + 1, current_a=-40.0)
    assert cleared.command.sequence is None and cleared.command.action is Action.NONE
    again = decider.at(TIMEOUT_S + 2, OPEN, current_a=-40.0).command
    assert again.sequence.step is SequenceStep.LOWERING
    assert (again.sequence.elapsed_s, again.sequence.under_load) == (0.0, None)


def test_where_opening_is_advice_there_is_no_sequence():
    command = Decider(Site(SiteKind.ISLANDED)).at(0.0, OPEN, current_a=-40.0).command
    assert (command.action, command.mode, command.sequence) == (Action.OPEN_CONTACTORS, Mode.ADVICE, None)
    assert command.limits.discharge_a == 120.0


def test_a_large_pack_has_a_larger_low_current():
    large = PackConfig(name="big", profile="edgebms", card="test", cells=16, probes=4, parallel=100)
    command = Decider(GRID, pack=large).at(0.0, OPEN, current_a=-40.0).command
    assert command.sequence.low_current_a == 0.01 * CARD.capacity_ah * 100
    assert Decider().at(0.0, OPEN, current_a=-40.0).command.sequence.low_current_a == LOW_CURRENT_A


@pytest.mark.parametrize(
    ("period_s", "told_s", "expires_ms"), [(None, None, 2000), (0.1, None, 2000), (30.0, None, 90000), (None, 5.4, 16200), (1.0, 5.4, 3000)]
)
def test_a_decision_outlives_one_lost_sweep(period_s, told_s, expires_ms):
    pack = PackConfig(name=PACK.name, profile="edgebms", card="test", cells=16, probes=4, period_s=period_s)
    assert Decider(GRID, pack=pack, period_s=told_s).at(0.0).expires_ms == expires_ms
