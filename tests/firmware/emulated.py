"""The reference firmware under QEMU: two pseudo-terminals, one to the gateway, one to the front end that a test plays."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
import tty
import zlib
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from c_library import tool
from cobs import cobs
from shared_data import ROOT

from firmware_bridge.codec import Message, frame

FIRMWARE = ROOT / "firmware_bridge" / "c" / "firmware"
MEASURED, DRIVES = 0x70, 0x71
CELLS, PROBES, MCU_ID, GATEWAY_ID, PROFILE = 16, 8, 2, 1, 0x10001
KEY_ID, KEY = 1, bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
"""The reference image's profile.h."""


def image(folder: Path) -> Path:
    """Builds firmware.elf in ``folder``."""
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    subprocess.run([tool("make", "make"), "-s", "-C", FIRMWARE, f"BUILD={folder}"], check=True)
    return folder / "firmware.elf"


class Drive(NamedTuple):
    """What the firmware tells the contactors and the inverter."""

    closed: int
    state: int
    faults: int
    charge_da: int
    discharge_da: int


class Emulated:
    """QEMU with the image. port: the path of the gateway's line. Set volts, degrees, current_a, reset_pressed, following; read drives."""

    def __init__(self, elf: Path, folder: Path) -> None:
        self.volts, self.degrees, self.current_a = [3.7] * CELLS, [25.0] * PROBES, 0.0
        self.wanted_a = 0.0
        self.follows, self.silent, self.reset_pressed = True, False, False
        self.drives: list[tuple[float, Drive]] = []
        self._ended = threading.Event()
        self._monitor_path = folder / "monitor"
        command = [tool("qemu-system-arm", "qemu-system-arm"), "-M", "mps2-an385", "-display", "none", "-kernel", str(elf)]
        command += ["-serial", "pty", "-serial", "pty", "-monitor", f"unix:{self._monitor_path},server,nowait"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        ports: dict[str, str] = {}
        assert self.process.stdout is not None
        while len(ports) < 2:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("QEMU ended before it opened its lines")
            if found := re.search(r"redirected to (\S+) \(label (serial\d)\)", line):
                ports[found[2]] = found[1]
        self.port = ports["serial0"]
        self._front_end = os.open(ports["serial1"], os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._front_end)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def __enter__(self) -> Emulated:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._front_end)
        self.process.kill()
        self.process.wait()

    @property
    def drive(self) -> Drive | None:
        """What it said last; None before it spoke, and when it fell silent."""
        if not self.drives or time.monotonic() - self.drives[-1][0] > 2:
            return None
        return self.drives[-1][1]

    def reset(self) -> None:
        """The board's reset button, by QEMU's monitor."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._monitor_path))
            monitor.settimeout(10)
            with contextlib.suppress(TimeoutError):
                while b"(qemu)" not in monitor.recv(4096):
                    pass
            monitor.sendall(b"system_reset\n")
            with contextlib.suppress(TimeoutError):
                while b"(qemu)" not in monitor.recv(4096):
                    pass

    def _play(self) -> None:
        """Measures every 50 ms; the inverter follows the limits as far as ``follows`` says."""
        rest, sequence, due = b"", 0, 0.0
        while not self._ended.is_set():
            if select.select([self._front_end], [], [], 0.01)[0]:
                with contextlib.suppress(OSError):
                    *whole, rest = (rest + os.read(self._front_end, 4096)).split(b"\0")
                    self._heard(whole)
            if self.silent or time.monotonic() < due:
                continue
            due = time.monotonic() + 0.05
            with contextlib.suppress(OSError):
                os.write(self._front_end, b"\0" + frame(Message(MEASURED, 0, sequence, self._measured())))
            sequence = (sequence + 1) & 0xFFFF
            self.reset_pressed = False

    def _heard(self, frames: list[bytes]) -> None:
        for coded in filter(None, frames):
            try:
                body = cobs.decode(coded)
            except cobs.DecodeError:
                continue
            if len(body) != 17 or body[1] != DRIVES or zlib.crc32(body[:-4]).to_bytes(4, "little") != body[-4:]:
                continue
            drive = Drive(*struct.unpack("<BBHHH", body[5:-4]))
            self.drives.append((time.monotonic(), drive))
            if self.follows:
                self.current_a = max(-drive.discharge_da / 10, min(drive.charge_da / 10, self.wanted_a))
            if not drive.closed:
                self.current_a = 0.0

    def _measured(self) -> bytes:
        body = struct.pack("<iB", round(self.current_a * 1000), int(self.reset_pressed))
        body += struct.pack(f"<{CELLS}H", *(round(volt * 10000) for volt in self.volts))
        return body + struct.pack(f"<{PROBES}h", *(round(degree * 10) for degree in self.degrees))
