"""How far back a pack is known: which questions can be answered at all. A student is told before it asks the first."""

from __future__ import annotations

from typing import NamedTuple

from edgebms.evidence.queries import DAY_S, HOUR_S

LONGEST_S = (0.0, HOUR_S, DAY_S)


class Reach(NamedTuple):
    """longest: place in LONGEST_S of the longest window that can be asked about. weeks: what is usual of the pack is known."""

    longest: int
    weeks: bool
