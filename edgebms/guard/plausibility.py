"""What the rules may see: spikes, broken sense wires and misread cells taken out, broadcasts put in.

Nothing is repaired: a value that is not believed becomes NaN for the rules, and says so through a
quantity of its own (``sense_fault_v``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.telemetry.snapshot import Extreme, Reading, Snapshot
from edgebms.vocabulary import Reason

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Times = NDArray[np.int64]

SAME_SAMPLE_NS = 1_000_000
"""Sample times are rebuilt from ages; closer than this they are the same sample."""

BROADCASTS = 2
"""Places behind the cells (probes) for a broadcast lowest and highest value that does not say where."""

SPIKE_V, SPIKE_V_PER_S = 0.15, 0.02
SPIKE_K, SPIKE_K_PER_S = 5.0, 3.0
"""A jump against the pack larger than floor + rate * time needs the next sample of the same place to
confirm it. Load steps of unsynchronised cell samples stay under it in BatICM's cars (train); a real
collapse or runaway passes one sample later."""

WIRE_V = 0.2
WIRE_BALANCE = 0.25
"""A broken tap splits the sum of its two cells anew: both leave the median by more than WIRE_V, to
opposite sides, and what one gains the other loses within WIRE_BALANCE."""

WIRE_OF_SPREAD = 5.0
"""... and both by that many times the pack's median departure: near empty, healthy cells stand 0.2 V and more apart."""

MISREAD_V = 0.5
"""A lone cell that far from the median is held against the measured pack voltage."""

SUM_TAU_S = 600.0
SUM_NOISE_FACTOR = 3.0
"""Sum of cells less pack voltage: its own mean and mean deviation over SUM_TAU_S; a cell's departure
must be SUM_NOISE_FACTOR times that deviation for the pack voltage to be a witness."""


def median(values: Floats) -> float:
    """Median of the finite values, NaN without any. (numpy.nanmedian takes ten times as long.)"""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan")
    middle = finite.size // 2
    if finite.size % 2:
        return float(np.partition(finite, middle)[middle])
    parted = np.partition(finite, middle)
    return 0.5 * float(parted[:middle].max() + parted[middle])


@dataclass(frozen=True, slots=True, eq=False)
class Clean:
    """cell arrays: (cells + BROADCASTS,), probe arrays: (probes + BROADCASTS,). fresh: a sample not seen
    before. sample_ns: when it was taken. sense_fault_v: how far a disbelieved cell stands from the
    median, 0 where believed, NaN where unknown."""

    voltage_v: Floats
    voltage_fresh: Flags
    voltage_median_v: float
    sense_fault_v: Floats
    temperature_c: Floats
    temperature_fresh: Flags
    temperature_sample_ns: Times
    temperature_median_c: float


class SpikeFilter:
    """Holds back a lone jump until the next sample of the same place confirms it."""

    def __init__(self, places: int, floor: float, rate_per_s: float) -> None:
        self._floor, self._rate = floor, rate_per_s
        self._last = np.full(places, np.nan)
        self._last_ns = np.zeros(places, dtype=np.int64)
        self._held = np.full(places, np.nan)
        self._holding = False
        self.seen_ns = np.full(places, -(1 << 62), dtype=np.int64)

    def fresh(self, values: Floats, sample_ns: Times) -> Flags:
        """Which finite values are samples not seen before; marks them seen."""
        fresh: Flags = np.isfinite(values) & (sample_ns > self.seen_ns + SAME_SAMPLE_NS)
        np.copyto(self.seen_ns, sample_ns, where=fresh)
        return fresh

    def step(self, values: Floats, sample_ns: Times, fresh: Flags, common: float) -> Floats:
        """``values`` with unconfirmed jumps as NaN. common: the part of a jump that the whole pack made."""
        jump = values - self._last
        odd = np.abs(jump - common)
        if not self._holding and not np.fmax.reduce(odd) > self._floor:
            np.copyto(self._last, values, where=fresh)
            np.copyto(self._last_ns, sample_ns, where=fresh)
            return values
        suspect = fresh & (odd > self._floor + self._rate * (sample_ns - self._last_ns) / 1e9)
        way = self._held - self._last
        confirmed = fresh & (jump * way > 0.5 * way * way)
        suspect &= ~confirmed
        accepted = fresh & ~suspect
        np.copyto(self._held, np.where(suspect, values, np.nan), where=fresh)
        np.copyto(self._last, values, where=accepted)
        np.copyto(self._last_ns, sample_ns, where=accepted)
        # a repeated sample stays what it was when it was new
        out = np.where(np.isnan(self._held), values, np.nan)
        self._holding = bool(np.isfinite(self._held).any())
        return out


class SumWitness:
    """The pack voltage as a witness: how the cell sum usually stands to it, and whether one departure
    of the sum is a cell that died (the pack voltage fell with it) or one that is misread."""

    def __init__(self) -> None:
        self._offset_v = np.nan
        self._noise_v = 0.0
        self._last_ns = 0

    def learn(self, departure_v: float, now_ns: int) -> None:
        if np.isnan(self._offset_v):
            self._offset_v, self._last_ns = departure_v, now_ns
            return
        share = min(1.0, (now_ns - self._last_ns) / 1e9 / SUM_TAU_S)
        self._last_ns = now_ns
        self._noise_v += share * (abs(departure_v - self._offset_v) - self._noise_v)
        self._offset_v += share * (departure_v - self._offset_v)

    def misread(self, departure_v: float, cell_departure_v: float) -> bool:
        """Did the pack voltage stay while the sum moved by ``cell_departure_v``? False when it cannot tell."""
        # an offset that was never learned is NaN, and NaN is below nothing
        moved_v = departure_v - self._offset_v
        clear = abs(cell_departure_v) >= SUM_NOISE_FACTOR * self._noise_v
        return clear and abs(moved_v - cell_departure_v) < abs(moved_v)


class Plausibility:
    """One pack's filters. ``clean`` each snapshot once."""

    def __init__(self, cells: int, probes: int) -> None:
        self._cells, self._probes = cells, probes
        self._voltage = SpikeFilter(cells + BROADCASTS, SPIKE_V, SPIKE_V_PER_S)
        self._temperature = SpikeFilter(probes + BROADCASTS, SPIKE_K, SPIKE_K_PER_S)
        self._median_v = np.nan
        self._sum = SumWitness()

    def clean(self, snapshot: Snapshot) -> Clean:
        extremes = snapshot.extremes
        raw_v, voltage_ns = _with_broadcasts(
            snapshot.time_ns, snapshot.cell_voltage_v, snapshot.cell_age_s, extremes.voltage_min_v, extremes.voltage_max_v
        )
        raw_c, sample_ns = _with_broadcasts(
            snapshot.time_ns, snapshot.temperature_c, snapshot.temperature_age_s, extremes.temperature_min_c, extremes.temperature_max_c
        )
        voltage_fresh = self._voltage.fresh(raw_v, voltage_ns)
        raw_median_v = median(raw_v[: self._cells])
        common_v = raw_median_v - self._median_v
        voltage_v = self._voltage.step(raw_v, voltage_ns, voltage_fresh, common_v if np.isfinite(common_v) else 0.0)
        if np.isfinite(raw_median_v):
            self._median_v = raw_median_v
        temperature_fresh = self._temperature.fresh(raw_c, sample_ns)
        temperature_c = self._temperature.step(raw_c, sample_ns, temperature_fresh, 0.0)
        sense_fault_v = self._sense_faults(voltage_v, raw_median_v, snapshot.voltage_v, snapshot.time_ns)
        return Clean(
            voltage_v=np.where(sense_fault_v > 0, np.nan, voltage_v),
            voltage_fresh=voltage_fresh,
            voltage_median_v=raw_median_v,
            sense_fault_v=sense_fault_v,
            temperature_c=temperature_c,
            temperature_fresh=temperature_fresh,
            temperature_sample_ns=sample_ns,
            temperature_median_c=median(temperature_c[: self._probes]),
        )

    def _sense_faults(self, voltage_v: Floats, median_v: float, pack: Reading, now_ns: int) -> Floats:
        """|departure from the median| of cells whose reading is not believed, 0 where it is, NaN where there is none."""
        fault_v = np.where(np.isnan(voltage_v), np.nan, 0.0)
        off = voltage_v[: self._cells] - median_v
        size = np.abs(off)
        departure_v = float(voltage_v[: self._cells].sum()) - pack.value
        if not np.fmax.reduce(size) > WIRE_V:
            if np.isfinite(departure_v):
                self._sum.learn(departure_v, now_ns)
            return fault_v
        lower, upper = size[:-1], size[1:]
        larger = np.maximum(lower, upper)
        least_v = max(WIRE_V, WIRE_OF_SPREAD * median(size))
        pair = (np.minimum(lower, upper) > least_v) & (np.abs(off[:-1] + off[1:]) <= WIRE_BALANCE * larger)
        wire = np.zeros(self._cells, dtype=bool)
        wire[:-1] |= pair
        wire[1:] |= pair
        fault_v[: self._cells][wire] = size[wire]
        lone = np.flatnonzero((size > MISREAD_V) & ~wire)
        if len(lone) == 1 and np.isfinite(departure_v) and self._sum.misread(departure_v, float(off[lone[0]])):
            fault_v[lone[0]] = size[lone[0]]
        return fault_v


def _with_broadcasts(time_ns: int, values: Floats, ages_s: Floats, low: Extreme | None, high: Extreme | None) -> tuple[Floats, Times]:
    """Values and sample times with two places appended; a broadcast that says where and is newer than
    the place's own sample stands there, one that does not say where stands in an appended place."""
    count = len(values)
    out = np.full(count + BROADCASTS, np.nan)
    out[:count] = values
    sample_ns = np.full(count + BROADCASTS, time_ns, dtype=np.int64)
    # an age that is infinite (never received) goes with a NaN value
    sample_ns[:count] -= (np.where(np.isfinite(ages_s), ages_s, 0.0) * 1e9).astype(np.int64)
    for behind, extreme in enumerate((low, high)):
        if extreme is None or extreme.reason is not Reason.VALID:
            continue
        at = extreme.index if 0 <= extreme.index < count else count + behind
        extreme_ns = time_ns - round(extreme.age_s * 1e9)
        if np.isnan(out[at]) or extreme_ns > sample_ns[at]:
            out[at] = extreme.value
            sample_ns[at] = extreme_ns
    return out, sample_ns
