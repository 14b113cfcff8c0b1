"""The checks, in their order. Each is a function of the shared folder that says what it found, or raises ``Wrong``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import scenarios
from system import (
    GATEWAY,
    PACK,
    REST,
    SOCKETCAN,
    Bus,
    Pack,
    Wrong,
    decision,
    fault,
    log,
    on,
    rules,
    run,
    running,
    seen,
    show,
    start,
    wait,
)  # fmt: skip

FLOOD = 8000
"""Frames: more than a receive buffer of 1 MiB holds."""
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
    got = far.receive()
    near.close()
    far.close()
    if got != (0x123, b"\x01\x02"):
        raise Wrong(f"another socket read {got}")
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


def reload_refused(out):
    """a wrong configuration at a reload is refused and told, the old one goes on"""
    bus = Bus()
    with Pack(on(bus)):
        start(WATCHED)
        decision(seen, "decision with every cell")
        pid = running()
        GATEWAY.write_text(WATCHED.replace("cells = 16", "cells = 0"))
        how = reload()
        entry, after_s = decision(lambda entry: fault(entry, "config_refused"), "alert that says that it was refused")
        if not seen(entry):
            raise Wrong(f"cells seen: {entry['quality']['valid_cells']}")
        GATEWAY.write_text(WATCHED)
        reload()
        _, cleared_s = decision(lambda entry: seen(entry) and not fault(entry, "config_refused"), "decision without it")
    bus.close()
    if running() != pid:
        raise Wrong("it was started anew")
    return f"{how}; config_refused {after_s:.1f} s later with every cell seen, gone {cleared_s:.1f} s after the right one, the same process"


def reload():
    """By systemd where it can (253 and later), by the signal where not."""
    if show("CanReload")["CanReload"] == "yes":
        run("systemctl", "reload", "edgebms")
        return "`systemctl reload`"
    run("systemctl", "kill", "-s", "HUP", "edgebms")
    return "this systemd knows no `systemctl reload` of the unit, `systemctl kill -s HUP` does it"


def kernel_drops(out):
    """what the kernel's receive buffer does not hold is counted and told"""
    bus, other = Bus(), Bus()
    with Pack(on(bus)):
        start(WATCHED)
        decision(seen, "decision with every cell")
        pid = running()
        os.kill(pid, signal.SIGSTOP)
        try:
            other.send([(0x600, bytes(8))] * FLOOD)
        finally:
            os.kill(pid, signal.SIGCONT)
        entry, _ = decision(lambda entry: seen(entry) and fault(entry, "frames_lost"), "alert of lost frames")
    bus.close()
    other.close()
    if running() != pid:
        raise Wrong("it was started anew")
    lost = fault(entry, "frames_lost")["value"]
    if not 0 < lost < FLOOD:
        raise Wrong(f"{lost} lost of {FLOOD}")
    return f"{FLOOD} frames while it stood still: frames_lost {lost:.0f}, every cell seen again"


def interface_down(out):
    """vcan0 is taken down and up again: told, and mended without a restart"""
    return without_interface([("ip", "link", "set", "vcan0", "down")], [("ip", "link", "set", "vcan0", "up")])


def interface_gone(out):
    """vcan0 is deleted and made anew, as when a USB adapter is plugged out and in"""
    made = [("ip", "link", "add", "vcan0", "mtu", "72", "type", "vcan"), ("ip", "link", "set", "vcan0", "up")]
    return without_interface([("ip", "link", "del", "vcan0")], made)


def without_interface(away, back):
    bus = Bus()
    with Pack(on(bus)):
        start(WATCHED)
        decision(seen, "decision with every cell")
        pid = running()
        for words in away:
            run(*words)
        entry, after_s = decision(
            lambda entry: fault(entry, "link_down.can0") and entry["quality"]["valid_cells"] == 0, "alert of a link that is down"
        )
        if entry["command"]["limits"]["charge_a"] > 0:
            raise Wrong(f"charging allowed: {entry['command']['limits']}")
        for words in back:
            run(*words)
        _, back_s = decision(seen, "decision with every cell")
    bus.close()
    if running() != pid:
        raise Wrong("it was started anew")
    return f"link_down and no cell {after_s:.1f} s later, 0 A; every cell {back_s:.1f} s after its return, the same process"


def fd_frames(out):
    """CAN FD frames of 64 bytes are read from the same interface"""
    bus = Bus()
    with Pack(on(bus), profile="edgebms_fd"):
        start(WATCHED.replace('profile = "edgebms"', 'profile = "edgebms_fd"').replace('channel = "vcan0"', 'channel = "vcan0"\nfd = true'))
        entry, after_s = decision(seen, "decision with every cell")
    bus.close()
    if entry["alerts"]:
        raise Wrong(f"alerts {entry['alerts']}")
    return f"16 cells {after_s:.1f} s after it was ready, no alert"


def watchdog(out):
    """a daemon that hangs is ended by systemd's watchdog and comes back, the latch of its alert shut"""
    bus = Bus()
    with Pack(on(bus)) as pack:
        start(WATCHED + '[record]\nfolder = "/var/lib/edgebms"\n')
        decision(seen, "decision with every cell")
        pack.gas = True
        decision(lambda entry: gas(entry), "alert of gas")
        pack.gas = False
        decision(lambda entry: gas(entry) and gas(entry)["latched"], "latched alert")
        wait(Path("/var/lib/edgebms/rack-1/checkpoint.state").exists, "checkpoint, which an alert's beginning asks for")
        pid, before = running(), int(show("NRestarts")["NRestarts"])
        began_s = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        wait(lambda: running(other_than=pid), "start after the hang")
        back_s = time.monotonic() - began_s
        entry, _ = decision(seen, "decision with every cell")
    bus.close()
    said = run("journalctl", "-q", "-o", "cat", "UNIT=edgebms.service")
    shutil.rmtree("/var/lib/edgebms/rack-1", ignore_errors=True)
    if "Watchdog timeout" not in said or int(show("NRestarts")["NRestarts"]) != before + 1:
        raise Wrong(f"the watchdog did not do it: {said[-300:]}")
    if not gas(entry) or not gas(entry)["latched"]:
        raise Wrong(f"no latch after it: {entry['alerts']}; {log()[-800:]}")
    limits = entry["command"]["limits"]
    return f"WatchdogSec={show('WatchdogUSec')['WatchdogUSec']}: running again {back_s:.1f} s after SIGSTOP, gas still latched, {limits['charge_a']:.0f} A of charge"


def gas(entry):
    return next((alert for alert in entry["alerts"] if "gas" in rules(alert)), None)


def slcan(out):
    """the unit is fed over SLCAN, through a pseudo-terminal"""
    from hil.rig.link import SlcanEnd

    # the unit lets USB serial adapters in, and no pseudo-terminals
    drop_in = Path("/etc/systemd/system/edgebms.service.d/pty.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nDeviceAllow=char-pts rw\n")
    run("systemctl", "daemon-reload")
    adapter = SlcanEnd(Path("/run/tty-adapter"))
    shutil.chown("/run/tty-adapter", "root", "dialout")
    Path("/run/tty-adapter").chmod(0o660)
    with Pack(adapter.send):
        start(PACK + '[[bus]]\nname = "can0"\ninterface = "slcan"\nchannel = "/run/tty-adapter"\nbitrate = 500000\n' + REST)
        _, after_s = decision(seen, "decision with every cell")
        adapter.unplug()
        _, lost_s = decision(lambda entry: fault(entry, "link_down.can0"), "alert of a link that is down")
    run("systemctl", "stop", "edgebms")
    drop_in.unlink()
    run("systemctl", "daemon-reload")
    return (
        f"as the user edgebms, in the group dialout: 16 cells {after_s:.1f} s after it was ready; unplugged, link_down {lost_s:.1f} s later"
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
    first = [boot, vcan, was_installed if options["installed"] else installed]
    if options["only"]:
        rest = [decides, *LONG, scenarios.short, scenarios.under_systemd, scenarios.fast]
        return first + [check for check in rest if check.__name__ in options["only"]]
    if options["short"]:
        return [*first, decides, *([scenarios.short] if options["rig"] else []), stopped]
    return [*first, decides, *LONG, *([scenarios.under_systemd, scenarios.fast] if options["rig"] else []), stopped]


LONG = [reload_refused, kernel_drops, interface_down, interface_gone, fd_frames, watchdog, slcan]
