"""The daemon as the rig has it: a process of its own, its decisions as they come, and its service manager's end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from edgebms.decision.types import Decision, decode
from hil.errors import RigError

READY_S = 30.0


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def receive(self, timeout_s: float) -> dict[str, str] | None:
        """The next message, None when none came in time."""
        self._socket.settimeout(max(timeout_s, 1e-3))
        try:
            text = self._socket.recv(4096).decode()
        except TimeoutError:
            return None
        return dict(line.partition("=")[::2] for line in text.splitlines())

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


class DaemonProcess:
    """``edgebms run`` on ``config``. decisions, and when each came (monotonic seconds), in order."""

    def __init__(self, folder: Path, config: Path, *, rig_clock: bool, environment: Mapping[str, str] | None = None) -> None:
        self.decisions: list[Decision] = []
        self.came_s: list[float] = []
        self.bad_lines: list[bytes] = []
        self._rig_clock = rig_clock
        self._folder, self._config = folder, config
        self._environment = dict(environment or {})
        self._log_path = folder / "daemon.log"
        self._log_path.unlink(missing_ok=True)
        self._more = threading.Condition()
        self.start()

    def start(self) -> None:
        """Start the process (again)."""
        self.down = False
        self.manager = Manager(self._folder / "notify")
        self._counted = len(self.decisions)
        log = self._log_path.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgebms.cli.main", "run", "-c", str(self._config), *(["--clock", "rig"] if self._rig_clock else [])],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=self._folder,  # python -m looks for packages where it stands
            env=os.environ | self._environment | {"NOTIFY_SOCKET": str(self.manager.path)},
        )
        log.close()
        self._thread = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._thread.start()

    def wait_ready(self) -> None:
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s:
            message = self.manager.receive(0.2)
            if message is not None and message.get("READY") == "1":
                return
            if self.process.poll() is not None:
                raise RigError(
                    f"the daemon ended with {self.process.returncode}: {self.log().strip()}", where="daemon", mend="see its message"
                )
        raise RigError(f"not ready within {READY_S:g} s: {self.log().strip()}", where="daemon", mend="see its message")

    def wait_barrier(self, number: int, timeout_s: float = 20.0) -> bool:
        """Until the daemon has done all that was sent before time frame ``number`` and its decisions are here. False:
        it did not."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            message = self.manager.receive(min(0.2, timeout_s))
            if message is None:
                if self.process.poll() is not None:
                    return False
                continue
            if int(message.get("X_EDGEBMS_BARRIER", "-1")) >= number:
                return self.wait_count(int(message["X_EDGEBMS_DECISIONS"]), end_s - time.monotonic())
        return False

    def wait_count(self, count: int, timeout_s: float) -> bool:
        """Until ``count`` decisions of the running process are here."""
        with self._more:
            return self._more.wait_for(lambda: len(self.decisions) - self._counted >= count, max(timeout_s, 0.0))

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            came_s = time.monotonic()
            try:
                decision = decode(line)
            except Exception:  # whatever it is, it is no decision: told at the end
                self.bad_lines.append(line)
                continue
            with self._more:
                self.decisions.append(decision)
                self.came_s.append(came_s)
                self._more.notify_all()

    def log(self) -> str:
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and the end of what it said."""
        self.down = True
        self.process.kill()
        self.process.wait()
        self._thread.join(5)
        self.manager.close()

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM; the exit code. -9 when it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        self._thread.join(5)
        self.manager.close()
        return code
