"""The recipe of the shipped demo: a 16-cell pack in use, an internal short that grows into runaway.

``python -m hil record-demo`` writes edgebms/catalogue/demo/demo.log.gz again: the same bytes on the same
kind of processor as long as the card of the cell stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgebms.inlet.frame import Frame
from edgebms.vocabulary import Contactor
from hil.candump import write
from hil.encode import Encoder
from hil.plant.live import LivePack, PackSpec
from hil.plant.loads import drive

SEED = 16
CELLS, PROBES = 16, 8
"""Eight probes, one for two neighbouring cells; cell 11's is probe 6."""
PACK = PackSpec("lg_hg2", CELLS, PROBES, seed=SEED, soc=0.85, ambient_c=24.0, cooled="still")
PERIOD_S = 1.0
START_NS = 1_767_261_600_000_000_000
"""2026-01-01T10:00:00Z."""
STAND_STILL_S, STAND_STILL_C_RATE = 20, -0.01
"""A ride begins at stand still."""


class Short(NamedTuple):
    """Resistance: from a hundred times ``last_ohm`` down to it, with ``tau_s``."""

    cell: int
    onset_s: float
    last_ohm: float
    tau_s: float


SHORT = Short(cell=10, onset_s=150.0, last_ohm=0.35, tau_s=80.0)
AFTER_RUNAWAY_S = 20
LONGEST_S = 900

DEMO_LOG = Path(__file__).resolve().parent.parent / "edgebms" / "catalogue" / "demo" / "demo.log.gz"


def frames() -> Iterator[Frame]:
    """The recording: one sweep a second until some seconds after the shorted cell has passed 200 degC."""
    pack = LivePack(PACK)
    pack.inject("short_decaying", onset_s=SHORT.onset_s, cell=SHORT.cell, size=SHORT.last_ohm, tau_s=SHORT.tau_s)
    load_a = drive(np.random.default_rng(SEED), LONGEST_S) * pack.capacity_ah
    load_a[:STAND_STILL_S] = STAND_STILL_C_RATE * pack.capacity_ah
    encoder = Encoder("edgebms", CELLS, PROBES)
    left_s = LONGEST_S
    for second, current_a in enumerate(load_a):
        pack.step(PERIOD_S, float(current_a))
        seen = pack.measure()
        time_ns = START_NS + second * 1_000_000_000
        yield from encoder.encode(
            time_ns, seen.cell_voltage_v, seen.temperature_c, seen.current_a, seen.voltage_v, contactors=Contactor.CLOSED
        )
        if pack.truth().temperature_c[SHORT.cell] > 200:
            left_s = min(left_s, AFTER_RUNAWAY_S)
        left_s -= 1
        if left_s < 0:
            return


def record(path: Path = DEMO_LOG) -> int:
    """Write the log; returns the number of frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, frames())
