"""Every question a student can ask, and what each is answered with. Append only: a query's place is its token."""

from __future__ import annotations

from dataclasses import dataclass

from edgebms.vocabulary import Family, Whom

NUMBERS = 4
"""Numbers of a bundle."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question. window_s: how far back it looks."""

    family: Family
    whom: Whom
    window_s: float

    @property
    def word(self) -> str:
        """As in tokens and traces.

        >>> Query(Family.THERMAL_RATE, Whom.OUTLIER, 60.0).word
        'thermal_rate.outlier.60s'
        """
        return f"{self.family}.{self.whom}.{self.window_s:.0f}s"


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a bundle: its name and the unit of its physical value; what it is relative to stands with its family."""

    name: str
    unit: str


def _numbers(*pairs: str) -> tuple[Number, ...]:
    return tuple(Number(*pair.split("/", 1)) for pair in pairs)


ANSWERS: dict[Family, tuple[Number, ...]] = {
    Family.VOLTAGE_DEVIATION: _numbers("level/V", "at_rest/V", "slope/V/h", "ahead_of_next/1"),
    Family.RESISTANCE_DEVIATION: _numbers("resistance/ohm", "of_pack/1", "unexplained/V", "ahead_of_next/1"),
    Family.VOLTAGE_STEPS: _numbers("down/V", "up/V", "latest/V", "ahead_of_next/1"),
    Family.CELL_SENSOR: _numbers("stillness/1", "missing/1", "against_neighbours/1", "ahead_of_next/1"),
    Family.CHARGE_DIVERGENCE: _numbers("soc/1", "self_discharge/1/h", "change/1", "ahead_of_next/1"),
    Family.VOLTAGE_LIMITS: _numbers("above/V", "below/V", "extreme/V", "ahead_of_next/1"),
    Family.TEMPERATURE_DEVIATION: _numbers("level/K", "slope/K/h", "from_neighbours/K", "ahead_of_next/1"),
    Family.THERMAL_RATE: _numbers("rate/K/min", "temperature/degC", "rate_deviation/K/min", "ahead_of_next/1"),
    Family.PROBE_SENSOR: _numbers("stillness/1", "missing/1", "step/K", "ahead_of_next/1"),
    Family.SUM_MISMATCH: _numbers("mean/V", "slope/V/h", "with_current/ohm", "latest/V"),
    Family.CURRENT: _numbers("highest/1/h", "mean/1/h", "swing/1/h", "least/1/h"),
    Family.PACK_VOLTAGE: _numbers("middle/V", "resistance/1", "fall/V", "unexplained/V"),
    Family.CHARGE_AGAINST_VOLTAGE: _numbers("drift/1/h", "apart/1", "moved/1", "resistance/1"),
    Family.PACK_WARMING: _numbers("rate/K/h", "per_heat/K", "spread/K", "temperature/degC"),
    Family.INSULATION: _numbers("level/ohm", "fall/1", "least/ohm", "missing/1"),
    Family.GAS: _numbers("level/1", "rise/1", "pressure/Pa", "pressure_rise/Pa"),
    Family.COOLANT: _numbers("below_pack/K", "slope/K/h", "level/degC", "missing/1"),
    Family.COVERAGE: _numbers("cells_missing/1", "probes_missing/1", "current_missing/1", "worst_cell/1"),
    Family.OWN_CHANGE: _numbers("resistance/ohm", "step/V", "drift/V/h", "ahead_of_next/1"),
    Family.VOLTAGE_DIPS: _numbers("deepest/V", "one_sided/1", "share/1", "ahead_of_next/1"),
    Family.THERMAL_PEAK: _numbers("peak/degC", "peak_deviation/K", "steepest/K/min", "ahead_of_next/1"),
    Family.HEAT_BALANCE: _numbers("early/K/h", "late/K/h", "bend/K", "spread_change/K"),
    Family.CURRENT_AT_REST: _numbers("early/1/h", "late/1/h", "change/1/h", "still/1"),
    Family.CELL_SURVEY: _numbers("voltage_deviation/1", "resistance_deviation/1", "own_change/1", "voltage_dips/1"),
    Family.SENSOR_SURVEY: _numbers("cell_sensor/1", "charge_divergence/1", "voltage_steps/1", "probe_sensor/1"),
    Family.HEAT_SURVEY: _numbers("temperature_deviation/1", "thermal_peak/1", "peak/1", "steepest/1"),
    Family.LIMIT_SURVEY: _numbers("voltage/1", "current/1", "insulation/1", "gas/1"),
    Family.DRIFT_SURVEY: _numbers("charge_against_voltage/1", "current_at_rest/1", "heat_balance/1", "sum_mismatch/1"),
    Family.RECENT_SURVEY: _numbers("voltage_deviation/1", "voltage_steps/1", "cell_sensor/1", "thermal_rate/1"),
    Family.SENSE_OFFSET: _numbers("offset/V", "soc/1", "offset_explains/V", "ahead_of_next/1"),
    Family.CELL_WEEKS: _numbers("resistance/1", "at_rest/V", "soc/1", "ahead_of_next/1"),
    Family.PROBE_WEEKS: _numbers("level/K", "from_neighbours/K", "stillness/1", "ahead_of_next/1"),
    Family.PACK_WEEKS: _numbers("drift/1", "at_rest/1", "per_heat/1", "spread/1"),
    Family.WEEKS_SURVEY: _numbers("cell_weeks/1", "probe_weeks/1", "drift/1", "per_heat/1"),
    Family.JOINT_VIEW: _numbers("resistance_deviation/1", "own_change/1", "cell_weeks/1", "temperature_deviation/1"),
    Family.CHARGE_VIEW: _numbers("at_rest/1", "self_discharge/1", "offset_explains/1", "cell_weeks/1"),
    Family.SENSOR_VIEW: _numbers("stillness/1", "against_neighbours/1", "own_step/1", "latest_step/1"),
    Family.HEAT_VIEW: _numbers("level/1", "slope/1", "stillness/1", "probe_weeks/1"),
}  # fmt: skip
"""What each family answers with, in order."""

CELL_FAMILIES = {
    Family.VOLTAGE_DEVIATION: (60.0, 600.0, 3600.0, 86400.0),
    Family.RESISTANCE_DEVIATION: (300.0, 3600.0),
    Family.VOLTAGE_STEPS: (60.0, 300.0, 3600.0),
    Family.CELL_SENSOR: (60.0, 600.0, 3600.0),
    Family.CHARGE_DIVERGENCE: (3600.0, 86400.0),
    Family.VOLTAGE_LIMITS: (60.0, 3600.0),
    Family.TEMPERATURE_DEVIATION: (60.0, 600.0, 3600.0),
    Family.THERMAL_RATE: (60.0, 300.0),
    Family.PROBE_SENSOR: (300.0, 3600.0),
}
"""Families asked of a cell (those of a probe: of the probe that watches it), with their windows."""

NEIGHBOUR_QUERIES = (
    (Family.VOLTAGE_DEVIATION, 600.0),
    (Family.RESISTANCE_DEVIATION, 3600.0),
    (Family.CELL_SENSOR, 600.0),
    (Family.TEMPERATURE_DEVIATION, 600.0),
    (Family.THERMAL_RATE, 60.0),
)

PACK_FAMILIES = {
    Family.SUM_MISMATCH: (60.0, 3600.0),
    Family.CURRENT: (60.0, 3600.0),
    Family.PACK_VOLTAGE: (60.0, 3600.0),
    Family.CHARGE_AGAINST_VOLTAGE: (3600.0, 86400.0),
    Family.PACK_WARMING: (600.0, 3600.0, 86400.0),
    Family.INSULATION: (60.0, 3600.0),
    Family.GAS: (60.0, 3600.0),
    Family.COOLANT: (600.0,),
    Family.COVERAGE: (60.0, 3600.0),
}

LATER_CELL_FAMILIES = {
    Family.OWN_CHANGE: (3600.0,),
    Family.VOLTAGE_DIPS: (300.0, 3600.0),
    Family.THERMAL_PEAK: (3600.0,),
}
LATER_PACK_FAMILIES = {
    Family.HEAT_BALANCE: (3600.0,),
    Family.CURRENT_AT_REST: (3600.0,),
}
"""As above; they came later, so they stand behind."""

SURVEYS = {
    Family.CELL_SURVEY: (600.0, 3600.0),
    Family.SENSOR_SURVEY: (3600.0,),
    Family.HEAT_SURVEY: (600.0, 3600.0),
    Family.LIMIT_SURVEY: (3600.0,),
    Family.DRIFT_SURVEY: (3600.0,),
    Family.RECENT_SURVEY: (60.0,),
}
"""One look at four measures of the whole pack, to know which is worth a question (see ``survey``)."""

DAY_S = 86400.0
OF_A_DAY = (
    *(
        Query(family, whom, window_s)
        for whom in (Whom.OUTLIER, Whom.SUSPECT)
        for family, window_s in ((Family.SENSE_OFFSET, 3600.0), (Family.SENSE_OFFSET, DAY_S))
    ),
    *(
        Query(family, Whom.OUTLIER, DAY_S)
        for family in (
            Family.VOLTAGE_STEPS, Family.OWN_CHANGE, Family.RESISTANCE_DEVIATION, Family.CELL_SENSOR, Family.PROBE_SENSOR,
            Family.TEMPERATURE_DEVIATION,
        )
    ),
    *(
        Query(family, Whom.PACK, DAY_S)
        for family in (
            Family.HEAT_BALANCE, Family.CURRENT_AT_REST, Family.CELL_SURVEY, Family.SENSOR_SURVEY, Family.HEAT_SURVEY, Family.DRIFT_SURVEY,
        )
    ),
)  # fmt: skip
"""What an hour does not show of a fault that began before it."""

HOUR_S = 3600.0
AGAINST_WEEKS = (
    *(Query(family, whom, HOUR_S) for family in (Family.CELL_WEEKS, Family.PROBE_WEEKS) for whom in (Whom.OUTLIER, Whom.SUSPECT)),
    *(Query(family, Whom.PACK, HOUR_S) for family in (Family.PACK_WEEKS, Family.WEEKS_SURVEY)),
)
"""This hour against the pack's own weeks (see ``weeks``)."""
VIEWS = tuple(
    Query(family, Whom.SUSPECT, window_s)
    for family in (Family.JOINT_VIEW, Family.CHARGE_VIEW, Family.SENSOR_VIEW, Family.HEAT_VIEW)
    for window_s in (HOUR_S, DAY_S)
)
"""One look at four measures of the cell that was named (see ``views``)."""

QUERIES: tuple[Query, ...] = (
    *(Query(family, Whom.OUTLIER, window_s) for family, windows in CELL_FAMILIES.items() for window_s in windows),
    *(Query(family, Whom.SUSPECT, window_s) for family, windows in CELL_FAMILIES.items() for window_s in windows),
    *(Query(family, Whom.NEIGHBOURS, window_s) for family, window_s in NEIGHBOUR_QUERIES),
    *(Query(family, Whom.PACK, window_s) for family, windows in PACK_FAMILIES.items() for window_s in windows),
    *(Query(family, Whom.OUTLIER, window_s) for family, windows in LATER_CELL_FAMILIES.items() for window_s in windows),
    *(Query(family, Whom.SUSPECT, window_s) for family, windows in LATER_CELL_FAMILIES.items() for window_s in windows),
    *(Query(family, Whom.PACK, window_s) for family, windows in LATER_PACK_FAMILIES.items() for window_s in windows),
    *(Query(family, Whom.PACK, window_s) for family, windows in SURVEYS.items() for window_s in windows),
    *OF_A_DAY,
    *AGAINST_WEEKS,
    *VIEWS,
)
"""In the order of their tokens."""

BY_WORD = {query.word: query for query in QUERIES}
OUTLIERS = tuple(place for place, query in enumerate(QUERIES) if query.whom is Whom.OUTLIER)
ABOUT_SUSPECT = tuple(place for place, query in enumerate(QUERIES) if query.whom in (Whom.SUSPECT, Whom.NEIGHBOURS))
"""Places in QUERIES of those that name a cell, and of those that need one named before."""
