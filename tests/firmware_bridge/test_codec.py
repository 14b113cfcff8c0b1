"""Bytes to messages and back: worked out by hand, from vectors.json, and out of noise."""

import json
import random
from pathlib import Path

import make_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import advice as advising
from firmware_bridge import codec
from firmware_bridge.codec import Deframer, Heartbeat, Message
from firmware_bridge.codes import Type, Verdict

VECTORS = json.loads((Path(codec.__file__).parent / "vectors.json").read_text())
READERS = {
    "HELLO": codec.read_hello,
    "HEARTBEAT": codec.read_heartbeat,
    "ACK": codec.read_ack,
    "TIME_SYNC": codec.read_time_sync,
    "TIME_REPLY": codec.read_time_reply,
    "ADVICE": codec.read_advice,
    "PACK": codec.read_state,
    "CELLS": codec.read_cells,
    "PROBES": codec.read_probes,
    "COUNTERS": codec.read_counters,
}
EITHER = codec.FROM_MCU | codec.FROM_GATEWAY
BEAT = Message(Type.HEARTBEAT, 0, 2, codec.pack_heartbeat(Heartbeat(0xFFFFFFFF, 7, 2, 1)))


def test_a_heartbeat_by_hand():
    # 01 version, 02 type, 00 flags, 02 00 sequence; ff ff ff ff time, 07 00 00 00 session, 02 state, 01 linked; CRC-32 of these
    # by zlib's published polynomial; COBS: each zero becomes the distance to the next
    body = bytes.fromhex("0102000200ffffffff070000000201")
    assert codec.encode(BEAT)[:-4] == body
    crc = 0xFFFFFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    assert codec.encode(BEAT)[-4:] == (crc ^ 0xFFFFFFFF).to_bytes(4, "little")
    framed = codec.frame(BEAT)
    assert b"\0" not in codec.encode(BEAT)[-4:]
    assert framed == bytes.fromhex("030102" + "0202" + "06ffffffff07" + "01" + "01" + "070201") + codec.encode(BEAT)[-4:] + b"\0"


def test_advice_by_hand():
    payload = codec.pack_advice(make_vectors.ADVICE)
    assert payload.hex() == (
        "3412" + "7856" + "01" + "060504030201" + "05" + "00" + "00" + "0000" + "b004" + "c00f" + "400b" + "07000000" + "40420f00" + "d0070000" + "00" * 8
    )  # fmt: skip
    mac = advising.cmac(make_vectors.KEY, bytes.fromhex("0111") + payload[:34])[:8]
    assert advising.sign(make_vectors.ADVICE, make_vectors.KEY).mac == mac


def test_the_file_is_what_the_codec_makes():
    assert json.loads(json.dumps(list(make_vectors.messages()))) == VECTORS["messages"]
    assert list(make_vectors.refused()) == VECTORS["refused_by_either"]
    assert make_vectors.can() == VECTORS["can"]


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_a_vector_is_read_back(vector):
    (message,) = Deframer(EITHER).feed(bytes.fromhex(vector["frame"]))
    assert (Type(message.type).name, message.flags, message.sequence) == (vector["type"], vector["flags"], vector["sequence"])
    assert message.payload.hex() == vector["payload"]
    read = READERS[vector["type"]](message.payload)._asdict()
    assert (
        json.loads(json.dumps({key: value.hex() if isinstance(value, bytes) else value for key, value in read.items()})) == vector["fields"]
    )


@pytest.mark.parametrize("vector", VECTORS["refused_by_either"], ids=lambda vector: vector["name"])
def test_a_bad_frame_is_refused_for_its_reason(vector):
    deframer = Deframer()
    assert deframer.feed(bytes.fromhex(vector["frame"])) == []
    assert {verdict.name: count for verdict, count in deframer.counts.items()} == {vector["verdict"]: 1}


def test_what_only_the_other_side_may_send_is_refused():
    sent = codec.frame(Message(Type.ADVICE, 1, 0, codec.pack_advice(make_vectors.ADVICE)))
    deframer = Deframer(codec.FROM_MCU)
    assert deframer.feed(sent) == []
    assert deframer.counts == {Verdict.UNKNOWN_TYPE: 1}


@pytest.mark.parametrize(("count", "values"), [(0, 0), (111, 111), (2, 1), (1, 2)])
def test_a_page_that_lies_about_its_length_is_refused(count, values):
    page = bytes((0, 0, 0, 0, 0, 0, 0, 0, count)) + bytes(2 * values)
    deframer = Deframer()
    assert deframer.feed(codec.frame(Message(Type.CELLS, 0, 0, page))) == []
    assert deframer.counts == {Verdict.BAD_LENGTH: 1} or (len(page) <= 240 and values == 111)


def test_a_frame_survives_pieces_and_the_noise_before_it():
    sent = codec.frame(BEAT)
    deframer = Deframer()
    found = [message for byte in sent * 3 for message in deframer.feed(bytes((byte,)))]
    assert found == [BEAT] * 3
    assert deframer.feed(b"\x55" * 40 + b"\0" + sent) == [BEAT]
    assert deframer.feed(sent[5:] + sent) == [BEAT]
    assert sum(deframer.counts.values()) == 2


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_endless_noise_is_counted_once_and_costs_no_memory(step):
    deframer = Deframer()
    noise = b"\x01" * 1000
    for start in range(0, len(noise), step):
        assert deframer.feed(noise[start : start + step]) == []
        assert len(deframer._rest) <= codec.FRAME_MAX
    assert deframer.feed(b"\0" + codec.frame(BEAT)) == [BEAT]
    assert deframer.counts == {Verdict.BAD_FRAME_LENGTH: 1}


@given(st.binary(max_size=400), st.integers(1, 50))
def test_random_bytes_never_make_a_message_nor_stop_the_next(noise, piece):
    deframer = Deframer(EITHER)
    got = [message for start in range(0, len(noise), piece) for message in deframer.feed(noise[start : start + piece])]
    assert got == []
    assert deframer.feed(b"\0" + codec.frame(BEAT)) == [BEAT]


@given(st.integers(0, 10_000))
def test_no_bit_of_a_frame_can_turn_unseen(seed):
    chance = random.Random(seed)
    sent = bytearray(codec.frame(BEAT))
    for _ in range(chance.randint(1, 3)):
        sent[chance.randrange(len(sent) - 1)] ^= 1 << chance.randrange(8)
    got = Deframer(EITHER).feed(bytes(sent))
    assert got in ([], [BEAT])


def test_the_mac_covers_every_field_of_advice():
    good = advising.sign(make_vectors.ADVICE, make_vectors.KEY)
    assert advising.is_genuine(good, make_vectors.KEY)
    assert not advising.is_genuine(good, make_vectors.OTHER_KEY)
    payload = codec.pack_advice(good)
    for bit in range(8 * len(payload)):
        turned = bytearray(payload)
        turned[bit // 8] ^= 1 << bit % 8
        assert not advising.is_genuine(codec.read_advice(bytes(turned)), make_vectors.KEY), bit


def test_advice_on_classic_can_comes_together_in_order_only():
    signed = advising.sign(make_vectors.ADVICE, make_vectors.KEY)
    frames = advising.to_can(signed, fd=False, number=25)
    assert [len(frame) for frame in frames] == [8] * 7
    assert [frame[0] for frame in frames] == [0x90 + segment for segment in range(7)]
    assert advising.from_segments(frames) == codec.pack_advice(signed)
    assert advising.from_segments(frames[::-1]) is None
    assert advising.from_segments(frames[:6]) is None
    assert advising.from_segments([*frames[:6], b"\x86" + frames[6][1:]]) is None
    (fd,) = advising.to_can(signed, fd=True, number=25)
    assert len(fd) == 48
    assert fd[2:44] == codec.pack_advice(signed)
