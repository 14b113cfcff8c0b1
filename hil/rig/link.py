"""The rig's end of a link to the daemon: frames out, frames in, and the plug."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import tempfile
import threading
import time
import tty
from pathlib import Path
from typing import IO, Protocol

from edgebms.inlet.frame import Frame
from edgebms.rigclock import TIME_ID
from hil.errors import Missing, RigError

GROUP = "239.74.163.79"


class End(Protocol):
    """bus: the ``[[bus]]`` section that joins the daemon to it."""

    def bus(self, name: str, transmit: bool) -> str: ...

    def send(self, frames: list[Frame]) -> None: ...

    def send_raw(self, data: bytes) -> None:
        """Bytes that are no frame."""
        ...

    def receive(self) -> list[Frame]:
        """What the daemon has sent since the last call."""
        ...

    def unplug(self) -> None: ...

    def plug_in(self) -> None: ...

    def close(self) -> None: ...

    renews = False
    """Plugged out and in again it is another device."""


def open_end(kind: str, folder: Path, name: str) -> End:
    """kind: udp, slcan or socketcan. Raises RigError where the machine has none."""
    if kind == "udp":
        return UdpEnd()
    if kind == "slcan":
        return SlcanEnd(folder / f"tty-{name}")
    if kind == "socketcan":
        return SocketCanEnd(os.environ.get("EDGEBMS_RIG_CAN", "vcan0"))
    raise RigError(f"no link is called {kind!r}", where="link", mend="udp, slcan, socketcan or mcu")


def time_frame(now_ns: int) -> Frame:
    return Frame(now_ns, TIME_ID, struct.pack("<Q", now_ns), True)


class UdpEnd:
    """python-can's udp_multicast on loopback, on a port of its own."""

    renews = False

    def __init__(self) -> None:
        import can

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("", 0))
            self._port = probe.getsockname()[1]
        self._can = can
        self._open()

    def _open(self) -> None:
        self._bus = self._can.Bus(interface="udp_multicast", channel=GROUP, port=self._port, ignore_config=True, receive_own_messages=False)
        self._sent: set[bytes] = set()

    def bus(self, name: str, transmit: bool) -> str:
        return (
            f'[[bus]]\nname = "{name}"\ninterface = "udp_multicast"\nchannel = "{GROUP}"\ntransmit = {str(transmit).lower()}\n'
            f"options = {{ port = {self._port} }}\n"
        )

    def send(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._bus.send(
                self._can.Message(
                    arbitration_id=frame.arbitration_id,
                    data=frame.data,
                    is_extended_id=frame.extended,
                    is_error_frame=frame.error,
                    is_remote_frame=frame.remote,
                    is_fd=len(frame.data) > 8,
                )
            )

    def send_raw(self, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sock.sendto(data, (GROUP, self._port))

    def receive(self) -> list[Frame]:
        frames = []
        while True:
            try:
                message = self._bus.recv(0)
            except self._can.CanError:  # a datagram of ours that is no frame comes back to us as well
                continue
            if message is None:
                return frames
            frames.append(Frame(0, message.arbitration_id, bytes(message.data), message.is_extended_id))

    def unplug(self) -> None:
        """A datagram has no plug: nothing is sent, which is what the other end sees."""

    def plug_in(self) -> None: ...

    def close(self) -> None:
        self._bus.shutdown()


LINE = re.compile(rb"(?:t([0-9A-F]{3})|T([0-9A-F]{8}))([0-8])((?:[0-9A-F]{2})*)\Z")


class SlcanEnd:
    """An SLCAN adapter on a pseudo-terminal behind a stable name, as udev makes one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._rest = b""
        self._heard = b""
        self.lost = 0
        """Bytes the host did not take in time."""
        self._master = -1
        self.plug_in()

    renews = True

    def bus(self, name: str, transmit: bool) -> str:
        return f'[[bus]]\nname = "{name}"\ninterface = "slcan"\nchannel = "{self._path}"\nbitrate = 500000\ntransmit = {str(transmit).lower()}\n'

    def send(self, frames: list[Frame]) -> None:
        self.send_raw(b"".join(line_of(frame) for frame in frames if not frame.error))

    def send_raw(self, data: bytes) -> None:
        self._hear()
        view = memoryview(data)
        for _ in range(2000):  # the host reads within 2 s, or what is left is lost, as in a real adapter
            with self._lock:
                if self._master < 0:
                    return
                try:
                    view = view[os.write(self._master, view) :]
                except BlockingIOError:
                    select.select([], [self._master], [], 1e-3)
                except OSError:
                    return
            if not view:
                return
        self.lost += len(view)

    def receive(self) -> list[Frame]:
        self._hear()
        *lines, self._rest = (self._rest + self._heard).split(b"\r")
        self._heard = b""
        matches = [match for line in lines if (match := LINE.match(line)) is not None]
        return [Frame(0, int(match[1] or match[2], 16), bytes.fromhex(match[4].decode()), match[2] is not None) for match in matches]

    def _hear(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            while self._master >= 0 and select.select([self._master], [], [], 0)[0]:
                self._heard += os.read(self._master, 65536)

    def unplug(self) -> None:
        with self._lock:
            if self._master >= 0:
                os.close(self._master)
            self._master = -1
        self._path.unlink(missing_ok=True)

    def plug_in(self) -> None:
        master, slave = os.openpty()
        os.set_blocking(master, False)
        tty.setraw(slave)
        name = os.ttyname(slave)
        os.close(slave)
        self._path.unlink(missing_ok=True)
        self._path.symlink_to(name)
        with self._lock:
            self._master = master

    def close(self) -> None:
        self.unplug()


def line_of(frame: Frame) -> bytes:
    """The SLCAN line of a classic frame."""
    kind, digits = ("T", 8) if frame.extended else ("t", 3)
    return f"{kind}{frame.arbitration_id:0{digits}X}{len(frame.data):X}{frame.data.hex().upper()}\r".encode()


class SocketCanEnd:
    """A SocketCAN interface that stands (vcan0, or the one that EDGEBMS_RIG_CAN names)."""

    renews = False

    def __init__(self, interface: str) -> None:
        import can

        self._can = can
        self._interface, self._held = hold(interface.split(","))
        try:
            self._bus = can.Bus(interface="socketcan", channel=self._interface, ignore_config=True)
        except Exception as error:
            self._held.close()
            raise Missing(
                f"{interface}: {error}", where="link", mend="ip link add vcan0 type vcan; ip link set vcan0 up; or EDGEBMS_RIG_CAN=can0"
            ) from None

    def bus(self, name: str, transmit: bool) -> str:
        return f'[[bus]]\nname = "{name}"\ninterface = "socketcan"\nchannel = "{self._interface}"\ntransmit = {str(transmit).lower()}\n'

    send = UdpEnd.send
    receive = UdpEnd.receive

    def send_raw(self, data: bytes) -> None:
        del data
        raise RigError("raw bytes have no place on SocketCAN", where="link", mend="use slcan or udp")

    def unplug(self) -> None:
        raise RigError("a SocketCAN interface is not unplugged by the rig", where="link", mend="use slcan")

    def plug_in(self) -> None: ...

    def close(self) -> None:
        self._bus.shutdown()
        self._held.close()


def hold(interfaces: list[str]) -> tuple[str, IO[bytes]]:
    """The first of ``interfaces`` that no other scenario uses, waiting for one, and what to close when done: two scenarios
    on one bus would hear each other."""
    files = [(Path(tempfile.gettempdir()) / f"edgebms-rig-{name}.lock").open("ab") for name in interfaces]
    while True:
        for name, file in zip(interfaces, files, strict=True):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for other in files:
                    if other is not file:
                        other.close()
                return name, file
        time.sleep(0.05)
