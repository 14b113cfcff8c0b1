"""The gateway's end of a CAN bus: heartbeat and advice both ways (protocol.md, "Over CAN"). No clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable

from firmware_bridge.advice import to_can
from firmware_bridge.adviser import WRAP, Adviser, McuClock
from firmware_bridge.codec import Advice
from firmware_bridge.codes import (
    CAN_ID_ACK,
    CAN_ID_ADVICE,
    CAN_ID_GATEWAY_HEARTBEAT,
    CAN_ID_MCU_HEARTBEAT,
    HEARTBEAT_PERIOD_MS,
    HEARTBEAT_TIMEOUT_MS,
    Type,
)

HEARD = (CAN_ID_ACK, CAN_ID_MCU_HEARTBEAT)
SAID = (CAN_ID_ADVICE, CAN_ID_GATEWAY_HEARTBEAT)


def segments(advice: Advice, number: int) -> list[bytes]:
    """Classic CAN."""
    return to_can(advice, fd=False, number=number)


def whole(advice: Advice, number: int) -> list[bytes]:
    """CAN FD."""
    return to_can(advice, fd=True, number=number)


class CanGateway:
    """form: ``segments`` or ``whole``."""

    def __init__(self, gateway_id: int, adviser: Adviser, form: Callable[[Advice, int], list[bytes]]) -> None:
        self._gateway_id, self.adviser, self._form = gateway_id, adviser, form
        self.clock: McuClock | None = None
        self._beat_ms: int | None = None
        self._number = 0

    def line_opened(self) -> None:
        self.clock = None
        self.adviser.forget()

    def alive(self, now_ms: int) -> bool:
        return self.clock is not None and now_ms - self.clock.at_ms <= HEARTBEAT_TIMEOUT_MS

    def hear(self, identifier: int, data: bytes, at_ms: int) -> None:
        """Take one frame. What is too short or of another kind is no answer."""
        if len(data) < 8:
            return
        if identifier == CAN_ID_MCU_HEARTBEAT:
            session = int.from_bytes(data[4:8], "little")
            if self.clock is None or session != self.clock.session:
                self.adviser.forget()
            self.clock = McuClock(session, int.from_bytes(data[:4], "little"), at_ms)
        elif identifier == CAN_ID_ACK and data[0] == Type.ADVICE:
            self.adviser.answered(int.from_bytes(data[2:8], "little"), data[1], at_ms)

    def due(self, now_ms: int) -> list[tuple[int, bytes]]:
        """(identifier, data) to be sent now, in this order."""
        found = []
        if self._beat_ms is None or now_ms - self._beat_ms >= HEARTBEAT_PERIOD_MS:
            self._beat_ms = now_ms
            found.append(self._heartbeat(now_ms))
        if self.alive(now_ms) and self.clock is not None and (advice := self.adviser.due(now_ms, self.clock)) is not None:
            self._number += 1
            found += [(CAN_ID_ADVICE, data) for data in self._form(advice, self._number)]
        return found

    def _heartbeat(self, now_ms: int) -> tuple[int, bytes]:
        data = (now_ms % WRAP).to_bytes(4, "little") + self._gateway_id.to_bytes(2, "little")
        return CAN_ID_GATEWAY_HEARTBEAT, data + bytes((self.adviser.holds(now_ms), self.alive(now_ms)))
