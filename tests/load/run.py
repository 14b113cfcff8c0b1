"""Packs of 96 cells at 1,600 frames/s each through the daemon on one core: ``make test-load`` (10 minutes; SHORT=1: 18 s).

The senders run on the other core and spread the frames evenly. Latency is counted from the moment that the last frame of a
sweep was handed to the link to the moment that the decision was read at an outlet; sweeps and decisions are
matched by a cell voltage that counts the sweeps. Exit code 1 where a frame was lost, a sweep has no decision, or an outlet that is
owed each decision missed one. A pseudo-terminal
holds about 760 frames, half a second: on a machine that has no time for the daemon it refuses more, as a serial adapter would.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "faults")]

import can  # noqa: E402
import numpy as np  # noqa: E402
from adapter import Process, free_port, slcan_line  # noqa: E402
from broker import Broker, path  # noqa: E402
from broker import free_port as free_tcp_port  # noqa: E402
from readers import Inverter, MqttReader, PageReader, Scraper, SocketReader  # noqa: E402
from scene import counts  # noqa: E402
from shared_data import ROOT  # noqa: E402

from edgebms.telemetry.encode import Encoder  # noqa: E402

STEPS = 1500
"""Sweeps are told apart by cell 1's voltage: this many steps of 0.1 mV."""
CURRENT_A = -5.0


class Run(NamedTuple):
    """Packs, each on a bus of its own. share: of the stated rate. inverter: on the first bus; its protocols end at 327 V."""

    link: str
    packs: int = 1
    cells: int = 96
    probes: int = 24
    share: float = 1.0
    inverter: bool = False


RUNS = {
    "udp": Run("udp"),
    "slcan": Run("slcan"),
    "3 packs": Run("slcan", packs=3),
    "3 packs, inverter": Run("slcan", packs=3, cells=16, probes=4, share=0.1, inverter=True),
}


class Sender(threading.Thread):
    """``send(frames)`` each frame at its time. last_ns: when the last frame of each sweep left."""

    def __init__(self, send, rate, seconds, cells, probes):
        super().__init__(daemon=True)
        self.send, self.rate, self.seconds, self.cells, self.probes = send, rate, seconds, cells, probes
        self.encoder = Encoder("edgebms", cells, probes, spacing_ns=0)
        self.last_ns, self.frames, self.refused = [], 0, 0

    def run(self):
        started_s = time.monotonic()
        while time.monotonic() - started_s < self.seconds:
            sweep = len(self.last_ns)
            volts = [3.5 + 0.0001 * (sweep % STEPS)] + [3.7] * (self.cells - 1)
            for frame in self.encoder.encode(0, volts, [25.0] * self.probes, CURRENT_A, sum(volts)):
                pause_s = started_s + self.frames / self.rate - time.monotonic()
                if pause_s > 0.0002:
                    time.sleep(pause_s)
                self.send(frame)
                self.frames += 1
            self.last_ns.append(time.monotonic_ns())


class Pack:
    """One pack on a bus of its own: its adapter or datagrams, and its sender. frames that the adapter refused are counted."""

    def __init__(self, folder, number, run, rate, seconds):
        self.name, self.bus, self.run = f"rack-{number}", f"can{number}", run
        self.adapter = Inverter(folder / f"tty{number}")
        self.port = free_port()
        self.datagrams = None
        if run.link == "udp":
            self.datagrams = can.Bus(interface="udp_multicast", channel="239.74.163.78", port=self.port, ignore_config=True)
        self.sender = Sender(self.send, rate * run.share, seconds, run.cells, run.probes)

    def send(self, frame):
        if self.datagrams is not None:
            self.datagrams.send(can.Message(arbitration_id=frame.arbitration_id, data=frame.data, is_extended_id=False))
        elif not self.adapter.write(slcan_line(frame)):
            self.sender.refused += 1

    def config(self):
        where = f'interface = "slcan"\nchannel = "{self.adapter.path}"\nbitrate = 500000\ntransmit = true'
        if self.run.link == "udp":
            where = f'interface = "udp_multicast"\nchannel = "239.74.163.78"\noptions = {{ port = {self.port} }}'
        return f"""
[[pack]]
name = "{self.name}"
profile = "edgebms"
card = "lg_hg2"
cells = {self.run.cells}
probes = {self.run.probes}
parallel = 10
channel = "{self.bus}"
[[bus]]
name = "{self.bus}"
{where}
"""


def outlets(folder, ports, run):
    inverter = '[[outlet.can]]\nbus = "can1"\nkeep_alive_s = 0\n' if run.inverter else ""
    broker = f'[outlet.mqtt]\nhost = "127.0.0.1"\nport = {ports["mqtt"]}\ntls = false\nevery_s = 0\n' if "mqtt" in ports else ""
    return f"""
[outlet.socket]
path = "{folder / "decisions.sock"}"
[outlet.metrics]
listen = "127.0.0.1:{ports["metrics"]}"
[outlet.page]
listen = "127.0.0.1:{ports["page"]}"
{broker}{inverter}"""


def measure(name, seconds, rate, core, with_broker):
    run = RUNS[name]
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        ports = {"metrics": free_tcp_port(), "page": free_tcp_port()}
        if with_broker:
            ports["mqtt"] = stack.enter_context(Broker(folder)).port
        packs = [Pack(folder, one + 1, run, rate, seconds) for one in range(run.packs)]
        text = "".join(pack.config() for pack in packs) + outlets(folder, ports, run)
        daemon = stack.enter_context(Process(folder, text, core=core))
        ready_s = daemon.manager.heard[-1][0] - daemon.started_s
        wait(lambda: all(f"bus {pack.bus}: open" in daemon.stderr() for pack in packs), daemon.stderr)
        wait(
            lambda: (folder / "decisions.sock").exists() and ("mqtt" not in ports or "outlet mqtt: connected" in daemon.stderr()),
            daemon.stderr,
        )
        readers = {
            "socket": SocketReader(folder / "decisions.sock"),
            "page": PageReader(ports["page"]),
            "metrics": Scraper(ports["metrics"]),
        }
        if "mqtt" in ports:
            readers["mqtt"] = MqttReader(ports["mqtt"])
        for reader in readers.values():
            reader.start()
        time.sleep(0.3)
        for pack in packs:
            pack.adapter.hear()
            pack.adapter.frames.clear()
        cpu_s, started_s, rss_mb = daemon.cpu_s(), time.monotonic(), []
        for pack in packs:
            pack.sender.start()
        while any(pack.sender.is_alive() for pack in packs):
            rss_mb.append(daemon.rss_mb())
            packs[0].sender.join(max(1.0, seconds / 20))
        elapsed_s = time.monotonic() - started_s
        cpu_s = daemon.cpu_s() - cpu_s
        time.sleep(0.5)
        for reader in readers.values():
            reader.stop()
        assert daemon.stop() == 0
        for pack in packs:
            if pack.datagrams is not None:
                pack.datagrams.shutdown()
        taken = counts(daemon.stderr())
        row = summary(name, daemon, packs, readers, taken, ready_s, cpu_s / elapsed_s, rss_mb)
        return row | (can_out(packs) if run.inverter else {})


def wait(predicate, what, timeout_s=20):
    end_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < end_s, what()
        time.sleep(0.05)


def summary(name, daemon, packs, readers, taken, ready_s, cpu, rss_mb):
    last_ns, line_us, statuses, missing = {}, [], {}, 0
    reached_ms = []
    for pack in packs:
        next_sweep, sent = 0, pack.sender.last_ns
        before = len(last_ns)
        for decision, at_s in zip(daemon.decisions, daemon.times_s, strict=True):
            quality = decision["quality"]
            if decision["pack"] != pack.name or quality["valid_cells"] < quality["cells"] or not quality["complete"]:
                continue
            step = round((decision["measured"]["cell_voltage_v"]["min"] - 3.5) / 0.0001)
            sweep = next_sweep + (step - next_sweep) % STEPS
            if sweep >= len(sent):
                continue
            next_sweep = sweep + 1
            last_ns[pack.name, decision["seq"]] = sent[sweep]
            reached_ms.append(at_s * 1e3 - sent[sweep] / 1e6)
            line_us.append(decision["provenance"]["latency_us"])
            status = decision["provenance"]["state_student"]
            statuses[status] = statuses.get(status, 0) + 1
        missing += len(sent) - (len(last_ns) - before)
    frames = sum(pack.sender.frames for pack in packs)
    refused = sum(pack.sender.refused for pack in packs)
    row = {
        "run": name,
        "packs": len(packs),
        "cells": packs[0].run.cells,
        "seconds": round(packs[0].sender.seconds),
        "frames_per_s": round(frames / packs[0].sender.seconds),
        "frames": frames,
        "frames_refused_by_the_adapter": refused,
        "frames_lost": frames - refused - sum(taken[pack.bus]["frames"] for pack in packs),
        "sweeps": sum(len(pack.sender.last_ns) for pack in packs),
        "sweeps_without_decision": missing,
        "cpu_share": round(cpu, 3),
        "line_us": percentiles(line_us, 0),
        "to_stdout_ms": percentiles(reached_ms, 2),
    }
    for outlet in ("socket", "mqtt", "page"):
        if outlet in readers:
            had = readers[outlet].had
            row[f"to_{outlet}_ms"] = percentiles([(had[key] - sent) / 1e6 for key, sent in last_ns.items() if key in had], 2)
            row[f"{outlet}_had"] = sum(key in had for key in last_ns)
    row["scrape_ms"] = percentiles(readers["metrics"].took_ms, 1)
    row["rss_mb"] = {"first": rss_mb[0], "half": rss_mb[len(rss_mb) // 2], "last": rss_mb[-1]}
    return row | {"ready_s": round(ready_s, 2), "student": statuses}


def can_out(packs):
    """What the inverter on the first bus heard: the cycle, and the sum at the end (0x356 current, 0x372 modules online)."""
    inverter = packs[0].adapter
    cycles = inverter.cycles_ms()
    current_a = struct.unpack_from("<h", inverter.last(0x356), 2)[0] / 10
    return {
        "can_cycle_ms": percentiles(cycles, 0) | {"cycles": len(cycles)},
        "can_current_a": current_a,
        "can_modules_online": struct.unpack_from("<H", inverter.last(0x372))[0],
    }


def wrong(row):
    """What must not be."""
    found = [name for name in ("frames_lost", "sweeps_without_decision") if row[name]]
    decided = row["sweeps"] - row["sweeps_without_decision"]
    found += ["socket_had"] if row["socket_had"] < decided else []  # the broker gets the newest of each pack, not every one
    if "can_current_a" in row:
        found += [] if row["can_current_a"] == CURRENT_A * row["packs"] else ["can_current_a"]
        found += [] if row["can_modules_online"] == row["packs"] else ["can_modules_online"]
    return found


def percentiles(values, digits):
    return {name: round(float(np.percentile(values, share)), digits) for name, share in (("p50", 50), ("p99", 99), ("p999", 99.9))}


HEAD = """# The daemon under load

Written by `make test-load`: packs in our own protocol on classic CAN, filter and student on, the daemon on
one x86 core with the unit file's Nice, the senders, a broker and all readers on the other. *To stdout, socket, mqtt, page*: from the
last frame of a sweep to the decision read there, the broker's own time and the reader's included; *had*: how many of them. The page shows
five a second at most. *Scrape*: Prometheus' question to its answer. *Can cycle*: between two frames 0x351 to an inverter on the first
bus; *current*: the packs' sum in 0x356. *Line us*: `latency_us`, from the frame's arrival. Each pack sends at the stated rate on a bus of its own.

"""


def table(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| | " + " | ".join(row["run"] for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for name in names[1:]:
        values = (row.get(name, "") for row in rows)
        shown = (", ".join(f"{key} {entry}" for key, entry in value.items()) if isinstance(value, dict) else str(value) for value in values)
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(shown) + " |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600, help="all runs together")
    parser.add_argument("--rate", type=float, default=1600, help="frames/s of each pack")
    parser.add_argument("--run", choices=RUNS, nargs="*", default=list(RUNS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="write the table there")
    args = parser.parse_args()
    with_broker = subprocess.run([ROOT / "packaging/need.sh", "mosquitto", "mosquitto"], env=os.environ | {"PATH": path()}).returncode == 0
    if not with_broker:
        print("mosquitto is missing (apt install mosquitto): measured without a broker")
        if os.environ.get("CI") == "true":
            return 1
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)
    rows = [measure(name, args.seconds / len(args.run), args.rate, cores[0], with_broker) for name in args.run]
    for row in rows:
        print(json.dumps(row) if args.json else "\n".join(f"{name:30} {value}" for name, value in row.items()) + "\n")
    if args.write:
        args.write.write_text(table(rows))
    bad = {row["run"]: wrong(row) for row in rows if wrong(row)}
    for run, what in bad.items():
        print(f"WRONG: {run}: {', '.join(what)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
