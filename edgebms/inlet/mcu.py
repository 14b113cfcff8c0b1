"""The serial line to a BMS microcontroller (firmware_bridge/protocol.md): pyserial, COBS, CRC-32.

Telemetry leaves as frames of our own CAN FD protocol (``mcu_sweep.py``). Everything, telemetry's PACK too, leaves a second
time under extended identifiers of our own, which never were on a bus, for the outlet that answers (``outlet/mcu.py``);
it sends its messages in the same form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgebms.config import BusConfig
from edgebms.inlet.frame import Frame
from edgebms.inlet.link import Counts, LinkError
from edgebms.inlet.mcu_sweep import Sweeps
from firmware_bridge import codec
from firmware_bridge.codec import Deframer, Message
from firmware_bridge.codes import Type, Verdict

BAUD = 115_200
WRITE_S = 1.0
PAUSE_S = 0.05
"""After such a silence of ours one 0x00 goes first: noise must not cost the next frame (protocol.md, Frame)."""
DEAF_S, DEAF_BYTES = 3.0, 256
"""So much came for so long and no message among it: the line is not what it is said to be."""
CONTROL = 0x1EDB_0000
"""Identifiers of messages on their way to and from the outlet: this plus the type."""
TO_OUTLET = tuple((CONTROL | kind, True) for kind in sorted(codec.FROM_MCU - {Type.CELLS, Type.PROBES}))


def as_frame(message: Message, time_ns: int, channel: str = "") -> Frame:
    """flags and sequence go before the payload."""
    head = bytes((message.flags,)) + message.sequence.to_bytes(2, "little")
    return Frame(time_ns, CONTROL | message.type, head + message.payload, True, channel)


def as_message(frame: Frame) -> Message:
    """The reverse of ``as_frame``."""
    return Message(frame.arbitration_id & 0xFF, frame.data[0], int.from_bytes(frame.data[1:3], "little"), frame.data[3:])


class McuLine:
    """An open serial port. ``bitrate`` of the bus is its baud rate, 115200 where it is left out."""

    echoes = False

    def __init__(self, bus: BusConfig, counts: Counts, now_ns: Callable[[], int]) -> None:
        import serial

        self._counts, self._now_ns, self._name = counts, now_ns, bus.name
        self._baud = bus.bitrate or BAUD
        self._errors = (serial.SerialException, OSError, ValueError, TypeError)
        """TypeError: what pyserial makes of a port that is closed under its feet."""
        self._deframer, self._sweeps = Deframer(), Sweeps()
        self._cut = self._refused = 0
        self._deaf_since_ns, self._deaf_bytes = now_ns(), 0
        self._written_ns: int | None = None
        options: dict[str, Any] = {"baudrate": self._baud, "write_timeout": WRITE_S, "exclusive": True} | bus.options
        try:
            self._port: Any = serial.serial_for_url(bus.channel or "", **options)
            self._port.reset_input_buffer()
        except self._errors as error:
            raise LinkError(str(error)) from None

    def read(self, timeout_s: float) -> list[Frame]:
        port = self._port
        try:
            port.timeout = timeout_s
            got = port.read(max(1, port.in_waiting))
        except self._errors as error:
            raise LinkError(str(error)) from None
        if not got:
            return []
        now_ns = self._now_ns()
        messages = self._deframer.feed(got)
        self._count(len(messages))
        if messages:
            self._deaf_since_ns, self._deaf_bytes = now_ns, 0
        else:
            self._deaf(len(got), now_ns)
        frames: list[Frame] = []
        for message in messages:
            frames += self._frames(message, now_ns)
        return frames

    def _frames(self, message: Message, now_ns: int) -> list[Frame]:
        kind, payload = message.type, message.payload
        if kind == Type.CELLS:
            due = self._sweeps.cells(codec.read_cells(payload))
        elif kind == Type.PROBES:
            due = self._sweeps.probes(codec.read_probes(payload))
        else:
            due = self._sweeps.pack(codec.read_state(payload)) if kind == Type.PACK else []
        frames = [Frame(now_ns, identifier, data, False, self._name) for identifier, data in due]
        if kind not in (Type.CELLS, Type.PROBES):
            frames.append(as_frame(message, now_ns, self._name))
        return frames

    def _count(self, good: int) -> None:
        self._counts.frames += good
        refused = self._deframer.counts
        cut, all_ = refused[Verdict.BAD_FRAME_LENGTH], refused.total()
        self._counts.truncated += cut - self._cut
        self._counts.bad_lines += all_ - cut - (self._refused - self._cut)
        self._cut, self._refused = cut, all_

    def _deaf(self, count: int, now_ns: int) -> None:
        self._deaf_bytes += count
        if self._deaf_bytes < DEAF_BYTES or now_ns - self._deaf_since_ns < DEAF_S * 1e9:
            return
        if self._deframer.counts[Verdict.BAD_VERSION]:
            raise LinkError("it speaks another version of the protocol: give both sides the same")
        raise LinkError(
            f"bytes come, but no message among them: do both sides have the same baud rate ({self._baud})? is it this protocol?"
        )

    def send(self, frame: Frame) -> bool:
        """Only messages of this protocol (``as_frame``)."""
        if frame.arbitration_id & ~0xFF != CONTROL:
            return False
        now_ns = self._now_ns()
        first = self._written_ns is None or now_ns - self._written_ns > PAUSE_S * 1e9
        self._written_ns = None
        try:
            self._port.write((b"\0" if first else b"") + codec.frame(as_message(frame)))
        except self._errors as error:
            raise LinkError(str(error)) from None
        self._written_ns = now_ns
        return True

    def close(self) -> None:
        self._port.close()
