"""The microcontroller's end of the line: handshake, heartbeat, answers, telemetry, counters; and ADVICE over CAN."""

import json

import pytest
from c_mcu import GATEWAY_ID, MCU_ID, SESSION, Authority, Link, advice
from shared_data import ROOT

from firmware_bridge import codec
from firmware_bridge.advice import to_can
from firmware_bridge.codec import Ack, Heartbeat, Hello, Message, TimeSync
from firmware_bridge.codes import UTC_INVALID_MS, Action, McuState, Type, Verdict

IDENTITY = {"profile": 0xCAFE, "cells": 96, "probes": 24, "firmware_major": 2, "firmware_minor": 3, "firmware_patch": 4}
HELLO = Hello(0, GATEWAY_ID, 1, 1, 0, 1, 0, 0, 99, 0, 0, 8, 0, 1)
BEAT = Heartbeat(0, 99, 1, 1)
VECTORS = json.loads((ROOT / "firmware_bridge" / "vectors.json").read_text())


@pytest.fixture
def link(c):
    return Link(c, **IDENTITY)


def types(messages):
    return [Type(message.type) for message in messages]


def greet(link, now_ms=0, **changes):
    return link.message(Type.HELLO, codec.pack_hello(HELLO._replace(**changes)), now_ms)


def beat(link, now_ms, **changes):
    return link.message(Type.HEARTBEAT, codec.pack_heartbeat(BEAT._replace(**changes)), now_ms)


def test_hello_is_answered_by_hello(link):
    (answer,) = greet(link)
    assert codec.read_hello(answer.payload) == Hello(1, MCU_ID, 1, 1, 2, 3, 4, 0xCAFE, SESSION, 96, 24, len(Action), 0, 1)
    assert link.state.authority.linked


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"role": 1}, Verdict.BAD_VALUE),
        ({"version_min": 2, "version_max": 3}, Verdict.BAD_VERSION),
        ({"version_min": 0, "version_max": 0}, Verdict.BAD_VERSION),
        ({"device_id": GATEWAY_ID + 1}, Verdict.OTHER_GATEWAY),
    ],
)
def test_a_hello_that_makes_no_link(link, changes, verdict):
    assert greet(link, **changes) == []
    assert link.counts() == {verdict: 1}
    assert not link.state.authority.linked


def test_a_hello_of_more_versions_than_ours_will_do(link):
    greet(link, version_min=0, version_max=9)
    assert link.state.authority.linked


def test_it_greets_until_it_is_linked_and_beats_always(link):
    assert link.tick(199) == []
    (message,) = link.tick(200)
    assert codec.read_heartbeat(message.payload) == Heartbeat(200, SESSION, McuState.STARTING, 0)
    assert link.tick(399) == []
    assert types(link.tick(1000)) == [Type.HELLO, Type.HEARTBEAT, Type.COUNTERS]
    assert types(link.tick(2000)) == [Type.HELLO, Type.HEARTBEAT, Type.COUNTERS]
    greet(link, 2000)
    link.state.state = McuState.ADVISED
    beat(link, 2900)
    messages = link.tick(3000)
    assert types(messages) == [Type.HEARTBEAT, Type.COUNTERS]
    assert codec.read_heartbeat(messages[0].payload) == Heartbeat(3000, SESSION, McuState.ADVISED, 1)
    assert types(link.tick(3900)) == [Type.HELLO, Type.HEARTBEAT]  # its heartbeat stopped


def test_the_clock_may_wrap(c):
    link = Link(c, now_ms=(1 << 32) - 100)
    assert types(link.tick(100)) == [Type.HEARTBEAT]


def test_sequences_count_on(link):
    link.state.sequence = 65535
    sequences = [message.sequence for message in link.tick(1000)]
    assert sequences == [65535, 0, 1]


def tell(link, told, now_ms=0, flags=1):
    return link.message(Type.ADVICE, codec.pack_advice(told), now_ms, flags=flags, sequence=513)


def alive(link, now_ms):
    return link.c.lib.ebms_authority_advice(link.c.ffi.addressof(link.state, "authority"), now_ms) != link.c.ffi.NULL


def test_advice_is_answered_when_an_answer_is_wanted(link):
    greet(link)
    (answer,) = tell(link, advice(1))
    assert (answer.type, codec.read_ack(answer.payload)) == (Type.ACK, Ack(513, Type.ADVICE, Verdict.ACCEPTED))
    (answer,) = tell(link, advice(1))
    assert codec.read_ack(answer.payload).verdict == Verdict.REPLAYED
    assert tell(link, advice(2), flags=0) == []
    assert link.counts() == {Verdict.ACCEPTED: 3, Verdict.REPLAYED: 1}


def test_heartbeats_keep_advice_and_their_end_drops_it(link):
    greet(link)
    tell(link, advice(expiry_ms=60_000))
    beat(link, 900)
    link.tick(1899)
    assert alive(link, 1899)
    link.tick(1900)
    assert not alive(link, 1900)
    beat(link, 1950)
    assert link.counts()[Verdict.NOT_LINKED] == 1


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"state": 0}, Verdict.ACCEPTED),
        ({"session": 98}, Verdict.NOT_LINKED),
        ({"state": 2}, Verdict.BAD_VALUE),
        ({"linked": 2}, Verdict.BAD_VALUE),
    ],
)
def test_a_heartbeat_that_keeps_nothing(link, changes, verdict):
    greet(link)
    tell(link, advice(expiry_ms=60_000))
    before = link.counts().get(verdict, 0)
    beat(link, 900, **changes)
    assert link.counts()[verdict] == before + 1
    link.tick(1000)
    assert not alive(link, 1000)


def test_a_heartbeat_after_the_end_finds_no_link_without_a_tick_between(link):
    greet(link)
    beat(link, 1000)
    assert link.counts()[Verdict.NOT_LINKED] == 1


def test_a_gateway_that_started_anew_has_given_no_advice(link):
    greet(link)
    tell(link, advice(expiry_ms=60_000))
    greet(link, 100)
    assert alive(link, 100)
    greet(link, 200, session=100)
    assert not alive(link, 200)


def test_time(link):
    link.message(Type.TIME_SYNC, codec.pack_time_sync(TimeSync(5, 1_795_536_000_123, 1)), 77)
    assert (link.state.utc_ms, link.state.utc_at_ms) == (1_795_536_000_123, 77)
    (reply,) = link.message(Type.TIME_SYNC, codec.pack_time_sync(TimeSync(6, 1_795_536_000_123, 0)), 78)
    assert codec.read_time_reply(reply.payload) == (6, 78)
    assert link.state.utc_ms == UTC_INVALID_MS
    assert link.message(Type.TIME_SYNC, codec.pack_time_sync(TimeSync(6, 0, 2))) == []
    assert link.counts() == {Verdict.ACCEPTED: 2, Verdict.BAD_VALUE: 1}


def test_an_ack_gets_no_ack(link):
    assert link.message(Type.ACK, codec.pack_ack(Ack(1, 2, 0)), flags=1) == []


@pytest.mark.parametrize("kind", [0, 0x12, Type.PACK, Type.CELLS, Type.COUNTERS, Type.TIME_REPLY, 255])
def test_what_a_gateway_does_not_send_is_refused(link, kind):
    (answer,) = link.message(kind, b"", flags=1)
    assert codec.read_ack(answer.payload).verdict == Verdict.UNKNOWN_TYPE


@pytest.mark.parametrize(
    ("kind", "right"), [(Type.HELLO, 28), (Type.HEARTBEAT, 10), (Type.ACK, 4), (Type.TIME_SYNC, 13), (Type.ADVICE, 42)]
)
def test_a_payload_of_another_length_is_refused(link, kind, right):
    for length in (0, right - 1, right + 1, 240):
        link.message(kind, bytes(length))
    assert link.counts() == {Verdict.BAD_LENGTH: 4}
    link.message(kind, bytes(right), flags=2)
    assert link.counts()[Verdict.BAD_VALUE] == 1


def test_counters_say_what_became_of_each_message_and_saturate(link):
    link.state.counters[Verdict.BAD_CRC] = (1 << 32) - 1
    link.hear(bytes.fromhex("03010202020301040102070101070201af8b8bd400"))
    greet(link)
    counters = codec.read_counters(link.tick(1000)[-1].payload)
    assert counters.counts[Verdict.BAD_CRC] == (1 << 32) - 1
    assert counters.counts[Verdict.ACCEPTED] == 1
    assert (counters.time_ms, counters.session, len(counters.counts)) == (1000, SESSION, len(Verdict))


def vector(kind):
    return [entry for entry in VECTORS["messages"] if entry["type"] == kind]


def test_pages_have_the_bytes_of_the_vectors(c, link):
    for kind, send, of in (("CELLS", c.lib.ebms_link_send_cells, "uint16_t[]"), ("PROBES", c.lib.ebms_link_send_probes, "int16_t[]")):
        for entry in vector(kind):
            fields = entry["fields"]
            link.state.sequence = entry["sequence"]
            send(link.state, fields["time_ms"], fields["sweep"], fields["first"], c.ffi.new(of, fields["values"]), len(fields["values"]))
            assert link.raw().hex() == entry["frame"]


def test_the_pack_has_the_bytes_of_the_vectors(c):
    for entry in vector("PACK"):
        fields = entry["fields"]
        link = Link(c, cells=fields["cells"], probes=fields["probes"])
        if fields["advice_left_ms"]:
            greet(link)
            tell(link, advice(expiry_ms=fields["advice_left_ms"]))
        link.state.sequence = entry["sequence"]
        names = ("time_ms", "current_ma", "voltage_mv", "sweep", "faults", "contactor", "state")
        pack = c.ffi.new("ebms_pack *", {name: fields[name] for name in names})
        pack.limits.charge_da, pack.limits.discharge_da = fields["charge_da"], fields["discharge_da"]
        c.lib.ebms_link_send_pack(link.state, pack, 0)
        assert link.raw().hex() == entry["frame"]


class Can:
    def __init__(self, c, **authority):
        self.c, self.state, self.authority = c, c.ffi.new("ebms_can *"), Authority(c, **authority)
        c.lib.ebms_can_init(self.state)

    def hear(self, data, now_ms=0):
        """None, or (verdict, answer)."""
        verdict, answer = self.c.ffi.new("uint8_t *"), self.c.ffi.new("uint8_t[8]")
        if not self.c.lib.ebms_can_advice(self.state, self.authority.state, data, len(data), now_ms, verdict, answer):
            return None
        return Verdict(verdict[0]), bytes(answer)


def answer(verdict, freshness):
    return verdict, bytes((Type.ADVICE, verdict)) + freshness.to_bytes(6, "little")


def test_advice_over_can_fd_and_classic(c):
    can = Can(c)
    (whole,) = to_can(advice(1), fd=True, number=0)
    assert can.hear(whole) == answer(Verdict.ACCEPTED, 1)
    assert can.hear(whole) == answer(Verdict.REPLAYED, 1)
    *first, last = to_can(advice(0x030201), fd=False, number=15)
    assert [can.hear(frame) for frame in first] == [None] * 6
    assert can.hear(last, 100) == answer(Verdict.ACCEPTED, 0x030201)
    assert can.hear(last)[0] is Verdict.BAD_FRAME_LENGTH


@pytest.mark.parametrize("form", ["classic", "fd"])
def test_the_vectors_of_can(c, form):
    read = codec.read_advice(bytes.fromhex(VECTORS["can"]["payload"]))
    can = Can(c)
    slot = can.authority.state.slots[0]
    slot.key_id, slot.key = read.key_id, list(bytes.fromhex(VECTORS["keys"][str(read.key_id)]))
    can.authority.heard(read.issued_ms, greets=True)
    found = [can.hear(bytes.fromhex(frame), read.issued_ms) for frame in VECTORS["can"][form]]
    assert found[-1] == answer(Verdict.ACCEPTED, read.freshness)


def test_segments_lost_mixed_or_late_make_no_advice(c):
    can, frames, others = Can(c), to_can(advice(1), fd=False, number=1), to_can(advice(2), fd=False, number=2)
    for wrong in (frames[:2] + frames[3:], frames[:2] + others[2:], frames[1:], [*frames[:3], frames[2], *frames[3:]]):
        assert Verdict.ACCEPTED not in [found[0] for found in map(can.hear, wrong) if found]
    for at, frame in enumerate(frames):
        found = can.hear(frame, 101 if at == 6 else 0)
    assert found[0] is Verdict.BAD_FRAME_LENGTH
    assert can.hear(frames[0][:7])[0] is Verdict.BAD_FRAME_LENGTH
    assert [can.hear(frame) for frame in frames][-1] == answer(Verdict.ACCEPTED, 1)


def test_what_is_not_advice_of_this_version(c):
    can = Can(c)
    (whole,) = to_can(advice(1), fd=True, number=0)
    assert can.hear(b"\2" + whole[1:])[0] is Verdict.BAD_VERSION
    assert can.hear(b"\1\2" + whole[2:])[0] is Verdict.UNKNOWN_TYPE


def test_the_heartbeat_of_can_makes_and_keeps_the_link(c):
    can = Can(c, linked=False)
    (whole,) = to_can(advice(1), fd=True, number=0)
    beat = lambda gateway, state: bytes(4) + gateway.to_bytes(2, "little") + bytes((state, 0))  # noqa: E731
    for refused in (beat(GATEWAY_ID + 1, 1), beat(GATEWAY_ID, 0)):
        c.lib.ebms_can_heartbeat(can.authority.state, refused, 0)
        assert can.hear(whole)[0] is Verdict.NOT_LINKED
    c.lib.ebms_can_heartbeat(can.authority.state, beat(GATEWAY_ID, 1), 0)
    assert can.hear(whole)[0] is Verdict.ACCEPTED


def test_one_freshness_for_both_lines(c):
    can = Can(c)
    assert can.authority.judge(advice(1)) is Verdict.ACCEPTED
    (whole,) = to_can(advice(1), fd=True, number=0)
    assert can.hear(whole)[0] is Verdict.REPLAYED


def test_messages_of_every_kind_are_small_enough(link):
    for message in [*greet(link), *link.tick(5000)]:
        assert len(codec.frame(Message(*message))) <= 251
