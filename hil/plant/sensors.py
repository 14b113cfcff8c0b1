"""From the truth to what a BMS measures: probe lag, offset, noise, quantisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil.plant.pack import Pack

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SensorSpec:
    """One standard deviation each for offsets (drawn once a sensor) and noise (each sample); lsb: the step."""

    voltage_offset_v: float = 0.001
    voltage_noise_v: float = 0.0003
    voltage_lsb_v: float = 0.001
    temperature_offset_c: float = 0.3
    temperature_noise_c: float = 0.05
    temperature_lsb_c: float = 0.1
    temperature_lag_s: float = 4.0
    current_offset_a: float = 0.02
    current_noise_a: float = 0.02
    current_lsb_a: float = 0.01
    pack_voltage_noise_v: float = 0.02
    pack_voltage_lsb_v: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One sample. cell_voltage_v: (cells,), temperature_c: (probes,)."""

    time_s: float
    cell_voltage_v: Floats
    temperature_c: Floats
    current_a: float
    voltage_v: float


class Sensors:
    """The sensors of one pack. probe_cells: the 0-based cell that each probe sits on."""

    def __init__(self, spec: SensorSpec, cells: int, probe_cells: tuple[int, ...], start_c: float, rng: np.random.Generator) -> None:
        self._spec = spec
        self._rng = rng
        self._probe_cells = list(probe_cells)
        self._voltage_offset_v = spec.voltage_offset_v * rng.standard_normal(cells)
        self._temperature_offset_c = spec.temperature_offset_c * rng.standard_normal(len(probe_cells))
        self._current_offset_a = spec.current_offset_a * rng.standard_normal()
        self._probe_c = np.full(len(probe_cells), float(start_c))
        self._last_s = 0.0

    def measure(self, pack: Pack, current_a: float) -> Measured:
        """What the sensors say of ``pack`` now, while ``current_a`` flows."""
        spec, rng = self._spec, self._rng
        gain = -np.expm1(-(pack.time_s - self._last_s) / spec.temperature_lag_s) if spec.temperature_lag_s else 1.0
        self._last_s = pack.time_s
        self._probe_c += (pack.temperature_c[self._probe_cells] - self._probe_c) * gain
        cells = pack.voltage_v + self._voltage_offset_v + spec.voltage_noise_v * rng.standard_normal(len(pack.voltage_v))
        probes = self._probe_c + self._temperature_offset_c + spec.temperature_noise_c * rng.standard_normal(len(self._probe_c))
        return Measured(
            pack.time_s,
            quantise(cells, spec.voltage_lsb_v),
            quantise(probes, spec.temperature_lsb_c),
            float(quantise(current_a + self._current_offset_a + spec.current_noise_a * rng.standard_normal(), spec.current_lsb_a)),
            float(quantise(pack.voltage_v.sum() + spec.pack_voltage_noise_v * rng.standard_normal(), spec.pack_voltage_lsb_v)),
        )


def quantise(value: Floats | float, lsb: float) -> Floats:
    """To the nearest multiple of ``lsb``.

    >>> quantise(3.70049, 0.001).round(6).item()
    3.7
    """
    return np.round(np.asarray(value) / lsb) * lsb
