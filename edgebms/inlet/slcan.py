"""SLCAN (LAWICEL's ASCII protocol) over pyserial: USB adapters, Ethernet bridges (``socket://host:port``).

    t1234DEADBEEF\\r     standard frame, id 0x123, 4 bytes        T, r, R: extended, remote; d, D, b, B: CAN FD

Own reader because python-can's takes a system call a byte, gives up on a corrupt line and hands on a
truncated frame as one of 8 bytes. A line counts only when it is exactly as long as it says.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Callable
from typing import Any

from edgebms.config import BusConfig
from edgebms.inlet.frame import Frame
from edgebms.inlet.link import Counts, LinkError

SPEEDS = {
    10_000: "S0",
    20_000: "S1",
    50_000: "S2",
    100_000: "S3",
    125_000: "S4",
    250_000: "S5",
    500_000: "S6",
    800_000: "S7",
    1_000_000: "S8",
}
FD_LENGTH = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)
LINE = re.compile(
    rb"(?:(?P<standard>[tdb])(?P<id>[0-7][0-9A-Fa-f]{2})|(?P<extended>[TDB])(?P<long>[01][0-9A-Fa-f]{7}))"
    rb"(?P<length>[0-9A-Fa-f])(?P<data>(?:[0-9A-Fa-f]{2})*)\Z"
)
REMOTE = re.compile(rb"r[0-7][0-9A-Fa-f]{2}[0-8]\Z|R[01][0-9A-Fa-f]{7}[0-8]\Z")
ANSWER = re.compile(rb"[zZ]?\Z|[FVvN][0-9A-Za-z]*\Z")
"""What an adapter says that is no frame: acknowledgements, status, version, serial number."""
LONGEST = 160
"""No line is longer; more without an end is noise."""
WRITE_S = 1.0


class Slcan:
    """An open SLCAN channel. Listen-only (``L``) unless the bus may transmit."""

    echoes = False

    def __init__(self, bus: BusConfig, counts: Counts, now_ns: Callable[[], int]) -> None:
        import serial

        self._counts, self._now_ns, self._name = counts, now_ns, bus.name
        self._rest = b""
        self._errors = (serial.SerialException, OSError, ValueError, TypeError)
        """TypeError: what pyserial makes of a port that is closed under its feet."""
        if bus.bitrate is not None and bus.bitrate not in SPEEDS:
            raise LinkError(f"{bus.bitrate} bit/s is none of SLCAN's: {', '.join(map(str, SPEEDS))}")
        options: dict[str, Any] = {"baudrate": 115200, "write_timeout": WRITE_S, "exclusive": True} | bus.options
        try:
            self._port: Any = serial.serial_for_url(bus.channel or "", **options)
        except self._errors as error:
            raise LinkError(str(error)) from None
        # close first: an adapter left open refuses a speed. No time stamps: their digits look like data.
        commands = ["", "C", *([SPEEDS[bus.bitrate]] if bus.bitrate is not None else []), "Z0", "O" if bus.transmit else "L"]
        try:
            self._port.reset_input_buffer()
            self._write("\r".join(commands).encode() + b"\r")
        except LinkError:
            self.close()
            raise
        except self._errors as error:
            self.close()
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
        *lines, rest = (self._rest + got).replace(b"\a", b"\r").split(b"\r")
        if len(rest) > LONGEST:
            self._counts.bad_lines += 1
            rest = b""
        self._rest = rest
        frames = []
        for line in lines:
            frame = self._parse(line.lstrip(b"\n"), now_ns)
            if frame is not None:
                frames.append(frame)
        self._counts.frames += len(frames)
        return frames

    def _parse(self, line: bytes, now_ns: int) -> Frame | None:
        found = LINE.match(line)
        if found is None:
            if REMOTE.match(line):
                self._counts.remote_frames += 1
            elif not ANSWER.match(line):
                self._counts.bad_lines += 1
            return None
        standard, short, extended, long, digit, data = found.groups()
        kind = standard or extended
        code = int(digit, 16)
        classic = kind in b"tT"
        length = code if classic and code <= 8 else -1 if classic else FD_LENGTH[code]
        if len(data) != 2 * length:
            if len(data) < 2 * length:
                self._counts.truncated += 1
            else:
                self._counts.bad_lines += 1
            return None
        return Frame(now_ns, int(short or long, 16), unhexlify(data), extended is not None, self._name)

    def send(self, frame: Frame) -> bool:
        kind, digits = ("T", 8) if frame.extended else ("t", 3)
        self._write(f"{kind}{frame.arbitration_id:0{digits}X}{len(frame.data)}{frame.data.hex().upper()}\r".encode())
        return True

    def _write(self, text: bytes) -> None:
        try:
            self._port.write(text)
        except self._errors as error:
            raise LinkError(str(error)) from None

    def close(self) -> None:
        try:
            self._port.write(b"C\r")
        except self._errors:
            pass  # it may be gone already
        finally:
            self._port.close()
