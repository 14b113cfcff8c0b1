"""``measure(query, past, suspect)``: one question put to the pack, answered with a bundle of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence import cells, halves, own, packs, probes
from edgebms.evidence.past import Past
from edgebms.evidence.profile import Profile
from edgebms.evidence.queries import NUMBERS, Query
from edgebms.vocabulary import Family, Whom

Floats = NDArray[np.float64]


class Bundle(NamedTuple):
    """The answer. values, relatives (4,): physical and relative to this pack, NaN = unknown, in the order of ``queries.ANSWERS``.
    cell: 0-based cell that it is about (for neighbours: theirs), -1 = the pack, or nobody is known to stand out."""

    query: Query
    cell: int
    values: Floats
    relatives: Floats


PROFILES: dict[Family, Callable[[Past, float], Profile | None]] = {
    Family.VOLTAGE_DEVIATION: cells.voltage_deviation,
    Family.RESISTANCE_DEVIATION: cells.resistance_deviation,
    Family.VOLTAGE_STEPS: cells.voltage_steps,
    Family.CELL_SENSOR: cells.cell_sensor,
    Family.CHARGE_DIVERGENCE: cells.charge_divergence,
    Family.VOLTAGE_LIMITS: cells.voltage_limits,
    Family.TEMPERATURE_DEVIATION: probes.temperature_deviation,
    Family.THERMAL_RATE: probes.thermal_rate,
    Family.PROBE_SENSOR: probes.probe_sensor,
    Family.OWN_CHANGE: own.own_change,
    Family.VOLTAGE_DIPS: own.voltage_dips,
    Family.THERMAL_PEAK: probes.thermal_peak,
}
PACK: dict[Family, Callable[[Past, float], packs.Numbers | None]] = {
    Family.SUM_MISMATCH: packs.sum_mismatch,
    Family.CURRENT: packs.current,
    Family.PACK_VOLTAGE: packs.pack_voltage,
    Family.CHARGE_AGAINST_VOLTAGE: packs.charge_against_voltage,
    Family.PACK_WARMING: packs.pack_warming,
    Family.INSULATION: packs.insulation,
    Family.GAS: packs.gas,
    Family.COOLANT: packs.coolant,
    Family.COVERAGE: packs.coverage,
    Family.HEAT_BALANCE: halves.heat_balance,
    Family.CURRENT_AT_REST: halves.current_at_rest,
}


def measure(query: Query, past: Past, suspect: int = -1) -> Bundle:
    """Answer ``query``. suspect: 0-based cell that the trace's latest outlier named, -1 = none yet: then what needs one is unknown."""
    if query.whom is Whom.PACK:
        answer = PACK[query.family](past, query.window_s)
        return unknown(query) if answer is None else Bundle(query, -1, *answer)
    found = measured_profile(past, query.family, query.window_s)
    if found is None:
        return unknown(query, -1 if query.whom is Whom.OUTLIER else suspect)
    if query.whom is Whom.OUTLIER:
        place = found.outlier()
        if place < 0:
            return unknown(query)
        cell = place if found.cells else int(past.scale.cell_of_probe[place])
        return Bundle(query, cell, found.values[:, place], found.relatives[:, place])
    place = suspect if found.cells or suspect < 0 else int(past.scale.probe_of_cell[suspect])
    if place < 0:
        return unknown(query, suspect)
    if query.whom is Whom.SUSPECT:
        return Bundle(query, suspect, found.values[:, place], found.relatives[:, place])
    beside = [at for at in (place - 1, place + 1) if 0 <= at < len(found.score)]
    if not beside:
        return unknown(query, suspect)
    return Bundle(query, suspect, found.values[:, beside].mean(axis=1), found.relatives[:, beside].mean(axis=1))


def measured_profile(past: Past, family: Family, window_s: float) -> Profile | None:
    """The measure of every cell or probe; worked out once an instant."""
    key = (family, window_s)
    if key not in past.worked:
        past.worked[key] = PROFILES[family](past, window_s)
    found: Profile | None = past.worked[key]
    return found


def unknown(query: Query, cell: int = -1) -> Bundle:
    """The answer that is none."""
    return Bundle(query, cell, np.full(NUMBERS, np.nan), np.full(NUMBERS, np.nan))
