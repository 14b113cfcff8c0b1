"""The serial line between the daemon and the board, frame by frame: what goes over it is seen, and may be spoiled on the way.

A thread of its own reads both ends. ``tampers`` change frames, ``inject`` adds some.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from firmware_bridge import codec
from firmware_bridge.codec import FROM_GATEWAY, FROM_MCU, Advice, Counters, Deframer, Heartbeat, Hello, Message, PackState
from firmware_bridge.codes import Type, Verdict

LONGEST = 1 << 16
"""Bytes without an end of a frame: no line of ours."""
KEPT = 64


@dataclass(frozen=True, slots=True)
class Told:
    """What the firmware said of itself with one sweep. at_s: monotonic. counts: messages by verdict, since its reset. lapse_s: the longest
    time so far from advice that came spoiled, or not at all, to the next that the firmware accepted."""

    at_s: float
    pack: PackState
    session: int
    counts: tuple[int, ...]
    lapse_s: float


class Tamper(Protocol):
    """A fault's hand on the line: what becomes of a frame (its 0x00 included) on its way."""

    def down(self, frame: bytes) -> bytes: ...

    def up(self, frame: bytes) -> bytes: ...


class Line:
    """Between ``daemon`` and ``board``, both file descriptors that do not wait, until ``close``."""

    def __init__(self, daemon: int, board: int) -> None:
        self.tampers: list[Tamper] = []
        self.told: list[Told] = []
        self.hello: Hello | None = None
        self.beat: tuple[float, Heartbeat] | None = None
        """When the board's last heartbeat came, and what it said."""
        self.advice: deque[tuple[Advice, bytes]] = deque(maxlen=KEPT)
        """The daemon's own, the newest last, and their frames."""
        self._daemon, self._board = daemon, board
        self._counters = Counters(0, 0, ())
        self._spoiled_s: float | None = None
        self._lapse_s = 0.0
        self._from_daemon, self._from_board = Deframer(FROM_GATEWAY), Deframer(FROM_MCU)
        self._due: deque[bytes] = deque()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def inject(self, message: Message) -> None:
        """To the board, as if from the daemon."""
        self._due.append(b"\0" + codec.frame(message))

    def replay(self, frame: bytes) -> None:
        """Bytes that were on the line before."""
        self._due.append(b"\0" + frame)

    # ---- the thread

    def _serve(self) -> None:
        down_rest = up_rest = b""
        while not self._ended.is_set():
            ready = select.select([self._daemon, self._board], [], [], 0.02)[0]
            if self._daemon in ready:
                down_rest = self._pass(down_rest + taken(self._daemon), self._down)
            if self._board in ready:
                up_rest = self._pass(up_rest + taken(self._board), self._up)
            while self._due:
                write(self._board, self._due.popleft())

    def _pass(self, data: bytes, way: Callable[[bytes], None]) -> bytes:
        *whole, rest = data.split(b"\0")
        for coded in whole:
            way(coded + b"\0")
        return rest if len(rest) < LONGEST else b""

    def _down(self, frame: bytes) -> None:
        sent = frame
        for tamper in tuple(self.tampers):
            sent = tamper.down(sent)
        for message in self._from_daemon.feed(frame):
            if message.type == Type.ADVICE:
                self.advice.append((codec.read_advice(message.payload), frame))
                if sent != frame and self._spoiled_s is None:
                    self._spoiled_s = time.monotonic()
        write(self._board, sent)

    def _up(self, frame: bytes) -> None:
        for message in self._from_board.feed(frame):
            self._hear(message)
        for tamper in tuple(self.tampers):
            frame = tamper.up(frame)
        write(self._daemon, frame)

    def _hear(self, message: Message) -> None:
        now_s = time.monotonic()
        if message.type == Type.HELLO:
            self.hello = codec.read_hello(message.payload)
        elif message.type == Type.HEARTBEAT:
            self.beat = (now_s, codec.read_heartbeat(message.payload))
        elif message.type == Type.COUNTERS:
            self._counters = codec.read_counters(message.payload)
        elif message.type == Type.ACK:
            ack = codec.read_ack(message.payload)
            if ack.type == Type.ADVICE and ack.verdict == Verdict.ACCEPTED and self._spoiled_s is not None:
                self._lapse_s, self._spoiled_s = max(self._lapse_s, now_s - self._spoiled_s), None
        elif message.type == Type.PACK:
            session = self.beat[1].session if self.beat is not None else 0
            waits_s = now_s - self._spoiled_s if self._spoiled_s is not None else 0.0
            counts = self._counters.counts if self._counters.session == session else ()
            self.told.append(Told(now_s, codec.read_state(message.payload), session, counts, max(self._lapse_s, waits_s)))


def taken(line: int) -> bytes:
    with contextlib.suppress(OSError):
        return os.read(line, 65536)
    time.sleep(0.01)  # an end that is closed is always ready
    return b""


def write(line: int, data: bytes) -> None:
    """What the other end does not take is lost, as on a wire."""
    with contextlib.suppress(OSError):
        os.write(line, data)
