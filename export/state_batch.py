"""Runs of many logs beside each other: one column a run, padded to the longest. Cells of a filter are independent, so
each run is what it would be alone (tested), and an evaluation takes minutes instead of an hour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.state_logs import Run, StateLog

Floats = NDArray[np.float64]
Answer = tuple[Floats, Floats]
"""SOC and its standard deviation, (rows of the log,) each, NaN before the run's first row."""
Pair = tuple[StateLog, Run]

MOST_COLUMNS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Arrays (steps, columns) from each run's first row on; past a run's end nothing is measured and no time passes."""

    pairs: list[Pair]
    where: list[int]
    rows: NDArray[np.intp]
    dt_s: Floats
    current_a: Floats
    voltage_v: Floats
    temperature_c: Floats

    def answers(self, soc: Floats, sigma: Floats) -> Iterator[tuple[int, Answer]]:
        """(place in the list that ``batches`` was given, answer) of each column of soc, sigma (steps, columns)."""
        for j, (log, run) in enumerate(self.pairs):
            whole = (np.full(log.time_s.size, np.nan), np.full(log.time_s.size, np.nan))
            for column, values in zip(whole, (soc, sigma), strict=True):
                column[run.first :] = values[: self.rows[j], j]
            yield self.where[j], whole


def batches(pairs: list[Pair], most: int = MOST_COLUMNS) -> Iterator[Batch]:
    """``pairs`` by length, at most ``most`` columns beside each other, none padded to more than twice its length."""
    order = sorted(range(len(pairs)), key=lambda i: -rows_of(pairs[i]))
    while order:
        longest = rows_of(pairs[order[0]])
        mine = [i for i in order[:most] if 2 * rows_of(pairs[i]) >= longest]
        order = order[len(mine) :]
        yield stack([pairs[i] for i in mine], mine, longest)


def rows_of(pair: Pair) -> int:
    return int(pair[0].time_s.size - pair[1].first)


def stack(pairs: list[Pair], where: list[int], steps: int) -> Batch:
    shape = (steps, len(pairs))
    dt_s, current = np.zeros(shape), np.zeros(shape)
    voltage, temperature = np.full(shape, np.nan), np.full(shape, np.nan)
    rows = np.array([rows_of(pair) for pair in pairs], dtype=np.intp)
    for j, (log, run) in enumerate(pairs):
        part = slice(run.first, None)
        dt_s[1 : rows[j], j] = np.diff(log.time_s[part])
        current[: rows[j], j] = log.current_a[part] + run.offset_a
        voltage[: rows[j], j] = log.voltage_v[part]
        temperature[: rows[j], j] = log.temperature_c[part]
    return Batch(pairs, where, rows, dt_s, current, voltage, temperature)
