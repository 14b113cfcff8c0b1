"""What can be asked of a pack against its own weeks (see ``marks`` for what is remembered, ``baseline`` for when).

Unknown until three hours were remembered. A peer tells how a cell differs; its own past tells since when.
"""

from __future__ import annotations

import numpy as np

from edgebms.evidence.marks import Marks, cell_marks, pack_marks, probe_marks
from edgebms.evidence.memory import Memory
from edgebms.evidence.packs import Numbers, numbers
from edgebms.evidence.past import Past
from edgebms.evidence.profile import Profile, profile
from edgebms.evidence.robust import Floats, standing

TOLD_OF_PACK = (0, 2, 4, 5)
"""Of ``marks.pack_marks``: drift of charge against voltage, current at rest, warming for its heat, spread of the probes."""


def cell_weeks(past: Past, window_s: float) -> Profile | None:
    """By how much this hour's resistance, distance at no current and charge depart from what is usual of that cell: 1, V, 1. Relative: z."""
    del window_s  # marks are of an hour
    seen = cell_marks(past) if past.weeks is not None else None
    if past.weeks is None or seen is None:
        return None
    z, apart = departed(past.weeks.cells, seen)
    return profile(list(apart), z, True) if np.isfinite(z).any() else None


def probe_weeks(past: Past, window_s: float) -> Profile | None:
    """As ``cell_weeks``, of a probe: level against the median probe, K, against its neighbours, K, how much it moves, decades."""
    del window_s
    seen = probe_marks(past) if past.weeks is not None else None
    if past.weeks is None or seen is None:
        return None
    z, apart = departed(past.weeks.probes, seen)
    return profile(list(apart), z, False) if np.isfinite(z).any() else None


def departed(memory: Memory, seen: Marks) -> tuple[Floats, Floats]:
    """(z, departure beyond the median one's), each (MARKS, n): from what is usual of each, as the pack's others depart from theirs."""
    return standing(memory.apart(seen.values), memory.sigma(seen.floors))


def pack_weeks(past: Past, window_s: float) -> Numbers | None:
    """By how much the pack's drift of charge against voltage, current at rest, warming for its heat and spread of temperatures depart from what is
    usual of it, in their relative units, 1. Relative: in sigmas of its own hours."""
    del window_s
    if past.weeks is None:
        return None
    seen = pack_marks(past)
    apart = past.weeks.pack.apart(seen.values)
    z = apart / past.weeks.pack.sigma(seen.floors)
    if not np.isfinite(z).any():
        return None
    return numbers(*((float(apart[place]), float(z[place])) for place in TOLD_OF_PACK))
