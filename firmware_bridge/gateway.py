"""The gateway's end of the serial line: handshake, heartbeat, time, answers, advice. No clock, no I/O.

``hear`` each message, ``due`` for what is to be sent; milliseconds on the gateway's clock are passed in.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from firmware_bridge import codec
from firmware_bridge.adviser import WRAP, Adviser, McuClock
from firmware_bridge.codec import Ack, Counters, Heartbeat, Hello, Message, PackState, TimeReply, TimeSync
from firmware_bridge.codes import (
    FLAG_ACK_WANTED,
    HEARTBEAT_PERIOD_MS,
    HEARTBEAT_TIMEOUT_MS,
    HELLO_PERIOD_MS,
    UTC_INVALID_MS,
    VERSION,
    Action,
    Role,
    Type,
    Verdict,
)

TIME_SYNC_MS = 10_000
FROM_OTHERS = (Verdict.OTHER_GATEWAY, Verdict.UNKNOWN_KEY, Verdict.REPLAYED, Verdict.FORGED)
"""Reasons for which the microcontroller refuses what was none of ours, the gravest last."""
SEQUENCES_KEPT = 32
"""Messages of advice whose answers are still known by their sequence."""


class Self(NamedTuple):
    """What we say of ourselves. version: major, minor, patch. session: another at each start."""

    gateway_id: int
    version: tuple[int, int, int]
    session: int
    key_id: int


class Expected(NamedTuple):
    """What the microcontroller must be. profile: 0 = any. firmware: the oldest that will do."""

    mcu_id: int
    profile: int
    firmware: tuple[int, int, int]
    cells: int
    probes: int


class Mismatch(NamedTuple):
    """word: for rules and counts. text: for people. is_, wanted: the two values, as numbers."""

    word: str
    text: str
    is_: float
    wanted: float


def mismatch(hello: Hello, expected: Expected, key_id: int, next_freshness: int) -> Mismatch | None:
    """Why a microcontroller that says ``hello`` is given no advice."""
    firmware = (hello.firmware_major, hello.firmware_minor, hello.firmware_patch)
    if hello.role != Role.MCU:
        return Mismatch("other_mcu", "another gateway is on this line", hello.role, Role.MCU)
    if not hello.version_min <= VERSION <= hello.version_max:
        spoken = f"{hello.version_min} to {hello.version_max}"
        return Mismatch("version", f"it speaks versions {spoken} of the protocol, we speak {VERSION}", hello.version_max, VERSION)
    if hello.device_id != expected.mcu_id:
        return Mismatch("other_mcu", f"it is microcontroller {hello.device_id}, not {expected.mcu_id}", hello.device_id, expected.mcu_id)
    if firmware < expected.firmware:
        older = f"its firmware is {'.'.join(map(str, firmware))}, {'.'.join(map(str, expected.firmware))} is the oldest that will do"
        return Mismatch("firmware", older, firmware[0], expected.firmware[0])
    if expected.profile and hello.profile != expected.profile:
        text = f"its firmware was made for profile {hello.profile:#x}, not {expected.profile:#x}"
        return Mismatch("profile", text, hello.profile, expected.profile)
    if hello.cells != expected.cells:
        return Mismatch("cells", f"it has {hello.cells} cells, not {expected.cells}", hello.cells, expected.cells)
    if hello.probes != expected.probes:
        return Mismatch("probes", f"it has {hello.probes} probes, not {expected.probes}", hello.probes, expected.probes)
    if hello.key_id == key_id and hello.freshness_last >= next_freshness:
        return Mismatch(
            "freshness",
            f"it has accepted freshness {hello.freshness_last}, our counter stands at {next_freshness}: change the key",
            hello.freshness_last,
            next_freshness,
        )
    return None


class SerialGateway:
    """adviser: of the same microcontroller. ``next_freshness`` in its calls: what the counter would give now, untaken."""

    def __init__(self, own: Self, expected: Expected, adviser: Adviser) -> None:
        self._own, self._expected, self.adviser = own, expected, adviser
        self.hello: Hello | None = None
        self.clock: McuClock | None = None
        self.state: PackState | None = None
        self.counters: Counters | None = None
        self.heard_ms: int | None = None
        """When its last heartbeat came."""
        self.round_trip_ms: int | None = None
        self._sequence = 0
        self._greet = True
        self._greeted_ms: int | None = None
        self._beat_ms: int | None = None
        self._timed_ms: int | None = None
        self._answers: deque[Ack] = deque(maxlen=SEQUENCES_KEPT)
        self._freshness_of: dict[int, int] = {}

    def line_opened(self) -> None:
        """The line was closed in between: all starts anew but the freshness."""
        self.hello = self.clock = self.state = self.heard_ms = None
        self._greet, self._greeted_ms = True, None
        self.adviser.forget()

    def linked(self, now_ms: int) -> bool:
        return self.hello is not None and self.alive(now_ms)

    def alive(self, now_ms: int) -> bool:
        return self.heard_ms is not None and now_ms - self.heard_ms <= HEARTBEAT_TIMEOUT_MS

    def mismatch(self, next_freshness: int) -> Mismatch | None:
        return mismatch(self.hello, self._expected, self._own.key_id, next_freshness) if self.hello is not None else None

    def hear(self, message: Message, at_ms: int) -> None:
        """Take one message of the microcontroller. at_ms: when it was received."""
        kind, payload = message.type, message.payload
        verdict = Verdict.ACCEPTED
        if kind == Type.HELLO:
            hello = codec.read_hello(payload)
            if self.hello is None or hello.session != self.hello.session:
                self.adviser.forget()
            self.hello, self._greet = hello, False
        elif kind == Type.HEARTBEAT:
            beat = codec.read_heartbeat(payload)
            self.clock, self.heard_ms = McuClock(beat.session, beat.time_ms, at_ms), at_ms
            if not beat.linked or self.hello is None or beat.session != self.hello.session:
                self._greet = True
        elif kind == Type.ACK:
            ack = codec.read_ack(payload)
            freshness = self._freshness_of.pop(ack.sequence, None) if ack.type == Type.ADVICE else None
            if freshness is not None:
                self.adviser.answered(freshness, ack.verdict, at_ms)
                if ack.verdict in (Verdict.NOT_LINKED, Verdict.STALE):
                    self._greet = True
        elif kind == Type.PACK:
            self.state = codec.read_state(payload)
        elif kind == Type.COUNTERS:
            self._count(codec.read_counters(payload), at_ms)
        elif kind == Type.TIME_REPLY:
            reply: TimeReply = codec.read_time_reply(payload)
            self.round_trip_ms = (at_ms - reply.gateway_ms) % WRAP
        else:
            verdict = Verdict.UNKNOWN_TYPE
        if message.ack_wanted:
            self._answers.append(Ack(message.sequence, kind, verdict))

    def due(self, now_ms: int, next_freshness: int, utc_ms: int | None) -> list[Message]:
        """What is to be sent now. utc_ms: None while the time of day is not known."""
        found: list[Message] = []
        while self._answers:
            found.append(self._message(Type.ACK, codec.pack_ack(self._answers.popleft())))
        if self._greet and _over(self._greeted_ms, now_ms, HELLO_PERIOD_MS):
            self._greeted_ms = now_ms
            found.append(self._message(Type.HELLO, codec.pack_hello(self._hello())))
        if _over(self._beat_ms, now_ms, HEARTBEAT_PERIOD_MS):
            late_ms = now_ms - self._beat_ms - HEARTBEAT_PERIOD_MS if self._beat_ms is not None else 0
            self._beat_ms = now_ms - (late_ms if late_ms < HEARTBEAT_PERIOD_MS else 0)
            found.append(self._heartbeat(now_ms))
        if self.linked(now_ms) and self.mismatch(next_freshness) is None:
            if _over(self._timed_ms, now_ms, TIME_SYNC_MS):
                self._timed_ms = now_ms
                known = utc_ms is not None
                sync = TimeSync(now_ms % WRAP, utc_ms if utc_ms is not None else UTC_INVALID_MS, int(known))
                found.append(self._message(Type.TIME_SYNC, codec.pack_time_sync(sync)))
            if not self._greet and self.clock is not None and (advice := self.adviser.due(now_ms, self.clock)) is not None:
                message = self._message(Type.ADVICE, codec.pack_advice(advice), FLAG_ACK_WANTED)
                self._freshness_of[message.sequence] = advice.freshness
                while len(self._freshness_of) > SEQUENCES_KEPT:
                    del self._freshness_of[next(iter(self._freshness_of))]
                found.append(message)
        return found

    def _count(self, counters: Counters, at_ms: int) -> None:
        """What it refused from others on the line, who ask for no answer, shows here alone."""
        before, self.counters = self.counters, counters
        if before is None or before.session != counters.session:
            return
        for verdict in FROM_OTHERS:
            if counters.of(verdict) > before.of(verdict):
                self.adviser.overheard(verdict, at_ms)

    def _heartbeat(self, now_ms: int) -> Message:
        beat = Heartbeat(now_ms % WRAP, self._own.session, int(self.adviser.holds(now_ms)), int(self.linked(now_ms)))
        return self._message(Type.HEARTBEAT, codec.pack_heartbeat(beat))

    def _hello(self) -> Hello:
        own, expected = self._own, self._expected
        return Hello(
            Role.GATEWAY,
            own.gateway_id,
            VERSION,
            VERSION,
            *own.version,
            profile=expected.profile,
            session=own.session,
            cells=expected.cells,
            probes=expected.probes,
            actions=len(Action),
            freshness_last=0,
            key_id=own.key_id,
        )

    def _message(self, kind: Type, payload: bytes, flags: int = 0) -> Message:
        self._sequence = (self._sequence + 1) % 65536
        return Message(kind, flags, self._sequence, payload)


def _over(since_ms: int | None, now_ms: int, period_ms: int) -> bool:
    return since_ms is None or now_ms - since_ms >= period_ms
