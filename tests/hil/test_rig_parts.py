"""Parts of the rig that scenarios lean on: faults of the bus, the site, foxBMS's own frames."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.inlet.frame import Frame
from edgebms.telemetry.checks import crc8_j1850
from edgebms.telemetry.encode import Encoder
from edgebms.vocabulary import Contactor
from hil.rig.bus_faults import KINDS, BusFaults
from hil.rig.foxbms import FoxBms
from hil.rig.link import line_of
from hil.scenario import BusFault


def sweeps(count, cells=6):
    encode = Encoder("edgebms", cells, 2).encode
    return [encode(0, np.full(cells, 3.6 + 0.01 * k), np.full(2, 20.0), 1.0, 3.6 * cells) for k in range(count)]


def through(kind, count=8, **more):
    """What gets onto the bus of ``count`` sweeps under the fault from sweep 3 to 6."""
    faults = BusFaults((BusFault(kind, at_s=3, for_s=3, **more),), 1.0, np.random.default_rng(1))
    sent = sweeps(count)
    return sent, [faults.apply(frames, float(k))[0] for k, frames in enumerate(sent)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("id_missing", "mux_missing", "garbage", "delayed")])
def test_a_fault_of_the_bus_changes_what_is_sent_while_it_stands_and_nothing_else(kind):
    sent, got = through(kind)
    assert got[:3] == sent[:3]
    assert got[6:] == sent[6:]
    assert got[3:6] != sent[3:6]


def test_a_frozen_counter_keeps_its_values_and_its_checksum():
    sent, got = through("counter_frozen")
    counters = {frame.data[1] & 0x3F for frames in got[3:6] for frame in frames}
    assert len(counters) == 1
    for frames, original in zip(got[3:6], sent[3:6], strict=True):
        assert [frame.data[2:] for frame in frames] == [frame.data[2:] for frame in original]
        for frame in frames:
            assert frame.data[0] == crc8_j1850(frame.arbitration_id.to_bytes(2, "big") + frame.data[1:])


def test_a_missing_id_and_a_missing_index_are_missing_alone():
    _, got = through("id_missing", id=0x110)
    assert {len(frames) for frames in got[:3]} == {len(got[4]) + 1}
    fox = FoxBms(16, 6, "1.8.0")
    frames = [frame for _ in range(4) for frame in fox.encode(0, np.full(16, 3.7), np.full(6, 20.0), 0.0, 59.2, contactors=Contactor.CLOSED, reported_soc=0.5, insulation_ohm=1e6)]  # fmt: skip
    left = BusFaults((BusFault("mux_missing", at_s=0, id=0x250, mux=2),), 1.0, np.random.default_rng(1)).apply(frames, 0.0)[0]
    assert {frame.data[0] for frame in left if frame.arbitration_id == 0x250} == {0, 1, 3}


def test_foxbms_saturates_as_its_firmware_does():
    fox = FoxBms(4, 2, "1.8.0")
    frames = {f.arbitration_id: f.data for f in fox.encode(0, np.full(4, 3.7), np.array([64.0, 300.0]), 0.0, 14.8, contactors=Contactor.CLOSED, reported_soc=0.5, insulation_ohm=1e6)}  # fmt: skip
    assert 127 in frames[0x260]
    assert 127 in frames[0x230]
    # 64 degC goes out unsigned in 0.5 K: 0x80, which the vendor's DBC reads as -64 degC
    assert 0x80 in frames[0x241]


def test_the_valid_flag_of_foxbms_turns_over_with_firmware_1_8():
    def cells(firmware):
        frames = FoxBms(4, 0, firmware).encode(0, np.full(4, 3.7), np.zeros(0), 0.0, 14.8, contactors=Contactor.CLOSED, reported_soc=0.5, insulation_ohm=1e6)  # fmt: skip
        return next(frame.data for frame in frames if frame.arbitration_id == 0x250)

    assert cells("1.8.0") != cells("1.7.2")


def test_an_slcan_line():
    assert line_of(Frame(0, 0x123, b"\x01\xff")) == b"t123201FF\r"
    assert line_of(Frame(0, 0x1EDB0000, b"", extended=True)) == b"T1EDB00000\r"
