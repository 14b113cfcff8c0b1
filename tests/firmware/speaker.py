"""The gateway's end of a line, by hand: a test says what goes out. Frames may be spoiled, replayed, forged."""

from __future__ import annotations

import os
import random
import select
import time
import tty
from collections import Counter

from firmware_bridge import codec
from firmware_bridge.advice import sign
from firmware_bridge.codec import FROM_MCU, Ack, Advice, Deframer, Heartbeat, Hello, Message, PackState
from firmware_bridge.codes import LIMIT_UNSTATED, VERSION, Action, McuState, Mode, Role, Type, Verdict

WRAP = 1 << 32


class Speaker:
    """``pump`` sends heartbeats (while ``beats``) and takes what comes. spoil: the share of our frames that get a wrong bit."""

    def __init__(self, port: str, key: bytes, key_id: int, *, gateway_id: int, mcu_id: int, spoil: float = 0.0) -> None:
        self.key, self.key_id, self.gateway_id, self.mcu_id, self.spoil = key, key_id, gateway_id, mcu_id, spoil
        self.session, self.freshness, self.beats, self.sequence = random.Random(port).getrandbits(32), 0, True, 0
        self.hello: Hello | None = None
        self.pack: PackState | None = None
        self.beat: Heartbeat | None = None
        self.beat_at = 0.0
        self.counts: tuple[int, ...] = ()
        self.cells: tuple[int, ...] = ()
        self.acks: dict[int, int] = {}
        self.sent: list[bytes] = []
        self._random, self._deframer = random.Random(1), Deframer(FROM_MCU)
        self._line = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._line)
        self._beaten = self._greeted = 0.0

    def close(self) -> None:
        os.close(self._line)

    def send(self, kind: int, payload: bytes, *, ack: bool = False) -> int:
        """Its sequence."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.raw(codec.frame(Message(kind, int(ack), self.sequence, payload)))
        return self.sequence

    def raw(self, data: bytes) -> None:
        if self._random.random() < self.spoil:
            at = self._random.randrange(len(data) - 1)
            data = data[:at] + bytes((data[at] ^ (1 << self._random.randrange(8)),)) + data[at + 1 :]
        self.sent.append(data)
        os.write(self._line, b"\0" + data)

    def greet(self) -> None:
        own = Hello(Role.GATEWAY, self.gateway_id, VERSION, VERSION, 0, 1, 0, 0, self.session, 0, 0, len(Action), 0, self.key_id)
        self.send(Type.HELLO, codec.pack_hello(own))

    def pump(self, wait_s: float = 0.005) -> None:
        now = time.monotonic()
        if self.beats and now - self._beaten >= 0.2:
            self._beaten = now
            self.send(Type.HEARTBEAT, codec.pack_heartbeat(Heartbeat(int(now * 1000) % WRAP, self.session, 1, 1)))
        if self.beats and now - self._greeted >= 0.3 and not (self.beat and self.beat.linked):
            self._greeted = now
            self.greet()
        if select.select([self._line], [], [], wait_s)[0]:
            for message in self._deframer.feed(os.read(self._line, 4096)):
                self._hear(message)

    def _hear(self, message: Message) -> None:
        if message.type == Type.HELLO:
            self.hello = codec.read_hello(message.payload)
        elif message.type == Type.HEARTBEAT:
            self.beat, self.beat_at = codec.read_heartbeat(message.payload), time.monotonic()
        elif message.type == Type.PACK:
            self.pack = codec.read_state(message.payload)
        elif message.type == Type.CELLS:
            self.cells = tuple(codec.read_cells(message.payload).values)
        elif message.type == Type.COUNTERS:
            self.counts = tuple(codec.read_counters(message.payload).counts)
        elif message.type == Type.ACK:
            ack: Ack = codec.read_ack(message.payload)
            self.acks[ack.sequence] = ack.verdict

    def until(self, holds, timeout_s: float = 15.0) -> float:  # type: ignore[no-untyped-def]
        """Seconds that it took. AssertionError with what stands when it does not come to hold."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < timeout_s, (self.beat, self.pack, self.hello, self.counts, self._deframer.counts)
            self.pump()
        return time.monotonic() - began

    def during(self, seconds: float, holds) -> None:  # type: ignore[no-untyped-def]
        """``holds`` is true all the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump()
            assert holds(), (self.beat, self.pack, self.counts)

    @property
    def linked(self) -> bool:
        return self.hello is not None and self.beat is not None and self.beat.linked == 1 and self.beat.session == self.hello.session

    @property
    def state(self) -> McuState | None:
        return McuState(self.pack.state) if self.pack else None

    def advice(self, action: Action = Action.NONE, **changes: int) -> Advice:
        """Signed, with the next freshness, for the microcontroller's clock now."""
        assert self.beat is not None
        self.freshness += 1
        now_ms = (self.beat.time_ms + int((time.monotonic() - self.beat_at) * 1000)) % WRAP
        plain = Advice(
            self.gateway_id, self.mcu_id, self.key_id, self.freshness, action, Mode.COMMAND, 0,
            *[LIMIT_UNSTATED] * 4, self.beat.session, now_ms, 60_000, bytes(8),
        )  # fmt: skip
        return sign(plain._replace(**changes), self.key)

    def tell(self, advice: Advice) -> Verdict:
        """Sends it once and waits for the verdict."""
        sequence = self.send(Type.ADVICE, codec.pack_advice(advice), ack=True)
        self.until(lambda: sequence in self.acks)
        return Verdict(self.acks[sequence])

    def refusals(self) -> Counter[Verdict]:
        return Counter({Verdict(code): count for code, count in enumerate(self.counts) if code and count})
