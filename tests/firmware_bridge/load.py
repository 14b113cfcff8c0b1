"""Throughput and latency over a line of 11,520 and 92,160 bytes/s, and the daemon's share of a core: ``make test-mcu-load``.

A model of the microcontroller on a pseudo-terminal that lets through so many bytes a second each way. Up: from the moment
that a sweep's last byte left the microcontroller to the moment that its decision was read from standard output. Down: how old
a decision is when the microcontroller accepts it as advice, on its own clock; what does not change is renewed every 500 ms with
the newest decision. Exit code 1 where a sweep got no decision, a message was lost or advice was refused.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
from adapter import Process  # noqa: E402
from mcu_model import Line, Mcu  # noqa: E402
from results_section import put  # noqa: E402

from firmware_bridge.codes import Verdict  # noqa: E402
from firmware_bridge.freshness import begin_counter  # noqa: E402
from firmware_bridge.keys import new_key  # noqa: E402

STEPS = 1500
"""Sweeps are told apart by cell 1's voltage: this many steps of 0.1 mV."""
EARLY_MS, LATE_MS = 5, 2000
"""A decision may be read before the line's own note of the last byte; one that comes later than this is the next round's."""
CONFIG = """
[[pack]]
name = "rack-1"
profile = "edgebms_fd"
card = "lg_hg2"
cells = {cells}
probes = {probes}
period_s = {period_s}
[[bus]]
name = "bms"
interface = "edgebms_mcu"
channel = "{folder}/ttyACM0"
transmit = true
[[outlet.mcu]]
bus = "bms"
gateway_id = 7
mcu_id = 9
key_file = "{folder}/mcu.key"
counter_file = "{folder}/mcu.counter"
"""


class Run(NamedTuple):
    rate: int
    sweep_ms: int
    cells: int = 96
    probes: int = 24


RUNS = (Run(11_520, 100), Run(11_520, 33), Run(92_160, 100), Run(92_160, 20))
SHORT = (RUNS[0], RUNS[2])


class Counting(Mcu):
    """Cell 1 counts the sweeps."""

    def say_sweep(self, now_ms):
        following = (self.sweep + 1) % 65536
        self.volts[0] = (35_000 + following % STEPS - following % 3) / 1e4
        super().say_sweep(now_ms)


def measure(run, seconds):
    """The row of one run, and what was wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = new_key(folder / "mcu.key")
        begin_counter(folder / "mcu.counter", key.fingerprint)
        mcu = Counting({1: key.secret}, cells=run.cells, probes=run.probes, sweep_ms=run.sweep_ms)
        text = CONFIG.format(folder=folder, cells=run.cells, probes=run.probes, period_s=run.sweep_ms / 1000)
        with Line(folder / "ttyACM0", mcu, rate=run.rate) as line, Process(folder, text) as daemon:
            daemon.wait(lambda entry: entry["quality"]["valid_cells"] == run.cells, timeout_s=20)
            end_s = time.monotonic() + 20
            while not mcu.accepted:
                assert time.monotonic() < end_s, daemon.stderr()
                time.sleep(0.01)
            time.sleep(1)
            at = len(line.left), len(daemon.decisions), len(mcu.judged), line.up, line.down, daemon.cpu_s(), time.monotonic()
            time.sleep(seconds)
            took_s, cpu_s = time.monotonic() - at[6], daemon.cpu_s() - at[5]
            up, down = line.up - at[3], line.down - at[4]
            left, judged = line.left[at[0] :], mcu.judged[at[2] :]
            time.sleep(1)
            decided = {}
            for entry, when_s in zip(daemon.decisions[at[1] :], daemon.times_s[at[1] :], strict=False):
                volts = entry["measured"]["cell_voltage_v"]["min"]
                if volts is not None:
                    decided.setdefault(round(1e4 * volts) - 35_000, []).append(1e3 * when_s)
            latency_ms = []
            for sweep, left_ns in left:
                after = [when_ms - left_ns / 1e6 for when_ms in decided.get(sweep % STEPS, ()) if when_ms > left_ns / 1e6 - EARLY_MS]
                latency_ms += after[:1]
            missing = sum(latency > LATE_MS for latency in latency_ms) + len(left) - len(latency_ms)
            ages_ms = [mcu.ages[id(advice)] for verdict, advice in judged if verdict is Verdict.ACCEPTED]
            refused = [verdict.name for verdict, _ in judged if verdict is not Verdict.ACCEPTED]
    row = {
        "bytes/s": f"{run.rate:,}",
        "sweeps/s": f"{len(left) / took_s:.1f}",
        "up": f"{100 * up / took_s / run.rate:.0f} %",
        "down": f"{100 * down / took_s / run.rate:.1f} %",
        "up ms": figures(latency_ms),
        "advice": f"{len(ages_ms)}",
        "down ms": figures(ages_ms),
        "CPU": f"{100 * cpu_s / took_s:.0f} %",
    }
    return row, [f"{missing} sweeps without a decision"] * bool(missing) + refused


def figures(values):
    return "p50 {:.0f}, p99 {:.0f}, max {:.0f}".format(*np.percentile(values, [50, 99, 100])) if values else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    rows, wrong = [], []
    for run in SHORT if args.short else RUNS:
        row, problems = measure(run, 5 if args.short else args.seconds)
        rows.append(row)
        wrong += [f"{row['bytes/s']} bytes/s, {row['sweeps/s']} sweeps/s: {problem}" for problem in problems]
    heads = list(rows[0])
    table = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *("| " + " | ".join(row.values()) + " |" for row in rows)]
    print("\n".join(table + wrong))
    if args.write:
        seconds = 5 if args.short else args.seconds
        text = f"""Written by `make test-mcu-load`, {seconds:g} s a row: 96 cells and 24 probes on a serial line (a pseudo-terminal that lets through so many bytes
a second each way, in steps of about 2 ms), filter and student on, on an x86 machine of two cores that others used at the same time: the tails are theirs. *up*, *down*: the share of the line
that is in use. *up ms*: from a sweep's last byte on the line to its decision at standard output. *down ms*: how old a decision is
when it is accepted as advice; unchanged advice is renewed every 500 ms with the newest decision, so up to one sweep period of it is the
decision's own age. *CPU*: of one core.

"""
        put(args.write, "The line under load", text + "\n".join(table))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
