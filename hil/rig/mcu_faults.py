"""What goes wrong at the microcontroller and on its line. Each has a ``begin`` and an ``end``; ``KINDS`` knows them.

The attackers know the line, and whoever replays or speaks for another gateway has the right key too: the firmware must refuse by
number and id alone.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from firmware_bridge import codec
from firmware_bridge.advice import sign
from firmware_bridge.codec import Advice, Message
from firmware_bridge.codes import LIMIT_UNSTATED, Action, Mode, Type
from hil.errors import RigError
from hil.rig.mcu_board import Board
from hil.rig.mcu_line import Line
from hil.scenario import McuFault

ATTACK_EVERY_S = 0.3
WRAP = 1 << 32
LIVES_MS = 60_000
AHEAD = 1000
"""A forged number lies so far above the gateway's own: it would be taken."""
NEAR_END = 16
"""So many numbers are left to a counter that is near its end."""


class Host(Protocol):
    """What a fault may touch. key, gateway_id: the daemon's."""

    board: Board
    line: Line
    key: bytes
    gateway_id: int


class Fault(Protocol):
    def begin(self, host: Host, spec: McuFault) -> None: ...

    def end(self, host: Host) -> None: ...


class Reset:
    """The board's reset button."""

    def begin(self, host: Host, spec: McuFault) -> None:
        host.board.reset()

    def end(self, host: Host) -> None: ...


class Tampering:
    """down_share, up_share: of the frames that way get one wrong bit, or are lost."""

    def __init__(self, down_share: float, up_share: float, *, lose: bool) -> None:
        self._down_share, self._up_share, self._lose = down_share, up_share, lose
        self._random = random.Random(1)

    def down(self, frame: bytes) -> bytes:
        return self._change(frame, self._down_share)

    def up(self, frame: bytes) -> bytes:
        return self._change(frame, self._up_share)

    def _change(self, frame: bytes, share: float) -> bytes:
        if len(frame) < 2 or self._random.random() >= share:
            return frame
        if self._lose:
            return b""
        at = self._random.randrange(len(frame) - 1)
        return frame[:at] + bytes((frame[at] ^ (1 << self._random.randrange(8)),)) + frame[at + 1 :]


class Spoiled:
    """A share of the frames, both ways, gets a wrong bit: a wrong CRC."""

    def begin(self, host: Host, spec: McuFault) -> None:
        self._tampering = Tampering(spec.share, spec.share, lose=False)
        host.line.tampers.append(self._tampering)

    def end(self, host: Host) -> None:
        host.line.tampers.remove(self._tampering)


class WireCut:
    """The wire down is cut: the firmware hears no heartbeat, its telemetry still comes."""

    def begin(self, host: Host, spec: McuFault) -> None:
        self._tampering = Tampering(1.0, 0.0, lose=True)
        host.line.tampers.append(self._tampering)

    def end(self, host: Host) -> None:
        host.line.tampers.remove(self._tampering)


class Attack:
    """Someone on the line orders the contactors to open, again and again, and asks for no answer. order: the next one."""

    def __init__(self, order: Callable[[Host], Advice]) -> None:
        self._order = order
        self._ended = threading.Event()

    def begin(self, host: Host, spec: McuFault) -> None:
        if not host.line.advice:
            raise RigError("no advice was sent yet", where="mcu", mend="begin the attack later")
        self._thread = threading.Thread(target=self._attack, args=(host,), daemon=True)
        self._thread.start()

    def end(self, host: Host) -> None:
        self._ended.set()
        self._thread.join()

    def _attack(self, host: Host) -> None:
        while not self._ended.wait(ATTACK_EVERY_S):
            host.line.inject(Message(Type.ADVICE, 0, 0, codec.pack_advice(self._order(host))))


def opening(host: Host, **changes: Any) -> Advice:
    """An order to open that differs in ``changes`` from the one that the gateway itself would give now, signed with its key."""
    last, _ = host.line.advice[-1]
    assert host.line.beat is not None
    heard_s, beat = host.line.beat
    now_ms = (beat.time_ms + int((time.monotonic() - heard_s) * 1000)) % WRAP
    order = last._replace(
        freshness=last.freshness + AHEAD, action=Action.OPEN_CONTACTORS, mode=Mode.COMMAND, cool=0, charge_da=LIMIT_UNSTATED,
        discharge_da=LIMIT_UNSTATED, charge_dv=LIMIT_UNSTATED, discharge_dv=LIMIT_UNSTATED, session=beat.session, issued_ms=now_ms, expiry_ms=LIVES_MS,
    )  # fmt: skip
    return sign(order._replace(**changes), host.key)


def replayed(host: Host) -> Advice:
    """An order that was held back, of a number that the firmware has accepted since; between them an older message, byte for byte."""
    last, frame = host.line.advice[0]
    host.line.replay(frame)
    return opening(host, freshness=last.freshness)


def forged(host: Host) -> Advice:
    """All is right but the key."""
    return sign(opening(host), bytes(16))


def other_gateway(host: Host) -> Advice:
    """All is right, the key too, but the gateway's id."""
    return opening(host, gateway_id=host.gateway_id + 1)


def wrapped(host: Host) -> Advice:
    """As from a counter that began anew after its last number."""
    return opening(host, freshness=1)


class CounterNearEnd:
    """From the start the gateway's counter has few numbers left. ``mcu_end.py`` writes its file so."""

    def begin(self, host: Host, spec: McuFault) -> None: ...

    def end(self, host: Host) -> None: ...


KINDS: dict[str, Callable[[], Fault]] = {
    "reset": Reset,
    "bad_crc": Spoiled,
    "wire_cut": WireCut,
    "replayed": partial(Attack, replayed),
    "forged": partial(Attack, forged),
    "other_gateway": partial(Attack, other_gateway),
    "wrapped": partial(Attack, wrapped),
    "counter_near_end": CounterNearEnd,
}
