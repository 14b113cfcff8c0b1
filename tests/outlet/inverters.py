"""Decisions as an inverter's frames are made from them, and a reader of those frames that shares nothing with their writer."""

from __future__ import annotations

from pathlib import Path

import cantools
import msgspec
from lines import Run, frames

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.decision.types import Alert, CellRange, Decision, Evidence, ProbeRange
from edgebms.outlet.loss import LossRule
from edgebms.outlet.standing import Pack
from edgebms.vocabulary import Action, Cause, Contactor, Mode

CELLS = 16
LFP = load_card("generic_lfp")
CARD = msgspec.structs.replace(
    LFP,
    capacity_ah=100.0,
    limits=msgspec.structs.replace(LFP.limits, voltage_min_v=2.8, voltage_float_v=3.375, voltage_max_v=3.6),
)
"""16 of them: 44.8, 54.0 and 57.6 V."""
RULE = LossRule(10.0, 30.0, "silence")
READER = cantools.database.load_file(Path(__file__).with_name("inverter.dbc"))
S = 1_000_000_000
(BASE,) = Run(frames(seconds=0.1)).decisions


def decision(pack: str = "p1", at_s: float = 0.0, **said: object) -> Decision:
    """One that knows its cells, with what is said in place of the usual."""
    get = said.get
    replace = msgspec.structs.replace
    cell_min, cell_max = get("cell_min_v", (3.27, 1)), get("cell_max_v", (3.28, 2))
    cold, hot = get("temperature_min_c", (24.0, 1)), get("temperature_max_c", (26.0, 2))
    limits = replace(
        BASE.command.limits,
        charge_a=get("charge_a", 100.0),
        discharge_a=get("discharge_a", 150.0),
        charge_v=get("charge_v", 57.6),
        discharge_v=get("discharge_v", 44.8),
        reasons=tuple(get("reasons", ("charge_rate", "discharge_rate"))),
    )
    return replace(
        BASE,
        pack=pack,
        mono_ns=round(at_s * S),
        expires_ms=get("expires_ms", 2000),
        measured=replace(
            BASE.measured,
            voltage_v=get("voltage_v", 52.3),
            current_a=get("current_a", -5.0),
            cell_voltage_v=CellRange(*cell_min, *cell_max),
            temperature_c=ProbeRange(*cold, *hot),
            contactors=Contactor(get("contactors", "unknown")),
        ),
        soc=replace(BASE.soc, pack=get("soc", 0.6)),
        soh=replace(BASE.soh, capacity=get("soh", 0.95), resistance=get("resistance")),
        alerts=tuple(alert(*words) for words in get("alerts", ())),
        command=replace(BASE.command, limits=limits, action=Action(get("action", "none")), mode=Mode(get("mode", "command"))),
    )


def unknown(pack: str = "p1", at_s: float = 0.0, **said: object) -> Decision:
    """One that does not: as the daemon makes it when a pack falls silent."""
    nothing = (None, None)
    return decision(
        pack,
        at_s,
        **{
            "charge_a": 0.0,
            "discharge_a": 0.0,
            "charge_v": 54.0,
            "voltage_v": None,
            "current_a": None,
            "cell_min_v": nothing,
            "cell_max_v": nothing,
            "temperature_min_c": nothing,
            "temperature_max_c": nothing,
            "soc": None,
            "soh": None,
            "reasons": ("charge_unknown", "discharge_unknown"),
            **said,
        },
    )


def alert(hazard: str, level: str, *rules: str) -> Alert:
    evidence = tuple(Evidence(rule, None, None, None, None, None, "") for rule in rules)
    return Alert("a", level, Cause(hazard), None, None, None, 0.0, None, None, False, ("guard",), evidence)


def pack(number: int = 1, parallel: int = 1, rule: LossRule = RULE, **more: object) -> Pack:
    return Pack(number, settings(number, parallel), CARD, rule, **more)


def settings(number: int = 1, parallel: int = 1) -> PackConfig:
    return PackConfig(name=f"p{number}", profile="edgebms", card="generic_lfp", cells=CELLS, parallel=parallel)


def read(identifier: int, data: bytes) -> dict[str, float]:
    """The signals of a frame by the DBC file beside this one."""
    return READER.decode_message(identifier, data, decode_choices=False, allow_truncated=True)
