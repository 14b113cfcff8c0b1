"""What an evaluation can judge, by name. Each takes runs of logs of one card and gives SOC and its sigma for each.

A new estimator is one entry in ESTIMATORS: name -> factory(card), which may raise NotInstalled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from edgebms.cellcard import CellCard
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.tuning import TUNED, Tuning
from export.state_batch import Answer, Pair, batches
from export.state_logs import Run, StateLog
from export.student_estimators import PlainGru, Student


class NotInstalled(Exception):
    """The estimator cannot run here; the message says why."""


class StateEstimator(Protocol):
    def run(self, pairs: list[Pair]) -> list[Answer]: ...


class CoulombCounter:
    """The baseline: SOC from the first voltage, the card's ohmic drop taken off, then nothing but counting."""

    def __init__(self, card: CellCard) -> None:
        self._card = card

    def run(self, pairs: list[Pair]) -> list[Answer]:
        return [self._one(log, run) for log, run in pairs]

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
    """The runtime's filter, many runs beside each other.

    ends: after ``run``, what it believes of the current sensor at the end of each: (offset, sigma), A, one a run.
    """

    def __init__(self, card: CellCard, tuning: Tuning = TUNED) -> None:
        self._card, self._tuning = card, tuning
        self.ends: list[tuple[float, float]] = []

    def run(self, pairs: list[Pair]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        self.ends = [(float("nan"), float("nan"))] * len(pairs)
        for batch in batches(pairs):
            kalman = Kalman(self._card, len(batch.pairs), self._tuning)
            soc, sigma = np.empty(batch.dt_s.shape), np.empty(batch.dt_s.shape)
            for row in range(len(soc)):
                kalman.step_many(batch.dt_s[row], batch.current_a[row], batch.voltage_v[row], batch.temperature_c[row])
                soc[row], sigma[row] = kalman.soc, kalman.soc_sigma
            answers |= dict(batch.answers(soc, sigma))
            for where, offset_a, sigma_a in zip(batch.where, kalman.offset_a.tolist(), kalman.offset_sigma_a.tolist(), strict=True):
                self.ends[where] = (offset_a, sigma_a)
        return [answers[i] for i in range(len(pairs))]


ESTIMATORS: dict[str, Callable[[CellCard], StateEstimator]] = {
    "coulomb": CoulombCounter,
    "kalman": Filter,
    "gru": PlainGru,
    "student_float": partial(Student, model="state_float"),
    "student_int8": partial(Student, model="state"),
}
"""The teacher of DESIGN section 5 is entered here by who makes it."""

KNOWN = ("coulomb", "kalman", "gru", "teacher", "student_float", "student_int8")
