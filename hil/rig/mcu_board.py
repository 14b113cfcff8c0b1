"""The microcontroller's board: the reference firmware under QEMU, or a real one at a serial port.

A board has two lines, as file descriptors: to the gateway, and to its emulated front end (-1: it measures by itself).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import tty
from pathlib import Path
from typing import Any, Protocol

from hil.errors import Missing, RigError

ROOT = Path(__file__).resolve().parent.parent.parent
FIRMWARE = ROOT / "firmware_bridge" / "c" / "firmware"
FIRMWARE_BUILD = ROOT / "build" / "firmware"
CELLS, PROBES, MCU_ID, GATEWAY_ID, PROFILE = 16, 8, 2, 1, 0x10001
KEY_ID, KEY = 1, bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
"""The reference firmware's profile.h. The key is published and for the emulator alone."""
BAUD = 115_200
REPLY_S = 10
PATIENT = "-DPROFILE_FRONT_END_LOST_MS=3000u"
"""The rig's front end is a thread on a machine that may be busy: such a pause is not the firmware's to judge."""


class Board(Protocol):
    """gateway, front_end: file descriptors, read and written without waiting. emulated: nothing real hangs on its store."""

    gateway: int
    front_end: int
    emulated: bool

    def reset(self) -> None: ...

    def close(self) -> None: ...


def needed(tool: str, package: str) -> str:
    """The tool's path. Raises Missing where it is not there and may not be installed."""
    if subprocess.run([ROOT / "packaging" / "need.sh", tool, package], check=False).returncode:
        raise Missing(f"{tool} is missing", where="link", mend=f"apt install {package}, or --port for a real board", installable=True)
    return shutil.which(tool) or tool


def image(folder: Path, extra: str = "") -> Path:
    """firmware.elf, built in ``folder``; several runs may ask at once. extra: more for the compiler."""
    needed("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    make = needed("make", "make")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [make, "-s", "-C", FIRMWARE, f"BUILD={folder.resolve()}", f"EXTRA={extra}"], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RigError(f"the firmware is not built: {done.stderr.strip()}", where=str(FIRMWARE), mend="mend what the compiler names")
    return folder / "firmware.elf"


class QemuBoard:
    """A ``Board``: ``elf`` on QEMU's mps2-an385. port, front_end_port: the paths of its two lines."""

    emulated = True

    def __init__(self, elf: Path, folder: Path) -> None:
        self._monitor_path = folder / "monitor"
        command = [needed("qemu-system-arm", "qemu-system-arm"), "-M", "mps2-an385", "-display", "none", "-kernel", str(elf)]
        command += ["-serial", "pty", "-serial", "pty", "-monitor", f"unix:{self._monitor_path},server,nowait"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        ports: dict[str, str] = {}
        assert self.process.stdout is not None
        said = ""
        while len(ports) < 2:
            line = self.process.stdout.readline()
            said += line
            if not line:
                raise RigError(f"QEMU ended: {said.strip()}", where="link", mend="see its message")
            if found := re.search(r"redirected to (\S+) \(label (serial\d)\)", line):
                ports[found[2]] = found[1]
        self.port, self.front_end_port = ports["serial0"], ports["serial1"]
        self.gateway, self.front_end = -1, opened(self.front_end_port)

    def connect(self) -> None:
        """Open the gateway's line here, where nobody else does."""
        self.gateway = opened(self.port)

    def reset(self) -> None:
        """The board's reset button, by QEMU's monitor."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._monitor_path))
            monitor.settimeout(REPLY_S)
            for command in (b"", b"system_reset\n"):
                monitor.sendall(command)
                with contextlib.suppress(TimeoutError):
                    while b"(qemu)" not in monitor.recv(4096):
                        pass

    def close(self) -> None:
        for line in (self.gateway, self.front_end):
            if line >= 0:
                os.close(line)
        self.process.kill()
        self.process.wait()
        self._monitor_path.unlink(missing_ok=True)


def opened(path: str) -> int:
    line = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(line)
    return line


class PortBoard:
    """A ``Board`` at ``port``. front_end: the port of its emulated front end, None where it measures by itself."""

    emulated = False

    def __init__(self, port: str, front_end: str | None) -> None:
        import serial

        self._lines: list[Any] = []
        try:
            for path in filter(None, (port, front_end)):
                self._lines.append(serial.Serial(path, BAUD, timeout=0, write_timeout=1, exclusive=True))
        except (OSError, ValueError) as error:
            self.close()
            raise Missing(str(error), where="--port", mend="plug the board in, name its port") from None
        self.gateway, self.front_end = self._lines[0].fileno(), self._lines[1].fileno() if front_end else -1

    def reset(self) -> None:
        raise Missing(
            "a real board's reset is not in the rig's hands", where="mcu: reset", mend="leave this scenario out, or run it under QEMU"
        )

    def close(self) -> None:
        for line in self._lines:
            line.close()
