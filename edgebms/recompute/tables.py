"""Every measure of a pack's cells or probes, and of the pack itself, by its family's word."""

from __future__ import annotations

import math

from edgebms.evidence.past import Scale
from edgebms.evidence.views import VIEW
from edgebms.recompute.cells import of_cells
from edgebms.recompute.pack import of_pack
from edgebms.recompute.peers import Pair, Table, of_probes
from edgebms.recompute.rows import Row
from edgebms.recompute.weeks import Remembered, departures, of_pack_weeks
from edgebms.vocabulary import Family

PROBE_FAMILIES = (Family.TEMPERATURE_DEVIATION, Family.THERMAL_RATE, Family.PROBE_SENSOR, Family.THERMAL_PEAK, Family.PROBE_WEEKS)
CELL_FAMILIES = (
    Family.VOLTAGE_DEVIATION, Family.RESISTANCE_DEVIATION, Family.VOLTAGE_STEPS, Family.CELL_SENSOR, Family.CHARGE_DIVERGENCE,
    Family.VOLTAGE_LIMITS, Family.OWN_CHANGE, Family.VOLTAGE_DIPS, Family.SENSE_OFFSET, Family.CELL_WEEKS,
)  # fmt: skip


def table_of(family: Family, rows: list[Row], scale: Scale, window_s: float, weeks: Remembered) -> Table | None:
    """Of cells or probes; None = too little is known."""
    if family in VIEW:
        return view(family, rows, scale, window_s, weeks)
    if family in (Family.CELL_WEEKS, Family.PROBE_WEEKS):
        return departures(family, scale, weeks)
    return (of_probes if family in PROBE_FAMILIES else of_cells)(family, rows, scale, window_s)


def pairs_of(family: Family, rows: list[Row], scale: Scale, window_s: float, weeks: Remembered) -> list[Pair] | None:
    """Of the pack as a whole."""
    return of_pack_weeks(scale, weeks) if family == Family.PACK_WEEKS else of_pack(family, rows, scale, window_s)


def view(family: Family, rows: list[Row], scale: Scale, window_s: float, weeks: Remembered) -> Table | None:
    """Four measures of each cell; of a probe's family that of the probe which watches it."""
    numbers: list[list[Pair]] = [[] for _ in range(scale.cells)]
    for of, number in VIEW[family]:
        found = table_of(of, rows, scale, window_s, weeks)
        for cell, pairs in enumerate(numbers):
            place = cell if found is None or found.of_cells else int(scale.probe_of_cell[cell])
            relative = math.nan if found is None or place < 0 else found.numbers[place][number][1]
            pairs.append((relative, relative))
    score = [max((abs(value) for value, _ in pairs if not math.isnan(value)), default=math.nan) for pairs in numbers]
    return None if all(math.isnan(value) for value in score) else Table(numbers, score, True)
