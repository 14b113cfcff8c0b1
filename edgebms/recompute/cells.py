"""Every measure of a pack's cells, by its family: against one another, against their own past, or a wrong reading against a charge."""

from __future__ import annotations

from edgebms.evidence.past import Scale
from edgebms.recompute.own import against_itself
from edgebms.recompute.peers import Table, against_others, read_cells
from edgebms.recompute.rows import Row
from edgebms.recompute.sense import sense_offset


def of_cells(family: str, rows: list[Row], scale: Scale, window_s: float) -> Table | None:
    """None = too little is known."""
    seen = read_cells(rows, scale, window_s)
    if seen is None:
        return None
    if family in ("own_change", "voltage_dips"):
        return against_itself(family, seen, scale, window_s)
    return sense_offset(seen, scale) if family == "sense_offset" else against_others(family, seen, scale)
