"""What is usual, of a row of numbers: running mean and variance over what was taken in once an hour."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.robust import median

Floats = NDArray[np.float64]

LEAST_HOURS = 3.0
"""With fewer nothing is usual yet."""
MEMORY_HOURS = 336.0
"""Two weeks: what is older fades."""
PRIOR_HOURS = 8.0
"""A place's own scatter counts against that of the others as its hours against this."""
CLIP_SIGMAS = 3.0
"""An hour that departs further is learned from as if it departed by this: a fault does not become usual within days."""


class Memory:
    """Of ``places`` (any shape): hours taken in, mean, variance. NaN = not known that hour, and not taken in."""

    def __init__(self, places: int | tuple[int, ...]) -> None:
        self.hours: Floats = np.zeros(places)
        self.mean: Floats = np.zeros(places)
        self.square: Floats = np.zeros(places)

    def take(self, values: Floats, floors: Floats) -> None:
        """One hour more. floors: sigma of each value that the sensors alone make; broadcast to the places."""
        known = np.isfinite(values)
        hours = self.hours + known
        rate = known / np.minimum(np.maximum(hours, 1.0), MEMORY_HOURS)
        apart = np.where(known, values - self.mean, 0.0)
        most = np.where(self.hours >= LEAST_HOURS, CLIP_SIGMAS * self.sigma(floors), np.inf)
        apart = np.minimum(np.maximum(apart, -most), most)
        self.mean = self.mean + rate * apart
        self.square = self.square + rate * (apart * apart * (1.0 - rate) - self.square)
        self.hours = hours

    def sigma(self, floors: Floats) -> Floats:
        """Of the next hour about the mean. Of few hours the scatter is that of the others (the last axis), and later the place's own."""
        hours = np.maximum(self.hours, 1.0)
        own = self.square * hours / np.maximum(hours - 1.0, 1.0)
        usual = floors * floors + (median(own) if own.ndim > 1 else 0.0)
        shrunk = (hours * own + PRIOR_HOURS * usual) / (hours + PRIOR_HOURS)
        found: Floats = np.sqrt(shrunk * (1.0 + 1.0 / hours) + floors * floors)
        return found

    def apart(self, values: Floats, least_hours: float = LEAST_HOURS) -> Floats:
        """Departure from what is usual; NaN where nothing is known, now or of before."""
        return np.where(self.hours >= least_hours, values - self.mean, np.nan)

    def state(self) -> dict[str, Any]:
        """What must survive a restart, as plain numbers."""
        return {"hours": self.hours.tolist(), "mean": self.mean.tolist(), "square": self.square.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put ``state()`` back. Raises ValueError, KeyError where it is another version's or pack's."""
        rows = [np.array(state[name], dtype=float) for name in ("hours", "mean", "square")]
        if any(row.shape != self.hours.shape or not np.isfinite(row).all() for row in rows):
            raise ValueError("a memory of other numbers")
        self.hours, self.mean, self.square = rows


class Weeks(NamedTuple):
    """What is usual of a pack: ``marks`` of its cells (3, cells), probes (3, probes), and itself (6,)."""

    cells: Memory
    probes: Memory
    pack: Memory
