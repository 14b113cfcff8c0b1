"""Debounce, delay, recovery, latch: the same for every row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgebms.guard.alarms import SHOWN, Alarm
from edgebms.guard.limits import LimitRow
from edgebms.vocabulary import Action, Cause, Level

S = 1_000_000_000


def make_row(**other: Any) -> LimitRow:
    row: dict[str, Any] = {
        "name": "hot",
        "quantity": "temperature_c",
        "kind": "probe",
        "unit": "degC",
        "side": "above",
        "level": Level.WARNING,
        "hazard": Cause.OVER_TEMPERATURE,
        "action": Action.LIMIT,
        "limit": 60.0,
        "recovery": 55.0,
        "when": "always",
        "debounce": 2,
        "delay_s": 0.0,
        "recovery_s": 10.0,
        "latch": False,
    }
    return LimitRow(**row | other)


class Steps:
    """An alarm over three places, stepped at stated seconds."""

    def __init__(self, places: int = 3, **row: Any) -> None:
        self.alarm = Alarm(make_row(**row), places, 7.0)

    def __call__(self, at_s: float, *values: float, fresh: bool | list[bool] = True, gate: bool = True) -> list[bool]:
        flags = np.broadcast_to(np.asarray(fresh), (len(values),))
        self.alarm.step(np.array(values), flags, gate, round(at_s * S))
        return list(self.alarm.active)


def test_a_new_alarm_is_at_rest():
    alarm = Alarm(make_row(), 3, 7.0)
    assert not alarm.busy
    assert not alarm.active.any()
    assert alarm.findings({"probe": 3}) == []
    assert alarm.state() == {}


@pytest.mark.parametrize(("side", "quiet", "edge"), [("above", 59.99, 60.0), ("below", 60.01, 60.0)])
def test_the_edge_belongs_to_the_alarm(side, quiet, edge):
    steps = Steps(side=side, recovery=55.0 if side == "above" else 65.0, debounce=1)
    assert steps.alarm.beyond(edge)
    assert not steps.alarm.beyond(quiet)
    assert not steps.alarm.beyond(np.nan)
    assert steps(0, quiet, edge, np.nan) == [False, True, False]


@pytest.mark.parametrize(("side", "recovery", "inside"), [("above", 55.0, 54.99), ("below", 65.0, 65.01)])
def test_the_edge_of_the_recovery_is_still_outside(side, recovery, inside):
    steps = Steps(side=side, recovery=recovery, debounce=1, recovery_s=0)
    steps(0, 60.0, 60.0, 60.0)
    assert steps(1, recovery, inside, np.nan) == [True, False, True]


def test_debounce_counts_samples_in_a_row():
    steps = Steps(debounce=3)
    assert steps(0, 60.0, 60.0, 60.0) == [False] * 3
    assert steps(1, 60.0, 0.0, np.nan) == [False] * 3
    assert steps(2, 60.0, 60.0, 60.0) == [True, False, False]
    assert steps(3, 60.0, 60.0, 60.0) == [True, False, True]
    assert steps(4, 60.0, 60.0, 60.0) == [True, True, True]


def test_a_sample_seen_before_does_not_count_and_does_not_reset():
    steps = Steps(debounce=2)
    steps(0, 60.0, 60.0, 60.0)
    assert steps(1, 60.0, 60.0, 60.0, fresh=[False, True, False]) == [False, True, False]
    assert steps(2, 60.0, 60.0, 60.0) == [True, True, True]


def test_a_count_is_lost_when_the_gate_closes():
    steps = Steps(debounce=2)
    steps(0, 60.0, 60.0, 60.0)
    assert steps(1, 60.0, 60.0, 60.0, gate=False) == [False] * 3
    assert not steps.alarm.busy
    assert steps(2, 60.0, 0.0, 0.0) == [False] * 3
    assert steps.alarm.busy
    assert steps(3, 60.0, 0.0, 0.0) == [True, False, False]


def test_the_delay_runs_from_the_first_sample_of_the_row():
    steps = Steps(debounce=1, delay_s=5)
    assert steps(10, 60.0, 60.0, 0.0) == [False] * 3
    assert steps(12, 60.0, 0.0, 60.0) == [False] * 3
    assert steps(14.9, 60.0, 60.0, 60.0) == [False] * 3
    assert steps(15, 60.0, 60.0, 60.0) == [True, False, False]
    assert steps(17, 60.0, 60.0, 60.0) == [True, False, True]
    assert [finding.since_ns for finding in steps.alarm.findings({"probe": 3})] == [15 * S, 17 * S]


def test_a_gap_does_not_trip_by_itself():
    steps = Steps(debounce=1, delay_s=5)
    steps(0, 60.0, 60.0, 60.0)
    assert steps(100, np.nan, 60.0, 60.0, fresh=[True, False, True]) == [False, False, True]


def test_it_clears_after_the_recovery_time_inside():
    steps = Steps(debounce=1, recovery_s=10)
    steps(0, 60.0, 60.0, 60.0)
    assert steps(5, 54.0, 54.0, 54.0) == [True] * 3
    assert steps(8, 54.0, 57.0, np.nan) == [True] * 3
    assert steps(14.9, 54.0, 54.0, 54.0) == [True] * 3
    assert steps(15, 54.0, 54.0, 54.0) == [False, True, True]
    assert steps.alarm.busy
    assert steps(24.9, 54.0, 54.0, 54.0) == [False, False, False]
    assert not steps.alarm.busy


def test_a_recovery_that_was_broken_off_begins_anew():
    steps = Steps(debounce=1, recovery_s=10)
    steps(0, 60.0, 60.0, 60.0)
    steps(1, 54.0, 54.0, 54.0)
    steps(5, 57.0, np.nan, 54.0)
    steps(6, 54.0, 54.0, 54.0)
    assert steps(11, 54.0, 54.0, 54.0) == [True, True, False]
    assert steps(16, 54.0, 54.0, 54.0) == [False, False, False]


def test_it_clears_whatever_the_gate_says_and_trips_again_only_in_full():
    steps = Steps(debounce=2, recovery_s=0)
    steps(0, 60.0, 0.0, 0.0)
    steps(1, 60.0, 0.0, 0.0)
    assert steps(2, 60.0, 0.0, 0.0, gate=False) == [True, False, False]
    assert steps(3, 50.0, 0.0, 0.0, gate=False) == [False, False, False]
    assert steps(4, 60.0, 0.0, 0.0) == [False] * 3
    assert steps(5, 60.0, 0.0, 0.0)[0]


def test_unknown_values_neither_trip_nor_clear():
    steps = Steps(debounce=1, recovery_s=0)
    assert steps(0, 60.0, np.nan, 0.0) == [True, False, False]
    for at in range(1, 50):
        assert steps(at, np.nan, np.nan, np.nan) == [True, False, False]
    assert steps.alarm.busy


def test_the_value_told_is_the_last_one_known_while_it_stands():
    steps = Steps(debounce=2)
    steps(0, 99.0, 0.0, 0.0)
    steps(1, 61.0, 0.0, 0.0)
    (finding,) = steps.alarm.findings({"probe": 3})
    assert finding.value == 61.0
    steps(2, 58.0, 0.0, 0.0)
    steps(3, np.nan, 0.0, 0.0)
    (finding,) = steps.alarm.findings({"probe": 3})
    assert finding.value == 58.0
    assert (finding.rule, finding.level, finding.hazard, finding.action) == ("hot", Level.WARNING, Cause.OVER_TEMPERATURE, Action.LIMIT)
    assert (finding.kind, finding.where, finding.limit, finding.unit, finding.window_s) == ("probe", 0, 60.0, "degC", 7.0)
    assert (finding.since_ns, finding.latched) == (S, False)


def test_places_are_told_by_age_then_by_number_and_not_more_than_a_screen():
    places = SHOWN + 4
    steps = Steps(places=places, debounce=1)
    steps(0, *[60.0 if place == 6 else 0.0 for place in range(places)])
    steps(1, *[60.0] * places)
    findings = steps.alarm.findings({"probe": places})
    assert [finding.where for finding in findings] == [6, 0, 1, 2, 3, 4, 5, 7]


def test_places_behind_the_probes_belong_to_the_pack():
    steps = Steps(debounce=1)
    steps(0, 60.0, 60.0, 60.0)
    assert [(finding.kind, finding.where) for finding in steps.alarm.findings({"probe": 1, "cell": 9})] == [
        ("probe", 0),
        ("pack", -1),
        ("pack", -1),
    ]


def test_a_row_of_the_pack_has_no_place():
    steps = Steps(places=1, debounce=1, kind="pack")
    steps(0, 60.0)
    assert [(finding.kind, finding.where) for finding in steps.alarm.findings({"probe": 1, "cell": 9})] == [("pack", -1)]


def test_a_latch_opens_by_a_person_after_the_recovery():
    steps = Steps(debounce=1, latch=True, recovery_s=10)
    steps(0, 60.0, 60.0, 0.0)
    steps(1, 54.0, 57.0, 0.0)
    steps.alarm.acknowledge(10 * S)
    assert list(steps.alarm.active) == [True, True, False]
    assert steps(200, 54.0, 57.0, 0.0) == [True, True, False]
    assert steps.alarm.findings({"probe": 3})[0].latched
    steps.alarm.acknowledge(200 * S)
    assert list(steps.alarm.active) == [False, True, False]


def test_what_stands_survives_a_restart_as_plain_json():
    steps = Steps(debounce=1)
    steps(3, 60.5, 0.0, 70.0)
    again = Alarm(make_row(debounce=1), 3, 7.0)
    again.restore(json.loads(json.dumps(steps.alarm.state())))
    assert again.busy
    assert again.findings({"probe": 3}) == steps.alarm.findings({"probe": 3})


def test_a_value_that_was_never_known_survives_a_restart_as_unknown():
    alarm = Alarm(make_row(), 3, 7.0)
    alarm.restore({"1": {"since_ns": 5, "value": None}})
    assert alarm.state() == {"1": {"since_ns": 5, "value": None}}
    (finding,) = alarm.findings({"probe": 3})
    assert np.isnan(finding.value)


def test_places_that_are_no_longer_there_are_left_out():
    alarm = Alarm(make_row(), 2, 7.0)
    alarm.restore({"-1": {"since_ns": 1, "value": 1.0}, "2": {"since_ns": 1, "value": 1.0}})
    assert not alarm.active.any()
    alarm.restore({"9": {"since_ns": 1, "value": 1.0}, "0": {"since_ns": 1, "value": 1.0}, "1": {"since_ns": 2, "value": 1.0}})
    assert list(alarm.active) == [True, True]
