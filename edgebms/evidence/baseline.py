"""This pack's own slow history: once an hour, over weeks, kept in the checkpoint. It is what ``weeks`` holds a pack against, and it bears out, or not,
the causes that have no peer in the pack."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgebms.evidence.marks import MARKS, OF_PACK_COUNT, cell_marks, pack_marks, probe_marks
from edgebms.evidence.memory import Memory, Weeks
from edgebms.evidence.past import Past
from edgebms.evidence.queries import HOUR_S
from edgebms.vocabulary import Cause

STANDS_HOURS = 168.0
"""A week of hours in which something was known."""
DEPARTS = 4.0

WATCHED: dict[Cause, tuple[int, ...]] = {
    Cause.CURRENT_OFFSET: (0, 1, 2),
    Cause.COOLING_FAILURE: (3, 4, 5),
}
"""Which of ``marks.pack_marks`` speak for or against each cause of a whole pack."""


class Baseline:
    """Learns from every hour, whatever a student says of it: what departs is learned slowly (``memory.CLIP_SIGMAS``)."""

    def __init__(self, cells: int, probes: int) -> None:
        self.weeks = Weeks(Memory((MARKS, cells)), Memory((MARKS, probes)), Memory(OF_PACK_COUNT))
        self._last_s = math.nan

    def learn(self, past: Past, time_s: float) -> None:
        """Take this hour in, where one has passed since the last."""
        if time_s - self._last_s < HOUR_S:  # NaN is not
            return
        self._last_s = time_s
        for memory, marks in (
            (self.weeks.cells, cell_marks(past)),
            (self.weeks.probes, probe_marks(past)),
            (self.weeks.pack, pack_marks(past)),
        ):
            if marks is not None:
                memory.take(marks.values, marks.floors)

    def pause(self) -> None:
        """The next hour is one of another time: it is taken in whenever it comes."""
        self._last_s = math.nan

    def bears_out(self, cause: Cause, past: Past) -> bool:
        """Whether this pack departs from its own past in what ``cause`` shows; never before a week stands."""
        seen = pack_marks(past)
        z = self.weeks.pack.apart(seen.values, STANDS_HOURS) / self.weeks.pack.sigma(seen.floors)
        return bool((np.abs(z[list(WATCHED[cause])]) >= DEPARTS).any())  # NaN is not

    def state(self) -> dict[str, Any]:
        """What must survive a restart, as plain numbers."""
        return {name: getattr(self.weeks, name).state() for name in Weeks._fields}

    def restore(self, state: dict[str, Any]) -> None:
        """Put ``state()`` back. Raises ValueError, KeyError where it is another version's or pack's."""
        whole = [Memory(getattr(self.weeks, name).hours.shape) for name in Weeks._fields]
        for name, memory in zip(Weeks._fields, whole, strict=True):
            memory.restore(state[name])
        self.weeks = Weeks(*whole)
