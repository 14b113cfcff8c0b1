"""The daemon that an installed package's own unit runs, for the rig in ``process.py``'s place: root only, on the machine's clock."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from edgebms.decision.types import Decision, decode
from hil.errors import Missing, RigError

CONFIG = Path("/etc/edgebms/gateway.toml")
STATE = Path("/var/lib/edgebms/rig")
"""In place of a run's folder, in which the unit may not write."""
SOCKET = "/run/edgebms/decisions.sock"
READY_S = 120.0
MORE = '\n[output]\nndjson = "/dev/null"\n[outlet.socket]\n'


@dataclass(frozen=True, slots=True)
class Main:
    """The unit's main process, as far as the rig asks. pid: 0 = none."""

    unit: str

    @property
    def pid(self) -> int:
        return int(show(self.unit, "MainPID"))

    @property
    def returncode(self) -> int:
        return int(show(self.unit, "ExecMainStatus"))

    def poll(self) -> int | None:
        return None if show(self.unit, "ActiveState") in ("active", "activating", "reloading", "deactivating") else self.returncode


class UnitDaemon:
    """``unit`` on ``text``, which becomes /etc/edgebms/gateway.toml. decisions, and when each came, as ``DaemonProcess`` has them."""

    def __init__(self, unit: str, text: str) -> None:
        """Raises RigError, Missing."""
        if shutil.which("systemctl") is None:
            raise Missing("there is no systemd", where="--unit", mend="run it where the package is installed")
        self.decisions: list[Decision] = []
        self.came_s: list[float] = []
        self.bad_lines: list[bytes] = []
        self.down = False
        """Ended on purpose, as ``DaemonProcess`` has it."""
        self.process = Main(unit)
        self._unit = unit
        systemctl("stop", unit)
        shutil.rmtree(STATE, ignore_errors=True)
        try:
            CONFIG.write_text(text + MORE)
        except OSError as error:
            raise RigError(
                f"cannot be written: {error.strerror}", where=str(CONFIG), mend="run as root, with the package installed"
            ) from None
        self._since_s = time.time()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.start()

    def start(self) -> None:
        systemctl("start", self._unit)

    def wait_ready(self) -> None:
        """``start`` has waited; until the decisions come."""
        end_s = time.monotonic() + READY_S
        count = len(self.decisions)
        while len(self.decisions) == count:
            if self.process.poll() is not None:
                raise RigError(
                    f"the daemon ended with {self.process.returncode}: {self.log().strip()}", where=self._unit, mend="see its message"
                )
            if time.monotonic() > end_s:
                raise RigError(f"no decision on {SOCKET} within {READY_S:g} s", where=self._unit, mend=f"see its log: {self.log().strip()}")
            time.sleep(0.05)

    def _read(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as reader:
                reader.settimeout(0.5)
                reader.connect(SOCKET)
                self._take(reader)
            self._stop.wait(0.05)

    def _take(self, reader: socket.socket) -> None:
        rest = b""
        while not self._stop.is_set():
            try:
                data = reader.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            came_s = time.monotonic()
            for line in lines:
                try:
                    decision = decode(line)
                except Exception:  # whatever it is, it is no decision: told at the end
                    self.bad_lines.append(line)
                    continue
                self.decisions.append(decision)
                self.came_s.append(came_s)

    def log(self) -> str:
        command = ["journalctl", "-q", "-o", "cat", f"--since=@{self._since_s:.3f}", f"_SYSTEMD_UNIT={self._unit}.service"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def signal(self, number: int) -> None:
        systemctl("kill", "-s", str(number), "--kill-whom=main", self._unit)

    def kill(self) -> None:
        """kill -9; systemd starts it again by itself."""
        pid = self.process.pid
        self.signal(9)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)

    def stop(self, timeout_s: float = 10.0) -> int:
        """By systemd, which has a patience of its own; the exit code."""
        del timeout_s
        systemctl("stop", self._unit)
        self._stop.set()
        self._thread.join(5)
        return 0 if show(self._unit, "Result") == "success" else self.process.returncode or -9


def show(unit: str, what: str) -> str:
    return systemctl("show", "-P", what, unit)


def systemctl(*words: str) -> str:
    """Raises RigError where it refuses."""
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RigError(f"systemctl {words[0]}: {done.stderr.strip()}", where="--unit", mend="see journalctl -u edgebms")
    return done.stdout.strip()
