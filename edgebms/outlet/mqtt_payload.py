"""What the MQTT outlet says: topics, a pack's state as one flat JSON object, each change of an alert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from edgebms.decision.explain import alert_lines, place, words
from edgebms.decision.types import Alert, Decision, Number
from edgebms.vocabulary import Level

STATE_SCHEMA = "edgebms.mqtt.state/1"
ALERT_SCHEMA = "edgebms.mqtt.alert/1"
CELLS_SCHEMA = "edgebms.mqtt.cells/1"
TEXT_LIMIT = 250
"""Home Assistant refuses a state of more than 255 characters."""
RANK = {level.word: level for level in Level}

Event = Literal["begin", "level", "end"]

_encode = msgspec.json.Encoder().encode


class Change(NamedTuple):
    """An alert began, changed its level, or ended, in the decision named. alert: as it stands now; at its end, as it stood last."""

    event: Event
    pack: str
    seq: int
    time: str | None
    mono_ns: int
    level_before: str
    level: str
    alert: Alert
    action: str
    mode: str


def changes(known: Mapping[str, Alert], decision: Decision) -> Iterator[Change]:
    """What ``decision`` says anew of its alerts; ``known``: alert id -> as the decision before had it."""

    def change(event: Event, alert: Alert, before: str, level: str) -> Change:
        command = decision.command
        return Change(
            event,
            decision.pack,
            decision.seq,
            decision.time,
            decision.mono_ns,
            before,
            level,
            alert,
            str(command.action),
            str(command.mode),
        )

    standing = {alert.id: alert for alert in decision.alerts}
    for key, alert in known.items():
        if key not in standing:
            yield change("end", alert, alert.level, "none")
    for key, alert in standing.items():
        before = known.get(key)
        if before is None:
            yield change("begin", alert, "none", alert.level)
        elif before.level != alert.level:
            yield change("level", alert, before.level, alert.level)


def alert_message(change: Change, now_ns: int) -> bytes:
    """age_s: from the decision to now, on the gateway's own clock: an alert told late says so."""
    return _encode(
        {
            "schema": ALERT_SCHEMA,
            "event": change.event,
            "pack": change.pack,
            "seq": change.seq,
            "time": change.time,
            "age_s": round(max(now_ns - change.mono_ns, 0) / 1e9, 3),
            "level_before": change.level_before,
            "level": change.level,
            "text": list(alert_lines(change.alert)),
            "action": change.action,
            "mode": change.mode,
            "alert": change.alert,
        }
    )


def cells_message(decision: Decision) -> bytes:
    """The per-cell values; cell 1 comes first."""
    cells = decision.cells
    assert cells is not None
    return _encode(
        {
            "schema": CELLS_SCHEMA,
            "pack": decision.pack,
            "seq": decision.seq,
            "time": decision.time,
            "voltage_v": cells.voltage_v,
            "soc": cells.soc,
            "soh": cells.soh,
        }
    )


def state_message(decision: Decision) -> bytes:
    """One flat object; null = unknown. Fractions 0..1, charging positive."""
    measured, soc, soh, command = decision.measured, decision.soc, decision.soh, decision.command
    volts, degrees, limits = measured.cell_voltage_v, measured.temperature_c, command.limits
    worst = worst_of(decision)
    return _encode(
        {
            "schema": STATE_SCHEMA,
            "pack": decision.pack,
            "seq": decision.seq,
            "time": decision.time,
            "expires_ms": decision.expires_ms,
            "voltage_v": rounded(measured.voltage_v),
            "current_a": rounded(measured.current_a),
            "power_w": rounded(product(measured.voltage_v, measured.current_a)),
            "soc": rounded(soc.pack),
            "soc_min": rounded(soc.min),
            "soc_max": rounded(soc.max),
            "soc_sigma": rounded(soc.sigma),
            "soh": rounded(soh.capacity),
            "resistance_ratio": rounded(soh.resistance),
            "cell_voltage_min_v": rounded(volts.min),
            "cell_voltage_min_cell": volts.min_cell,
            "cell_voltage_max_v": rounded(volts.max),
            "cell_voltage_max_cell": volts.max_cell,
            "cell_voltage_spread_v": rounded(difference(volts.max, volts.min)),
            "temperature_min_c": rounded(degrees.min),
            "temperature_min_probe": degrees.min_probe,
            "temperature_max_c": rounded(degrees.max),
            "temperature_max_probe": degrees.max_probe,
            "charge_limit_a": rounded(limits.charge_a),
            "discharge_limit_a": rounded(limits.discharge_a),
            "charge_limit_v": rounded(limits.charge_v),
            "discharge_limit_v": rounded(limits.discharge_v),
            "contactors": measured.contactors,
            "action": command.action,
            "mode": command.mode,
            "level": worst.level if worst is not None else "none",
            "problem": worst is not None and RANK[worst.level] >= Level.WARNING,
            "alerts": len(decision.alerts),
            "alert": headline(worst),
            "cells_valid": decision.quality.valid_cells,
            "cells": decision.quality.cells,
        }
    )


def worst_of(decision: Decision) -> Alert | None:
    """The alert of the highest level, the oldest of them."""
    return max(decision.alerts, key=lambda alert: (RANK[alert.level], alert.standing_s), default=None)


def headline(alert: Alert | None) -> str:
    """One line of at most TEXT_LIMIT characters: level, hazard, place, first evidence."""
    if alert is None:
        return "no alert"
    text = f"{alert.level}: {words(alert.hazard)}{place(alert.cell, alert.probe)}"
    evidence = [line.strip() for line in alert_lines(alert)][1 : 1 + min(len(alert.evidence), 1)]
    text = "; ".join((text, *evidence))
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def rounded(value: Number) -> Number:
    return round(value, 4) if value is not None else None


def product(one: Number, other: Number) -> Number:
    return one * other if one is not None and other is not None else None


def difference(one: Number, other: Number) -> Number:
    return one - other if one is not None and other is not None else None
