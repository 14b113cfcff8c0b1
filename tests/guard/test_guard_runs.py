"""What the guard says over runs of snapshots."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import Guarded, make_pack, rules
from snapshots import blind_snapshot, make_snapshot

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
