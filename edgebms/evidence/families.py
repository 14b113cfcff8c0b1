"""Which function measures each family: of every cell or probe, or of the pack as a whole."""

from __future__ import annotations

from collections.abc import Callable

from edgebms.evidence import cells, halves, own, packs, probes, sense, weeks
from edgebms.evidence.past import Past
from edgebms.evidence.profile import Profile
from edgebms.vocabulary import Family

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
    Family.SENSE_OFFSET: sense.sense_offset,
    Family.CELL_WEEKS: weeks.cell_weeks,
    Family.PROBE_WEEKS: weeks.probe_weeks,
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
    Family.PACK_WEEKS: weeks.pack_weeks,
}


def measured_profile(past: Past, family: Family, window_s: float) -> Profile | None:
    """The measure of every cell or probe; worked out once an instant."""
    key = (family, window_s)
    if key not in past.worked:
        past.worked[key] = PROFILES[family](past, window_s)
    found: Profile | None = past.worked[key]
    return found


def measured_pack(past: Past, family: Family, window_s: float) -> packs.Numbers | None:
    """The measure of the pack as a whole; worked out once an instant."""
    key = (family, window_s)
    if key not in past.worked:
        past.worked[key] = PACK[family](past, window_s)
    found: packs.Numbers | None = past.worked[key]
    return found
