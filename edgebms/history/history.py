"""What the pack was like: rings at four rates over its snapshots.

Every snapshot for about ten minutes, 1 s means for six minutes (whatever the snapshots' rate), 10 s means for four hours,
5 min means for a day and more.
Memory is bounded and taken once; NaN stays NaN (a mean over no valid value is NaN, never an
invented one).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.history.ring import Ring
from edgebms.telemetry.snapshot import Snapshot

Singles = NDArray[np.float32]

FINE_S = 600.0
FINE_ROWS = 6000
FINE_BYTES = 4 << 20
"""The fine ring holds FINE_S at 10 snapshots a second, fewer seconds where that would be over FINE_BYTES."""

MEANS = ((10.0, 1440), (300.0, 312))
"""(seconds a mean covers, rows): four hours, twenty-six hours. What ``window`` falls back on."""
SHORT_MEANS = (1.0, 360)
"""For questions over minutes that must cost the same at ten snapshots a second as at one."""

CURRENT, VOLTAGE, INSULATION, GAS, PRESSURE, COOLANT, CELLS = range(7)
"""Columns of a row: pack current, pack voltage, what else is read once a pack, then cells, then probes."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of history, oldest first; arrays are views that the next pushes may overwrite.

    time_s: (n,) on the loop's clock. cell_voltage_v: (n, cells), temperature_c: (n, probes),
    current_a, voltage_v, insulation_ohm, gas, pressure_pa, coolant_c: (n,). period_s: seconds that a row is the mean of;
    0 = single snapshots.
    """

    time_s: NDArray[np.float64]
    cell_voltage_v: Singles
    temperature_c: Singles
    current_a: Singles
    voltage_v: Singles
    insulation_ohm: Singles
    gas: Singles
    pressure_pa: Singles
    coolant_c: Singles
    period_s: float

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def span_s(self) -> float:
        return float(self.time_s[-1] - self.time_s[0]) if len(self.time_s) else 0.0


def cut(time_s: NDArray[np.float64], values: Singles, cells: int, period_s: float) -> Window:
    """Rows (n, columns) as a Window of views."""
    return Window(
        time_s=time_s,
        cell_voltage_v=values[:, CELLS : CELLS + cells],
        temperature_c=values[:, CELLS + cells :],
        current_a=values[:, CURRENT],
        voltage_v=values[:, VOLTAGE],
        insulation_ohm=values[:, INSULATION],
        gas=values[:, GAS],
        pressure_pa=values[:, PRESSURE],
        coolant_c=values[:, COOLANT],
        period_s=period_s,
    )


class _Means:
    """Means of ``period_s`` over what is fed in, each pushed into its ring once its time is over."""

    def __init__(self, period_s: float, rows: int, columns: int) -> None:
        self.period_s = period_s
        self.ring = Ring(rows, columns)
        self._sum = np.zeros(columns)
        self._valid = np.zeros(columns)
        self._time_sum = 0.0
        self._count = 0
        self._slot: int | None = None

    def feed(self, time_s: float, row: NDArray[np.float64], finite: NDArray[np.bool_]) -> None:
        slot = int(time_s // self.period_s)
        if slot != self._slot:
            self._close()
            self._slot = slot
        np.add(self._sum, row, out=self._sum, where=finite)
        self._valid += finite
        self._time_sum += time_s
        self._count += 1

    def _close(self) -> None:
        if not self._count:
            return
        mean = np.full(self._sum.shape, np.nan)
        np.divide(self._sum, self._valid, out=mean, where=self._valid > 0)
        self.ring.push(self._time_sum / self._count, mean)
        self._sum[:] = 0.0
        self._valid[:] = 0.0
        self._time_sum, self._count = 0.0, 0


class History:
    """One pack's past. ``push`` each snapshot once, then ask for a ``window``."""

    def __init__(self, cells: int, probes: int) -> None:
        self.cells, self.probes = cells, probes
        columns = CELLS + cells + probes
        # two copies of float32 a value (see Ring)
        self._fine = Ring(max(600, min(FINE_ROWS, FINE_BYTES // (8 * columns))), columns)
        self._means = tuple(_Means(period_s, rows, columns) for period_s, rows in MEANS)
        self._short = _Means(*SHORT_MEANS, columns)
        self._row = np.full(columns, np.nan)
        self._finite = np.zeros(columns, dtype=bool)
        self._last_s = -np.inf

    def __len__(self) -> int:
        """Snapshots held one by one."""
        return len(self._fine)

    def push(self, snapshot: Snapshot) -> None:
        """Take one snapshot. A time stamp that goes back counts as the last one seen."""
        row = self._row
        row[CURRENT] = snapshot.current_a.value
        row[VOLTAGE] = snapshot.voltage_v.value
        row[INSULATION] = snapshot.insulation_ohm.value
        row[GAS] = snapshot.gas.value
        row[PRESSURE] = snapshot.pressure_pa.value
        row[COOLANT] = snapshot.coolant_temperature_c.value
        row[CELLS : CELLS + self.cells] = snapshot.cell_voltage_v
        row[CELLS + self.cells :] = snapshot.temperature_c
        time_s = max(snapshot.time_ns * 1e-9, self._last_s)
        self._last_s = time_s
        self._fine.push(time_s, row)
        np.isfinite(row, out=self._finite)
        self._short.feed(time_s, row, self._finite)
        for means in self._means:
            means.feed(time_s, row, self._finite)

    def window(self, seconds: float) -> Window:
        """The last ``seconds``, from the finest ring that reaches back so far (else the longest one).

        Means are there once their time is over: a window over more than the fine ring ends up to
        10 s (300 s) before the newest snapshot.
        """
        start_s = self._last_s - seconds
        ring, period_s = self._fine, 0.0
        for means in self._means:
            # a ring that is not full yet holds everything since the first snapshot
            if not ring.full or ring.time_s[0] <= start_s:
                break
            ring, period_s = means.ring, means.period_s
        return self._cut(ring, start_s, period_s)

    def means(self, seconds: float, period_s: float = 10.0) -> Window:
        """The last ``seconds`` of the means over ``period_s`` (1, 10 or 300), whatever the fine ring holds."""
        means = next(means for means in (self._short, *self._means) if means.period_s == period_s)
        return self._cut(means.ring, self._last_s - seconds, period_s)

    def _cut(self, ring: Ring, start_s: float, period_s: float) -> Window:
        first = ring.since(start_s)
        values = ring.values[first:]
        return cut(ring.time_s[first:], values, self.cells, period_s)

    @property
    def nbytes(self) -> int:
        """Bytes reserved by the rings."""
        return sum(ring.nbytes for ring in (self._fine, self._short.ring, *(means.ring for means in self._means)))
