"""What each question tells by itself: found is who is named rightly by more than healthy packs show."""

from __future__ import annotations

import json

import pytest

from export.__main__ import main
from export.reason.telling import HEALTHY, Look, shares


def test_found_is_named_rightly_and_beyond_the_healthy() -> None:
    looks = [Look(size / 100.0, HEALTHY, False) for size in range(100)]
    looks += [
        Look(5.0, "joint_loose", True),
        Look(5.0, "joint_loose", False),
        Look(0.5, "joint_loose", True),
        Look(5.0, "imbalance", False),
    ]
    least, found = shares(looks, ("joint_loose", "imbalance", "short_micro"))
    assert least == pytest.approx(0.98, abs=0.01)
    assert found["joint_loose"] == pytest.approx(1 / 3)
    assert found["imbalance"] == 0.0
    assert found["short_micro"] != found["short_micro"]  # there was none


def test_a_probe_that_drifts_is_told_by_its_temperature_and_not_by_a_voltage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "reason-evidence", "--packs", "12", "--hours", "1.3", "--kinds", "probe_drift", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["temperature_deviation.outlier.3600s 1"]["probe_drift"] > 0.5
    assert told["voltage_steps.outlier.3600s 0"]["probe_drift"] < 0.2
    assert any(name.startswith("probe_weeks") for name in told)
