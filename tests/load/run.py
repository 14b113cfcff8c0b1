"""96 cells at 1,600 frames/s through the daemon on one core: ``make test-load`` (10 minutes; SHORT=1: 20 s).

The sender runs on the other core and spreads the frames evenly. Latency is counted from the moment that the last frame of a
sweep was handed to the link to the moment that the decision's line was read from standard output; sweeps and decisions are
matched by a cell voltage that counts the sweeps. Exit code 1 where a frame was lost or a sweep has no decision. A pseudo-terminal
holds about 760 frames, half a second: on a machine that has no time for the daemon it refuses more, as a serial adapter would.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "faults")]

import can  # noqa: E402
import numpy as np  # noqa: E402
from adapter import Adapter, Process, free_port, slcan_config, slcan_line  # noqa: E402
from scene import counts, udp_config  # noqa: E402

from edgebms.telemetry.encode import Encoder  # noqa: E402

CELLS, PROBES = 96, 24
STEPS = 1500
"""Sweeps are told apart by cell 1's voltage: this many steps of 0.1 mV."""


class Sender(threading.Thread):
    """``send(frames)`` each frame at its time. last_ns: when the last frame of each sweep left."""

    def __init__(self, send, rate, seconds):
        super().__init__(daemon=True)
        self.send, self.rate, self.seconds = send, rate, seconds
        self.encoder = Encoder("edgebms", CELLS, PROBES, spacing_ns=0)
        self.last_ns, self.frames, self.refused = [], 0, 0

    def run(self):
        started_s = time.monotonic()
        while time.monotonic() - started_s < self.seconds:
            sweep = len(self.last_ns)
            volts = [3.5 + 0.0001 * (sweep % STEPS)] + [3.7] * (CELLS - 1)
            for frame in self.encoder.encode(0, volts, [25.0] * PROBES, -5.0, sum(volts)):
                pause_s = started_s + self.frames / self.rate - time.monotonic()
                if pause_s > 0.0002:
                    time.sleep(pause_s)
                self.send(frame)
                self.frames += 1
            self.last_ns.append(time.monotonic_ns())


def measure(link, seconds, rate, core):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adapter, port = Adapter(folder / "tty"), free_port()
        text = slcan_config(adapter.path) if link == "slcan" else udp_config(port)
        text = (
            text.replace("cells = 16", f"cells = {CELLS}")
            .replace("probes = 4", f"probes = {PROBES}")
            .replace('state = ""', 'state = "state"')
        )
        sender_bus = None if link == "slcan" else can.Bus(interface="udp_multicast", channel="239.74.163.78", port=port, ignore_config=True)

        def send(frame):
            if sender_bus is None:
                if not adapter.write(slcan_line(frame)):
                    sender.refused += 1
            else:
                sender_bus.send(can.Message(arbitration_id=frame.arbitration_id, data=frame.data, is_extended_id=False))

        with Process(folder, text, core=core) as daemon:
            ready_s = daemon.manager.heard[-1][0] - daemon.started_s
            while "bus can0: open" not in daemon.stderr():
                time.sleep(0.05)
            sender = Sender(send, rate, seconds)
            cpu_s, started_s, rss_mb = daemon.cpu_s(), time.monotonic(), []
            sender.start()
            while sender.is_alive():
                rss_mb.append(daemon.rss_mb())
                sender.join(max(1.0, seconds / 20))
            elapsed_s = time.monotonic() - started_s
            cpu_s = daemon.cpu_s() - cpu_s
            time.sleep(0.5)
            assert daemon.stop() == 0
            if sender_bus is not None:
                sender_bus.shutdown()
            taken = counts(daemon.stderr())["can0"]
            return summary(link, daemon, sender, taken, ready_s, cpu_s / elapsed_s, rss_mb)


def summary(link, daemon, sender, taken, ready_s, cpu, rss_mb):
    reached_ms, line_us, next_sweep, statuses = [], [], 0, {}
    for decision, at_s in zip(daemon.decisions, daemon.times_s, strict=True):
        if decision["quality"]["valid_cells"] < CELLS or not decision["quality"]["complete"]:
            continue
        step = round((decision["measured"]["cell_voltage_v"]["min"] - 3.5) / 0.0001)
        sweep = next_sweep + (step - next_sweep) % STEPS
        if sweep >= len(sender.last_ns):
            continue
        next_sweep = sweep + 1
        reached_ms.append(at_s * 1e3 - sender.last_ns[sweep] / 1e6)
        line_us.append(decision["provenance"]["latency_us"])
        status = decision["provenance"]["state_student"]
        statuses[status] = statuses.get(status, 0) + 1
    sweeps = len(sender.last_ns)
    return {
        "link": link,
        "seconds": round(sender.seconds),
        "frames_per_s": round(sender.frames / sender.seconds),
        "frames": sender.frames,
        "frames_refused_by_the_adapter": sender.refused,
        "frames_lost": sender.frames - sender.refused - taken["frames"],
        "sweeps": sweeps,
        "sweeps_without_decision": sweeps - len(reached_ms),
        "cpu_share": round(cpu, 3),
        "to_stdout_ms": percentiles(reached_ms, 2),
        "line_us": percentiles(line_us, 0),
        "rss_mb": {"first": rss_mb[0], "half": rss_mb[len(rss_mb) // 2], "last": rss_mb[-1]},
        "ready_s": round(ready_s, 2),
        "student": statuses,
    }


def percentiles(values, digits):
    return {name: round(float(np.percentile(values, share)), digits) for name, share in (("p50", 50), ("p99", 99), ("p999", 99.9))}


HEAD = f"""# The daemon under load

Written by `make test-load`: {CELLS} cells and {PROBES} probes in our own protocol on classic CAN, filter and student on, the daemon on one x86
core with the unit file's Nice, the sender on the other. *To stdout*: from the last frame of a sweep to the decision's line,
read from standard output. *In the house*: `latency_us`, from the frame's arrival.

"""


def table(rows):
    names = list(rows[0])
    lines = ["| | " + " | ".join(row["link"] for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for name in names[1:]:
        values = (row[name] for row in rows)
        shown = (", ".join(f"{key} {entry}" for key, entry in value.items()) if isinstance(value, dict) else str(value) for value in values)
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(shown) + " |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=1600, help="frames/s")
    parser.add_argument("--link", choices=("slcan", "udp"), nargs="*", default=["udp", "slcan"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="write the table there")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)
    rows = [measure(link, args.seconds / len(args.link), args.rate, cores[0]) for link in args.link]
    for row in rows:
        print(json.dumps(row) if args.json else "\n".join(f"{name:24} {value}" for name, value in row.items()) + "\n")
    if args.write:
        args.write.write_text(table(rows))
    bad = [row["link"] for row in rows if row["frames_lost"] or row["sweeps_without_decision"]]
    if bad:
        print(f"WRONG: frames or decisions lost over {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
