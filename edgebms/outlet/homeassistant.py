"""Home Assistant's MQTT discovery: one device a pack, one message with all its entities.

The form is Home Assistant's device discovery (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload):
``dev``, ``o`` and ``cmps``, in which each entity names its platform ``p`` and ``unique_id``. ``expire_after`` is not among
the options that a device shares with its entities, so each entity has its own.

Unknown: a template that renders to ``None`` makes a numeric sensor or a binary sensor unknown; only numbers do, so a
text is never null.
"""

from __future__ import annotations

import math
import re
import zlib
from typing import Any, NamedTuple

import msgspec

from edgebms import __version__
from edgebms.vocabulary import Action, Contactor, Level, Mode


class Entity(NamedTuple):
    """``key`` makes the unique id; ``field`` of the state message; ``scale`` for what is shown in per cent; ``digits`` shown.
    diagnostic: Home Assistant keeps it apart from the main ones."""

    key: str
    name: str
    field: str
    unit: str | None = None
    device_class: str | None = None
    digits: int | None = None
    scale: int = 1
    diagnostic: bool = False
    number: bool = True


ENTITIES = (
    Entity("voltage", "Voltage", "voltage_v", "V", "voltage", 1),
    Entity("current", "Current", "current_a", "A", "current", 1),
    Entity("power", "Power", "power_w", "W", "power", 0),
    Entity("soc", "State of charge", "soc", "%", "battery", 1, 100),
    Entity("soc_sigma", "State of charge uncertainty", "soc_sigma", "%", None, 1, 100, diagnostic=True),
    Entity("soh", "State of health", "soh", "%", None, 1, 100),
    Entity("resistance_ratio", "Resistance over the card's", "resistance_ratio", None, None, 2, diagnostic=True),
    Entity("cell_voltage_min", "Lowest cell voltage", "cell_voltage_min_v", "V", "voltage", 3),
    Entity("cell_voltage_min_cell", "Lowest cell", "cell_voltage_min_cell", None, None, 0, diagnostic=True),
    Entity("cell_voltage_max", "Highest cell voltage", "cell_voltage_max_v", "V", "voltage", 3),
    Entity("cell_voltage_max_cell", "Highest cell", "cell_voltage_max_cell", None, None, 0, diagnostic=True),
    Entity("cell_voltage_spread", "Cell voltage spread", "cell_voltage_spread_v", "V", "voltage", 3),
    Entity("temperature_min", "Lowest temperature", "temperature_min_c", "°C", "temperature", 1),
    Entity("temperature_min_probe", "Coldest probe", "temperature_min_probe", None, None, 0, diagnostic=True),
    Entity("temperature_max", "Highest temperature", "temperature_max_c", "°C", "temperature", 1),
    Entity("temperature_max_probe", "Warmest probe", "temperature_max_probe", None, None, 0, diagnostic=True),
    Entity("charge_limit", "Charge limit", "charge_limit_a", "A", "current", 1),
    Entity("discharge_limit", "Discharge limit", "discharge_limit_a", "A", "current", 1),
    Entity("charge_limit_voltage", "Charge voltage limit", "charge_limit_v", "V", "voltage", 1),
    Entity("alert_count", "Alerts", "alerts", None, None, 0),
    Entity("cells_valid", "Valid cells", "cells_valid", None, None, 0, diagnostic=True),
    Entity("alert", "Worst alert", "alert", number=False),
)
CHOICES = (
    ("level", "Alert level", "level", tuple(level.word for level in Level), False),
    ("action", "Action", "action", tuple(str(action) for action in Action), False),
    ("action_mode", "Action is", "mode", tuple(str(mode) for mode in Mode), False),
    ("contactors", "Contactors", "contactors", tuple(str(contactor) for contactor in Contactor), True),
)
"""key, name, field, options, diagnostic: enumerations, which are always known (contactors have a word for unknown)."""


def device_id(topic: str, pack: str) -> str:
    """Made of topic and pack alone: a gateway that is replaced keeps its devices and their history.

    >>> device_id("edgebms", "rack-1")
    'edgebms_rack-1'
    >>> device_id("site/a", "rack.1")
    'site_a_rack_1_6908cd3b'
    """
    told = f"{topic}/{pack}"
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", told)
    # what had to be replaced may collide with another pack's: then the sum of the real name stands behind it
    return plain if plain == f"{topic}_{pack}" else f"{plain}_{zlib.crc32(told.encode()):08x}"


def discovery_topic(prefix: str, topic: str, pack: str) -> str:
    return f"{prefix}/device/{device_id(topic, pack)}/config"


def discovery_message(
    *, topic: str, pack: str, availability: str, cells: int, card: str, state_expires_s: float, cells_expire_s: float
) -> bytes:
    """The discovery of one pack. cells: series groups; 0 leaves the per-cell entities out. *_expire_s: after so long without
    a message an entity is unavailable; rounded up to whole seconds."""
    ident = device_id(topic, pack)
    body = {
        "dev": {"ids": [ident], "name": f"Battery {pack}", "mf": "edgebms", "mdl": card, "sw": __version__},
        "o": {"name": "edgebms", "sw": __version__},
        "availability_topic": availability,
        "state_topic": f"{topic}/{pack}/state",
        "qos": 1,
        "cmps": components(ident, math.ceil(state_expires_s))
        | cell_components(ident, f"{topic}/{pack}/cells", cells, math.ceil(cells_expire_s)),
    }
    return msgspec.json.encode(body)


def components(ident: str, expire_after: int) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for entity in ENTITIES:
        out[entity.key] = {
            "p": "sensor",
            "unique_id": f"{ident}_{entity.key}",
            "name": entity.name,
            "value_template": template(f"value_json.{entity.field}", entity.scale),
            "expire_after": expire_after,
        }
        optional = {
            "unit_of_measurement": entity.unit,
            "device_class": entity.device_class,
            "state_class": "measurement" if entity.unit is not None else None,
            "suggested_display_precision": entity.digits,
            "entity_category": "diagnostic" if entity.diagnostic else None,
        }
        out[entity.key] |= {key: value for key, value in optional.items() if value is not None}
    for key, name, field, options, diagnostic in CHOICES:
        out[key] = {
            "p": "sensor",
            "unique_id": f"{ident}_{key}",
            "name": name,
            "device_class": "enum",
            "options": list(options),
            "value_template": template(f"value_json.{field}"),
            "expire_after": expire_after,
        }
        if diagnostic:
            out[key]["entity_category"] = "diagnostic"
    out["problem"] = {
        "p": "binary_sensor",
        "unique_id": f"{ident}_problem",
        "name": "Problem",
        "device_class": "problem",
        "value_template": "{{ 'ON' if value_json.problem else 'OFF' }}",
        "expire_after": expire_after,
    }
    return out


def cell_components(ident: str, state_topic: str, cells: int, expire_after: int) -> dict[str, dict[str, Any]]:
    """One voltage a cell; disabled until somebody wants it."""
    return {
        f"cell_{cell}": {
            "p": "sensor",
            "unique_id": f"{ident}_cell_{cell}",
            "name": f"Cell {cell} voltage",
            "state_topic": state_topic,
            "value_template": template(f"value_json.voltage_v[{cell - 1}]"),
            "device_class": "voltage",
            "unit_of_measurement": "V",
            "state_class": "measurement",
            "suggested_display_precision": 3,
            "entity_category": "diagnostic",
            "enabled_by_default": False,
            "expire_after": expire_after,
        }
        for cell in range(1, cells + 1)
    }


def template(field: str, scale: int = 1) -> str:
    """
    >>> template("value_json.soc", 100)
    '{{ (value_json.soc * 100) | round(2) if value_json.soc is not none else none }}'
    """
    if scale == 1:
        return f"{{{{ {field} }}}}"
    return f"{{{{ ({field} * {scale}) | round(2) if {field} is not none else none }}}}"
