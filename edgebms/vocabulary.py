"""The words of the house: append-only enumerations.

Everything that leaves the house as a code or a word stands here once. The JSON Schema, the
tokenizer, the C header and the docs are generated from these classes. Append at the end; never
reorder, rename or remove a member (``tests/test_vocabulary.py`` holds the order).
"""

from __future__ import annotations

import enum


class Reason(enum.IntEnum):
    """Why a signal is UNKNOWN. Lives in uint8 arrays next to the values; 0 = the value is good."""

    VALID = 0
    NEVER_RECEIVED = 1
    STALE = 2
    INVALID_CODE = 3
    INVALID_FLAG = 4
    SATURATED = 5
    FROZEN = 6
    OUT_OF_RANGE = 7
    BEYOND_PROFILE = 8
    SUM_MISMATCH = 9
    NOT_IN_PROFILE = 10
    FIRMWARE_UNSTATED = 11
    SPIKE = 12
    BROKEN_WIRE = 13

    @property
    def word(self) -> str:
        return self.name.lower()


class FrameFault(enum.IntEnum):
    """Why a frame was refused before any of its signals was taken."""

    NONE = 0
    TOO_SHORT = 1
    CHECKSUM = 2
    COUNTER = 3
    UNKNOWN_MULTIPLEXER = 4
    ERROR_FRAME = 5
    REMOTE_FRAME = 6
    UNMAPPED_ID = 7
    BEYOND_PROFILE = 8
    NOT_FINITE = 9

    @property
    def word(self) -> str:
        return self.name.lower()


class Level(enum.IntEnum):
    """Alert levels. They only rise on their way through the house."""

    NONE = 0
    WATCH = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Action(enum.StrEnum):
    """What a decision may ask for, in rising order of intervention."""

    NONE = "none"
    SERVICE = "service"
    COOL = "cool"
    BALANCE = "balance"
    LIMIT = "limit"
    STOP_CHARGE = "stop_charge"
    STOP_DISCHARGE = "stop_discharge"
    OPEN_CONTACTORS = "open_contactors"


class Mode(enum.StrEnum):
    """Whether the action is a command to a machine or advice to a person."""

    COMMAND = "command"
    ADVICE = "advice"


class Cause(enum.StrEnum):
    """What is wrong with the pack: hazards of alerts, causes of verdicts."""

    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    INTERNAL_SHORT = "internal_short"
    MICRO_SHORT = "micro_short"
    EXTERNAL_SHORT = "external_short"
    VOLTAGE_SENSOR = "voltage_sensor"
    TEMPERATURE_SENSOR = "temperature_sensor"
    CURRENT_OFFSET = "current_offset"
    LOOSE_JOINT = "loose_joint"
    OVERCHARGE = "overcharge"
    OVER_DISCHARGE = "over_discharge"
    COOLING_FAILURE = "cooling_failure"
    LITHIUM_PLATING = "lithium_plating"
    IMBALANCE = "imbalance"
    VENTING = "venting"
    THERMAL_RUNAWAY = "thermal_runaway"
    OVER_TEMPERATURE = "over_temperature"
    UNDER_TEMPERATURE = "under_temperature"
    OVER_CURRENT = "over_current"
    INSULATION = "insulation"
    LOSS_OF_DATA = "loss_of_data"
    INCONSISTENT_DATA = "inconsistent_data"
    GATEWAY_FAULT = "gateway_fault"


class Source(enum.IntEnum):
    """What a cell's state of charge leans on most."""

    UNKNOWN = 0
    COUNTING = 1
    OCV = 2
    FILTER = 3
    STUDENT = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class ReasonerStatus(enum.StrEnum):
    """What became of a student in this step."""

    OK = "ok"
    SKIPPED = "skipped"
    DEADLINE_MISSED = "deadline_missed"
    REFUSED = "refused"
    ABSENT = "absent"
    FAILED = "failed"
    OUT_OF_DOMAIN = "out_of_domain"


class Contactor(enum.StrEnum):
    """What the bus says of the main contactors."""

    UNKNOWN = "unknown"
    OPEN = "open"
    PRECHARGE = "precharge"
    CLOSED = "closed"


class SiteKind(enum.StrEnum):
    """Where the pack works: decides what an action may do (see ``decision/authority.py``)."""

    NOT_STATED = "not_stated"
    GRID_TIED = "grid_tied"
    ISLANDED = "islanded"
    VEHICLE_PARKED = "vehicle_parked"
    VEHICLE_IN_MOTION = "vehicle_in_motion"


class Chemistry(enum.StrEnum):
    """Positive electrode against graphite."""

    NMC = "NMC"
    NCA = "NCA"
    LCO = "LCO"
    LFP = "LFP"


class Restraint(enum.StrEnum):
    """Why an action that was asked for went out weaker, as advice, or not at all."""

    NEEDS_GUARD = "needs_guard"
    NEEDS_ESTIMATOR = "needs_estimator"
    SITE_NOT_STATED = "site_not_stated"
    SITE_ISLANDED = "site_islanded"
    SITE_VEHICLE_IN_MOTION = "site_vehicle_in_motion"
    SITE_RULE = "site_rule"
    LOWERING_CURRENT = "lowering_current"
    SUSPECTED_SHORT = "suspected_short"


class SequenceStep(enum.StrEnum):
    """Where the opening of the contactors stands (see ``decision/contactor_sequence.py``)."""

    LOWERING = "lowering"
    OPEN = "open"
    OPENED = "opened"


class Family(enum.StrEnum):
    """What a student can ask about (see ``evidence/queries.py`` for what each answers with)."""

    VOLTAGE_DEVIATION = "voltage_deviation"
    RESISTANCE_DEVIATION = "resistance_deviation"
    VOLTAGE_STEPS = "voltage_steps"
    CELL_SENSOR = "cell_sensor"
    CHARGE_DIVERGENCE = "charge_divergence"
    VOLTAGE_LIMITS = "voltage_limits"
    TEMPERATURE_DEVIATION = "temperature_deviation"
    THERMAL_RATE = "thermal_rate"
    PROBE_SENSOR = "probe_sensor"
    SUM_MISMATCH = "sum_mismatch"
    CURRENT = "current"
    PACK_VOLTAGE = "pack_voltage"
    CHARGE_AGAINST_VOLTAGE = "charge_against_voltage"
    PACK_WARMING = "pack_warming"
    INSULATION = "insulation"
    GAS = "gas"
    COOLANT = "coolant"
    COVERAGE = "coverage"
    OWN_CHANGE = "own_change"
    VOLTAGE_DIPS = "voltage_dips"
    THERMAL_PEAK = "thermal_peak"
    HEAT_BALANCE = "heat_balance"
    CURRENT_AT_REST = "current_at_rest"
    CELL_SURVEY = "cell_survey"
    SENSOR_SURVEY = "sensor_survey"
    HEAT_SURVEY = "heat_survey"
    LIMIT_SURVEY = "limit_survey"
    DRIFT_SURVEY = "drift_survey"
    RECENT_SURVEY = "recent_survey"
    SENSE_OFFSET = "sense_offset"
    CELL_WEEKS = "cell_weeks"
    PROBE_WEEKS = "probe_weeks"
    PACK_WEEKS = "pack_weeks"
    WEEKS_SURVEY = "weeks_survey"
    JOINT_VIEW = "joint_view"
    CHARGE_VIEW = "charge_view"
    SENSOR_VIEW = "sensor_view"
    HEAT_VIEW = "heat_view"


class Whom(enum.StrEnum):
    """Of whom a student asks: the outlier by that measure, the cell that its latest outlier named, that cell's neighbours."""

    PACK = "pack"
    OUTLIER = "outlier"
    SUSPECT = "suspect"
    NEIGHBOURS = "neighbours"
