"""A BDF day (parquet or CSV) as CAN frames: what a pack with these values would have sent in our protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgebms.config import PackConfig
from edgebms.inlet.frame import Frame
from edgebms.telemetry import bdf
from hil.encode import Encoder


def frames(path: Path, profile: str = "edgebms") -> Iterator[Frame]:
    """The rows of ``path`` as sweeps of ``profile``; unknown values go out as invalid codes. Raises LogError."""
    cells, probes = bdf.shape(path)
    pack = PackConfig(name="bdf", profile=profile, card="", cells=cells, probes=probes)
    encoder = Encoder(profile, cells, probes)
    for sweep in bdf.sweeps(path, pack):
        yield from encoder.encode(
            sweep.time_ns,
            sweep.cell_voltage_v,
            sweep.temperature_c,
            sweep.current_a.value,
            sweep.voltage_v.value,
            insulation_ohm=sweep.insulation_ohm.value,
            pressure_pa=sweep.pressure_pa.value,
            gas=sweep.gas.value,
            coolant_temperature_c=sweep.coolant_temperature_c.value,
        )
