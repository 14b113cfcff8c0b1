"""How long a verdict has stood. A fault that is there is said again and again; what one noisy minute makes a student say comes and goes."""

from __future__ import annotations

from edgebms.vocabulary import Cause

LONGEST_STEP_S = 15.0
"""What a pack that was silent for longer would have said is not known."""
MOST_S = 1800.0
"""What stood for hours must not take as long to fade."""


class Standing:
    """Of each (cause, cell) seconds in which it was said, less those in which something else was; nothing below nothing."""

    def __init__(self) -> None:
        self._stood_s: dict[tuple[Cause, int], float] = {}
        self._last_s: float | None = None

    def step(self, cause: Cause, cell: int, sure: bool, time_s: float) -> float:
        """A verdict at ``time_s``; returns how long it has stood, s. sure: whether it counts; if not, it speaks against all that stands."""
        passed_s = 0.0 if self._last_s is None else min(max(time_s - self._last_s, 0.0), LONGEST_STEP_S)
        self._last_s = time_s
        said = (cause, cell)
        for other in list(self._stood_s):
            if other == said and sure:
                continue
            self._stood_s[other] -= passed_s
            if self._stood_s[other] <= 0.0:
                del self._stood_s[other]
        if not sure:
            return 0.0
        self._stood_s[said] = min(self._stood_s.get(said, 0.0) + passed_s, MOST_S)
        return self._stood_s[said]
