"""kill -9 at random moments: a gateway in a process of its own, killed, looked at, started again on the same folder.

    python tests/record/killed.py 200 [seed]

Prints a summary as JSON; where something was lost, each kill before it and exit code 1. A child is forked from
here, so that a start costs nothing; the line is built once, each child has its own copy.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from lines import CELLS, PROBES, pack  # noqa: E402
from recorded import settings  # noqa: E402

from edgebms.assembly import build_lines  # noqa: E402
from edgebms.clock import MonotonicClock  # noqa: E402
from edgebms.decision.types import encode  # noqa: E402
from edgebms.loop import Loop  # noqa: E402
from edgebms.record import checkpoint  # noqa: E402
from edgebms.record.recorder import CHECKPOINT, Recording  # noqa: E402
from edgebms.telemetry.encode import Encoder  # noqa: E402
from edgebms.worker import ask_inline  # noqa: E402

PERIOD_S = 0.2
SWEEP_S = 0.01
LATE_S = 0.5
"""What the disk and a busy machine may add."""
KEPT_S = 0.25 + LATE_S


def gateway(config, lines, pipe, short_after_s):
    """Runs until it is killed. Tells each decision's time and whether a latch stands."""
    clock = MonotonicClock(synchronised=True)
    record = Recording(config.record, clock, say=lambda text: None)
    lines = record.attach(config, lines, restore=True)
    encoder = Encoder("edgebms", CELLS, PROBES)
    began_ns = clock.now_ns()

    def emit(decision):
        line = encode(decision)
        record.offer(decision, line)
        latched = any(alert.latched for alert in decision.alerts)
        pipe.write(f"{decision.mono_ns} {int(latched)}\n")
        pipe.flush()

    loop = Loop(lines.values(), clock, emit, clock.now_ns, record.faults)
    while True:
        now_ns = clock.now_ns()
        amperes = -1000.0 if now_ns - began_ns > short_after_s * 1e9 else -10.0
        for frame in encoder.encode(now_ns, [3.7] * CELLS, [25.0] * PROBES, amperes, 3.7 * CELLS):
            loop.frame(frame._replace(time_ns=now_ns))
        loop.tick()
        time.sleep(SWEEP_S)


def one(config, lines, wait_s, short_after_s):
    """Start, wait, kill; what the child had told by then."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            gateway(config, lines, os.fdopen(write, "w"), short_after_s)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        first = pipe.readline()  # from its first decision on
        time.sleep(wait_s)
        os.kill(child, signal.SIGKILL)
        told = [first, *pipe]
    os.waitpid(child, 0)
    return [(int(line.split()[0]), line.split()[1] == "1") for line in told if line.endswith("\n")]


def main(kills, seed):
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    config = settings(folder, pack(), checkpoint_s=PERIOD_S, checkpoint_mb_per_day=1e5)
    lines = build_lines(config, ask_inline)
    path = folder / "rack-1" / CHECKPOINT
    rows, expect_latched = [], False
    for kill in range(kills):
        told = one(config, lines, chance.uniform(0.0, 1.2), chance.uniform(0.0, 1.5))
        last_ns = told[-1][0]
        saved, problem = checkpoint.load_latest(path)
        latched_ns = next((at_ns for at_ns, latched in told if latched), None)
        ran_s = (last_ns - told[0][0]) / 1e9
        row = {"kill": kill, "ran_s": round(ran_s, 3), "readable": not problem, "lost_s": round(ran_s, 3), "latch": None}
        if saved is not None:
            if saved.moment.mono_ns >= told[0][0]:
                row["lost_s"] = round((last_ns - saved.moment.mono_ns) / 1e9, 3)
            if latched_ns is not None and (last_ns - latched_ns) / 1e9 > KEPT_S:
                row["latch"] = "kept" if saved.body["guard"] else "lost"
        row["lost_ok"] = row["lost_s"] <= PERIOD_S + LATE_S
        row["latch_after_restart"] = None if not expect_latched else "kept" if told[0][1] else "lost"
        rows.append(row)
        expect_latched = saved is not None and bool(saved.body["guard"])
        if expect_latched and chance.random() < 0.5:
            shutil.rmtree(folder / "rack-1")
            expect_latched = False
    shutil.rmtree(folder)
    lost_s = sorted(row["lost_s"] for row in rows)
    summary = {
        "kills": kills,
        "checkpoint_period_s": PERIOD_S,
        "unreadable": sum(not row["readable"] for row in rows),
        "lost_more_than_a_period": sum(not row["lost_ok"] for row in rows),
        "lost_s_max": lost_s[-1],
        "lost_s_median": lost_s[len(lost_s) // 2],
        "latches_owed": sum(row["latch"] is not None for row in rows),
        "latches_lost": sum(row["latch"] == "lost" for row in rows),
        "latches_owed_after_restart": sum(row["latch_after_restart"] is not None for row in rows),
        "latches_lost_after_restart": sum(row["latch_after_restart"] == "lost" for row in rows),
    }
    lost = any(summary[key] for key in ("unreadable", "lost_more_than_a_period", "latches_lost", "latches_lost_after_restart"))
    for row in rows if lost else ():
        print(json.dumps(row))
    print(json.dumps(summary))
    return int(lost)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
