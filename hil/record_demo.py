"""The recipe of the shipped demo: a 16-cell pack in use, an internal short that grows into runaway.

``python -m hil record-demo`` writes edgebms/catalogue/demo/demo.log.gz again: the same bytes
as long as the card of the cell stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgebms.cellcard import load_card
from edgebms.inlet.frame import Frame
from edgebms.vocabulary import Contactor
from hil.candump import write
from hil.encode import Encoder
from hil.plant.cell import from_card
from hil.plant.load import drive_c_rate
from hil.plant.pack import InternalShort, Pack
from hil.plant.sensors import Sensors, SensorSpec

SEED = 16
CARD = "lg_hg2"
CELLS = 16
PROBE_CELLS = tuple(range(0, CELLS, 2))
"""Eight probes, one for two neighbouring cells; cell 11's is probe 6."""
PERIOD_S = 1.0
START_NS = 1_767_261_600_000_000_000
"""2026-01-01T10:00:00Z."""
AMBIENT_C = 24.0
START_SOC = 0.85
STAND_STILL_S, STAND_STILL_C_RATE = 20, -0.01
"""A ride begins at stand still."""
SHORT = InternalShort(cell=10, onset_s=150.0, resistance_ohm=20.0, decay_s=90.0, floor_ohm=0.35)
AFTER_RUNAWAY_S = 20
LONGEST_S = 900

DEMO_LOG = Path(__file__).resolve().parent.parent / "edgebms" / "catalogue" / "demo" / "demo.log.gz"


def frames() -> Iterator[Frame]:
    """The recording: one sweep a second until half a minute after the shorted cell has passed 200 degC."""
    rng = np.random.default_rng(SEED)
    circuit = from_card(load_card(CARD))
    pack = Pack(circuit, CELLS, rng, soc=START_SOC, ambient_c=AMBIENT_C, shorts=(SHORT,))
    sensors = Sensors(SensorSpec(), CELLS, PROBE_CELLS, AMBIENT_C, rng)
    load_a = drive_c_rate(LONGEST_S, rng) * circuit.capacity_ah
    load_a[:STAND_STILL_S] = STAND_STILL_C_RATE * circuit.capacity_ah
    encoder = Encoder("edgebms", CELLS, len(PROBE_CELLS))
    left_s = LONGEST_S
    for second, current_a in enumerate(load_a):
        pack.step(PERIOD_S, float(current_a))
        sample = sensors.measure(pack, float(current_a))
        time_ns = START_NS + second * 1_000_000_000
        yield from encoder.encode(
            time_ns, sample.cell_voltage_v, sample.temperature_c, sample.current_a, sample.voltage_v, contactors=Contactor.CLOSED
        )
        if pack.temperature_c[SHORT.cell] > 200:
            left_s = min(left_s, AFTER_RUNAWAY_S)
        left_s -= 1
        if left_s < 0:
            return


def record(path: Path = DEMO_LOG) -> int:
    """Write the log; returns the number of frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, frames())
