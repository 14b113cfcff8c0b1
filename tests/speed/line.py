"""SECONDS simulated seconds of CELLS cells through the whole line, counted by callgrind from the first frame to the last.

Start-up and the making of the frames are left out: instrumentation is switched on around the line alone.
"""

import os
import subprocess
import sys

from edgebms.assembly import build_lines
from edgebms.cli.bench import SWEEP_S, sweeps
from edgebms.clock import LogClock
from edgebms.config import Config, PackConfig, Students
from edgebms.decision.types import encode
from edgebms.loop import Loop
from edgebms.worker import ask_inline

WARM_S = 2.0
"""First calls fill caches and take their turns; they are run before the count begins."""


def instrument(state: str) -> None:
    if os.environ.get("COUNTED"):
        subprocess.run(["callgrind_control", "-i", state, str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


def main(cells: int, seconds: float, student: str) -> None:
    probes = max(1, cells // 4)
    pack = PackConfig(name="bench", profile="edgebms", card="lg_hg2", cells=cells, probes=probes, parallel=20)
    config = Config(pack=(pack,), students=Students(state="" if student == "none" else student))
    clock = LogClock()
    loop = Loop(build_lines(config, ask_inline).values(), clock, encode, lambda: 0)
    frames = [frame for chunk in sweeps(cells, probes, "edgebms", WARM_S + seconds) for frame in chunk]
    warm = round(len(frames) * WARM_S / (WARM_S + seconds))

    def take(part: list) -> None:
        for frame in part:
            clock.set_ns(frame.time_ns)
            loop.tick()
            loop.frame(frame)
            loop.settle()

    take(frames[:warm])
    instrument("on")
    take(frames[warm:])
    instrument("off")
    print(round(seconds / SWEEP_S))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
