"""A microcontroller on a serial line and on a CAN bus: the protocol's two ends of ours, in frames of the house."""

from __future__ import annotations

from typing import Protocol

from edgebms.inlet.frame import Frame
from edgebms.inlet.mcu import TO_OUTLET, as_frame, as_message
from firmware_bridge.gateway import Mismatch, SerialGateway
from firmware_bridge.gateway_can import HEARD, SAID, CanGateway

Ids = tuple[tuple[int, bool], ...]


class Carrier(Protocol):
    """ids: what it wants to hear. own_ids: what nobody else may send. Times in ms on the gateway's clock."""

    ids: Ids
    own_ids: Ids

    def line_opened(self) -> None: ...

    def alive(self, now_ms: int) -> bool: ...

    def hear(self, frame: Frame) -> None: ...

    def due(self, now_ms: int, upcoming: int, utc_ms: int | None) -> list[Frame]: ...

    def mismatch(self, upcoming: int) -> Mismatch | None: ...

    @property
    def protection(self) -> int:
        """What the microcontroller's own protection says, as bits; 0 = nothing, or not told."""
        ...


class SerialCarrier:
    """A ``Carrier``."""

    ids: Ids = TO_OUTLET
    own_ids: Ids = ()

    def __init__(self, gateway: SerialGateway) -> None:
        self._gateway = gateway
        self.line_opened, self.alive, self.mismatch = gateway.line_opened, gateway.alive, gateway.mismatch

    def hear(self, frame: Frame) -> None:
        self._gateway.hear(as_message(frame), frame.time_ns // 1_000_000)

    def due(self, now_ms: int, upcoming: int, utc_ms: int | None) -> list[Frame]:
        return [as_frame(message, now_ms * 1_000_000) for message in self._gateway.due(now_ms, upcoming, utc_ms)]

    @property
    def protection(self) -> int:
        return self._gateway.state.faults if self._gateway.state is not None else 0


class CanCarrier:
    """A ``Carrier``."""

    ids: Ids = tuple((identifier, False) for identifier in HEARD)
    own_ids: Ids = tuple((identifier, False) for identifier in SAID)
    protection = 0

    def __init__(self, gateway: CanGateway) -> None:
        self._gateway = gateway
        self.line_opened, self.alive = gateway.line_opened, gateway.alive

    def hear(self, frame: Frame) -> None:
        self._gateway.hear(frame.arbitration_id, frame.data, frame.time_ns // 1_000_000)

    def due(self, now_ms: int, upcoming: int, utc_ms: int | None) -> list[Frame]:
        del upcoming, utc_ms  # no handshake and no time of day on CAN
        return [Frame(now_ms * 1_000_000, identifier, data) for identifier, data in self._gateway.due(now_ms)]

    def mismatch(self, upcoming: int) -> Mismatch | None:
        del upcoming
        return None
