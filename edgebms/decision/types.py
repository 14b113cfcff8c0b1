"""The decision: the last frozen type of the line, and the JSON that leaves the house.

Every field is always there; null = unknown. Cells and probes are counted from 1 in here, as at every
face. docs/decision.md explains each field; ``decision.schema.json`` beside this file is generated from
these types (``edgebms schema`` prints it).
"""

from __future__ import annotations

import inspect
import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgebms.vocabulary import Action, Cause, Contactor, Mode, ReasonerStatus, Restraint, SequenceStep

SCHEMA: Literal["edgebms.decision/1"] = "edgebms.decision/1"

Number = float | None
Index = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
LevelWord = Literal["none", "watch", "warning", "critical"]
AlertWord = Literal["watch", "warning", "critical"]
SourceWord = Literal["unknown", "counting", "ocv", "filter", "student"]
Raiser = Literal["guard", "estimator", "reasoner", "gateway"]


class CellRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """V. Null cell: the bus states the value but not where."""

    min: Number
    min_cell: Index | None
    max: Number
    max_cell: Index | None


class ProbeRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Degrees Celsius. Null probe: the bus states the value but not where."""

    min: Number
    min_probe: Index | None
    max: Number
    max_probe: Index | None


class MeasuredValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the bus says, unrounded. current_a is positive while charging. reported_soc: the BMS's own state
    of charge, a fraction."""

    voltage_v: Number
    current_a: Number
    cell_voltage_v: CellRange
    temperature_c: ProbeRange
    insulation_ohm: Number
    reported_soc: Number
    contactors: Contactor


class Soc(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fractions. pack: what can be taken out over what can be taken out and put in; null while any cell's
    is unknown. min, max: over the known cells. sigma: the larger of the two outermost cells'.
    current_offset_a: what the estimator believes the pack current sensor to be off by."""

    pack: Number
    min: Number
    max: Number
    sigma: Number
    source: SourceWord
    current_offset_a: Number


class Soh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """capacity: the weakest cell's, a fraction of the card's. sigma: that cell's. resistance: the worst
    cell's ratio to the card's."""

    capacity: Number
    resistance: Number
    sigma: Number


class CellValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry a cell, and in temperature_c one a probe. soh is the capacity's."""

    voltage_v: tuple[Number, ...]
    soc: tuple[Number, ...]
    soh: tuple[Number, ...]
    temperature_c: tuple[Number, ...]


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number from the bus that made a rule hold. Null cell and probe: the whole pack. limit is null
    where a student judged."""

    rule: str
    cell: Index | None
    probe: Index | None
    window_s: Number
    value: Number
    limit: Number
    unit: str


class Alert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands. ``id`` and ``since`` stay while it stands. since: null while no wall clock is known;
    standing_s counts on the loop's clock."""

    id: str
    level: AlertWord
    hazard: Cause
    cell: Index | None
    probe: Index | None
    since: Moment | None
    standing_s: float
    time_to_critical_s: Number
    confidence: Number
    latched: bool
    raised_by: tuple[Raiser, ...]
    evidence: tuple[Evidence, ...]


class ObservedValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """relative: the size of the value against this pack's own."""

    name: str
    value: Number
    unit: str
    relative: Number


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a student asked, and what the runtime read from the telemetry for it."""

    query: str
    cell: Index | None
    window_s: Number
    observed: tuple[ObservedValue, ...]


class Reasoning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cause: Cause
    cell: Index | None
    severity: LevelWord
    time_to_critical_s: Number
    confidence: Number
    trace: tuple[Query, ...]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Magnitudes at the pack's terminals. charge_v is never below the card's float voltage times cells.
    reasons: what bound them."""

    charge_a: Annotated[float, Meta(ge=0)]
    discharge_a: Annotated[float, Meta(ge=0)]
    charge_v: Annotated[float, Meta(gt=0)]
    discharge_v: Annotated[float, Meta(gt=0)]
    reasons: tuple[str, ...]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An action that was asked for and what became of it. given: what went out for it ("none" = nothing),
    in ``mode`` (null when nothing did). alert: the alert it was asked for. reason: null when given as asked."""

    action: Action
    by: Raiser
    alert: str | None
    given: Action
    mode: Mode | None
    reason: Restraint | None


class ContactorSequence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The opening of the contactors. lowering: limits are 0 until |current| is at most low_current_a, or for
    timeout_s; open: they are to open now; opened: the bus says that they are. under_load: the current
    had not fallen when they were told to open; null while that is not known."""

    step: SequenceStep
    elapsed_s: float
    low_current_a: float
    timeout_s: float
    under_load: bool | None


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """action: the strongest of what goes out. limits hold whatever the action. cool: cooling is asked for,
    whatever the action; nothing ever asks to cool less. balance: cells to bleed. asked: what was asked
    for and by whom."""

    action: Action
    mode: Mode
    limits: Limits
    cool: bool
    balance: tuple[Index, ...]
    sequence: ContactorSequence | None
    asked: tuple[Asked, ...]


class RunawayQuality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How well the runaway rule sees this pack. worst_s: null when it sees no cell."""

    worst_s: Number
    uncovered_cells: Count
    saturated: bool


class UnknownSignal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signal that is UNKNOWN and why; indices: the cells or probes concerned, empty for the whole pack.
    signal "frames": frames refused since the last decision, ``count`` of them."""

    signal: str
    reason: str
    indices: tuple[Index, ...]
    count: Count


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """complete: the sweep met the profile's completion rule; false when it left on time-out."""

    valid_cells: Count
    cells: Count
    valid_probes: Count
    probes: Count
    oldest_ms: Count | None
    complete: bool
    runaway_view: RunawayQuality
    clock_synchronised: bool
    warnings: tuple[UnknownSignal, ...]


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who spoke. card: name and quality of the cell card. state_student, reasoner: what became of each
    student in this step."""

    state_model: str | None
    state_student: ReasonerStatus
    reasoner_model: str | None
    reasoner: ReasonerStatus
    card: str
    runtime: str
    latency_us: Count


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal["edgebms.decision/1"]
    pack: str
    seq: Count
    time: Moment | None
    mono_ns: int
    expires_ms: Count
    measured: MeasuredValues
    soc: Soc
    soh: Soh
    cells: CellValues | None
    alerts: tuple[Alert, ...]
    reasoning: Reasoning | None
    command: Command
    quality: Quality
    provenance: Provenance


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Decision)


def encode(decision: Decision) -> bytes:
    """One line of JSON without its newline. NaN and infinity become null."""
    return _encoder.encode(decision)


def decode(line: bytes | str) -> Decision:
    """The decision of one line. Raises msgspec.DecodeError (ValidationError below it)."""
    return _decoder.decode(line)


def known(value: float) -> float | None:
    """None for NaN and infinity.

    >>> known(1.5), known(float("nan")), known(float("-inf"))
    (1.5, None, None)
    """
    return value if math.isfinite(value) else None


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of one decision."""
    body = msgspec.json.schema(Decision)
    definitions = body.pop("$defs")
    for entry in definitions.values():  # msgspec before 0.23 keeps a docstring's indent
        if "description" in entry:
            entry["description"] = inspect.cleandoc(entry["description"])
    main = definitions.pop("Decision")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:edgebms:decision:1",
        **main,
        "$defs": definitions,
    }
