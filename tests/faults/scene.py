"""What a fault is injected into: the daemon as a process, a pack on its bus with an alert that stands, and what came of it."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import can
from adapter import PACK, Adapter, Pack, Process, faults, free_port, seen, slcan_config, slcan_line

HOT_CELL, HOT_V = 4, 4.3
"""0-based cell over its voltage limit in every scene: its alert must stand through the fault."""


@dataclass
class Row:
    """recover_s: from the end of the fault to the first decision with every cell. frames_lost: sent on the bus and not
    taken, as far as the daemon could have known them; alerts_lost: alerts that went missing while their cause stood."""

    fault: str
    injected: str
    did: str
    recover_s: float | None
    frames_lost: int | None
    alerts_lost: int
    wrong: str = ""


class Scene:
    """One daemon and one pack. ``port``: an SLCAN adapter; ``udp``: frames as datagrams instead."""

    def __init__(self, *, udp=False, config=None, more="", plugged=True, bus=""):
        self.folder = Path(tempfile.mkdtemp(prefix="edgebms-fault-"))
        self.adapter = Adapter(self.folder / "ttyUSB0")
        self.sender = None
        self.port = free_port()
        if udp:
            self.sender = can.Bus(interface="udp_multicast", channel="239.74.163.78", port=self.port, ignore_config=True)
        self.text = config or (udp_config(self.port, more) if udp else slcan_config(self.adapter.path, more=more, bus=bus))
        self.plugged = plugged
        if not plugged:
            self.adapter.vanish()
        self.daemon = Process(self.folder, self.text)
        self.pack = Pack(self.send)
        self.pack.volts = [3.7] * 16
        self.pack.volts[HOT_CELL] = HOT_V
        self.marks = {}
        self.refused = 0
        self.on_bus = 0

    def send(self, frames):
        if self.sender is None:
            self.on_bus += len(frames) if self.adapter.write(b"".join(map(slcan_line, frames))) else 0
        else:
            for frame in frames:
                self.sender.send(can.Message(arbitration_id=frame.arbitration_id, data=frame.data, is_extended_id=False))
            self.on_bus += len(frames)

    def __enter__(self):
        self.daemon.manager.wait("READY=1", 30)
        end_s = time.monotonic() + 10
        while self.plugged and "bus can0: open" not in self.daemon.stderr() and time.monotonic() < end_s:
            time.sleep(0.01)  # what is sent before is nobody's loss
        self.pack.__enter__()
        return self

    def __exit__(self, *error):
        self.pack.__exit__()
        self.daemon.__exit__()
        if self.sender is not None:
            self.sender.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- steps

    def settle(self):
        """Until the alert of the cell over its limit stands."""
        self.wait(hot, 30)
        return self

    def wait(self, predicate, timeout_s=15.0):
        """From now on; what was decided before is through."""
        return self.daemon.wait(predicate, timeout_s, len(self.daemon.decisions))

    def begin(self):
        """The fault begins now."""
        self.marks["begin"] = len(self.daemon.decisions)
        self.began_s = time.monotonic()

    def end(self):
        """The fault is over now; waits until every cell is seen again."""
        ended_s = time.monotonic()
        _, at_s = self.daemon.wait(seen, 30, len(self.daemon.decisions))
        self.recovered_s = max(0.0, at_s - ended_s)
        time.sleep(0.3)

    def row(self, fault, injected, *, frames_lost=None, more=""):
        """Stop the daemon; what it did, from its decisions alone."""
        self.pack.pause()
        time.sleep(0.3)
        times_s = self.daemon.times_s[self.marks["begin"] :]
        heard = list(zip(self.daemon.decisions[self.marks["begin"] :], times_s, strict=False))
        during = [decision for decision, _ in heard if decision["pack"] == "rack-1"]
        told = {}
        for decision, at_s in heard:
            for rule in {**faults(decision), **unknown(decision)}:
                told.setdefault(rule, at_s - self.began_s)
        did = ", ".join(f"{rule.replace('_', ' ')} after {at_s:.1f} s" for rule, at_s in sorted(told.items(), key=lambda entry: entry[1]))
        lost = 0 if all(hot(decision) for decision in during) else 1
        code = self.daemon.stop()
        wrong = "" if code == 0 else f"exit code {code}"
        if "Traceback" in self.daemon.stderr():
            wrong += " traceback"
        self.counts = counts(self.daemon.stderr())
        return Row(fault, injected, "; ".join(filter(None, [did or "nothing to tell", more])), self.recovered_s, frames_lost, lost, wrong)


def hot(decision):
    return any(alert["hazard"] == "overcharge" and alert["cell"] == HOT_CELL + 1 for alert in decision["alerts"])


def unknown(decision):
    """Rules of the alerts of lost data that stand, and ``cells unknown`` where any is."""
    rules = {
        e["rule"]: e["value"] for a in decision["alerts"] if a["hazard"] in ("loss_of_data", "inconsistent_data") for e in a["evidence"]
    }
    if decision["quality"]["valid_cells"] < decision["quality"]["cells"]:
        rules["cells_unknown"] = 1
    for warning in decision["quality"]["warnings"]:
        if warning["signal"] == "frames":
            rules[f"frames refused ({warning['reason'].replace('_', ' ')})"] = warning["count"]
        elif warning["signal"].startswith("gateway."):
            rules[f"{warning['reason']}.{warning['signal'].partition('.')[2]}"] = warning["count"]
    return rules


def counts(stderr):
    """What the daemon said of each bus at its end: {"can0": {"frames": 12, ...}}."""
    told = {}
    for name, text in re.findall(r"bus (\w+): (\d+ frames.*)", stderr):
        entry = told.setdefault(name, {})
        entry["frames"] = entry.get("frames", 0) + int(text.split()[0])
        for key, value in re.findall(r"(\w+) (\d+)", text.partition("frames")[2]):
            entry[key] = entry.get(key, 0) + int(value)
    return told


def udp_config(port, more=""):
    return f"""{PACK}
[[bus]]
name = "can0"
interface = "udp_multicast"
channel = "239.74.163.78"
options = {{ port = {port} }}
[students]
state = ""
{more}
"""


def stop_and_go(process, seconds):
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
