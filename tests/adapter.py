"""Real parts for live tests: an SLCAN adapter on a pseudo-terminal, the daemon as a process, a fake service manager."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

from lines import CELLS, PROBES

from edgebms.telemetry.encode import Encoder


def free_port():
    """A UDP port that nobody uses: multicast of two tests on one port would mix."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def slcan_line(frame):
    kind, digits = ("T", 8) if frame.extended else ("t", 3)
    return f"{kind}{frame.arbitration_id:0{digits}X}{len(frame.data):X}{frame.data.hex().upper()}\r".encode()


class Adapter:
    """An SLCAN adapter: ``path`` is its serial port; ``said`` collects what the host told it.

    link: a stable name for the port, as udev makes one, so that the adapter can vanish and come back.
    """

    def __init__(self, link: Path):
        self.path, self.said = link, b""
        self._lock = threading.Lock()
        self.plug_in()

    def plug_in(self):
        self.master, slave = os.openpty()
        os.set_blocking(self.master, False)
        tty.setraw(slave)
        name = os.ttyname(slave)
        os.close(slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(name)

    def vanish(self):
        with self._lock:
            os.close(self.master)
            self.master = -1
        self.path.unlink(missing_ok=True)

    def write(self, data):
        """True when all of it went out: what does not fit is lost, as in a real adapter."""
        self.hear()
        with self._lock, contextlib.suppress(OSError):
            if self.master >= 0:
                return os.write(self.master, data) == len(data)
        return False

    def hear(self):
        with self._lock, contextlib.suppress(OSError):
            while self.master >= 0 and select.select([self.master], [], [], 0)[0]:
                self.said += os.read(self.master, 4096)

    def wait_open(self, timeout_s=30.0):
        """Until the host has opened the channel; what it said since the last time."""
        end_s = time.monotonic() + timeout_s
        while not self.said.endswith((b"L\r", b"O\r")):
            assert time.monotonic() < end_s, f"not opened, heard {self.said!r}"
            self.hear()
            time.sleep(0.01)
        said, self.said = self.said, b""
        return said


class Pack:
    """A healthy pack that sends a sweep each 50 ms through ``write(frames)`` while it runs; values may be changed."""

    def __init__(self, write, period_s=0.05, **settings):
        self.write, self.period_s = write, period_s
        self.encoder = Encoder("edgebms", CELLS, PROBES, spacing_ns=0, **settings)
        self.volts, self.degrees, self.current_a = [3.7] * CELLS, [25.0] * PROBES, -5.0
        self.sent = self.sweeps = 0
        self._stop, self._pause = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        next_s = time.monotonic()
        while not self._stop.is_set():
            if not self._pause.is_set():
                frames = self.encoder.encode(time.monotonic_ns(), self.volts, self.degrees, self.current_a, sum(self.volts))
                self.write(frames)
                self.sent += len(frames)
                self.sweeps += 1
            next_s = max(next_s + self.period_s, time.monotonic())
            time.sleep(max(0.0, next_s - time.monotonic()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    def pause(self):
        self._pause.set()

    def resume(self):
        self._pause.clear()


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.heard = []

    def wait(self, text, timeout_s=45.0):
        """The first message not yet seen with ``text`` in it. A daemon takes a second of a core to start, and many may want the core."""
        end_s = time.monotonic() + timeout_s
        while True:
            self.socket.settimeout(max(0.01, end_s - time.monotonic()))
            try:
                message = self.socket.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"no {text} within {timeout_s} s; heard {self.heard}") from None
            self.heard.append((time.monotonic(), message))
            if text in message:
                return message

    def drain(self):
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
        return [message for _, message in self.heard]


class Process:
    """``edgebms run`` as a process; its decisions as they come."""

    def __init__(self, folder: Path, config: str, *, watchdog_s=None, environment=None, core=None, more=()):
        self.config = folder / "gateway.toml"
        self.config.write_text(config)
        self.manager = Manager(folder)
        variables = os.environ | {"NOTIFY_SOCKET": str(self.manager.path)} | (environment or {})
        if watchdog_s:
            variables["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.started_s = time.monotonic()
        self.log = (folder / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgebms.cli.main", "run", "-c", str(self.config), *more],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=variables,
            preexec_fn=(lambda: on_its_core(core)) if core is not None else None,
        )
        self.decisions, self.times_s = [], []
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def hold(self):
        """Nobody reads standard output from now on."""
        self._reading.clear()

    def release(self):
        self._reading.set()

    def _read(self):
        for line in self.process.stdout:
            self._reading.wait()
            self.times_s.append(time.monotonic())
            self.decisions.append(json.loads(line))

    def __enter__(self):
        try:
            self.manager.wait("READY=1")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.manager.socket.close()
        self.log.close()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout_s=10.0):
        self.signal(signal.SIGTERM)
        code = self.process.wait(timeout_s)
        self._thread.join(5)
        return code

    def stderr(self):
        self.log.flush()
        return Path(self.log.name).read_text()

    def rss_mb(self):
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, predicate, timeout_s=30.0, since=0):
        """The first decision from number ``since`` on that ``predicate`` holds of, and when it came."""
        end_s = time.monotonic() + timeout_s
        at = since
        while True:
            while at < len(self.decisions):
                if predicate(self.decisions[at]):
                    return self.decisions[at], self.times_s[at]
                at += 1
            assert self.process.poll() is None, f"the daemon ended: {self.stderr()}"
            assert time.monotonic() < end_s, f"no such decision among {at}; the last: {self.decisions[-1:]}; {self.stderr()}"
            time.sleep(0.01)


def on_its_core(core):
    """As the unit file has it: Nice=-5, where that is allowed."""
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(PermissionError):
        os.nice(-5)


PACK = f"""
[[pack]]
name = "rack-1"
profile = "edgebms"
card = "lg_hg2"
cells = {CELLS}
probes = {PROBES}
parallel = 10
"""


def slcan_config(port, pack=PACK, more="", bus=""):
    return f"""{pack}
[[bus]]
name = "can0"
interface = "slcan"
channel = "{port}"
bitrate = 500000
{bus}
[students]
state = ""
{more}
"""


def seen(decision):
    return decision["quality"]["valid_cells"] == CELLS


def faults(decision):
    """The rules of the gateway_fault alert that stands, empty without one."""
    return {
        evidence["rule"]: evidence["value"]
        for alert in decision["alerts"]
        if alert["hazard"] == "gateway_fault"
        for evidence in alert["evidence"]
    }
