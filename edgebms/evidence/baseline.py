"""This pack's own slow history, for causes that have no peer in the pack: once an hour, over weeks, kept in the checkpoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.measure import measure
from edgebms.evidence.past import Past
from edgebms.evidence.queries import BY_WORD
from edgebms.vocabulary import Cause

Floats = NDArray[np.float64]

EVERY_S = 3600.0
STANDS_HOURS = 168
"""A week of hours in which something was known."""
MEMORY_HOURS = 336.0
DEPARTS = 4.0
LEAST_SIGMA = 0.25
"""Of a relative number: less than this is within the floor by which the numbers are scaled."""

WATCHED: dict[Cause, tuple[tuple[str, tuple[int, ...]], ...]] = {
    Cause.CURRENT_OFFSET: (("charge_against_voltage.pack.3600s", (0, 1)), ("current.pack.3600s", (3,))),
    Cause.COOLING_FAILURE: (("pack_warming.pack.3600s", (0, 1, 2)),),
}
"""The numbers whose past speaks for or against each cause of a whole pack."""


class Baseline:
    """Running mean and variance of each watched number, forgetting over two weeks."""

    def __init__(self) -> None:
        count = sum(len(numbers) for rows in WATCHED.values() for _, numbers in rows)
        self._hours = np.zeros(count)
        self._mean = np.zeros(count)
        self._square = np.zeros(count)
        self._last_s = math.nan

    def learn(self, past: Past, time_s: float) -> None:
        """Take this hour in, where one has passed since the last."""
        if time_s - self._last_s < EVERY_S:  # NaN is not
            return
        self._last_s = time_s
        values = np.array([value for cause in WATCHED for value in now(past, cause)])
        known = np.isfinite(values)
        self._hours[known] += 1.0
        rate = 1.0 / np.minimum(self._hours[known], MEMORY_HOURS)
        apart = values[known] - self._mean[known]
        self._mean[known] += rate * apart
        self._square[known] += rate * (apart * apart * (1.0 - rate) - self._square[known])

    def bears_out(self, cause: Cause, past: Past) -> bool:
        """Whether this pack departs from its own past in what ``cause`` shows; never before a week stands."""
        places = self._places(cause)
        values = np.array(now(past, cause))
        stands = (self._hours[places] >= STANDS_HOURS) & np.isfinite(values)
        sigma = np.sqrt(self._square[places] + LEAST_SIGMA * LEAST_SIGMA)
        return bool((np.abs(values - self._mean[places])[stands] >= DEPARTS * sigma[stands]).any())

    @staticmethod
    def _places(cause: Cause) -> slice:
        first = 0
        for other, rows in WATCHED.items():
            count = sum(len(numbers) for _, numbers in rows)
            if other is cause:
                return slice(first, first + count)
            first += count
        raise KeyError(cause)

    def state(self) -> dict[str, Any]:
        """What must survive a restart, as plain numbers."""
        return {"hours": self._hours.tolist(), "mean": self._mean.tolist(), "square": self._square.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put ``state()`` back. Raises ValueError where it is another version's."""
        rows = [np.array(state[name], dtype=float) for name in ("hours", "mean", "square")]
        if any(row.shape != self._hours.shape or not np.isfinite(row).all() for row in rows):
            raise ValueError("a baseline of other numbers")
        self._hours, self._mean, self._square = rows


def now(past: Past, cause: Cause) -> list[float]:
    """The relative numbers that ``cause`` shows in, as they are."""
    out: list[float] = []
    for word, numbers in WATCHED[cause]:
        relatives = measure(BY_WORD[word], past).relatives
        out += [float(relatives[number]) for number in numbers]
    return out
