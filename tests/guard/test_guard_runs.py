"""What the guard says over runs of snapshots."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import Guarded, make_pack, rules
from snapshots import blind_snapshot, make_snapshot

from edgebms.telemetry.snapshot import Extreme, Extremes
from edgebms.vocabulary import Action, Cause, Level, Reason


def test_a_healthy_pack_has_no_findings():
    guarded = Guarded(96, 24)
    for current in (0.0, 30.0, -80.0, 0.0):
        assert guarded.run(120, current_a=current) == ()


def test_nothing_is_said_before_the_first_valid_snapshot_then_that_none_came():
    guarded = Guarded(pack=make_pack(startup_s=10.0))
    for i in range(10):
        assert guarded.give(blind_snapshot(time_s=float(i))) == (), i
    (finding, *_) = guarded.give(blind_snapshot(time_s=10.0))
    assert (finding.rule, finding.hazard) == ("no_data_since_start", Cause.LOSS_OF_DATA)


def test_a_pack_that_never_completes_is_still_judged():
    guarded = Guarded(pack=make_pack(startup_s=10.0))
    voltage = np.full(16, 4.5)
    voltage[3] = np.nan
    assert guarded.run(9, voltage_v=voltage, complete=False) == ()
    assert {"no_data_since_start", "cell_lost", "cell_over_voltage_critical"} <= rules(guarded.run(20, voltage_v=voltage, complete=False))


def test_81_of_96_cells_is_an_alert():
    guarded = Guarded(96, 24)
    voltage = np.full(96, 3.7)
    guarded.run(5, voltage_v=voltage)
    voltage[81:] = np.nan
    findings = guarded.run(20, voltage_v=voltage)
    assert rules(findings) == {"cell_lost"}
    assert {finding.level for finding in findings} == {Level.WARNING}
    assert findings[0].where == 81


def test_all_cells_stale_is_loss_of_data_and_never_low_voltage():
    guarded = Guarded()
    guarded.run(10)
    for i in range(60):
        findings = guarded.give(blind_snapshot(time_s=110.0 + i, since_s=float(i)))
        assert {finding.hazard for finding in findings} <= {Cause.LOSS_OF_DATA}
    assert "pack_blind" in rules(findings)
    guarded.time_s = 200.0
    assert guarded.run(60) == ()


def test_an_alert_is_not_resolved_by_loss_of_data():
    guarded = Guarded()
    guarded.run(10)
    assert "over_temperature" in rules(guarded.run(20, temperature_c=62.0))
    for i in range(1000):
        findings = guarded.give(blind_snapshot(time_s=130.0 + i, since_s=float(i)))
    assert {"over_temperature", "blind_in_alert"} <= rules(findings)
    guarded.time_s = 1200.0
    assert guarded.run(120) == ()


def test_one_spike_is_survived():
    guarded = Guarded(96, 24)
    guarded.run(30)
    for spike in (0.0, 62.9, 3.04, 4.4):
        voltage = np.full(96, 3.7)
        voltage[40] = spike
        assert guarded.show(voltage_v=voltage) == ()
        assert guarded.run(30) == ()


def test_runaway_in_one_cell():
    guarded = Guarded(16, 16)
    guarded.run(60)
    temperature, voltage = np.full(16, 25.0), np.full(16, 3.7)
    seen = {}
    for i in range(60):
        temperature[5] += 2.0
        if i >= 10:
            voltage[5] = 2.0
        for finding in guarded.show(voltage_v=voltage, temperature_c=temperature):
            seen.setdefault(finding.rule, (i, finding))
    at, finding = seen["thermal_runaway"]
    assert at <= 12
    assert (finding.level, finding.action, finding.where, finding.kind) == (Level.CRITICAL, Action.OPEN_CONTACTORS, 5, "cell")
    assert finding.value == pytest.approx(2.0)
    # latched through loss of data and through cooling down
    guarded.period_s = 10.0
    assert "thermal_runaway" in rules(guarded.run(3600, temperature_c=np.nan))
    assert not guarded.guard.acknowledge("thermal_runaway", round(guarded.time_s * 1e9))
    assert "thermal_runaway" in rules(guarded.run(8000))
    assert guarded.guard.acknowledge("thermal_runaway", round(guarded.time_s * 1e9))
    assert guarded.show() == ()


def test_a_lone_step_of_a_probe_is_no_runaway():
    guarded = Guarded(16, 16, period_s=0.2)
    guarded.run(30)
    temperature = np.full(16, 25.0)
    temperature[5] = 95.0
    assert not {"thermal_runaway", "fast_rise"} & rules(guarded.run(30, temperature_c=temperature))


def test_a_saturated_probe_says_that_its_rate_is_frozen():
    guarded = Guarded(16, 4)
    guarded.run(10)
    temperature = np.array([25.0, np.nan, 25.0, 25.0])
    findings = guarded.run(5, temperature_c=temperature, temperature_reason=[0, Reason.SATURATED, 0, 0])
    assert "probe_saturated" in rules(findings)


def test_latched_findings_survive_a_restart():
    guarded = Guarded(16, 16)
    guarded.run(10)
    guarded.run(5, current_a=-400.0)
    kept = guarded.guard.state()
    again = Guarded(16, 16)
    again.guard.restore(kept)
    assert "external_short" in rules(again.give(make_snapshot(16, 16, time_s=1.0)))


# ---- the guard as a whole


def test_startup_time_is_counted_from_the_first_step():
    guarded = Guarded(pack=make_pack(startup_s=10.0))
    assert guarded.give(blind_snapshot(time_s=1000.0)) == ()
    assert guarded.give(blind_snapshot(time_s=1009.9)) == ()
    assert rules(guarded.give(blind_snapshot(time_s=1010.0))) == {"no_data_since_start"}
    for at in range(1011, 1019):
        assert "blind_in_alert" not in rules(guarded.give(blind_snapshot(time_s=float(at))))
    guarded.time_s = 1020.0
    guarded.show()
    assert "no_data_since_start" not in rules(guarded.show())


def test_a_first_snapshot_that_is_incomplete_is_not_judged():
    guarded = Guarded()
    assert guarded.run(5, voltage_v=4.5, complete=False) == ()
    assert "cell_over_voltage_critical" in rules(guarded.run(5, voltage_v=4.5))


def test_a_complete_snapshot_without_a_valid_cell_is_not_valid():
    guarded = Guarded(pack=make_pack(startup_s=5.0))
    assert guarded.run(5, voltage_v=np.nan) == ()
    assert "no_data_since_start" in rules(guarded.run(2, voltage_v=np.nan))


def test_an_old_sample_is_not_its_own_confirmation():
    guarded = Guarded()
    guarded.run(10, voltage_v=4.29)
    voltage, age = np.full(16, 4.29), np.zeros(16)
    voltage[3] = 4.35
    guarded.show(voltage_v=voltage)
    for step in range(1, 30):
        age[3] = step
        assert "cell_over_voltage_critical" not in rules(guarded.show(voltage_v=voltage, cell_age_s=age))
    assert "cell_over_voltage_critical" in rules(guarded.show(voltage_v=voltage))


def test_a_pack_of_one_cell():
    guarded = Guarded(1, 1)
    assert guarded.run(10) == ()
    assert "cell_over_voltage_critical" in rules(guarded.run(10, voltage_v=4.5))


def test_once_valid_an_incomplete_snapshot_is_judged():
    guarded = Guarded()
    guarded.run(5)
    assert "cell_over_voltage_critical" in rules(guarded.run(5, voltage_v=4.5, complete=False))


def test_a_pack_that_goes_blind_without_an_alert_is_not_critical():
    guarded = Guarded()
    guarded.run(10)
    assert "blind_in_alert" not in rules(guarded.run(100, voltage_v=np.nan))


def test_a_watch_before_the_loss_does_not_make_it_critical():
    guarded = Guarded()
    guarded.run(10)
    assert {"over_temperature_watch"} == rules(guarded.run(30, temperature_c=57.0))
    findings = guarded.run(100, voltage_v=np.nan, temperature_c=57.0)
    assert "blind_in_alert" not in rules(findings)


def test_another_hazard_before_the_loss_does_not_make_it_critical():
    guarded = Guarded()
    guarded.run(10)
    assert "cell_over_voltage_critical" in rules(guarded.run(10, voltage_v=4.5))
    assert "blind_in_alert" not in rules(guarded.run(100, voltage_v=np.nan))


def test_findings_come_in_the_rows_order():
    guarded = Guarded()
    guarded.run(10)
    findings = guarded.run(60, voltage_v=4.5, temperature_c=85.0)
    order = [row.name for row in guarded.rows]
    places = [order.index(finding.rule) for finding in findings]
    assert places == sorted(places)
    assert len({finding.rule for finding in findings}) > 4


def test_acknowledging_does_not_open_what_still_holds():
    guarded = Guarded()
    guarded.run(10)
    guarded.run(5, current_a=-400.0)
    at = round(guarded.time_s * 1e9)
    assert not guarded.guard.acknowledge("external_short", at)
    assert guarded.guard.acknowledge("gas", at)
    assert guarded.guard.acknowledge("no_such_rule", at)
    guarded.run(60)
    assert guarded.guard.acknowledge("external_short", round(guarded.time_s * 1e9))
    assert guarded.show() == ()


def test_what_is_latched_is_told_and_nothing_else():
    guarded = Guarded()
    guarded.run(10)
    assert guarded.guard.latched() == ()
    guarded.run(5, current_a=-400.0, voltage_v=4.5)
    assert len(guarded.show()) > 1
    assert [row.name for row in guarded.guard.latched()] == ["external_short"]
    guarded.run(60)
    assert [row.name for row in guarded.guard.latched()] == ["external_short"], "over, and not yet seen by anyone"
    guarded.guard.acknowledge("external_short", round(guarded.time_s * 1e9))
    assert guarded.guard.latched() == ()


def test_acknowledging_says_whether_all_of_it_is_gone():
    guarded = Guarded(4, 4, period_s=60.0)
    guarded.run(60)
    guarded.guard.restore({"thermal_runaway": {"1": {"since_ns": 0, "value": 2.0}, "2": {"since_ns": 0, "value": 2.0}}})
    temperature = np.array([25.0, 25.0, np.nan, 25.0])
    guarded.run(7400, temperature_c=temperature)
    at = round(guarded.time_s * 1e9)
    assert not guarded.guard.acknowledge("thermal_runaway", at)
    assert list(guarded.guard.state()["thermal_runaway"]) == ["2"]


def test_the_state_holds_what_stands_and_nothing_else():
    guarded = Guarded()
    guarded.run(10)
    assert guarded.guard.state() == {}
    guarded.run(5, current_a=-400.0)
    assert list(guarded.guard.state()) == ["external_short"]
    guarded.guard.restore({"row_that_is_gone": {"0": {"since_ns": 0, "value": 1.0}}})
    assert list(guarded.guard.state()) == ["external_short"]


def test_one_pack_s_guard_knows_nothing_of_another_s():
    first, second = Guarded(), Guarded()
    first.run(10)
    second.run(10)
    first.run(10, temperature_c=85.0)
    assert second.run(10) == ()


def test_the_broadcast_maximum_of_a_pack_without_cell_voltages_is_judged():
    guarded = Guarded(4, 0)
    extremes = Extremes(voltage_max_v=Extreme(4.5, -1, 0.0, Reason.VALID))
    for _ in range(6):  # at once: what the bus has to say came, and it is valid
        findings = guarded.show(voltage_v=np.nan, cell_reason=[Reason.NOT_IN_PROFILE] * 4, extremes=extremes)
    assert "cell_over_voltage_critical" in rules(findings)
    (finding,) = [finding for finding in findings if finding.rule == "cell_over_voltage_critical"]
    assert (finding.kind, finding.where) == ("pack", -1)


def test_a_probe_that_vanishes_while_rising_fast_does_not_clear_the_alert():
    guarded = Guarded(16, 16)
    guarded.run(10)
    temperature = np.full(16, 25.0)
    for _ in range(8):
        temperature[5] += 2.0
        guarded.show(temperature_c=temperature)
    temperature[5] = np.nan
    guarded.period_s = 10.0
    assert "fast_rise" in rules(guarded.run(3000, temperature_c=temperature))
    temperature[5] = 25.0
    assert "fast_rise" not in rules(guarded.run(120, temperature_c=temperature))


def test_a_broken_sense_wire_is_one_alert_and_no_voltage_alarm():
    guarded = Guarded(96, 24)
    guarded.run(10)
    voltage = np.full(96, 3.7)
    voltage[40], voltage[41] = 1.0, 6.4
    findings = guarded.run(60, voltage_v=voltage)
    assert rules(findings) == {"sense_fault"}
    assert [finding.where for finding in findings] == [40, 41]


def test_a_dead_cell_is_low_voltage():
    guarded = Guarded(96, 24)
    guarded.run(10)
    voltage = np.full(96, 3.7)
    voltage[40] = 0.2
    findings = guarded.run(60, voltage_v=voltage, pack_voltage_v=95 * 3.7 + 0.2)
    assert "cell_under_voltage_critical" in rules(findings)
    assert "sense_fault" not in rules(findings)


def test_a_misread_cell_is_a_sensor():
    guarded = Guarded(96, 24)
    guarded.run(10)
    voltage = np.full(96, 3.7)
    voltage[40] = 0.2
    assert rules(guarded.run(60, voltage_v=voltage, pack_voltage_v=96 * 3.7)) == {"sense_fault"}


def test_quantised_data_at_rest_is_quiet():
    guarded = Guarded(96, 24, period_s=10.0)
    rng = np.random.default_rng(0)
    offset = rng.normal(0, 0.02, 96)
    for _ in range(2000):
        voltage = np.round(3.7 + offset + rng.normal(0, 0.001, 96), 3)
        temperature = np.round(25.5 + rng.normal(0, 0.1, 24))
        assert guarded.show(voltage_v=voltage, temperature_c=temperature, current_a=np.round(rng.normal(0, 0.2), 1)) == ()


NO_CELLS = {"voltage_v": np.nan, "cell_reason": [Reason.NOT_IN_PROFILE] * 16}


def broadcast_v(value: float) -> Extremes:
    reason = Reason.VALID if np.isfinite(value) else Reason.STALE
    return Extremes(voltage_min_v=Extreme(value, -1, 0.0, reason), voltage_max_v=Extreme(value, -1, 0.0, reason))


@pytest.mark.parametrize("told", [{"pack_voltage_v": 59.2}, {"pack_voltage_v": None, "extremes": broadcast_v(3.7)}])
def test_a_bus_without_single_cells_is_watched_by_what_it_says(told):
    guarded = Guarded(pack=make_pack(startup_s=10.0))
    assert guarded.run(60, **NO_CELLS, **told) == ()
    gone = {"pack_voltage_v": np.nan, "extremes": broadcast_v(np.nan)}
    assert "pack_blind" in rules(guarded.run(60, **NO_CELLS, **gone))
    assert guarded.run(120, **NO_CELLS, **told) == ()


def test_a_pack_voltage_alone_is_no_sight_of_cells_that_the_bus_owes():
    guarded = Guarded(pack=make_pack(startup_s=10.0))
    findings = guarded.run(30, voltage_v=np.nan, pack_voltage_v=59.2)
    assert "no_data_since_start" in rules(findings) and "pack_blind" in rules(findings)


def test_a_healthy_pack_has_waited_and_been_blind_for_no_time_at_all():
    guarded = Guarded(pack=make_pack(startup_s=0.5, thresholds={"blind_in_alert": 0.5}))
    assert guarded.run(30) == ()


def test_a_hot_pack_that_goes_blind_is_told_whatever_its_period():
    guarded = Guarded(period_s=2.0)
    guarded.run(40, temperature_c=85.0)
    assert "blind_in_alert" in rules(guarded.run(40, voltage_v=np.nan, temperature_c=np.nan, pack_voltage_v=np.nan))


def test_a_pack_that_was_blind_before_it_got_hot_did_not_go_blind_in_the_alert():
    guarded = Guarded()
    guarded.run(10)
    guarded.run(60, voltage_v=np.nan, pack_voltage_v=np.nan)
    findings = guarded.run(60, voltage_v=np.nan, pack_voltage_v=np.nan, temperature_c=85.0)
    assert "over_temperature_critical" in rules(findings) and "blind_in_alert" not in rules(findings)


def test_what_a_pack_shows_is_judged_from_the_startup_time_on():
    guarded = Guarded(pack=make_pack(startup_s=10.0))
    voltage = np.full(16, 4.5)
    voltage[3] = np.nan
    assert "cell_over_voltage_critical" in rules(guarded.run(14, voltage_v=voltage, complete=False))


def test_the_initial_voltage_is_learned_from_what_was_seen_and_never_beyond():
    guarded = Guarded()
    for voltage in (3.7, 3.6, 3.7, 3.5):
        for _ in range(20):
            guarded.run(1, voltage_v=voltage)
            assert (guarded.guard._runaway._initial_v >= 3.5 - 1e-9).all() and (guarded.guard._runaway._initial_v <= 3.7 + 1e-9).all()
