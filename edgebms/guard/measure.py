"""From a cleaned snapshot to the quantities that limit rows watch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.guard.plausibility import BROADCASTS, Clean
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Contactor, Reason

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CURRENT_C_RATE = 0.02
"""Charging or discharging: a magnitude over C/50, above the noise of pack current sensors."""

MIN_VOLTAGE_V = 1.0
"""Below this the pack voltage is no scale for its insulation."""

RATE_WINDOW_S, RATE_SPAN_S, RATE_EVERY_S = 120.0, 60.0, 5.0
"""Temperature rate: a straight line through samples RATE_EVERY_S apart over RATE_WINDOW_S, of which at
least RATE_SPAN_S must be there. One step of a 1 K probe is at most 0.75 K/min on it."""

RATE_SAMPLES = 5
"""A 30 s log has so many in the window; from fewer, one step of a 1 K probe would make a rate."""

PRESSURE_TAU_S = 60.0

CONTRADICTING = (Reason.FROZEN, Reason.OUT_OF_RANGE, Reason.SATURATED, Reason.SUM_MISMATCH, Reason.SPIKE, Reason.BROKEN_WIRE)
"""The value came and is not believed; every other reason says that there was none."""
CONTRADICTS = np.isin(np.arange(256), CONTRADICTING)

VALID, NOT_IN_PROFILE = int(Reason.VALID), int(Reason.NOT_IN_PROFILE)
NEVER = -1


@dataclass(slots=True)
class Measured:
    """values: quantity -> (places,) array of cells or probes (each with the broadcasts behind) or a pack's
    float. A quantity that is not there is unknown everywhere."""

    cell_fresh: Flags
    probe_fresh: Flags
    charging: bool
    discharging: bool
    values: dict[str, Floats | float] = field(default_factory=dict)


class TemperatureRate:
    """K/min of each place, absolute and against the median: the smaller of the two, so that neither a
    pack that warms as a whole nor a probe that stays while the pack cools has a rate."""

    def __init__(self, places: int) -> None:
        rows = round(RATE_WINDOW_S / RATE_EVERY_S) + 1
        self._time_s = np.full(rows, -np.inf)
        # temperatures, then departures from the median
        self._values = np.full((rows, 2 * places), np.nan)
        self._places = places
        self._next = 0
        self._last_s = -np.inf
        self._rate = np.full(places, np.nan)

    def step(self, temperature_c: Floats, median_c: float, now_s: float) -> Floats:
        if now_s - self._last_s < RATE_EVERY_S:
            return self._rate
        self._last_s = now_s
        self._time_s[self._next] = now_s
        self._values[self._next, : self._places] = temperature_c
        self._values[self._next, self._places :] = temperature_c - median_c
        self._next = (self._next + 1) % len(self._time_s)
        used = self._time_s >= now_s - RATE_WINDOW_S
        slopes = _slope(self._time_s[used] / 60.0, self._values[used])
        rate = np.minimum(slopes[: self._places], slopes[self._places :])
        self._rate = np.where(np.isnan(temperature_c), np.nan, rate)
        return self._rate


def _slope(time_min: Floats, values: Floats) -> Floats:
    """Least-squares slope of each column over its finite rows; NaN where they span too little."""
    there = np.isfinite(values)
    time = np.where(there, time_min[:, None], np.nan)
    span = np.fmax.reduce(time) - np.fmin.reduce(time)
    count = np.maximum(np.count_nonzero(there, axis=0), 1)
    wide = (span >= RATE_SPAN_S / 60.0) & (count >= RATE_SAMPLES)
    offset = np.where(there, time - np.where(there, time, 0.0).sum(axis=0) / count, 0.0)
    spread = (offset * offset).sum(axis=0)
    moved = (offset * np.where(there, values, 0.0)).sum(axis=0)
    slope = np.full(len(wide), np.nan)
    np.divide(moved, spread, out=slope, where=wide)
    return slope


class Lost:
    """How long ago each place was last valid, for places that the profile owes."""

    def __init__(self, places: int) -> None:
        self._good_ns = np.full(places, NEVER, dtype=np.int64)
        self._any_ns = NEVER
        self.absent_s = np.zeros(places + BROADCASTS)
        self.contradicting_s = np.zeros(places + BROADCASTS)
        self.all_s = 0.0
        self._lossy = False

    def step(self, reasons: NDArray[np.uint8], now_ns: int) -> None:
        if self._any_ns == NEVER:
            self._good_ns[:] = self._any_ns = now_ns
        if not reasons.any():
            if self._lossy:
                self.absent_s[:] = self.contradicting_s[:] = 0.0
            self._lossy = False
            self._good_ns[:] = self._any_ns = now_ns
            self.all_s = 0.0
            return
        self._lossy = True
        good = (reasons == VALID) | (reasons == NOT_IN_PROFILE)
        np.copyto(self._good_ns, now_ns, where=good)
        if good.any():
            self._any_ns = now_ns
        contradicts = CONTRADICTS[reasons]
        lost_s = (now_ns - self._good_ns) / 1e9
        self.absent_s[:-BROADCASTS] = np.where(contradicts, 0.0, lost_s)
        self.contradicting_s[:-BROADCASTS] = np.where(contradicts, lost_s, 0.0)
        self.all_s = (now_ns - self._any_ns) / 1e9


class Measure:
    """One pack's trackers. ``step`` gives every quantity of this snapshot."""

    def __init__(self, card: CellCard, pack: PackConfig) -> None:
        self._cells, self._probes = pack.cells, pack.probes
        self._flowing_a = CURRENT_C_RATE * card.capacity_ah * pack.parallel
        self._rate = TemperatureRate(pack.probes + BROADCASTS)
        self._cell_lost, self._probe_lost = Lost(pack.cells), Lost(pack.probes)
        self._current_ns = self._watched_ns = NEVER
        self._pressure_pa = np.nan
        self._pressure_ns = 0

    def step(self, snapshot: Snapshot, clean: Clean, now_ns: int) -> Measured:
        current_a = snapshot.current_a.value
        out = Measured(
            cell_fresh=clean.voltage_fresh,
            probe_fresh=clean.temperature_fresh,
            charging=current_a > self._flowing_a,
            discharging=current_a < -self._flowing_a,
        )
        values = out.values
        values["cell_voltage_v"] = clean.voltage_v
        values["cell_deviation_v"] = clean.voltage_v - clean.voltage_median_v
        values["sense_fault_v"] = clean.sense_fault_v
        values["temperature_c"] = clean.temperature_c
        values["temperature_deviation_k"] = clean.temperature_c - clean.temperature_median_c
        values["temperature_rate_k_per_min"] = self._rate.step(clean.temperature_c, clean.temperature_median_c, snapshot.time_ns / 1e9)
        values["charge_current_a"] = current_a
        values["discharge_current_a"] = -current_a
        values["pack_voltage_v"] = voltage_v = snapshot.voltage_v.value
        values["insulation_ohm_per_v"] = snapshot.insulation_ohm.value / voltage_v if voltage_v >= MIN_VOLTAGE_V else math.nan
        values["gas"] = snapshot.gas.value
        values["pressure_rise_pa"] = self._pressure_rise(snapshot.pressure_pa.value, snapshot.time_ns)
        values["open_contactor_current_a"] = self._open_current(snapshot.contactors, current_a)
        self._cell_lost.step(snapshot.cell_reason, now_ns)
        self._probe_lost.step(snapshot.temperature_reason, now_ns)
        if snapshot.current_a.reason in (VALID, NOT_IN_PROFILE) or self._current_ns == NEVER:
            self._current_ns = now_ns
        values["cell_lost_s"] = self._cell_lost.absent_s
        values["cell_inconsistent_s"] = self._cell_lost.contradicting_s
        values["probe_lost_s"] = self._probe_lost.absent_s + self._probe_lost.contradicting_s
        values["current_lost_s"] = (now_ns - self._current_ns) / 1e9
        # A bus without single cells says NOT_IN_PROFILE of each for ever: what it does say must go on.
        if snapshot.watched or self._watched_ns == NEVER:
            self._watched_ns = now_ns
        values["blind_s"] = (now_ns - self._watched_ns) / 1e9
        values["heat_blind_s"] = self._probe_lost.all_s
        return out

    def _open_current(self, contactors: Contactor, current_a: float) -> float:
        if contactors is Contactor.UNKNOWN:
            return math.nan
        return abs(current_a) if contactors is Contactor.OPEN else 0.0

    def _pressure_rise(self, pressure_pa: float, now_ns: int) -> float:
        if math.isnan(pressure_pa):
            return math.nan
        if math.isnan(self._pressure_pa):
            self._pressure_pa, self._pressure_ns = pressure_pa, now_ns
        rise_pa = pressure_pa - self._pressure_pa
        self._pressure_pa += min(1.0, (now_ns - self._pressure_ns) / 1e9 / PRESSURE_TAU_S) * rise_pa
        self._pressure_ns = now_ns
        return rise_pa
