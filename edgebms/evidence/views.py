"""One look at four measures of the same cell: what ails it. A survey tells that someone stands out, a view by what the suspect does.

Each number is another family's, by its relative; of a probe's family that of the probe which watches the cell.
"""

from __future__ import annotations

import numpy as np

from edgebms.evidence.families import PROFILES, measured_profile
from edgebms.evidence.past import Past
from edgebms.evidence.profile import Profile
from edgebms.vocabulary import Family

VIEW: dict[Family, tuple[tuple[Family, int], ...]] = {
    Family.JOINT_VIEW: (
        (Family.RESISTANCE_DEVIATION, 0), (Family.OWN_CHANGE, 0), (Family.CELL_WEEKS, 0), (Family.TEMPERATURE_DEVIATION, 0),
    ),
    Family.CHARGE_VIEW: (
        (Family.VOLTAGE_DEVIATION, 1), (Family.CHARGE_DIVERGENCE, 1), (Family.SENSE_OFFSET, 2), (Family.CELL_WEEKS, 1),
    ),
    Family.SENSOR_VIEW: (
        (Family.CELL_SENSOR, 0), (Family.CELL_SENSOR, 2), (Family.OWN_CHANGE, 1), (Family.VOLTAGE_STEPS, 2),
    ),
    Family.HEAT_VIEW: (
        (Family.TEMPERATURE_DEVIATION, 0), (Family.TEMPERATURE_DEVIATION, 1), (Family.PROBE_SENSOR, 0), (Family.PROBE_WEEKS, 0),
    ),
}  # fmt: skip
"""(family, which of its numbers): a loose joint; a charge of its own, a leak or a wrong reading; a sensor; a hot cell or a wrong probe."""


def profile_of(past: Past, family: Family, window_s: float) -> Profile | None:
    """The measure of every cell or probe, views too; worked out once an instant."""
    if family in PROFILES:
        return measured_profile(past, family, window_s)
    key = (family, window_s)
    if key not in past.worked:
        past.worked[key] = _view(past, family, window_s)
    found: Profile | None = past.worked[key]
    return found


def _view(past: Past, family: Family, window_s: float) -> Profile | None:
    if past.window(window_s) is None:
        return None
    rows = np.full((len(VIEW[family]), past.scale.cells), np.nan)
    for place, (of, number) in enumerate(VIEW[family]):
        found = measured_profile(past, of, window_s)
        if found is None:
            continue
        if found.cells:
            rows[place] = found.relatives[number]
        else:
            watched = past.scale.probe_of_cell
            rows[place] = np.where(watched >= 0, found.relatives[number][watched], np.nan)
    if not np.isfinite(rows).any():
        return None
    return Profile(rows, rows, np.fmax.reduce(np.abs(rows)), True)
