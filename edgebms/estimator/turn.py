"""Work that is due once in a period takes turns, so that it does not all fall into one snapshot."""

from __future__ import annotations

import math


class Turn:
    """Due once in ``period_s``. phase: which part of the first period passes before the first turn;
    where snapshots are slower than the period, every snapshot is a turn and the phases fall together.

    >>> turn = Turn(1.0, 0.5)
    >>> [turn.due(at / 10) for at in range(16)].index(True)
    5
    """

    def __init__(self, period_s: float, phase: float) -> None:
        self._period_s, self._phase = period_s, phase
        self._last_s = math.nan
        self.elapsed_s = 0.0
        """Time since the turn before, at a turn."""

    def due(self, time_s: float) -> bool:
        if math.isnan(self._last_s):
            self._last_s = time_s - (1.0 - self._phase) * self._period_s
        if time_s - self._last_s < 0.999 * self._period_s:
            return False
        self.elapsed_s, self._last_s = time_s - self._last_s, time_s
        return True
