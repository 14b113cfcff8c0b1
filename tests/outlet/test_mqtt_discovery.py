"""Home Assistant's discovery: the fields that it needs, templates rendered as it renders them, and when it is told."""

import json
import math

import jinja2
import pytest
from told import Teller, finding

from edgebms.outlet.homeassistant import device_id, discovery_message
from edgebms.outlet.mqtt_payload import TEXT_LIMIT, cells_message, state_message
from edgebms.vocabulary import Cause, Level

NAN = float("nan")
UNITS = {"voltage": {"V"}, "current": {"A"}, "power": {"W"}, "battery": {"%"}, "temperature": {"°C"}}
"""Units that Home Assistant allows for a device class, of those that we use."""


def discovery(cells=16, **other):
    arguments = {
        "topic": "edgebms",
        "pack": "rack-1",
        "availability": "edgebms/gateway/g/availability",
        "cells": cells,
        "card": "lg_hg2 (fitted)",
        "state_expires_s": 3.2,
        "cells_expire_s": 63.0,
    }
    return json.loads(discovery_message(**(arguments | other)))


def shown(component, message):
    """What Home Assistant makes of a message: text, "None" = unknown. It renders templates with Jinja2."""
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(component["value_template"]).render(value_json=json.loads(message))
    )


def test_every_component_has_what_device_discovery_asks_for():
    found = discovery()
    assert set(found) >= {"dev", "o", "cmps"}
    assert found["o"]["name"] == "edgebms" and found["dev"]["ids"] == ["edgebms_rack-1"]
    assert found["availability_topic"] == "edgebms/gateway/g/availability"
    assert len(found["cmps"]) >= 40
    for component in found["cmps"].values():
        assert component["p"] in ("sensor", "binary_sensor")
        assert component["unique_id"].startswith("edgebms_rack-1_")
        assert isinstance(component["expire_after"], int) and component["expire_after"] > 0
    assert len({component["unique_id"] for component in found["cmps"].values()}) == len(found["cmps"])
    assert found["cmps"]["voltage"]["expire_after"] == math.ceil(3.2) and found["cmps"]["cell_1"]["expire_after"] == 63


def test_units_and_classes_are_those_that_home_assistant_takes():
    for component in discovery()["cmps"].values():
        device_class = component.get("device_class")
        if device_class in UNITS:
            assert component["unit_of_measurement"] in UNITS[device_class] and component["state_class"] == "measurement"
        if device_class == "enum":
            assert component["options"] and "state_class" not in component and "unit_of_measurement" not in component
        if component["p"] == "binary_sensor":
            assert "state_class" not in component


def test_cells_are_there_for_whoever_wants_them():
    cells = [component for key, component in discovery()["cmps"].items() if key.startswith("cell_") and key[5:].isdigit()]
    assert len(cells) == 16 and all(cell["enabled_by_default"] is False for cell in cells)
    assert not any(key[5:].isdigit() for key in discovery(cells=0)["cmps"] if key.startswith("cell_"))


def test_every_template_shows_the_decisions_value():
    decision = Teller().decide(finding(Cause.OVER_TEMPERATURE, Level.WARNING, where=3))
    found = discovery()["cmps"]
    state, cells = state_message(decision), cells_message(decision)
    seen = {key: shown(component, cells if "state_topic" in component else state) for key, component in found.items()}
    assert float(seen["voltage"]) == pytest.approx(decision.measured.voltage_v)
    assert float(seen["soc"]) == pytest.approx(100 * decision.soc.pack, abs=0.01)
    assert float(seen["cell_16"]) == pytest.approx(decision.cells.voltage_v[15])
    assert float(seen["charge_limit"]) == pytest.approx(decision.command.limits.charge_a)
    assert seen["problem"] == "ON" and seen["level"] == "warning"
    for key in ("level", "action", "action_mode", "contactors"):
        assert seen[key] in found[key]["options"]
    assert "None" not in seen.values(), "all is known here"


def test_what_is_unknown_is_unknown_to_home_assistant():
    """A numeric sensor becomes unknown by the word None; any other sensor would show it as a word."""
    decision = Teller().decide(voltage_v=NAN, temperature_c=NAN, current_a=NAN, pack_voltage_v=NAN)
    found = discovery()["cmps"]
    state, cells = state_message(decision), cells_message(decision)
    seen = {key: shown(component, cells if "state_topic" in component else state) for key, component in found.items()}
    unknown = {key for key, value in seen.items() if value == "None"}
    assert unknown >= {"voltage", "current", "power", "cell_voltage_min", "temperature_max", "temperature_max_probe", "cell_1"}
    for key in unknown:
        component = found[key]
        # Home Assistant's test for a number: a unit, a state class, or a display precision
        assert component["p"] == "sensor" and {"unit_of_measurement", "state_class", "suggested_display_precision"} & set(component)
        assert component.get("device_class") != "enum"


def test_the_worst_alert_fits_into_a_state():
    rules = [finding(Cause.INTERNAL_SHORT, Level.CRITICAL, where=3, rule="a_rule_of_a_very_long_name" * 20)]
    text = json.loads(state_message(Teller().decide(*rules)))["alert"]
    assert text.startswith("critical: internal short at cell 4") and len(text) == TEXT_LIMIT


def test_the_worst_alert_is_the_one_shown():
    low, high = (
        finding(Cause.IMBALANCE, Level.WATCH, where=1, rule="spread"),
        finding(Cause.OVER_TEMPERATURE, Level.CRITICAL, where=2, rule="hot"),
    )
    state = json.loads(state_message(Teller().decide(low, high)))
    assert state["level"] == "critical" and "cell 3" in state["alert"] and state["alerts"] == 2
    assert json.loads(state_message(Teller().decide(low)))["problem"] is False, "a watch is no problem yet"
    assert json.loads(state_message(Teller().decide()))["alert"] == "no alert"


@pytest.mark.parametrize(("one", "other"), [("rack.1", "rack_1"), ("a.b", "a_b")])
def test_two_packs_never_share_a_device(one, other):
    assert device_id("edgebms", one) != device_id("edgebms", other)
    assert device_id("site/a", "b") != device_id("site_a", "b")
