"""The gateway's two ends against a model of the microcontroller, in simulated time: retries, expiry, wraps, mismatches."""

import itertools

import pytest
from mcu_model import Mcu

from firmware_bridge import codec
from firmware_bridge.advice import from_segments, is_genuine
from firmware_bridge.adviser import Adviser, Command, McuClock
from firmware_bridge.codec import Ack, Deframer, Message
from firmware_bridge.codes import CAN_ID_ACK, CAN_ID_ADVICE, CAN_ID_GATEWAY_HEARTBEAT, CAN_ID_MCU_HEARTBEAT, Type, Verdict
from firmware_bridge.gateway import Expected, Self, SerialGateway
from firmware_bridge.gateway_can import CanGateway, segments, whole
from firmware_bridge.keys import Key, KeyProblem

KEY = Key(1, bytes(range(16)))
CALM = Command(0, 0, 0, 800, 1200, 4032, 2880, 0, 2000)
STOP = CALM._replace(action=5, charge_da=0)
EXPECTED = Expected(9, 0, (0, 0, 0), 16, 4)


class Counting:
    """A counter that may fail."""

    def __init__(self, first=1):
        self.value, self.broken = first, False

    def __call__(self):
        if self.broken:
            raise KeyProblem("cannot be written", "disk", "mend it")
        self.value += 1
        return self.value - 1


class World:
    """Gateway and microcontroller over a line without delay; ``drop`` says which of the gateway's messages are lost."""

    def __init__(self, expected=EXPECTED, first=1, **mcu):
        self.counter = Counting(first)
        self.adviser = Adviser(7, 9, KEY, self.counter)
        self.gateway = SerialGateway(Self(7, (0, 1, 0), 77, 1), expected, self.adviser)
        self.mcu = Mcu({1: KEY.secret}, **mcu)
        self.up = Deframer()
        self.now_ms = 0
        self.sent = []
        self.drop = lambda message: False
        self.drop_up = lambda message: False
        self.command = CALM

    def run(self, ms, *, decide=True):
        for _ in range(ms // 10):
            self.now_ms += 10
            if decide and self.now_ms % 100 == 0:
                self.adviser.tell(self.command._replace(decided_ms=self.now_ms))
            for message in self.up.feed(self.mcu.tick(self.now_ms)):
                if not self.drop_up(message):
                    self.gateway.hear(message, self.now_ms)
            for message in self.gateway.due(self.now_ms, self.counter.value, None):
                self.sent.append((self.now_ms, message))
                if not self.drop(message):
                    self.mcu.hear(codec.frame(message), self.now_ms)

    def advice(self):
        return [(at, codec.read_advice(message.payload)) for at, message in self.sent if message.type == Type.ADVICE]


def test_handshake_then_advice_and_renewals():
    world = World()
    world.run(3000)
    assert world.gateway.linked(world.now_ms)
    assert world.mcu.linked
    assert world.mcu.counts[Verdict.ACCEPTED] == len(world.mcu.messages)
    at = [at for at, _ in world.advice()]
    assert at[0] <= 200
    assert [b - a for a, b in itertools.pairwise(at)] == [500] * (len(at) - 1)
    assert world.adviser.waiting_since_ms is None
    assert sum(message.type == Type.HELLO for _, message in world.sent) == 1


def test_what_is_stricter_goes_at_once_and_what_is_looser_waits():
    world = World()
    world.run(1000)
    world.command = STOP
    world.run(100)
    assert world.advice()[-1][1].action == 5
    assert world.advice()[-1][0] == world.now_ms
    world.command = STOP._replace(charge_dv=9999, discharge_dv=1)
    count = len(world.advice())
    world.run(300)
    assert len(world.advice()) == count
    world.run(300)
    assert world.advice()[-1][1].charge_dv == 9999


def test_unanswered_advice_is_sent_three_times_each_a_new_message_and_then_told():
    world = World()
    world.run(1000)
    world.drop = lambda message: message.type == Type.ADVICE
    start = len(world.advice())
    world.run(1000)
    lost = world.advice()[start:]
    assert [b - a for (a, _), (b, _) in itertools.pairwise(lost)][:2] == [150, 150]
    assert len({advice.freshness for _, advice in lost}) == len(lost)
    assert len({advice.issued_ms for _, advice in lost[:3]}) > 1
    assert world.adviser.unanswered >= 1
    assert world.now_ms - world.adviser.waiting_since_ms > 800
    world.drop = lambda message: False
    world.run(1000)
    assert world.adviser.waiting_since_ms is None


def test_no_message_goes_out_for_a_decision_that_expired_and_the_advice_ends_with_it():
    world = World()
    world.run(1000)
    decided_ms = world.now_ms
    count = len(world.advice())
    world.run(1900, decide=False)
    assert world.mcu.advice is not None
    assert len(world.advice()) > count
    assert all(advice.issued_ms == world.mcu.time_ms(decided_ms) for _, advice in world.advice()[count:])
    world.run(200, decide=False)
    assert world.mcu.advice is None
    count = len(world.advice())
    world.run(3000, decide=False)
    assert len(world.advice()) == count
    beats = [
        codec.read_heartbeat(message.payload) for at, message in world.sent if message.type == Type.HEARTBEAT and at > world.now_ms - 2000
    ]
    assert {beat.state for beat in beats} == {0}
    assert world.mcu.advice is None


@pytest.mark.parametrize("before_ms", [1500, 10])
def test_the_microcontrollers_clock_wraps(before_ms):
    world = World(start_ms=(1 << 32) - before_ms)
    world.run(4000)
    assert {verdict for verdict, _ in world.mcu.judged} == {Verdict.ACCEPTED}
    times = [at for at, _ in world.mcu.accepted]
    assert max(b - a for a, b in itertools.pairwise(times)) <= 500
    assert world.mcu.advice is not None


def test_our_own_clock_wraps():
    world = World()
    world.now_ms = (1 << 32) - 1496
    world.mcu.reset(world.now_ms)
    world.run(4000)
    assert {verdict for verdict, _ in world.mcu.judged} == {Verdict.ACCEPTED}
    assert world.gateway.round_trip_ms <= 10


def test_sequence_numbers_wrap():
    world = World()
    world.gateway._sequence = 65_530
    world.run(3000)
    assert world.adviser.accepted == len(world.advice())


def test_a_reset_is_noticed_and_advice_is_given_anew():
    world = World()
    world.run(1000)
    world.mcu.reset(world.now_ms)
    assert world.mcu.state == 1
    world.run(1500)
    assert world.mcu.advice.session == 2
    assert world.mcu.accepted[-1][0] > 1500


@pytest.mark.parametrize(
    ("expected", "mcu", "word"),
    [
        (EXPECTED, {"cells": 17}, "cells"),
        (EXPECTED, {"probes": 5}, "probes"),
        (EXPECTED, {"mcu_id": 10}, "other_mcu"),
        (EXPECTED, {"version": 2}, "version"),
        (EXPECTED._replace(profile=5), {"profile": 6}, "profile"),
        (EXPECTED._replace(firmware=(2, 1, 1)), {}, "firmware"),
        (EXPECTED._replace(firmware=(3, 0, 0)), {}, "firmware"),
        (EXPECTED, {"store": {"resets": 4, "freshness": {1: 500}, "open": False}}, "freshness"),
    ],
)
def test_a_microcontroller_that_is_not_the_one_gets_no_advice(expected, mcu, word):
    world = World(expected, **mcu)
    world.run(2500)
    assert world.gateway.mismatch(world.counter.value).word == word
    assert world.advice() == []


@pytest.mark.parametrize(
    ("expected", "mcu"), [(EXPECTED._replace(profile=6, firmware=(2, 1, 0)), {"profile": 6}), (EXPECTED, {"profile": 6})]
)
def test_one_that_is_just_right_gets_it(expected, mcu):
    world = World(expected, first=501, store={"resets": 4, "freshness": {1: 500}, "open": False}, **mcu)
    world.run(1000)
    assert world.mcu.accepted


def test_a_counter_that_cannot_be_written_stops_advice_but_not_the_heartbeat():
    world = World()
    world.run(1000)
    world.counter.broken = True
    count, beats = len(world.advice()), len(world.sent)
    world.run(2000)
    assert len(world.advice()) == count
    assert "cannot be written" in world.adviser.problem
    assert sum(message.type == Type.HEARTBEAT for _, message in world.sent[beats:]) >= 9
    world.counter.broken = False
    world.run(1000)
    assert len(world.advice()) > count
    assert world.adviser.problem == ""


def test_a_refusal_is_counted_by_its_reason_and_not_repeated_in_haste():
    world = World()
    world.mcu.keys = {1: bytes(16)}
    world.run(3000)
    assert world.adviser.refused[Verdict.FORGED] == len(world.advice())
    assert len(world.advice()) <= 7


def test_answers_to_others_change_nothing_and_requests_for_an_answer_get_one():
    world = World()
    world.run(1000)
    world.drop_up = lambda message: message.type == Type.ACK
    world.run(600)
    waiting = world.adviser.waiting_since_ms
    assert waiting is not None
    stranger = Message(Type.ACK, 0, 1, codec.pack_ack(Ack(9, Type.ADVICE, 0)))
    world.gateway.hear(stranger, world.now_ms)
    world.gateway.hear(stranger._replace(payload=codec.pack_ack(Ack(world.gateway._sequence, Type.HELLO, 0))), world.now_ms)
    assert world.adviser.waiting_since_ms == waiting
    beat = next(message for message in world.up.feed(world.mcu.tick(world.now_ms + 300)) if message.type == Type.HEARTBEAT)
    world.gateway.hear(beat._replace(flags=1, sequence=4711), world.now_ms)
    answers = [message for message in world.gateway.due(world.now_ms, 1, None) if message.type == Type.ACK]
    assert [codec.read_ack(message.payload) for message in answers] == [Ack(4711, Type.HEARTBEAT, 0)]


@pytest.mark.parametrize("form", [segments, whole])
def test_advice_over_can(form):
    adviser = Adviser(7, 9, KEY, Counting())
    gateway = CanGateway(7, adviser, form)
    adviser.tell(CALM)
    (beat,) = gateway.due(100)
    assert beat[0] == CAN_ID_GATEWAY_HEARTBEAT
    assert beat[1] == (100).to_bytes(4, "little") + b"\x07\x00\x01\x00"
    gateway.hear(CAN_ID_MCU_HEARTBEAT, (5000).to_bytes(4, "little") + (3).to_bytes(4, "little"), 150)
    found = gateway.due(160)
    assert {identifier for identifier, _ in found} == {CAN_ID_ADVICE}
    payload = from_segments([data for _, data in found]) if form is segments else found[0][1][2:44]
    advice = codec.read_advice(payload)
    assert is_genuine(advice, KEY.secret)
    assert (advice.session, advice.issued_ms, advice.expiry_ms) == (3, 5000 - 150, 2000)
    gateway.hear(CAN_ID_ACK, bytes((0x11, Verdict.ACCEPTED)) + advice.freshness.to_bytes(6, "little"), 170)
    assert adviser.accepted == 1
    assert gateway.due(200) == []
    # silent for more than a second: nothing but our heartbeat
    adviser.tell(CALM._replace(decided_ms=1500))
    assert {identifier for identifier, _ in gateway.due(1500)} == {CAN_ID_GATEWAY_HEARTBEAT}


def test_limits_that_differ_count_as_stricter_by_their_sense():
    assert CALM._replace(charge_da=799).stricter(CALM)
    assert CALM._replace(charge_dv=4031).stricter(CALM)
    assert CALM._replace(discharge_dv=2881).stricter(CALM)
    assert CALM._replace(action=1).stricter(CALM)
    assert CALM._replace(cool=1).stricter(CALM)
    assert not CALM._replace(charge_da=801, discharge_da=0xFFFF, charge_dv=5000, discharge_dv=0).stricter(CALM)


def test_issued_is_the_decisions_own_moment_on_the_other_clock():
    adviser = Adviser(7, 9, KEY, Counting())
    adviser.tell(CALM._replace(decided_ms=10_000, expires_ms=90_000))
    advice = adviser.due(10_700, McuClock(1, 500, 10_600))
    assert advice.issued_ms == (500 - 600) % (1 << 32)
    assert advice.expiry_ms == 60_000
    assert adviser.due(10_710, McuClock(1, 500, 10_600)) is None


def test_the_model_reads_what_we_send():
    world = World()
    world.run(500)
    framed = b"".join(codec.frame(message) for _, message in world.sent)
    assert len(Deframer(codec.FROM_GATEWAY).feed(framed)) == len(world.sent)


def test_what_others_try_on_the_line_is_noticed_by_the_counters():
    """They ask for no answer. Refusals that stood before we listened, and another session's, are none of now."""

    def counters(session, **refused):
        counts = [0] * len(Verdict)
        for name, count in refused.items():
            counts[Verdict[name.upper()]] = count
        return Message(Type.COUNTERS, 0, 1, codec.pack_counters(codec.Counters(0, session, tuple(counts))))

    world = World()
    world.run(1000)
    world.gateway.counters = None
    world.gateway.hear(counters(5, forged=3), 2000)
    world.gateway.hear(counters(5, forged=3, stale=9, bad_crc=4), 3000)
    world.gateway.hear(counters(6, forged=4), 4000)
    assert world.adviser.last_refusal is None
    world.gateway.hear(counters(6, forged=5), 5000)
    assert world.adviser.last_refusal == (Verdict.FORGED, 5000)
    world.gateway.hear(counters(6, forged=5, other_gateway=1), 6000)
    assert world.adviser.last_refusal == (Verdict.OTHER_GATEWAY, 6000)
    assert not world.adviser.refused, "ours were all answered"
