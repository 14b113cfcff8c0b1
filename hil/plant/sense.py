"""From the truth to what a BMS measures: when each sensor is read, its lag, offset, noise and steps; and sensor faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil.plant import loops
from hil.plant.draws import SensorDraw
from hil.plant.packs import Packs
from hil.plant.rows import REAL, Reals

Floats = NDArray[np.float64]


PHASES_KEPT = 64
NOISE_BLOCK = 8


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """When a profile's sweep reads what: every sensor once a period, at its own instant after the period's start, s.

    cell_s (cells,), probe_s (probes,); current and pack voltage are read at current_s. A foxBMS sweep of 216 cells
    has cell_s from 0 to 5.3 and a period of 5.4 s.
    """

    period_s: float
    cell_s: Floats
    probe_s: Floats
    current_s: float = 0.0

    @classmethod
    def even(cls, period_s: float, cells: int, probes: int, sweep_s: float) -> Schedule:
        """One cell after the other over the period's last ``sweep_s``, the probes at its end: a snapshot has one whole sweep. Begun at the period's
        start, its first cell would be the next sweep's when the snapshot is taken."""
        begin_s = period_s - sweep_s
        return cls(period_s, begin_s + np.linspace(0.0, sweep_s, cells), np.full(probes, period_s), begin_s + 0.5 * sweep_s)


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """What the BMS holds now, in float32. p packs: cell_voltage_v (p, cells), temperature_c (p, probes); current_a, voltage_v,
    insulation_ohm, gas (p,). NaN = the sensor gives nothing."""

    time_s: float
    cell_voltage_v: Floats
    temperature_c: Floats
    current_a: Floats
    voltage_v: Floats
    insulation_ohm: Floats
    gas: Floats


class Senses:
    """The sensors of ``packs``, all read with one period: row i has the draw, the schedule and the noise ``of[i]``, so that a twin's are the same.

    Fault arrays, to be changed from outside: cell_offset_v, cell_hold and probe_offset_c, probe_hold (NaN in a hold =
    not held; a value = the sensor stands at it), cell_lost, probe_lost (nothing comes), current_error_a (p,).
    """

    def __init__(
        self, packs: Packs, draws: list[SensorDraw], schedules: list[Schedule], noise: list[np.random.Generator], of: NDArray[np.intp]
    ) -> None:
        count, cells = packs.state.soc.shape
        probes = len(schedules[0].probe_s)
        self._noise, self._of = noise, of
        self._noise_block = np.empty((len(noise), NOISE_BLOCK, cells + probes + 2), REAL)
        self._noise_at = NOISE_BLOCK
        self.probe_cell = np.array(spread_probes(cells, probes))
        for name in SensorDraw.__dataclass_fields__:
            setattr(self, f"_{name}", np.array([[getattr(draw, name)] for draw in draws], REAL)[of])
        fixed = np.array([rng.standard_normal(cells + probes + 1) for rng in noise], REAL)[of]
        self._cell_error_v = self._voltage_offset_v * fixed[:, :cells]
        self._probe_error_c = self._temperature_offset_c * fixed[:, cells:-1]
        self._current_error_a = self._current_offset_a * fixed[:, -1:]
        self._period_s = schedules[0].period_s
        self._reads: dict[tuple[int, int], list[tuple[NDArray[np.bool_], Floats] | None]] = {}
        self._cell_s = np.array([schedule.cell_s for schedule in schedules])[of]
        self._probe_s = np.array([schedule.probe_s for schedule in schedules])[of]
        self._current_s = np.array([[schedule.current_s] for schedule in schedules])[of]
        self.cell_offset_v, self.cell_hold = np.zeros((count, cells), REAL), np.full((count, cells), np.nan, REAL)
        self.probe_offset_c, self.probe_hold = np.zeros((count, probes), REAL), np.full((count, probes), np.nan, REAL)
        self.cell_lost, self.probe_lost = np.zeros((count, cells), bool), np.zeros((count, probes), bool)
        self.current_error_a = np.zeros((count, 1))
        self._probe_c = packs.state.temperature_c[:, self.probe_cell].astype(REAL)
        self._last_s = packs.time_s
        self._last = (
            packs.state.voltage_v.copy(),
            self._probe_c.copy(),
            np.zeros((count, 1)),
            packs.state.voltage_v.sum(axis=1, keepdims=True),
        )
        self._held = [np.full_like(part, np.nan) for part in self._last]

    def follow(self, packs: Packs, current_a: Floats) -> None:
        """Take the truth after a step: probes lag, and whatever the schedule reads within the step is read."""
        now_s, before_s = packs.time_s, self._last_s
        step_s = now_s - before_s
        behind_c = packs.state.temperature_c[:, self.probe_cell] - self._probe_c
        self._probe_c = (self._probe_c + behind_c * -np.expm1(-step_s / self._temperature_lag_s)).astype(REAL)
        through = np.asarray(current_a, float).reshape(-1, 1)
        # the arrays of a step are made anew by the next: no need to copy
        now = (packs.state.voltage_v, self._probe_c, through, packs.state.voltage_v.sum(axis=1, keepdims=True))
        for held, old, new, read in zip(self._held, self._last, now, self._read(now_s, step_s), strict=True):
            if read is not None:
                loops.hold(held, old, new, *read)
        self._last, self._last_s = now, now_s

    def _read(self, now_s: float, step_s: float) -> list[tuple[NDArray[np.bool_], Floats] | None]:
        """For cells, probes, current, pack voltage: (which were read within the step, at what share of it), None = none of them."""
        key = (round(now_s % self._period_s * 1e4), round(step_s * 1e4))
        if key not in self._reads:
            if len(self._reads) > PHASES_KEPT:
                self._reads.clear()
            reads: list[tuple[NDArray[np.bool_], Floats] | None] = []
            for at_s in (self._cell_s, self._probe_s, self._current_s, self._current_s):
                # the last instant within the step at which the sensor was read
                read_s = at_s + self._period_s * np.floor((now_s - at_s) / self._period_s + 1e-9)
                share = (read_s - now_s + step_s) / step_s
                within = share > 1e-9
                reads.append((within, np.minimum(share, 1.0).astype(REAL)) if within.any() else None)
            self._reads[key] = reads
        return self._reads[key]

    def sample(self, packs: Packs) -> Sampled:
        """What was read last, with the sensors' errors. Draws its noise anew: call it once a snapshot."""
        cells, probes, current, total = self._held
        noise = self._noises(cells.shape[1] + probes.shape[1] + 2)
        width = cells.shape[1]
        seen_v = loops.read(
            cells,
            noise,
            0,
            self._voltage_noise_v,
            self._cell_error_v,
            self.cell_offset_v,
            self._voltage_lsb_v,
            self.cell_hold,
            self.cell_lost,
        )
        seen_c = loops.read(
            probes, noise, width, self._temperature_noise_c, self._probe_error_c, self.probe_offset_c, self._temperature_lsb_c,
            self.probe_hold, self.probe_lost,
        )  # fmt: skip
        seen_a = current + self._current_error_a + self.current_error_a + self._current_noise_a * noise[:, -1:]
        seen_total = total + 1e-4 * total * noise[:, -2:-1]
        quantise(seen_a, self._current_lsb_a)
        quantise(seen_total, 0.1)
        insulation = packs.effects.insulation_ohm[:, 0].copy()
        return Sampled(packs.time_s, seen_v, seen_c, seen_a[:, 0], seen_total[:, 0], insulation, np.round(packs.state.gas[:, 0], 3))

    def _noises(self, width: int) -> Reals:
        """Fresh noise, (rows, width), drawn for NOISE_BLOCK snapshots at a time."""
        if self._noise_at == NOISE_BLOCK:
            for out, rng in zip(self._noise_block, self._noise, strict=True):
                rng.standard_normal(dtype=REAL, out=out)
            self._noise_at = 0
        self._noise_at += 1
        return self._noise_block[:, self._noise_at - 1, :width][self._of]


def spread_probes(cells: int, probes: int) -> list[int]:
    """The 0-based cell that each probe sits on: the middle of the cells that it stands for (cell * probes // cells).

    >>> spread_probes(6, 3), spread_probes(16, 3)
    ([0, 2, 4], [2, 8, 13])
    """
    shared = [[cell for cell in range(cells) if cell * probes // cells == probe] for probe in range(probes)]
    return [watched[(len(watched) - 1) // 2] for watched in shared]


def quantise(value: Floats | Reals, lsb: Floats | Reals | float) -> None:
    """To the nearest multiple of ``lsb``, in place."""
    value /= lsb
    np.rint(value, out=value)
    value *= lsb
