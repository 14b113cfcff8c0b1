"""The whole line from Python: python examples/in_python.py LOG gateway.toml

Prints one row a minute of the log, and the explanation of the last decision.
"""

import sys
import time
from pathlib import Path

from edgebms import config
from edgebms.assembly import build_lines
from edgebms.clock import LogClock
from edgebms.decision.explain import explain
from edgebms.decision.types import Decision
from edgebms.inlet.logfile import LogFile
from edgebms.loop import Loop, replay
from edgebms.worker import ask_inline


def main(log: str, gateway: str) -> int:
    decisions: list[Decision] = []
    lines = build_lines(config.load(Path(gateway)), ask_inline)
    clock = LogClock()
    loop = Loop(lines.values(), clock, decisions.append, time.perf_counter_ns)
    frames = replay(LogFile(Path(log)), loop, clock)
    next_ns = 0
    for decision in decisions:
        if decision.mono_ns >= next_ns:
            next_ns = decision.mono_ns + 60_000_000_000
            soc, volts = decision.soc, decision.measured.cell_voltage_v
            print(decision.time, f"SOC {soc.pack} +- {soc.sigma}", f"cells {volts.min} to {volts.max} V", decision.command.action)
    print(f"{frames} frames, {len(decisions)} decisions\n")
    print(explain(decisions[-1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
