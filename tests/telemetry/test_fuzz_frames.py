"""Random frames, in any order: every value that a snapshot states is cantools' own decode of the last sound frame."""

from __future__ import annotations

import functools
import math
import os
import random as chance
from typing import Any

import cantools.database
import numpy as np
import pytest
from crccheck.crc import Crc8SaeJ1850, Crc16Ibm3740
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebms.config import PackConfig
from edgebms.inlet.frame import Frame
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import Profile, dbc_path, load_profile
from edgebms.telemetry.snapshot import Extreme, Reading, Snapshot

PACKS: dict[str, dict[str, Any]] = {
    "edgebms": {"cells": 17, "probes": 5},
    "edgebms_fd": {"cells": 17, "probes": 5},
    "foxbms2": {"cells": 10, "probes": 7, "firmware": "1.8.0"},
    "gm_volt": {"cells": 95, "probes": 9, "period_s": 1.0},
    "victron_lv": {"cells": 15, "probes": 1},
    "hyundai_kona": {"cells": 98, "probes": 0, "channel": ""},
}

# What the test believes each field to be: signal name and factor, stated apart from the profiles.
CELLS = {
    "edgebms": ("Cell_{:03d}", 1, 1.0),
    "edgebms_fd": ("Cell_{:03d}", 1, 1.0),
    "foxbms2": ("CellVoltage_{:03d}", 0, 0.001),
    "gm_volt": ("Cell_{:02d}", 1, 1.0),
}
PROBES = {
    "edgebms": ("Probe_{:03d}", 1),
    "edgebms_fd": ("Probe_{:03d}", 1),
    "foxbms2": ("CellTemperature_{:03d}", 0),
    "gm_volt": ("Temperature_{}", 1),
    "victron_lv": ("Temperature", 0),
}
SCALARS = {
    "edgebms": {
        "current_a": ("Current", 1),
        "voltage_v": ("Voltage", 1),
        "insulation_ohm": ("Insulation", 1000),
        "pressure_pa": ("Pressure", 1),
        "gas": ("Gas", 0.01),
        "coolant_temperature_c": ("Coolant", 1),
        "reported_soc": ("ReportedSoc", 0.01),
    },
    "foxbms2": {
        "current_a": ("Current", -1),
        "voltage_v": ("BatteryVoltage", 1),
        "insulation_ohm": ("InsulationResistance", 1000),
        "reported_soc": ("MinimumSoc", 0.01),
    },
    "gm_volt": {"voltage_v": ("PackVoltage", 1), "coolant_temperature_c": ("CoolantInlet", 1)},
    "victron_lv": {"current_a": ("Current", 1), "voltage_v": ("Voltage", 1), "reported_soc": ("Soc", 0.01)},
    "hyundai_kona": {"current_a": ("BatteryCurrent", -1), "voltage_v": ("BatteryVoltage", 1), "reported_soc": ("SocDisplay", 0.01)},
}
SCALARS["edgebms_fd"] = SCALARS["edgebms"]
EXTREMES = {
    "edgebms": {
        "voltage_min_v": ("CellMin", 1),
        "voltage_max_v": ("CellMax", 1),
        "temperature_min_c": ("ProbeMin", 1),
        "temperature_max_c": ("ProbeMax", 1),
    },
    "foxbms2": {"voltage_min_v": ("MinimumCellVoltage", 0.001), "temperature_max_c": ("MaximumCellTemperature", 1)},
    "victron_lv": {"voltage_max_v": ("CellMax", 1), "temperature_min_c": ("TemperatureMin", 1)},
    "hyundai_kona": {"temperature_max_c": ("TemperatureHigh", 1)},
}


@functools.cache
def compiled(name: str) -> tuple[PackConfig, Profile, Any]:
    pack = PackConfig(name="pack", profile=name, card="none", **{**PACKS[name], **({"channel": "can0"} if name == "hyundai_kona" else {})})
    return pack, load_profile(name, pack), cantools.database.load_file(dbc_path(name), strict=True)


def sound(database: Any, name: str, identifier: int, data: bytes) -> bytes:
    """``data`` with a right checksum in front, where the protocol has one."""
    if name == "edgebms":
        return bytes((Crc8SaeJ1850.calc(identifier.to_bytes(2, "big") + data[1:8]),)) + data[1:]
    if name == "edgebms_fd":
        length = database.get_message_by_frame_id(identifier).length
        return Crc16Ibm3740.calc(identifier.to_bytes(2, "big") + data[2:length]).to_bytes(2, "little") + data[2:]
    return data


RESTART_NS = 5_000_000_000
"""Our protocol: after a silence of five of its slowest periods (1 s) a sender may start again at any count."""


class Mirror:
    """The independent side: the last sound frame of each message and multiplexer value, read by cantools."""

    def __init__(self, name: str, database: Any) -> None:
        self._name, self._database = name, database
        self._counters: dict[int, float] = {}
        self._heard_ns: dict[int, int] = {}
        self.values: dict[str, float] = {}

    def push(self, now_ns: int, identifier: int, data: bytes) -> None:
        try:
            message = self._database.get_message_by_frame_id(identifier)
        except KeyError:
            return
        cut = self._name == "victron_lv"
        if (len(data) < message.length and not cut) or not data:
            return
        try:
            decoded = message.decode(data, decode_choices=False, allow_truncated=cut)
        except cantools.database.errors.DecodeError:
            return  # a multiplexer value that the DBC does not have
        if self._name.startswith("edgebms"):
            if data[: message.length] != sound(self._database, self._name, identifier, data)[: message.length]:
                return
            silent_ns = now_ns - self._heard_ns.get(identifier, now_ns)
            self._heard_ns[identifier] = now_ns
            if self._counters.get(identifier) == decoded["Sweep"] and silent_ns <= RESTART_NS:
                return
            self._counters[identifier] = decoded["Sweep"]
        for signal in message.signals:
            if cut:
                self.values.pop(signal.name, None)  # what a shorter frame does not hold is not there any more
        self.values.update({name: float(value) for name, value in decoded.items()})


def agree(name: str, snapshot: Snapshot, mirror: Mirror) -> int:
    """Every value stated is the mirror's; returns how many were stated."""
    stated = 0

    def check(value: float, signal: str, factor: float) -> None:
        nonlocal stated
        if not math.isnan(value):
            stated += 1
            assert value == pytest.approx(mirror.values[signal] * factor, rel=1e-12), signal

    if name in CELLS:
        pattern, first, factor = CELLS[name]
        for i, value in enumerate(snapshot.cell_voltage_v):
            check(value, pattern.format(i + first), factor)
    if name in PROBES:
        pattern, first = PROBES[name]
        for i, value in enumerate(snapshot.temperature_c):
            check(value, pattern.format(i + first), 1.0)
    for field, (signal, factor) in SCALARS[name].items():
        reading: Reading = getattr(snapshot, field)
        assert math.isnan(reading.value) != reading.valid
        check(reading.value, signal, factor)
    for field, (signal, factor) in EXTREMES.get(name, {}).items():
        extreme: Extreme = getattr(snapshot.extremes, field)
        check(extreme.value, signal, factor)
    for values, reasons in ((snapshot.cell_voltage_v, snapshot.cell_reason), (snapshot.temperature_c, snapshot.temperature_reason)):
        assert (np.isnan(values) == (reasons != 0)).all()
    return stated


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(PACKS))
def test_many_random_frames_never_crash_and_never_invent(name: str) -> None:
    for seed in range(50 if os.environ.get("SHORT") else 1000):
        random_frames(name, chance.Random(seed), 120)


@pytest.mark.parametrize("name", sorted(PACKS))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.integers(1, 120))
def test_random_frames_never_crash_and_never_invent(name: str, random: Any, count: int) -> None:
    random_frames(name, random, count)


def random_frames(name: str, random: Any, count: int) -> None:
    """Push ``count`` frames into assembler and mirror and hold each snapshot against the mirror."""
    pack, profile, database = compiled(name)
    channel = pack.channel or ""
    assembler, mirror = Assembler(profile, pack), Mirror(name, database)
    ids = [identifier for identifier, _ in sorted(profile.routes)]
    now_ns = 1_000_000_000
    for step in range(count):
        now_ns += random.choice((0, 1_000, 10_000_000, 400_000_000))
        identifier = random.choice(ids) if random.random() < 0.95 else random.randrange(0x800)
        length = random.choice((0, 1, 4, 6, 7, 8, 8, 8, 8, 8, 12, 48, 64, 64))
        if identifier in ids and random.random() < 0.8:
            length = max(length, database.get_message_by_frame_id(identifier).length)
        data = random.randbytes(length)
        if identifier in ids and length >= database.get_message_by_frame_id(identifier).length and random.random() < 0.9:
            data = sound(database, name, identifier, data)
        waited = assembler.poll(now_ns)
        if waited is not None:
            agree(name, waited, mirror)
        pushed = assembler.push(Frame(now_ns, identifier, data, False, channel))
        if pushed is not None and not pushed.complete and profile.file.snapshot.complete == "sweep":
            agree(name, pushed, mirror)  # the sweep before this frame
        mirror.push(now_ns, identifier, data)
        if pushed is not None and pushed.complete:
            agree(name, pushed, mirror)
        if step % 10 == 9 or step == count - 1:
            # a look past the time-out, but within what is stale
            snapshot = assembler.poll(now_ns + 100_000_000_000) if random.random() < 0.1 else assembler._build(now_ns, complete=False)
            if snapshot is not None:
                agree(name, snapshot, mirror)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_the_comparison_above_compares_something(name: str) -> None:
    pack, profile, database = compiled(name)
    assembler, mirror = Assembler(profile, pack), Mirror(name, database)
    random = chance.Random(3)
    stated = 0
    for sweep in range(60):
        for step, (identifier, _) in enumerate(sorted(profile.routes)):
            data = sound(database, name, identifier, random.randbytes(database.get_message_by_frame_id(identifier).length))
            assembler.push(Frame(10**9 + sweep * 10**7 + step, identifier, data, False, pack.channel or ""))
            mirror.push(10**9 + sweep * 10**7 + step, identifier, data)
        stated += agree(name, assembler._build(10**9 + sweep * 10**7 + 10**6, complete=False), mirror)
    assert stated > 60
