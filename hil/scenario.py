"""A scenario: what is built, what goes wrong and when, and what must come of it. One YAML file each, strictly parsed.

``python -m hil schema`` prints the JSON Schema of these types. Times are seconds of the scenario's own time; cells and
probes are counted from 1.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from edgebms.errors import ConfigError
from edgebms.vocabulary import Action, Cause, Contactor, Mode, SiteKind

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where there is one: ten times faster, and nothing else differs."""
SCHEMA: Literal["edgebms.scenario/1"] = "edgebms.scenario/1"
Seconds = Annotated[float, Meta(ge=0, le=1e7)]
Index = Annotated[int, Meta(ge=1, le=400)]
LevelWord = Literal["watch", "warning", "critical"]
Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9_.-]+$")]
Moment = float | str
"""Seconds, or an event: ``start``, ``fault``, ``fault.2``, ``bus``, ``bus.2.end``, ``gateway``, ``gateway.end``, ``runaway``,
``propagation`` (a second cell runs away), ``opened`` (the plant's contactors), ``mcu``, ``mcu.end``, each the first of its kind
unless numbered."""


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Strict and frozen."""


class PackSpec(Struct):
    """The pack of the plant, and how it speaks. period_s: between two sweeps. plant: with pybamm, card is the name of one of its
    parameter sets (chen2020, prada2013, ...), and the daemon gets the card that was fitted to it."""

    plant: Literal["circuit", "pybamm"] = "circuit"
    card: str = "lg_hg2"
    cells: Annotated[int, Meta(ge=2, le=400)] = 16
    probes: Annotated[int, Meta(ge=1, le=400)] = 8
    parallel: Annotated[int, Meta(ge=1, le=1000)] = 1
    profile: str = "edgebms"
    firmware: str | None = None
    soc: Annotated[float, Meta(ge=0, le=1)] = 0.7
    ambient_c: Annotated[float, Meta(ge=-60, le=90)] = 25.0
    cooled: Literal["still", "air", "liquid"] = "air"
    period_s: Annotated[float, Meta(ge=0.05, le=60)] = 1.0
    contactors: Contactor = Contactor.CLOSED
    told_cells: Annotated[int, Meta(ge=1, le=400)] | None = None
    """What the daemon's configuration says, where it is wrong."""
    told_firmware: str | None = None
    """Likewise."""
    thresholds: dict[str, float] = {}


class SiteSpec(Struct):
    kind: SiteKind = SiteKind.GRID_TIED
    open_contactors: Mode | None = None
    stop_discharge: Mode | None = None
    person_s: Seconds | None = None
    """A person who is told to open the contactors does so after this time; left out, nobody is there."""
    obeys: Literal["all", "contactors", "nothing"] = "all"
    """contactors: a charger or a load that goes on whatever the limits say, behind contactors that open when commanded."""


class LoadSpec(Struct):
    """kind: a load of ``hil/plant/loads.py``, times strength; or constant at c_rate, positive while charging."""

    kind: Literal[
        "rest", "constant", "drive", "charge", "fast_charge", "discharge", "heavy", "peak_shaving", "frequency_response", "pv_shift"
    ] = "rest"
    c_rate: float = -0.5
    strength: float = 1.0


class PlantFault(Struct):
    """kind: a row of ``hil/plant/faults.py``. size: in that row's unit. tau_s: how fast it grows."""

    kind: str
    at_s: Seconds
    cell: Index | None = None
    probe: Index | None = None
    size: float | None = None
    tau_s: Seconds | None = None


class BusFault(Struct):
    """kind: a row of ``hil/rig/bus_faults.py``. share: of the frames. id: an arbitration id, mux: an index."""

    kind: str
    at_s: Seconds
    for_s: Seconds | None = None
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    id: Annotated[int, Meta(ge=0, le=0x1FFFFFFF)] | None = None
    mux: Annotated[int, Meta(ge=0, le=255)] | None = None


class GatewayFault(Struct):
    """kind: a row of ``hil/rig/gateway_faults.py``."""

    kind: str
    at_s: Seconds
    for_s: Seconds | None = None


class McuFault(Struct):
    """kind: a row of ``hil/rig/mcu_faults.py``, with link mcu. share: of the frames."""

    kind: str
    at_s: Seconds
    for_s: Seconds | None = None
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class AlertSpec(Struct):
    """Fields left out are any. rule: a rule among the alert's evidence."""

    hazard: Cause | None = None
    level: LevelWord | None = None
    """That level or above."""
    cell: Index | None = None
    probe: Index | None = None
    rule: str | None = None


class CommandSpec(Struct):
    action: Action | None = None
    mode: Mode | None = None
    cool: bool | None = None
    charge_a_max: float | None = None
    discharge_a_max: float | None = None
    charge_a_min: float | None = None
    discharge_a_min: float | None = None


class SentSpec(Struct):
    """A frame to the inverter. silent: none has come for 3 s. The limits are those of 0x351 (A, V)."""

    id: Annotated[int, Meta(ge=0, le=0x7FF)] = 0x351
    silent: bool = False
    charge_a_max: float | None = None
    discharge_a_max: float | None = None
    discharge_a_min: float | None = None
    charge_v_max: float | None = None


class McuSpec(Struct):
    """What the microcontroller's own telemetry says, with link mcu. Fields left out are any.

    fault: a bit of its own protection. refused: a reason for which it has refused messages since its reset. lapse_s_max: the longest
    time so far from advice that was spoiled on the line to the next that was accepted.
    """

    state: Literal["starting", "alone", "advised", "lowering", "open_on_advice", "open_on_fault"] | None = None
    contactor: Literal["open", "closed"] | None = None
    fault: str | None = None
    refused: str | None = None
    charge_a_max: float | None = None
    discharge_a_max: float | None = None
    discharge_a_min: float | None = None
    lapse_s_max: float | None = None


class Expect(Struct):
    """One thing that must be. Exactly one of alert, cleared, command, sent, unknown, recovered, plant, mcu is given.

    within_s of: by that time after the event. before: the event by which it must have been. until it holds nothing is
    asked. holds_s: it must then stand so long without a gap.
    """

    alert: AlertSpec | None = None
    cleared: AlertSpec | None = None
    """No such alert stands in a decision that came after ``of``."""
    command: CommandSpec | None = None
    sent: SentSpec | None = None
    unknown: str | None = None
    """A signal in ``quality.warnings``."""
    recovered: bool = False
    """Every cell is seen again."""
    plant: Literal["contactors_open", "opened_without_load", "no_runaway", "runaway", "current_zero", "no_charge"] | None = None
    """opened_without_load: the contactors opened, with 1.8 A or C/100 or less. no_charge: no current into the pack."""
    mcu: McuSpec | None = None
    within_s: Seconds | None = None
    of: Moment = "start"
    before: Moment | None = None
    holds_s: Seconds = 0.0
    known: str = ""
    """Why it fails today: told apart, never as passed; once it holds the mark has to go."""


class Never(Struct):
    """One thing that must not be, from ``since`` to ``till``."""

    alert: AlertSpec | None = None
    command: CommandSpec | None = None
    sent: SentSpec | None = None
    mcu: McuSpec | None = None
    since: Moment = "start"
    till: Moment | None = None


class Scenario(Struct):
    """realtime: on the machine's own clock; else as fast as the daemon goes, on the rig's.

    allow: alerts that may stand besides those expected (and, with hazard gateway_fault, warnings of that rule); any other
    fails the scenario. allow_log: text of warnings that the daemon may say. twins: of a fault its healthy counterpart, of
    something benign the faults that it resembles.
    """

    schema: Literal["edgebms.scenario/1"]
    name: Word
    says: Annotated[str, Meta(min_length=10)]
    duration_s: Annotated[float, Meta(gt=0, le=1e6)]
    requirements: tuple[str, ...] = ()
    tags: tuple[Word, ...] = ()
    seed: Annotated[int, Meta(ge=0)] = 1
    twins: tuple[Word, ...] = ()
    realtime: bool = False
    link: Literal["udp", "slcan", "socketcan", "mcu"] = "slcan"
    """mcu: the reference firmware, run by QEMU, on a serial line."""
    pack: PackSpec = PackSpec()
    site: SiteSpec = SiteSpec()
    load: LoadSpec = LoadSpec()
    faults: tuple[PlantFault, ...] = ()
    bus: tuple[BusFault, ...] = ()
    gateway: tuple[GatewayFault, ...] = ()
    mcu: tuple[McuFault, ...] = ()
    config: str = ""
    """More TOML for the daemon's configuration."""
    expect: tuple[Expect, ...] = ()
    never: tuple[Never, ...] = ()
    allow: tuple[AlertSpec, ...] = ()
    allow_log: tuple[str, ...] = ()


EVENT = re.compile(r"(?:start|runaway|propagation|opened|(?:fault|bus|gateway|mcu)(?:\.[1-9][0-9]*)?(?:\.end)?)\Z")


def load(path: Path) -> Scenario:
    """The scenario in ``path``. Raises ConfigError: file, field and mend."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), mend="name a readable YAML file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"not valid YAML: {' '.join(str(error).split())}", where=str(path), mend="mend the line named") from None
    return parse(data, str(path))


def parse(data: Any, where: str = "scenario") -> Scenario:
    """From parsed YAML to a checked Scenario. Raises ConfigError."""
    try:
        scenario = msgspec.convert(data, Scenario)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        mend = "python -m hil schema prints the fields"
        raise ConfigError(what, where=where + (f": {place.strip('`').lstrip('.')}" if place else ""), mend=mend) from None
    for i, expect in enumerate(scenario.expect):
        given = [
            expect.alert, expect.cleared, expect.command, expect.sent, expect.unknown, expect.plant, expect.recovered or None, expect.mcu,
        ]  # fmt: skip
        if sum(entry is not None for entry in given) != 1:
            raise ConfigError(
                "asks for none or several things",
                where=f"{where}: expect[{i}]",
                mend="give one of alert, cleared, command, sent, unknown, recovered, plant, mcu",
            )
    for i, never in enumerate(scenario.never):
        if sum(entry is not None for entry in (never.alert, never.command, never.sent, never.mcu)) != 1:
            raise ConfigError("asks for none or several things", where=f"{where}: never[{i}]", mend="give one of alert, command, sent, mcu")
    moments = [moment for expect in scenario.expect for moment in (expect.of, expect.before)]
    moments += [moment for never in scenario.never for moment in (never.since, never.till)]
    for moment in moments:
        if isinstance(moment, str) and not EVENT.match(moment):
            raise ConfigError(
                f"{moment!r} is no event",
                where=where,
                mend="seconds, start, fault, fault.2, bus.end, gateway, runaway, propagation, opened",
            )
    return scenario


def load_folder(paths: list[Path]) -> list[Scenario]:
    """All scenarios in files and folders, by name. Raises ConfigError, for a name given twice too."""
    files = [file for path in paths for file in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])]
    scenarios = [load(file) for file in files]
    for name, count in Counter(scenario.name for scenario in scenarios).items():
        if count > 1:
            raise ConfigError(
                f"{count} scenarios are called {name!r}", where=", ".join(map(str, paths)), mend="give each a name of its own"
            )
    return scenarios


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of one scenario."""
    body = msgspec.json.schema(Scenario)
    definitions = body.pop("$defs")
    main = definitions.pop("Scenario")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:edgebms:scenario:1",
        **main,
        "$defs": definitions,
    }
