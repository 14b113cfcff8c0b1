"""Frames byte for byte as worked out by hand (can_vectors.json), and read again by two readers that share nothing with the writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inverters import RULE, decision, pack, read, unknown

from edgebms.config import PackConfig
from edgebms.inlet.frame import Frame
from edgebms.outlet import pylontech, victron
from edgebms.outlet.battery import join
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile

CASES = json.loads(Path(__file__).with_name("can_vectors.json").read_text())["cases"]
PROTOCOLS = {"victron": victron, "pylontech": pylontech}


def sent(case, monkeypatch):
    """What would go out for ``case``, in order."""
    monkeypatch.setattr(victron, "__version__", "0.1.0")
    packs = []
    for number, said in enumerate(case["packs"], 1):
        said = dict(said)
        one = pack(number, said.pop("parallel"))
        lost_s = said.pop("unknown_for_s", None)
        now_s = case["now_s"]
        if lost_s is None:
            one.take(decision(f"p{number}", now_s - 0.1, **said))
        else:
            one.take(decision(f"p{number}", now_s - lost_s - 0.1))
            one.take(unknown(f"p{number}", now_s - lost_s))
            one.take(unknown(f"p{number}", now_s - 0.1))
        packs.append(one)
    battery = join([one.share(round(case["now_s"] * 1e9)) for one in packs], RULE.end)
    return PROTOCOLS[case["protocol"]].frames(battery, "edgebms")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_frames_are_the_bytes_worked_out_by_hand(case, monkeypatch):
    frames = sent(case, monkeypatch)
    assert [identifier for identifier, _ in frames] == [int(key, 16) for key in case["frames"]]
    for identifier, data in frames:
        expected, why = case["frames"][f"0x{identifier:03X}"]
        assert data.hex(" ").upper() == expected, f"0x{identifier:03X}: {why}"
    assert {identifier for identifier, _ in frames} <= set(PROTOCOLS[case["protocol"]].IDS)


def test_cantools_reads_what_was_meant(monkeypatch):
    said = CASES[0]["packs"][0]
    told = {}
    for identifier, data in sent(CASES[0], monkeypatch):
        if identifier in (0x351, 0x355, 0x356, 0x35A, 0x372, 0x373, 0x379):
            told |= read(identifier, data)
    assert said["charge_a"] - 0.1 < told["ChargeCurrent"] <= said["charge_a"]
    assert told["DischargeCurrent"] == said["discharge_a"]
    assert said["charge_v"] - 0.1 < told["ChargeVoltage"] <= said["charge_v"]
    assert said["discharge_v"] <= told["DischargeVoltage"] < said["discharge_v"] + 0.1
    assert told["Voltage"] == pytest.approx(said["voltage_v"], abs=0.005)
    assert told["Current"] == pytest.approx(said["current_a"], abs=0.05)
    assert told["SocFine"] == pytest.approx(100 * said["soc"])
    assert told["CellMin"] == pytest.approx(said["cell_min_v"][0], abs=0.0005)
    assert told["TemperatureMax"] == pytest.approx(said["temperature_max_c"][0] + 273.15, abs=0.5)
    assert (told["HighVoltage"], told["LowVoltage"], told["ContactorAlarm"], told["WarnBms"]) == (0b01, 0b10, 0b00, 0b10)
    assert (told["Online"], told["Offline"], told["Capacity"]) == (1, 0, 200)


def test_our_own_inlet_reads_what_was_meant(monkeypatch):
    """The frames back in through the profile that the catalogue has for batteries of this kind."""
    settings = PackConfig(name="back", profile="victron_lv", card="generic_lfp", cells=16, probes=1)
    assembler = Assembler(load_profile("victron_lv", settings), settings)
    said = CASES[0]["packs"][0]
    snapshot = None
    for time_s in (0.0, 1.0):
        for identifier, data in sent(CASES[0], monkeypatch):
            snapshot = assembler.push(Frame(round((time_s + 1) * 1e9), identifier, data)) or snapshot
    assert snapshot.voltage_v.value == pytest.approx(said["voltage_v"], abs=0.005)
    assert snapshot.current_a.value == pytest.approx(said["current_a"], abs=0.05)
    assert snapshot.temperature_c[0] == pytest.approx(said["temperature_max_c"][0], abs=0.05)
    assert snapshot.reported_soc.value == pytest.approx(said["soc"], abs=0.005)
    assert snapshot.extremes.voltage_min_v.value == pytest.approx(said["cell_min_v"][0], abs=0.0005)
    assert snapshot.extremes.temperature_min_c.value == pytest.approx(said["temperature_min_c"][0], abs=0.7), "whole kelvin"
