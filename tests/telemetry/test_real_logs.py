"""Recorded traffic: what the catalogue's profiles say of it is what cantools says with the vendors' DBC files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cantools.database
import pytest
from shared_data import shared

from edgebms.config import PackConfig
from edgebms.inlet.logfile import LogFile
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.snapshot import Extreme, Reading, Snapshot
from edgebms.vocabulary import Reason

KONA_LOGS = (
    "candump/230112-7-2019-pcan-ccan-power-off-on-ready-off.log",
    "gvret/230112-7-2019-pcan-ccan-power-off-on-ready-off.csv",
    "candump/bms_idle_log_no_diagnostic_function_selected_-30sec.log",
    "candump/bms_precharge_relay_on.log",
    "asc/bms_precharge_relay_on.asc",
    "candump/bms_quick_charger_relay_-_+_on_simultaneous.log",
)
# message, signal in the vendor's DBC -> field, factor
KONA = {
    (0x595, "IBatt"): ("current_a", -1),
    (0x595, "VBatt"): ("voltage_v", 1),
    (0x542, "SocDisp"): ("reported_soc", 0.01),
    (0x596, "uwe596_6_TAkkuL"): ("temperature_min_c", 1),
    (0x596, "uwe596_7_TAkkuH"): ("temperature_max_c", 1),
}


def run(
    path: Path, pack: PackConfig, database: Any, fields: dict[tuple[int, str], tuple[str, float]]
) -> tuple[int, list[Snapshot], dict[str, int]]:
    """Replay ``path``; compare each snapshot with cantools' decode of the last frame of each message."""
    assembler = Assembler(load_profile(pack.profile, pack), pack)
    latest: dict[tuple[int, str], float] = {}
    frames, snapshots = 0, []
    stated = dict.fromkeys((field for field, _ in fields.values()), 0)
    for frame in LogFile(path):
        frames += 1
        snapshot = assembler.push(frame)
        if pack.channel in (None, frame.channel) and any(frame.arbitration_id == identifier for identifier, _ in fields):
            message = database.get_message_by_frame_id(frame.arbitration_id)
            decoded = message.decode(frame.data, decode_choices=False, allow_truncated=True)
            for identifier, signal in fields:
                if identifier == frame.arbitration_id:
                    latest.pop((identifier, signal), None)
                    if signal in decoded:
                        latest[identifier, signal] = decoded[signal]
        if snapshot is None:
            continue
        snapshots.append(snapshot)
        for key, (field, factor) in fields.items():
            got: Reading | Extreme | None = getattr(snapshot, field, None) or getattr(snapshot.extremes, field)
            assert got is not None
            if not math.isnan(got.value):
                stated[field] += 1
                assert got.value == pytest.approx(latest[key] * factor, rel=1e-12), (path.name, field)
            else:
                assert got.reason in (Reason.NEVER_RECEIVED, Reason.STALE, Reason.OUT_OF_RANGE)
    return frames, snapshots, stated


@pytest.mark.parametrize("name", KONA_LOGS)
def test_kona_logs(name: str) -> None:
    pack = PackConfig(name="kona", profile="hyundai_kona", card="none", cells=98, channel="can0")
    database: Any = cantools.database.load_file(shared("data/can/kona_ev/kona_pcan.dbc"), strict=True)
    frames, snapshots, stated = run(shared(f"data/can/kona_ev/{name}"), pack, database, KONA)
    assert frames > 500
    assert len(snapshots) > 25
    for field, count in stated.items():
        assert count > 0.9 * len(snapshots), (field, count, len(snapshots))
    assert all((snapshot.cell_reason == Reason.NOT_IN_PROFILE).all() for snapshot in snapshots)


def test_kona_power_on_says_what_the_car_did() -> None:
    pack = PackConfig(name="kona", profile="hyundai_kona", card="none", cells=98, channel="can0")
    database: Any = cantools.database.load_file(shared("data/can/kona_ev/kona_pcan.dbc"), strict=True)
    _, snapshots, _ = run(shared(f"data/can/kona_ev/{KONA_LOGS[0]}"), pack, database, KONA)
    assert "closed" in {snapshot.contactors for snapshot in snapshots}
    currents = [snapshot.current_a.value for snapshot in snapshots if snapshot.current_a.valid]
    assert min(currents) < -1.0  # a car that stands ready discharges
    assert max(currents) < 1.0
    assert {round(snapshot.reported_soc.value, 3) for snapshot in snapshots if snapshot.reported_soc.valid} == {0.365}


def test_lv_sample() -> None:
    pack = PackConfig(name="lv", profile="victron_lv", card="none", cells=15, probes=1)
    database: Any = cantools.database.load_file(shared("data/can/lv_bms/lv_bms.dbc"), strict=True)
    fields = {(0x356, "Voltage"): ("voltage_v", 1), (0x356, "Current"): ("current_a", 1), (0x355, "Soc"): ("reported_soc", 0.01)}
    frames, snapshots, stated = run(shared("data/can/lv_bms/sample.log"), pack, database, fields)
    assert frames == 12
    assert stated == {"voltage_v": 2, "current_a": 2, "reported_soc": 2}
    assert [snapshot.temperature_c.tolist() for snapshot in snapshots] == [pytest.approx([36.3])] * 2
    assert snapshots[0].extremes.voltage_max_v is not None
    assert snapshots[0].extremes.voltage_max_v.reason is Reason.NEVER_RECEIVED


def test_foxbms_trace_of_an_older_firmware_parses_and_states_no_cell() -> None:
    pack = PackConfig(name="fox", profile="foxbms2", card="none", cells=18, probes=12, firmware="1.8.0")
    assembler = Assembler(load_profile("foxbms2", pack), pack)
    frames = list(LogFile(shared("data/can/foxbms2/can-log.trc")))
    assert len(frames) == 9
    assert [assembler.push(frame) for frame in frames] == [None] * 9  # no 0x233 in it
    assert assembler.poll(frames[-1].time_ns) is None
    snapshot = assembler.poll(frames[-1].time_ns + 1_000_000_000)
    assert snapshot is not None
    assert snapshot.valid_cells == 0
    assert set(snapshot.cell_reason.tolist()) == {Reason.NEVER_RECEIVED, Reason.INVALID_FLAG}
