"""What goes wrong with the gateway itself while a scenario runs. Each has a ``begin`` and an ``end``; ``KINDS`` knows them.

Real means: signals, a small tmpfs, processes that burn the CPU, a stopped thread, a real broker.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from hil.errors import Missing, RigError
from hil.rig.broker import Broker
from hil.rig.process import DaemonProcess
from hil.rig.unit import UnitDaemon


class Host(Protocol):
    """What a gateway fault may touch. record: the daemon's record folder, where the scenario has one. broker: likewise."""

    daemon: DaemonProcess | UnitDaemon
    folder: Path
    record: Path
    config: Path
    broker: Broker | None

    def restarted(self) -> None:
        """The daemon is a new process."""
        ...


class Fault(Protocol):
    def begin(self, host: Host) -> None: ...

    def end(self, host: Host) -> None: ...


class Killed:
    """kill -9 and a start at once."""

    def begin(self, host: Host) -> None:
        host.daemon.kill()
        host.daemon.start()
        host.restarted()

    def end(self, host: Host) -> None: ...


class Down:
    """kill -9, and a start at the end."""

    def begin(self, host: Host) -> None:
        host.daemon.kill()

    def end(self, host: Host) -> None:
        host.daemon.start()
        host.restarted()


class Restarted:
    """An ordinary stop and start."""

    def begin(self, host: Host) -> None:
        host.daemon.stop()
        host.daemon.start()
        host.restarted()

    def end(self, host: Host) -> None: ...


class BrownOut:
    """The supply fails in the middle of a write: kill -9, and the newest file of the record is cut in half."""

    def begin(self, host: Host) -> None:
        host.daemon.kill()
        files = sorted(
            (file for file in host.record.rglob("*") if file.is_file() and file.stat().st_size), key=lambda file: file.stat().st_mtime
        )
        if not files:
            raise RigError("nothing was recorded yet", where="brown_out", mend="give the scenario a [record] and time for a checkpoint")
        with files[-1].open("r+b") as file:
            file.truncate(files[-1].stat().st_size // 2)
        host.daemon.start()
        host.restarted()

    def end(self, host: Host) -> None: ...


class StoppedMachine:
    """Nothing of the daemon runs."""

    def begin(self, host: Host) -> None:
        host.daemon.signal(signal.SIGSTOP)

    def end(self, host: Host) -> None:
        host.daemon.signal(signal.SIGCONT)


PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 0x4206, 17, 0x4207
"""linux/ptrace.h."""
WALL = 0x40000000


class HungLoop:
    """The main thread stands still, the outlets' threads live: the kernel stops that one thread (ptrace)."""

    def begin(self, host: Host) -> None:
        self._pid = host.daemon.process.pid
        self._libc = ctypes.CDLL(None, use_errno=True)
        end_s = time.monotonic() + 5
        while not waits(self._pid):  # one that holds the interpreter's lock would stop every thread
            if time.monotonic() > end_s:
                raise RigError("the main thread never waits", where="hung_loop", mend="lower the load of the scenario")
            time.sleep(0.001)
        if self._libc.ptrace(PTRACE_SEIZE, self._pid, None, None) or self._libc.ptrace(PTRACE_INTERRUPT, self._pid, None, None):
            raise Missing(os.strerror(ctypes.get_errno()), where="hung_loop", mend="run as root, or allow ptrace")
        os.waitpid(self._pid, WALL)

    def end(self, host: Host) -> None:
        self._libc.ptrace(PTRACE_DETACH, self._pid, None, None)


def waits(pid: int) -> bool:
    """Does the main thread of ``pid`` wait in a system call for a lock? Then it does not hold the interpreter's."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/syscall").read_text().split()[0] in ("202", "230", "232", "270", "98")
    except (OSError, IndexError):
        return False


class CpuHog:
    """Six processes that only count."""

    def begin(self, host: Host) -> None:
        self._hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]

    def end(self, host: Host) -> None:
        for hog in self._hogs:
            hog.kill()
            hog.wait()


class FullDisk:
    """The record's file system has no room; the rig gives it a small tmpfs."""

    def begin(self, host: Host) -> None:
        self._filler = host.record / "filler"
        with contextlib.suppress(OSError), self._filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))

    def end(self, host: Host) -> None:
        self._filler.unlink(missing_ok=True)


class ReadOnlyDisk:
    """The record's file system is read-only."""

    def begin(self, host: Host) -> None:
        remount(host.record, "ro")

    def end(self, host: Host) -> None:
        remount(host.record, "rw")


def remount(folder: Path, mode: str) -> None:
    # a file system that is being written to refuses: try again between two writes
    for _ in range(200):
        if subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], capture_output=True).returncode == 0:
            return
        time.sleep(0.02)
    raise RigError(f"cannot remount {mode}", where=str(folder), mend="run as root")


class BadReload:
    """SIGHUP with a configuration that is no TOML; the old one again at the end."""

    def begin(self, host: Host) -> None:
        self._text = host.config.read_text()
        host.config.write_text("pack = nonsense")
        host.daemon.signal(signal.SIGHUP)

    def end(self, host: Host) -> None:
        host.config.write_text(self._text)
        host.daemon.signal(signal.SIGHUP)


class BrokerLoss:
    """mosquitto is killed, and starts again at the end."""

    def begin(self, host: Host) -> None:
        assert host.broker is not None
        host.broker.kill()

    def end(self, host: Host) -> None:
        assert host.broker is not None
        host.broker.start()


class ClockStep:
    """The machine's wall clock jumps by a day and back (libfaketime under the daemon; its monotonic clock stays)."""

    def begin(self, host: Host) -> None:
        (host.folder / "faketime").write_text("+1d\n")

    def end(self, host: Host) -> None:
        (host.folder / "faketime").write_text("-3h\n")


KINDS: dict[str, type[Fault]] = {
    "killed": Killed,
    "down": Down,
    "restarted": Restarted,
    "brown_out": BrownOut,
    "stopped_machine": StoppedMachine,
    "hung_loop": HungLoop,
    "cpu_hog": CpuHog,
    "full_disk": FullDisk,
    "read_only_disk": ReadOnlyDisk,
    "bad_reload": BadReload,
    "broker_loss": BrokerLoss,
    "clock_step": ClockStep,
}
