"""Any other interface of python-can, by its name and options: udp_multicast, socketcand, gs_usb, pcan, kvaser, ...

python-can opens, receives and sends; the loop around it is ours, because its own Notifier dies at the first
error or spins on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from edgebms.config import BusConfig
from edgebms.inlet.frame import Frame
from edgebms.inlet.link import Counts, LinkError

BATCH = 64
PATIENCE = 20
"""So many errors in a row without a frame between them are a link that is down, not bad frames."""
ECHOING = frozenset({"udp_multicast", "virtual"})
SO_RCVBUFFORCE, SO_MEMINFO, MEMINFO_DROPS = 33, 55, 8
"""asm-generic/socket.h, linux/sock_diag.h: Python's socket module has none of them."""
BUFFER_BYTES = 4 << 20
DROPS_EVERY_NS = 1_000_000_000


class PythonCan:
    """An open ``can.Bus``. Raises LinkError where it cannot be opened, whatever the reason."""

    def __init__(self, bus: BusConfig, counts: Counts, now_ns: Callable[[], int]) -> None:
        import can

        logging.getLogger("can").setLevel(logging.CRITICAL)  # what it has to say is counted and told by us
        self._counts, self._now_ns, self._name = counts, now_ns, bus.name
        self._errors = 0
        self.echoes = bus.interface in ECHOING
        options: dict[str, Any] = dict(bus.options)
        if bus.bitrate is not None:
            options.setdefault("bitrate", bus.bitrate)
        if bus.fd:
            options.setdefault("fd", True)
        try:
            self._bus = can.Bus(channel=bus.channel, interface=bus.interface, ignore_config=True, **options)
        except Exception as error:  # interfaces raise whatever their driver, socket or signature makes of it
            raise LinkError(f"{bus.interface} {bus.channel or ''}: {text_of(error)}") from None
        self._socket = underlying_socket(self._bus)
        self._dropped, self._drops_due_ns = 0, 0
        if self._socket is not None:
            enlarge(self._socket)

    def read(self, timeout_s: float) -> list[Frame]:
        frames: list[Frame] = []
        if self._socket is not None and self._now_ns() > self._drops_due_ns:
            self._drops_due_ns = self._now_ns() + DROPS_EVERY_NS
            self._count_dropped(self._socket)
        if self._socket is not None and ended(self._socket):
            raise LinkError("closed by the other end")
        for _ in range(BATCH):
            try:
                message = self._bus.recv(0 if frames else timeout_s)
            except Exception as error:  # one bad datagram, or the end of the link: only repetition tells them apart
                self._errors += 1
                if self._errors >= PATIENCE or isinstance(error.__cause__ or error, OSError):
                    raise LinkError(text_of(error)) from None
                self._counts.bad_lines += 1
                break
            if message is None:
                break
            # error frames first: their id may read as somebody's
            if message.is_error_frame:
                self._counts.error_frames += 1
                continue
            if message.is_remote_frame:
                self._counts.remote_frames += 1
                continue
            if len(message.data) != message.dlc:
                self._counts.truncated += 1
                continue
            if not 0 <= message.arbitration_id < 1 << (29 if message.is_extended_id else 11):
                self._counts.bad_lines += 1
                continue
            self._errors = 0
            frames.append(Frame(self._now_ns(), message.arbitration_id, bytes(message.data), message.is_extended_id, self._name))
        self._counts.frames += len(frames)
        return frames

    def send(self, frame: Frame) -> bool:
        import can

        message = can.Message(
            arbitration_id=frame.arbitration_id, data=frame.data, is_extended_id=frame.extended, is_fd=len(frame.data) > 8
        )
        try:
            self._bus.send(message, timeout=0)
        except can.CanTimeoutError:
            self._counts.unsent += 1
            return False
        except Exception as error:  # see above
            raise LinkError(text_of(error)) from None
        return True

    def _count_dropped(self, sock: socket.socket) -> None:
        """What the kernel threw away because the socket's buffer was full."""
        with contextlib.suppress(OSError, struct.error):
            (dropped,) = struct.unpack_from("=I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 64), 4 * MEMINFO_DROPS)
            self._counts.kernel_dropped += (dropped - self._dropped) & 0xFFFFFFFF
            self._dropped = dropped

    def close(self) -> None:
        if self._socket is not None:
            self._count_dropped(self._socket)
            self._socket.close()
        with contextlib.suppress(Exception):  # a vanished adapter cannot be shut down properly
            self._bus.shutdown()


def underlying_socket(bus: Any) -> socket.socket | None:
    """A handle of our own on the bus's socket, None where it has none."""
    try:
        return socket.socket(fileno=os.dup(bus.fileno()))
    except Exception:  # a driver without a file, with -1 for one, or with one that is no socket
        held = next((value for value in vars(bus).values() if isinstance(value, socket.socket)), None)
        return held.dup() if held is not None else None


def text_of(error: Exception) -> str:
    """One line: some drivers put a traceback into their message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


def ended(sock: socket.socket) -> bool:
    """Has the other end of a stream closed it? python-can's socketcand would read nothing from it for ever, in a spin."""
    if sock.type != socket.SOCK_STREAM:
        return False
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def enlarge(sock: socket.socket) -> None:
    """As large a receive buffer as the system grants."""
    for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            return
        except OSError:
            continue
