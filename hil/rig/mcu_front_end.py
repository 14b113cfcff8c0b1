"""The reference firmware's front end, emulated: what its cells and probes show goes in, what it does with its contactors comes out.

Two messages in the frames of the bridge's protocol (firmware_bridge/c/README.md).
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from cobs import cobs

from firmware_bridge.codec import Message, frame
from firmware_bridge.codes import (
    CURRENT_INVALID_MA,
    TEMPERATURE_INVALID_DC,
    TEMPERATURE_SATURATED_DC,
    VOLTAGE_INVALID_100UV,
    VOLTAGE_SATURATED_100UV,
)

MEASURED, DRIVES = 0x70, 0x71
DRIVES_BYTES = 17
PERIOD_S = 0.05
SILENT_S = 2.0


class Drive(NamedTuple):
    """What the firmware tells the contactors and the inverter. faults: bits; limits in 0.1 A."""

    closed: int
    state: int
    faults: int
    charge_da: int
    discharge_da: int

    def held(self, current_a: float) -> float:
        """``current_a`` within its limits."""
        return max(-self.discharge_da / 10, min(self.charge_da / 10, current_a))


class FrontEnd:
    """Plays on the open ``line`` in a thread of its own until ``close``. volts, degrees: NaN = not known.

    follows: an inverter that keeps the firmware's limits stands behind it; then ``current_a`` is ``wanted_a`` within them. An
    open contactor carries nothing either way. silent: it measures nothing. reset_pressed: a person's reset, said once.
    """

    def __init__(self, line: int, volts: Sequence[float], degrees: Sequence[float]) -> None:
        self.volts, self.degrees, self.current_a, self.wanted_a = list(volts), list(degrees), 0.0, 0.0
        self.follows, self.silent, self.reset_pressed = True, False, False
        self.drives: list[tuple[float, Drive]] = []
        """What it said, and when (monotonic seconds)."""
        self.openings: list[tuple[float, float]] = []
        """When contactors opened, and what they carried then, A."""
        self._line = line
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def drive(self) -> Drive | None:
        """What it said last; None before it spoke, and when it fell silent."""
        if not self.drives or time.monotonic() - self.drives[-1][0] > SILENT_S:
            return None
        return self.drives[-1][1]

    def show(self, volts: Sequence[float], degrees: Sequence[float], current_a: float) -> None:
        """What the plant's sensors say now."""
        self.volts, self.degrees, self.wanted_a = list(volts), list(degrees), current_a
        if not self.follows:
            self.current_a = current_a
        if self.drives:
            self._obey(self.drives[-1][1])

    def _play(self) -> None:
        rest, sequence, due = b"", 0, 0.0
        while not self._ended.is_set():
            if select.select([self._line], [], [], 0.01)[0]:
                with contextlib.suppress(OSError):
                    *whole, rest = (rest + os.read(self._line, 4096)).split(b"\0")
                    self._heard(whole)
            if self.silent or time.monotonic() < due:
                continue
            due, pressed = time.monotonic() + PERIOD_S, self.reset_pressed
            with contextlib.suppress(OSError):
                os.write(self._line, b"\0" + frame(Message(MEASURED, 0, sequence, self._measured(pressed))))
            sequence = (sequence + 1) & 0xFFFF
            if pressed:
                self.reset_pressed = False

    def _heard(self, frames: list[bytes]) -> None:
        for coded in filter(None, frames):
            try:
                body = cobs.decode(coded)
            except cobs.DecodeError:
                continue
            if len(body) != DRIVES_BYTES or body[1] != DRIVES or zlib.crc32(body[:-4]).to_bytes(4, "little") != body[-4:]:
                continue
            drive = Drive(*struct.unpack("<BBHHH", body[5:-4]))
            if self.drives and self.drives[-1][1].closed and not drive.closed:
                self.openings.append((time.monotonic(), self.current_a))
            self.drives.append((time.monotonic(), drive))
            self._obey(drive)

    def _obey(self, drive: Drive) -> None:
        if self.follows:
            self.current_a = drive.held(self.wanted_a)
        if not drive.closed:
            self.current_a = 0.0

    def _measured(self, pressed: bool) -> bytes:
        current_ma = round(self.current_a * 1000) if math.isfinite(self.current_a) else CURRENT_INVALID_MA
        body = struct.pack("<iB", current_ma, int(pressed))
        body += b"".join(cell_bytes(volt) for volt in self.volts)
        return body + b"".join(probe_bytes(degree) for degree in self.degrees)


def cell_bytes(volt: float) -> bytes:
    """
    >>> cell_bytes(3.7).hex(), cell_bytes(float("nan")).hex(), cell_bytes(7).hex(), cell_bytes(-1).hex()
    ('8890', 'ffff', 'feff', '0000')
    """
    value = VOLTAGE_INVALID_100UV if math.isnan(volt) else min(max(round(volt * 10_000), 0), VOLTAGE_SATURATED_100UV)
    return value.to_bytes(2, "little")


def probe_bytes(degree: float) -> bytes:
    """
    >>> probe_bytes(25).hex(), probe_bytes(float("nan")).hex(), probe_bytes(1e4).hex()
    ('fa00', 'ff7f', 'fe7f')
    """
    value = TEMPERATURE_INVALID_DC if math.isnan(degree) else min(max(round(degree * 10), -32768), TEMPERATURE_SATURATED_DC)
    return value.to_bytes(2, "little", signed=True)
