"""What an evaluation can judge, by name. Each takes the runs of one log and gives SOC and its sigma.

A new estimator is one entry in ESTIMATORS: name -> factory(card), which may raise NotInstalled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.estimator.kalman import Kalman
from export.state_logs import Run, StateLog
from export.student_estimators import PlainGru, Student

Floats = NDArray[np.float64]
Answer = tuple[Floats, Floats]
"""SOC and its standard deviation, (rows,) each, NaN before the run's first row."""


class NotInstalled(Exception):
    """The estimator cannot run here; the message says why."""


class StateEstimator(Protocol):
    def run(self, log: StateLog, runs: list[Run]) -> list[Answer]: ...


class CoulombCounter:
    """The baseline: SOC from the first voltage, the card's ohmic drop taken off, then nothing but counting."""

    def __init__(self, card: CellCard) -> None:
        self._card = card

    def run(self, log: StateLog, runs: list[Run]) -> list[Answer]:
        return [self._one(log, run) for run in runs]

    def _one(self, log: StateLog, run: Run) -> Answer:
        dt_s = np.diff(log.time_s, prepend=log.time_s[0])
        dt_s[: run.first + 1] = 0.0
        current = log.current_a + run.offset_a
        ah = np.cumsum(np.nan_to_num(current) * dt_s) / 3600.0
        start = run.first + int(np.argmax(np.isfinite(log.voltage_v[run.first :])))
        first = Kalman(self._card, 1)
        first.step(0.0, float(current[start]), log.voltage_v[start : start + 1], log.temperature_c[start : start + 1])
        out = first.soc[0] + (ah - ah[start]) / self._card.capacity_ah
        out[:start] = np.nan
        return out, np.full(out.shape, np.nan)


class Filter:
    """The runtime's filter. Runs that see the same current are cells of one pack: a cell wakes at its run's
    first row, and cells are independent, so each run is exactly what it would be alone (tested)."""

    def __init__(self, card: CellCard) -> None:
        self._card = card

    def run(self, log: StateLog, runs: list[Run]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for offset_a in dict.fromkeys(run.offset_a for run in runs):
            mine = [i for i, run in enumerate(runs) if run.offset_a == offset_a]
            first = np.array([runs[i].first for i in mine])
            kalman = Kalman(self._card, len(mine))
            rows = log.time_s.size
            soc, sigma = np.full((rows, len(mine)), np.nan), np.full((rows, len(mine)), np.nan)
            start = int(first.min())
            current = log.current_a + offset_a
            for row in range(start, rows):
                awake = first <= row
                kalman.step(
                    float(log.time_s[row]),
                    float(current[row]),
                    np.where(awake, log.voltage_v[row], np.nan),
                    np.where(awake, log.temperature_c[row], np.nan),
                )
                soc[row], sigma[row] = kalman.soc, kalman.soc_sigma
            answers |= {i: (soc[:, j], sigma[:, j]) for j, i in enumerate(mine)}
        return [answers[i] for i in range(len(runs))]


ESTIMATORS: dict[str, Callable[[CellCard], StateEstimator]] = {
    "coulomb": CoulombCounter,
    "kalman": Filter,
    "gru": PlainGru,
    "student_float": partial(Student, model="state_float"),
    "student_int8": partial(Student, model="state"),
}
"""The teacher of DESIGN section 5 is entered here by who makes it."""

KNOWN = ("coulomb", "kalman", "gru", "teacher", "student_float", "student_int8")
