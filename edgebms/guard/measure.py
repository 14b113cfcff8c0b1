"""From a cleaned snapshot to the quantities that limit rows watch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.guard.plausibility import BROADCASTS, Clean, median
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

PRESSURE_TAU_S = 60.0

CONTRADICTING = (Reason.FROZEN, Reason.OUT_OF_RANGE, Reason.SATURATED, Reason.SUM_MISMATCH, Reason.SPIKE, Reason.BROKEN_WIRE)
"""The value came and is not believed; every other reason says that there was none."""
CONTRADICTS = np.isin(np.arange(256), CONTRADICTING)

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
        self._rows = round(RATE_WINDOW_S / RATE_EVERY_S) + 2
        self._time_s = np.full(self._rows, -np.inf)
        self._values = np.full((self._rows, places), np.nan)
        self._next = 0
        self._last_s = -np.inf
        self.rate = np.full(places, np.nan)

    def step(self, temperature_c: Floats, now_s: float) -> Floats:
        if now_s - self._last_s < RATE_EVERY_S:
            return self.rate
        self._last_s = now_s
        self._time_s[self._next] = now_s
        self._values[self._next] = temperature_c
        self._next = (self._next + 1) % self._rows
        used = self._time_s >= now_s - RATE_WINDOW_S
        time_min = (self._time_s[used] - now_s) / 60.0
        values = self._values[used]
        middle = np.array([median(row[:-BROADCASTS]) for row in values])
        self.rate = np.fmin(_slope(time_min, values), _slope(time_min, values - middle[:, None]))
        return self.rate


def _slope(time_min: Floats, values: Floats) -> Floats:
    """Least-squares slope of each column over its finite rows; NaN where they span too little."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    column = np.broadcast_to(time_min[:, None], values.shape)
    early = np.where(there, column, np.inf).min(axis=0)
    late = np.where(there, column, -np.inf).max(axis=0)
    wide = late - early >= RATE_SPAN_S / 60.0
    share = 1.0 / np.where(count > 0, count, 1)
    offset = np.where(there, column, 0.0) - np.where(there, np.where(there, column, 0.0).sum(axis=0) * share, 0.0)
    spread = (offset * offset).sum(axis=0)
    moved = (offset * np.where(there, values, 0.0)).sum(axis=0)
    return np.where(wide, moved / np.where(spread > 0, spread, 1.0), np.nan)


class Lost:
    """How long ago each place was last valid, for places that the profile owes."""

    def __init__(self, places: int) -> None:
        self._good_ns = np.full(places, NEVER, dtype=np.int64)
        self._any_ns = NEVER
        self.absent_s = np.zeros(places + BROADCASTS)
        self.contradicting_s = np.zeros(places + BROADCASTS)
        self.all_s = 0.0

    def step(self, reasons: NDArray[np.uint8], now_ns: int) -> None:
        if self._any_ns == NEVER:
            self._good_ns[:] = self._any_ns = now_ns
        good = (reasons == Reason.VALID) | (reasons == Reason.NOT_IN_PROFILE)
        np.copyto(self._good_ns, now_ns, where=good)
        if good.any() or not len(good):
            self._any_ns = now_ns
        contradicts = CONTRADICTS[reasons]
        lost_s = (now_ns - self._good_ns) * 1e-9
        self.absent_s[:-BROADCASTS] = np.where(contradicts, 0.0, lost_s)
        self.contradicting_s[:-BROADCASTS] = np.where(contradicts, lost_s, 0.0)
        self.all_s = (now_ns - self._any_ns) * 1e-9


class Measure:
    """One pack's trackers. ``step`` gives every quantity of this snapshot."""

    def __init__(self, card: CellCard, pack: PackConfig) -> None:
        self._cells, self._probes = pack.cells, pack.probes
        self._flowing_a = CURRENT_C_RATE * card.capacity_ah * pack.parallel
        self._rate = TemperatureRate(pack.probes + BROADCASTS)
        self._cell_lost, self._probe_lost, self._current_lost = Lost(pack.cells), Lost(pack.probes), Lost(1)
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
        values["temperature_rate_k_per_min"] = self._rate.step(clean.temperature_c, snapshot.time_ns * 1e-9)
        values["charge_current_a"] = current_a
        values["discharge_current_a"] = -current_a
        values["pack_voltage_v"] = voltage_v = snapshot.voltage_v.value
        values["insulation_ohm_per_v"] = snapshot.insulation_ohm.value / voltage_v if voltage_v >= MIN_VOLTAGE_V else math.nan
        values["gas"] = snapshot.gas.value
        values["pressure_rise_pa"] = self._pressure_rise(snapshot.pressure_pa.value, snapshot.time_ns)
        values["open_contactor_current_a"] = abs(current_a) if snapshot.contactors is Contactor.OPEN else 0.0
        self._cell_lost.step(snapshot.cell_reason, now_ns)
        self._probe_lost.step(snapshot.temperature_reason, now_ns)
        self._current_lost.step(np.array([snapshot.current_a.reason], dtype=np.uint8), now_ns)
        values["cell_lost_s"] = self._cell_lost.absent_s
        values["cell_inconsistent_s"] = self._cell_lost.contradicting_s
        values["probe_lost_s"] = np.maximum(self._probe_lost.absent_s, self._probe_lost.contradicting_s)
        values["current_lost_s"] = self._current_lost.all_s
        values["blind_s"] = self._cell_lost.all_s
        values["heat_blind_s"] = self._probe_lost.all_s
        return out

    def _pressure_rise(self, pressure_pa: float, now_ns: int) -> float:
        if math.isnan(pressure_pa):
            return math.nan
        if math.isnan(self._pressure_pa):
            self._pressure_pa, self._pressure_ns = pressure_pa, now_ns
        rise_pa = pressure_pa - self._pressure_pa
        self._pressure_pa += min(1.0, (now_ns - self._pressure_ns) * 1e-9 / PRESSURE_TAU_S) * rise_pa
        self._pressure_ns = now_ns
        return rise_pa
