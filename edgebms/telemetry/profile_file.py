"""What a profile file says: TOML parsed strictly once, before anything is looked up in its DBC.

A profile maps the signals of one DBC onto one pack. docs/profiles.md explains every field.
"""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgebms.errors import ProfileError
from edgebms.vocabulary import Contactor

Positive = Annotated[float, Meta(gt=0, le=1e7)]
Finite = Annotated[float, Meta(ge=-1e12, le=1e12)]
Code = Annotated[int, Meta(ge=0)]

PLACE = re.compile(r"\{n(?::0(\d))?\}")
CLAUSE = re.compile(r"(>=|<=|==|>|<)\s*(\d+(?:\.\d+)*)$")


class FlagMeaning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The flag's value that says "valid", for the firmware versions stated ("" = all; ">=1.8", ">=1.7,<1.8")."""

    value: Code
    firmware: str = ""


class Scalar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One signal: value = DBC physical * factor + offset.

    invalid_codes, saturated_codes: raw values as they stand on the bus, unsigned. range: what is
    physically possible, in the unit after factor and offset. message: only where several have the signal.
    """

    signal: str
    message: str = ""
    factor: Finite = 1.0
    offset: Finite = 0.0
    invalid_codes: tuple[Code, ...] = ()
    saturated_codes: tuple[Code, ...] = ()
    range: tuple[Finite, Finite] | None = None
    valid_flag: str = ""
    valid_when: tuple[FlagMeaning, ...] = ()


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Frozen: bit-identical for window_s while the median of the others moved by more than ``moved``."""

    window_s: Positive
    moved: Positive


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One signal a cell or probe: ``pattern`` with {n} or {n:03} counted from ``first`` as far as the DBC
    goes, or all ``signals`` by name. ``valid_flag`` is a pattern too. The rest as in Scalar."""

    pattern: str = ""
    first: Annotated[int, Meta(ge=0)] = 1
    signals: tuple[str, ...] = ()
    message: str = ""
    factor: Finite = 1.0
    offset: Finite = 0.0
    invalid_codes: tuple[Code, ...] = ()
    saturated_codes: tuple[Code, ...] = ()
    range: tuple[Finite, Finite] | None = None
    valid_flag: str = ""
    valid_when: tuple[FlagMeaning, ...] = ()
    frozen: Frozen | None = None


class Extreme(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broadcast minimum or maximum. Where it is: sum of index signal * stride, less index_first; left
    out, the bus does not say."""

    signal: str
    message: str = ""
    factor: Finite = 1.0
    offset: Finite = 0.0
    invalid_codes: tuple[Code, ...] = ()
    saturated_codes: tuple[Code, ...] = ()
    range: tuple[Finite, Finite] | None = None
    valid_flag: str = ""
    valid_when: tuple[FlagMeaning, ...] = ()
    index: tuple[str, ...] = ()
    strides: tuple[Annotated[int, Meta(ge=1)], ...] = (1,)
    index_first: Annotated[int, Meta(ge=0)] = 0


class ExtremesMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    voltage_min: Extreme | None = None
    voltage_max: Extreme | None = None
    temperature_min: Extreme | None = None
    temperature_max: Extreme | None = None


class ContactorMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """values: raw value -> state. Of several maps the first whose value stands in ``values`` decides."""

    signal: str
    values: dict[str, Contactor]
    message: str = ""


class SnapshotRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What completes a snapshot.

    complete: "sweep" (all required messages with one value of the sweep counter ``sweep``), "all" (all
    required messages since the last snapshot) or "trigger" (message ``trigger`` came while all required
    are there and none is stale). period_s: between two snapshots; where the bus does not settle it, the
    pack must. timeout_periods: then an incomplete one leaves. stale_periods: of a message's own period.
    """

    complete: Literal["sweep", "all", "trigger"]
    period_s: Positive | None = None
    sweep: str = ""
    trigger: str = ""
    timeout_periods: Annotated[float, Meta(gt=1, le=1000)] = 1.5
    stale_periods: Annotated[float, Meta(ge=2, le=1000)] = 5.0


class MessageRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """period_s: until the same signal comes again (default: the snapshot's). frame_period_s instead: between
    two frames of a multiplexed message, whose sweep is as long as the pack has frames. shorter: frames may
    be cut off; they give the signals that they hold. required: for a complete snapshot (default: messages
    with this pack's cells, probes, current or voltage)."""

    period_s: Positive | None = None
    frame_period_s: Positive | None = None
    shorter: bool = False
    required: bool | None = None


class CheckRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rule: a name in telemetry/checks.py. messages: names or globs."""

    messages: tuple[str, ...]
    rule: str


class CounterRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frame whose counter stands where that message's last one stood is refused: the sender hangs."""

    messages: tuple[str, ...]
    signal: str


class SumRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sum of all cells may depart from the pack voltage by tolerance_v + relative * voltage for hold_s."""

    tolerance_v: Positive
    hold_s: Annotated[float, Meta(ge=0, le=1e7)]
    relative: Annotated[float, Meta(ge=0, le=1)] = 0.0


class AllFrozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All cells bit-identical for window_s while the current moved by more than moved_a."""

    window_s: Positive
    moved_a: Positive


class ProfileFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. firmware: the versions whose layout this is ("" = does not depend on it).
    channel_needed: why the pack must state its channel ("" = it need not)."""

    schema: Literal["edgebms.profile/1"]
    title: str
    dbc: str
    snapshot: SnapshotRule
    firmware: str = ""
    channel_needed: str = ""
    reserved_ids: tuple[Code, Code] | None = None
    extended_ids: bool = False
    messages: dict[str, MessageRule] = {}
    ignored: dict[str, Annotated[str, Meta(min_length=5)]] = {}
    check: tuple[CheckRule, ...] = ()
    counter: tuple[CounterRule, ...] = ()
    cells: Row | None = None
    probes: Row | None = None
    balancing: Row | None = None
    current: Scalar | None = None
    voltage: Scalar | None = None
    insulation: Scalar | None = None
    gas: Scalar | None = None
    pressure: Scalar | None = None
    coolant: Scalar | None = None
    reported_soc: Scalar | None = None
    cell_count: Scalar | None = None
    probe_count: Scalar | None = None
    contactors: tuple[ContactorMap, ...] = ()
    extremes: ExtremesMap = ExtremesMap()
    sum: SumRule | None = None
    all_frozen: AllFrozen | None = None


def parse_profile(text: str, where: str) -> ProfileFile:
    """Parse the TOML ``text``; ``where`` names it in errors. Raises ProfileError."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ProfileError(f"not valid TOML: {error}", where=where, mend="mend the line named") from None
    try:
        file = msgspec.convert(data, ProfileFile)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise ProfileError(
            what,
            where=where + (f": {path.strip('`').lstrip('.')}" if path else ""),
            mend="see docs/profiles.md for the fields of a profile",
        ) from None
    for name in ("cells", "probes", "balancing"):
        row = getattr(file, name)
        if row is not None:
            check_row(row, f"{where}: {name}")
    for i, entry in enumerate(file.contactors):
        for code in entry.values:
            if not code.isascii() or not code.isdigit() or len(code) > 20:
                raise ProfileError(
                    f"{code!r} is not a raw value", where=f"{where}: contactors[{i}].values", mend='write it as "0" = "open"'
                )
    for name, rule in file.messages.items():
        if rule.period_s is not None and rule.frame_period_s is not None:
            raise ProfileError("both period_s and frame_period_s", where=f"{where}: messages.{name}", mend="state one of them")
    if file.snapshot.complete in ("sweep", "trigger") and not getattr(file.snapshot, file.snapshot.complete):
        kind = file.snapshot.complete
        raise ProfileError(
            f'complete = "{kind}" needs {kind} = "..."',
            where=f"{where}: snapshot",
            mend=f"name the {'signal' if kind == 'sweep' else 'message'}",
        )
    return file


def check_row(row: Row, where: str) -> None:
    if bool(row.pattern) == bool(row.signals):
        raise ProfileError("needs either pattern or signals", where=where, mend='write pattern = "Cell_{n:03}", or list the signals')
    if row.pattern and len(PLACE.findall(row.pattern)) != 1:
        raise ProfileError(f"pattern {row.pattern!r} needs {{n}} once", where=where, mend='write for example "Cell_{n:03}"')
    if row.valid_flag and (row.signals or len(PLACE.findall(row.valid_flag)) != 1):
        raise ProfileError(
            "valid_flag needs a pattern with {n} beside a pattern", where=where, mend='write for example "Cell_{n:03}_valid"'
        )


def numbered(pattern: str, number: int) -> str:
    """The signal's name.

    >>> numbered("Cell_{n:03}_V", 7), numbered("T{n}", 7)
    ('Cell_007_V', 'T7')
    """
    return PLACE.sub(lambda match: f"{number:0{match[1] or 1}d}", pattern)


def version(text: str, where: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6}){0,5}", text):
        raise ProfileError(f"{text!r} is not a version", where=where, mend='write for example "1.8.0"')
    return tuple(int(part) for part in text.split("."))


def firmware_fits(firmware: str, spec: str, where: str) -> bool:
    """Whether version ``firmware`` lies within ``spec``, for example ">=1.7,<1.8".

    >>> firmware_fits("1.7.3", ">=1.7,<1.8", ""), firmware_fits("1.10", ">=1.8", "")
    (True, True)
    """
    stated = version(firmware, where)
    for clause in spec.split(","):
        match = CLAUSE.match(clause.strip())
        if match is None:
            raise ProfileError(f"firmware {spec!r} is not understood", where=where, mend='write for example ">=1.7,<1.8"')
        bound = version(match[2], where)
        width = max(len(stated), len(bound))
        left, right = stated + (0,) * (width - len(stated)), bound + (0,) * (width - len(bound))
        if not {">=": left >= right, "<=": left <= right, "==": left == right, ">": left > right, "<": left < right}[match[1]]:
            return False
    return True
