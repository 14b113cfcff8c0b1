"""How far back a pack is known: which questions can be answered at all. A student is told before it asks the first."""

from __future__ import annotations

from typing import NamedTuple

from edgebms.evidence.memory import LEAST_HOURS
from edgebms.evidence.past import Past
from edgebms.evidence.queries import DAY_S, HOUR_S

LONGEST_S = (0.0, HOUR_S, DAY_S)


class Reach(NamedTuple):
    """longest: place in LONGEST_S of the longest window that can be asked about. weeks: what is usual of the pack is known."""

    longest: int
    weeks: bool


def reach_of(past: Past) -> Reach:
    stands = [past.window(seconds) is not None for seconds in LONGEST_S[1:]]
    longest = 2 if stands[1] else int(stands[0])
    return Reach(longest, past.weeks is not None and bool((past.weeks.cells.hours >= LEAST_HOURS).any()))
