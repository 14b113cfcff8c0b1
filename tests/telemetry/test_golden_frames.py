"""Golden frames: what cantools encoded, every profile must read as cantools decodes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgebms.config import PackConfig
from edgebms.inlet.logfile import LogFile
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.snapshot import Extreme, Reading, Snapshot
from edgebms.vocabulary import Reason

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NAMES = sorted(path.stem for path in (GOLDEN / "frames").glob("*.json"))
READINGS = ("current_a", "voltage_v", "insulation_ohm", "pressure_pa", "gas", "coolant_temperature_c", "reported_soc")
EXTREMES = {
    "voltage_max": "voltage_max_v",
    "voltage_min": "voltage_min_v",
    "temperature_max": "temperature_max_c",
    "temperature_min": "temperature_min_c",
}


def known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def same(got: float | None, expected: float | None) -> bool:
    return got == expected if got is None or expected is None else got == pytest.approx(expected, abs=1e-6)


def replay(name: str) -> tuple[list[Snapshot], dict[str, Any]]:
    golden = json.loads((GOLDEN / "frames" / f"{name}.json").read_text())
    pack = msgspec.convert({"name": "pack", "card": "none", **golden["pack"]}, PackConfig)
    assembler = Assembler(load_profile(pack.profile, pack), pack)
    snapshots = [snapshot for frame in LogFile(GOLDEN / "frames" / f"{name}.log") if (snapshot := assembler.push(frame)) is not None]
    return snapshots, golden


def test_every_catalogue_profile_has_golden_frames() -> None:
    profiles = Path(__file__).resolve().parents[2] / "edgebms" / "catalogue" / "profiles"
    assert sorted(path.stem for path in profiles.glob("*.toml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_golden_frames_read_as_cantools_decodes_them(name: str) -> None:
    snapshots, golden = replay(name)
    expected = golden["snapshots"]
    assert [round(snapshot.time_ns / 1e9, 6) for snapshot in snapshots] == [entry["time_s"] for entry in expected]
    for snapshot, entry in zip(snapshots, expected, strict=True):
        at = entry["time_s"]
        assert snapshot.complete == entry["complete"], at
        for field, reason in (("cell_voltage_v", "cell_reason"), ("temperature_c", "temperature_reason")):
            got = [known(value) for value in getattr(snapshot, field)]
            assert len(got) == len(entry[field])
            assert all(same(one, other) for one, other in zip(got, entry[field], strict=True)), (at, field, got)
            words = {str(i + 1): Reason(code).word for i, code in enumerate(getattr(snapshot, reason)) if code}
            assert words == entry[reason], at
        for field in READINGS:
            if field in entry:
                reading: Reading = getattr(snapshot, field)
                assert same(known(reading.value), entry[field]), (at, field, reading)
                assert reading.valid == (entry[field] is not None)
        for field, attribute in EXTREMES.items():
            if field in entry:
                extreme: Extreme = getattr(snapshot.extremes, attribute)
                value, place = entry[field]
                assert same(known(extreme.value), value), (at, field, extreme)
                assert extreme.index == (-1 if place is None else place - 1), (at, field)
        assert snapshot.contactors == entry["contactors"], at
        assert dict(snapshot.refused_frames) == entry["refused"], at


def test_golden_files_are_what_the_script_writes() -> None:
    sys.path.insert(0, str(GOLDEN))
    try:
        import make_dbc
        import make_frames
    finally:
        sys.path.remove(str(GOLDEN))
    for name, make in make_frames.LOGS.items():
        log = make()
        assert (GOLDEN / "frames" / f"{name}.log").read_text() == "".join(log.lines), f"{name}.log: run make golden"
        assert json.loads((GOLDEN / "frames" / f"{name}.json").read_text()) == {"pack": log.pack, "snapshots": log.expected}, (
            f"{name}.json: run make golden"
        )
    for name, make in make_dbc.FILES.items():
        assert (make_dbc.DBC / name).read_text() == make(), f"{name}: run tests/golden/make_dbc.py"
