"""A current sensor on a link of its own in place of the BMS's current, from frames to decisions."""

import shutil
from pathlib import Path

import pytest
from lines import Run, config, frames, pack

from edgebms.clock import LogClock
from edgebms.config import ShuntConfig
from edgebms.errors import ProfileError
from edgebms.inlet.frame import Frame
from edgebms.loop import Loop, replay
from edgebms.reload import carry_over

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "shunt"


@pytest.fixture
def profile():
    return str(EXAMPLE / "ivt_s.toml")


def shunt_frames(seconds, current_a, start_s=100.0, flags=0, channel="can1"):
    for number in range(round(seconds / 0.02)):
        data = bytes([0, flags << 4 | number % 16]) + round(current_a * 1000).to_bytes(4, "big", signed=True)
        yield Frame(round((start_s + number * 0.02) * 1e9), 0x521, data, False, channel)


def run(profile, *sources, **settings):
    source = sorted((frame for part in sources for frame in part), key=lambda frame: frame.time_ns)
    return Run(source, config(pack(shunt=ShuntConfig(**({"profile": profile, "channel": "can1"} | settings))))).decisions


def test_the_shunts_current_is_the_packs(profile):
    decisions = run(profile, frames(seconds=3.0, current_a=-5.0), shunt_frames(3.0, -7.25))
    assert [decision.measured.current_a for decision in decisions[1:]] == [pytest.approx(-7.25)] * (len(decisions) - 1)
    assert decisions[-1].measured.voltage_v == pytest.approx(16 * 3.7, abs=0.05), "all else is the BMS's"


def test_fitted_the_other_way_round(profile):
    decisions = run(profile, frames(seconds=1.0), shunt_frames(1.0, 7.25), invert=True)
    assert decisions[-1].measured.current_a == pytest.approx(-7.25)


def test_a_shunt_that_falls_silent_is_unknown_and_the_bms_does_not_step_in(profile):
    decisions = run(profile, frames(seconds=10.0, current_a=-5.0), shunt_frames(2.0, -7.0))
    last = decisions[-1]
    assert last.measured.current_a is None
    assert ("current_a", "stale") in [(warning.signal, warning.reason) for warning in last.quality.warnings]
    assert last.command.limits.charge_a == 0 and last.command.limits.discharge_a == 0
    assert any(entry.rule == "current_lost" for alert in last.alerts for entry in alert.evidence)


def test_before_its_first_frame_it_is_unknown(profile):
    assert run(profile, frames(seconds=1.0))[-1].measured.current_a is None


def test_what_the_sensor_itself_calls_wrong_is_unknown(profile):
    assert run(profile, frames(seconds=1.0), shunt_frames(1.0, -7.0, flags=0b0010))[-1].measured.current_a is None


def test_another_channels_frames_are_not_the_shunts(profile):
    assert run(profile, frames(seconds=1.0), shunt_frames(1.0, -7.0, channel="can0"))[-1].measured.current_a is None


def test_a_profile_without_a_current_is_refused(profile, tmp_path):
    shutil.copy(EXAMPLE / "ivt_s.dbc", tmp_path)
    text = Path(profile).read_text().partition("[current]")[0] + '[voltage]\nsignal = "Current"\n'
    (tmp_path / "shunt.toml").write_text(text)
    with pytest.raises(ProfileError, match="maps no current"):
        run(str(tmp_path / "shunt.toml"), frames(seconds=0.2))


def test_its_last_value_goes_over_with_the_line(profile):
    settings = config(pack(shunt=ShuntConfig(profile=profile, channel="can1")))
    source = sorted([*frames(seconds=1.0), *shunt_frames(1.0, -7.0)], key=lambda frame: frame.time_ns)
    old, new = Run(source, settings).packs["rack-1"], Run([], settings).packs["rack-1"]
    assert carry_over(old, new, settings.pack[0], settings.pack[0], 101 * 10**9) == "all"
    clock, out = LogClock(), []
    replay(frames(seconds=0.1, start_s=101.0), Loop([new], clock, out.append, lambda: 0), clock)
    assert out[-1].measured.current_a == pytest.approx(-7.0)
    assert out[-1].seq == 10
