"""SocketCAN by its raw socket: Linux's own CAN interfaces (``can0``, ``vcan0``).

Own reader because python-can's costs a select and a message object a frame and shows neither the
receive buffer nor the kernel's drop count. Bitrate, listen-only and ``restart-ms`` are the system's to
set (docs/integrator.md).
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
from collections.abc import Callable

from edgebms.config import BusConfig
from edgebms.inlet.frame import Frame
from edgebms.inlet.link import Counts, LinkError

CLASSIC = struct.Struct("=IB3x8s")
FD = struct.Struct("=IBB2x64s")
EXTENDED, REMOTE, ERROR = 0x80000000, 0x40000000, 0x20000000
STANDARD_MASK, EXTENDED_MASK = 0x7FF, 0x1FFFFFFF
ERROR_CONTROLLER, ERROR_BUS_OFF, ERROR_ALL = 0x004, 0x040, 0x1FFFFFFF
RX_OVERFLOW = 0x01
SO_RXQ_OVFL = 40
CAN_RAW_ERR_FILTER = 2
"""linux/can/raw.h, asm-generic/socket.h: Python's socket module has neither."""
BUFFER_BYTES = 1 << 20
"""About 4,000 frames in the kernel: 2 s of a full 500 kbit/s bus. The system may grant less."""
BATCH = 64


class SocketCan:
    """An open raw socket. sock: one made ready already, for tests."""

    echoes = False

    def __init__(self, bus: BusConfig, counts: Counts, now_ns: Callable[[], int], sock: socket.socket | None = None) -> None:
        self._counts, self._now_ns, self._name = counts, now_ns, bus.name
        self._dropped = 0
        try:
            self._socket = sock if sock is not None else raw_socket(bus)
        except OSError as error:
            raise LinkError(f"{bus.channel}: {error.strerror or error}") from None
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | select.POLLERR)

    def read(self, timeout_s: float) -> list[Frame]:
        frames: list[Frame] = []
        if not self._poll.poll(1000 * timeout_s):
            return frames
        for _ in range(BATCH):
            try:
                packet, ancillary, _flags, _address = self._socket.recvmsg(FD.size, socket.CMSG_SPACE(4))
            except BlockingIOError:
                break
            except OSError as error:
                raise LinkError(error.strerror or str(error)) from None
            if not packet:
                raise LinkError("the socket was closed")
            if ancillary:
                self._count_dropped(ancillary)
            frame = self._parse(packet)
            if frame is not None:
                frames.append(frame)
        self._counts.frames += len(frames)
        return frames

    def _parse(self, packet: bytes) -> Frame | None:
        """The error flag is looked at first: an error frame's id would read as somebody's (0x220)."""
        if len(packet) not in (CLASSIC.size, FD.size):
            self._counts.truncated += 1
            return None
        if len(packet) == CLASSIC.size:
            code, length, data = CLASSIC.unpack(packet)
        else:
            code, length, _, data = FD.unpack(packet)
        if code & ERROR:
            self._count_error(code, data)
            return None
        if code & REMOTE:
            self._counts.remote_frames += 1
            return None
        if length > len(data):
            self._counts.truncated += 1
            return None
        extended = bool(code & EXTENDED)
        return Frame(self._now_ns(), code & (EXTENDED_MASK if extended else STANDARD_MASK), data[:length], extended, self._name)

    def _count_error(self, code: int, data: bytes) -> None:
        self._counts.error_frames += 1
        if code & ERROR_BUS_OFF:
            self._counts.bus_off += 1
        if code & ERROR_CONTROLLER and data[1] & RX_OVERFLOW:
            self._counts.controller_overflow += 1

    def _count_dropped(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        """The kernel counts up from the socket's start, in 32 bits."""
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_RXQ_OVFL) and len(value) == 4:
                total = int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big")
                self._counts.kernel_dropped += (total - self._dropped) & 0xFFFFFFFF
                self._dropped = total

    def send(self, frame: Frame) -> bool:
        code = frame.arbitration_id | (EXTENDED if frame.extended else 0)
        data = frame.data
        packet = CLASSIC.pack(code, len(data), data) if len(data) <= 8 else FD.pack(code, len(data), 0, data)
        try:
            self._socket.send(packet)
        except OSError as error:
            if error.errno in (errno.ENOBUFS, errno.EAGAIN):
                self._counts.unsent += 1
                return False
            raise LinkError(error.strerror or str(error)) from None
        return True

    def close(self) -> None:
        self._socket.close()


def raw_socket(bus: BusConfig) -> socket.socket:
    """A bound raw CAN socket. Raises OSError."""
    sock = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
    try:
        sock.setsockopt(socket.SOL_CAN_RAW, CAN_RAW_ERR_FILTER, ERROR_ALL)
        sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        if bus.fd:
            sock.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
        sock.bind((bus.channel or "can0",))
    except OSError:
        with contextlib.suppress(OSError):
            sock.close()
        raise
    return sock
