"""What the checks inside the machine work with: commands, the unit, its decisions, and a pack on vcan0."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

CELLS, PROBES = 16, 4
GATEWAY = Path("/etc/edgebms/gateway.toml")
SOCKET = "/run/edgebms/decisions.sock"
PATIENCE_S = 120.0
"""An emulated processor is twenty times slower."""
CLASSIC, FD = struct.Struct("=IB3x8s"), struct.Struct("=IB3x64s")
PACK = f"""[[pack]]
name = "rack-1"
profile = "edgebms"
card = "lg_hg2"
cells = {CELLS}
probes = {PROBES}
parallel = 10
"""
SOCKETCAN = """[[bus]]
name = "can0"
interface = "socketcan"
channel = "vcan0"
"""
REST = """[output]
ndjson = "/dev/null"
[outlet.socket]
"""


class Wrong(Exception):
    """A check found something else than it asks."""


def run(*words, check=True, timeout_s=300.0):
    """stdout and stderr together. Raises Wrong."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False,
        env=environment | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    if check and done.returncode:
        raise Wrong(f"{' '.join(map(str, words))}: {done.returncode}: {done.stdout.strip()[-500:]}")
    return done.stdout.strip()


def show(*properties, unit="edgebms"):
    return dict(line.partition("=")[::2] for line in run("systemctl", "show", unit, "-p", ",".join(properties)).splitlines())


def wait(found, what, timeout_s=PATIENCE_S):
    """(what ``found`` gave, after how many seconds). Raises Wrong."""
    began_s = time.monotonic()
    while True:
        value = found()
        if value:
            return value, time.monotonic() - began_s
        if time.monotonic() > began_s + timeout_s:
            raise Wrong(f"no {what} within {timeout_s:g} s; {log()[-600:]}")
        time.sleep(0.05)


def running(other_than=0):
    """The daemon's process where it is ready, another than ``other_than``."""
    state = show("MainPID", "SubState")
    pid = int(state["MainPID"])
    return pid if state["SubState"] == "running" and pid not in (0, other_than) else 0


def log():
    """What the daemon itself said since the machine started."""
    return run("journalctl", "-q", "-o", "cat", "_SYSTEMD_UNIT=edgebms.service", check=False)


def start(config):
    """The unit with ``config``, ready; seconds."""
    GATEWAY.write_text(config)
    began_s = time.monotonic()
    run("systemctl", "restart", "edgebms")
    return time.monotonic() - began_s


def decision(wanted=lambda decision: True, what="decision", timeout_s=PATIENCE_S):
    """(the next decision on the Unix socket that is as ``wanted``, after how many seconds)"""
    last = {}

    def found():
        try:
            with socket.socket(socket.AF_UNIX) as reader:
                reader.settimeout(10.0)
                reader.connect(SOCKET)
                with reader.makefile() as lines:
                    for line in lines:
                        last.update(json.loads(line))
                        if wanted(last):
                            return dict(last)
                        if time.monotonic() > end_s:
                            return None
        except (OSError, ValueError):
            return None
        return None

    end_s = time.monotonic() + timeout_s
    try:
        return wait(found, what, timeout_s)
    except Wrong as error:
        told = {
            "alerts": [(alert["level"], alert["hazard"], rules(alert)) for alert in last.get("alerts", ())],
            "quality": last.get("quality"),
        }
        raise Wrong(f"{error}; the last decision: {told}") from None


def seen(decision):
    return decision["quality"]["valid_cells"] == CELLS


def rules(alert):
    return [evidence["rule"] for evidence in alert["evidence"]]


def fault(decision, rule):
    """The evidence of a gateway's fault that stands, by the beginning of its rule; None."""
    return next((entry for alert in decision["alerts"] for entry in alert["evidence"] if entry["rule"].startswith(rule)), None)


class Bus:
    """A node of its own, by the kernel's raw socket; frames longer than 8 bytes are FD."""

    def __init__(self, channel="vcan0"):
        self._channel = channel
        self._socket = self._open()

    def _open(self):
        sock = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
        sock.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
        sock.bind((self._channel,))
        return sock

    def send(self, frames):
        """frames: (id with its flags, bytes). What an interface that is down or gone does not take is lost."""
        for code, data in frames:
            try:
                self._socket.send((CLASSIC if len(data) <= 8 else FD).pack(code, len(data), data))
            except OSError:
                time.sleep(0.02)
                with contextlib.suppress(OSError):
                    fresh = self._open()
                    self._socket.close()
                    self._socket = fresh

    def receive(self):
        """The next frame's (id with its flags, bytes)."""
        code, length, data = CLASSIC.unpack(self._socket.recv(CLASSIC.size))
        return code, data[:length]

    def close(self):
        self._socket.close()


class Pack:
    """A pack that sends a sweep each ``period_s`` through ``send(frames of edgebms.inlet.frame)``; its values may be changed."""

    def __init__(self, send, period_s=0.2, profile="edgebms"):
        from edgebms.telemetry.encode import Encoder

        self._send, self._period_s = send, period_s
        self._encoder = Encoder(profile, CELLS, PROBES, spacing_ns=0)
        self.volts, self.gas = [3.7] * CELLS, False
        self.sweeps = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.wait(self._period_s):
            volts = list(self.volts)
            self._send(self._encoder.encode(time.monotonic_ns(), volts, [25.0] * PROBES, -5.0, math.fsum(volts), gas=self.gas))
            self.sweeps += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()


def on(bus):
    """How a ``Pack`` sends on ``bus``."""
    return lambda frames: bus.send([(frame.arbitration_id, frame.data) for frame in frames])
