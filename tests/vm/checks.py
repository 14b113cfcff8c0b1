"""The checks, in their order. Each is a function of the shared folder that says what it found, or raises ``Wrong``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from system import (
    PACK,
    REST,
    SOCKETCAN,
    Bus,
    Pack,
    Wrong,
    decision,
    on,
    run,
    running,
    seen,
    show,
    start,
    wait,
)  # fmt: skip

WATCHED = PACK + SOCKETCAN + REST


def boot(out):
    """systemd comes up on Debian's kernel"""
    wait(lambda: run("systemctl", "is-system-running", check=False) in ("running", "degraded", "starting"), "state of systemd")
    failed = run("systemctl", "--failed", "--plain", "--no-legend")
    if failed:
        raise Wrong(failed)
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    release = next(line for line in Path("/etc/os-release").read_text().splitlines() if line.startswith("PRETTY_NAME="))
    systemd = run("systemctl", "--version").split("\n")[0]
    return f"{release.partition('=')[2].strip(chr(34))}, Linux {run('uname', '-r')}, {systemd.partition(' (')[0]}; checks began {up_s:.0f} s after the kernel"


def vcan(out):
    """systemd-networkd makes vcan0 and brings it up"""
    wait(lambda: ",UP" in run("ip", "-o", "link", "show", "vcan0", check=False), "vcan0 that is up")
    near, far = Bus(), Bus()
    near.send([(0x123, b"\x01\x02")])
    got = far._socket.recv(16)
    near.close()
    far.close()
    if got[:4] != (0x123).to_bytes(4, sys.byteorder):
        raise Wrong(f"another socket read {got.hex()}")
    return "up, MTU 72; a frame reached another socket"


def installed(out):
    """the package is installed by dpkg, and starts nothing"""
    (package,) = out.glob("edgebms_*.deb")
    said = run("dpkg", "-i", package, timeout_s=900)
    sys.path_importer_cache.clear()
    if "systemctl enable" not in said:
        raise Wrong(said[-300:])
    return was_installed(out)


def was_installed(out):
    """the package was installed by dpkg before the start, and starts nothing"""
    state = show("ActiveState", "UnitFileState")
    if state != {"ActiveState": "inactive", "UnitFileState": "disabled"}:
        raise Wrong(str(state))
    return f"{run('dpkg-query', '-W', '-f', '${Version}', 'edgebms')}, not enabled, not running"


def decides(out):
    """its unit decides over vcan0"""
    bus = Bus()
    with Pack(on(bus)):
        ready_s = start(WATCHED)
        entry, after_s = decision(seen, "decision with every cell")
    bus.close()
    measured = entry["measured"]
    if abs(measured["current_a"] + 5.0) > 0.1 or abs(measured["cell_voltage_v"]["min"] - 3.7) > 0.005:
        raise Wrong(f"measured {measured}")
    if entry["alerts"]:
        raise Wrong(f"alerts {entry['alerts']}")
    return (
        f"ready after {ready_s:.1f} s, 16 cells {after_s:.1f} s later, {measured['current_a']:.1f} A, no alert; "
        f"{entry['provenance']['latency_us'] / 1000:.1f} ms a decision"
    )


def stopped(out):
    """`systemctl stop` ends it in order"""
    pid = running() or running_after_start()
    began_s = time.monotonic()
    run("systemctl", "stop", "edgebms")
    took_s = time.monotonic() - began_s
    state = show("ActiveState", "Result", "ExecMainStatus")
    if state != {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}:
        raise Wrong(str(state))
    if Path(f"/proc/{pid}").exists() or Path("/run/edgebms/decisions.sock").exists():
        raise Wrong("its process or its socket is still there")
    return f"exit code 0 after {took_s:.1f} s, its socket gone"


def running_after_start():
    start(WATCHED)
    return running()


def wanted(options):
    """The checks of this run, in order."""
    chosen = [boot, vcan, was_installed if options["installed"] else installed, decides]
    if options["only"]:
        return [check for check in chosen if check is not decides] + [check for check in LONG if check.__name__ in options["only"]]
    return chosen + ([] if options["short"] else LONG) + [stopped]


LONG = []
