"""The rig's scenarios inside the machine, over vcan0: a row for each."""

from __future__ import annotations

import os
import re
import subprocess
import time

from system import run

LINE = re.compile(r"(pass|FAIL|known|skip) +(\w+) +([0-9.]+) s ?(.*)")
FAST = (
    "bus_well_socketcan", "bus_off_socketcan", "bus_silence", "bus_id_missing", "bus_error_passive", "bus_spoofed",
    "restarted_in_alert", "internal_short_hard", "overcharge",
)  # fmt: skip
UNDER_SYSTEMD = ("bus_well_socketcan", "bus_off_socketcan", "bus_silence", "bus_error_passive", "two_gateways")
"""Whose times an emulated processor can keep: a limit of a few seconds asks for a real one."""
INTERFACES = ("vcan0", "vcan1")
"""One for each scenario that runs at the same time."""


def short(out):
    """a scenario of the rig, as fast as it goes"""
    return rig(out, "the rig, as fast as it goes", FAST[:1], "--package", "/usr/lib/edgebms")


def fast(out):
    """scenarios of the rig, as fast as they go"""
    run("ip", "link", "add", "vcan1", "type", "vcan")
    run("ip", "link", "set", "vcan1", "up")
    return rig(out, "the rig, as fast as it goes", FAST, "--package", "/usr/lib/edgebms", "--jobs", "2")


def under_systemd(out):
    """scenarios of the rig, the daemon under systemd"""
    return rig(out, "the rig, under systemd", UNDER_SYSTEMD, "--unit", "edgebms")


def rig(out, how, names, *options):
    """A row for each of ``names`` as it ends."""
    run("systemctl", "stop", "edgebms")
    # plain loops (hil/plant/compiled.py): an emulated processor would compile for minutes what it runs for seconds
    environment = os.environ | {"PYTHONPATH": "/srv/repo:/srv/site", "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_DISABLE_JIT": "1"}
    interfaces = [name for name in INTERFACES if name == "vcan0" or "--jobs" in options]
    command = ["python3", "-m", "hil", "run", *names, "--link", "socketcan", "--quiet", "--keep", out / "kept", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/srv/repo",
        env=environment | {"EDGEBMS_RIG_CAN": ",".join(interfaces)},
    )  # fmt: skip
    began_s, told, row = time.monotonic(), [], None
    for line in process.stdout:
        match = LINE.match(line)
        if match is None:
            if row is not None and line.startswith("   "):
                row["found"] += f"; {line.strip()}"
            told.append(line)
            continue
        if row is not None:
            yield row
        row = {
            "check": match[2], "asked": how, "ok": match[1] == "pass", "seconds": float(match[3]),
            "found": "passed" if match[1] == "pass" else f"{match[1]} {match[4]}",
        }  # fmt: skip
        told.append(line)
        if row["ok"]:  # nothing is said of it any more
            yield row
            row = None
    if row is not None:
        yield row
    code = process.wait()
    found = [match for line in told if (match := LINE.match(line))]
    if len(found) != len(names) or (code and all(match[1] == "pass" for match in found)):
        seconds = round(time.monotonic() - began_s, 1)
        yield {"check": "rig", "asked": how, "ok": False, "found": f"exit code {code}: {''.join(told)[-1500:]}", "seconds": seconds}
