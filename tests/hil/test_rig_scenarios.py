"""What the scenarios that ship cover, and that they are well-formed."""

from __future__ import annotations

import re

import jsonschema
import pytest
import yaml
from shared_data import ROOT

from edgebms.errors import ConfigError
from hil.plant.faults import FAULTS, LOOK_ALIKES
from hil.rig import bus_faults, gateway_faults, mcu_faults
from hil.rig.verbs import SCENARIOS
from hil.scenario import load_folder, parse, schema

ALL = {scenario.name: scenario for scenario in load_folder([SCENARIOS])}


def test_there_are_enough_and_each_stands_in_a_file_of_its_own_name():
    assert len(ALL) >= 75
    assert {path.stem for path in SCENARIOS.glob("*.yaml")} == set(ALL)


def test_no_two_are_the_same_but_for_numbers():
    def cause(scenario):
        """What the scenario is about, without sizes and times."""
        told = yaml.safe_load((SCENARIOS / f"{scenario.name}.yaml").read_text())
        for key in ("schema", "name", "says", "twins", "requirements", "tags", "seed"):
            told.pop(key, None)
        return re.sub(r"-?\d+(\.\d+)?", "#", yaml.safe_dump(told))

    causes: dict[str, str] = {}
    for scenario in ALL.values():
        text = cause(scenario)
        assert text not in causes, f"{scenario.name} and {causes[text]} differ in parameters only"
        causes[text] = scenario.name


@pytest.mark.parametrize("kind", [*FAULTS, *LOOK_ALIKES])
def test_every_fault_and_look_alike_of_the_plant_has_a_scenario(kind):
    assert any(fault.kind == kind for scenario in ALL.values() for fault in scenario.faults)


@pytest.mark.parametrize("kind", bus_faults.KINDS)
def test_every_fault_of_the_bus_has_a_scenario(kind):
    assert any(fault.kind == kind for scenario in ALL.values() for fault in scenario.bus)


@pytest.mark.parametrize("kind", gateway_faults.KINDS)
def test_every_fault_of_the_gateway_has_a_scenario(kind):
    assert any(fault.kind == kind for scenario in ALL.values() for fault in scenario.gateway)


@pytest.mark.parametrize("kind", mcu_faults.KINDS)
def test_every_fault_of_the_microcontroller_has_a_scenario(kind):
    assert any(fault.kind == kind for scenario in ALL.values() for fault in scenario.mcu)


def test_every_fault_has_a_benign_twin_and_twins_know_each_other():
    for scenario in ALL.values():
        for name in scenario.twins:
            assert name in ALL, f"{scenario.name}: no twin is called {name}"
        if "fault" in scenario.tags or ("bus" in scenario.tags and scenario.bus) or scenario.gateway:
            assert scenario.twins, f"{scenario.name} has no twin"
    benign = {name for name, scenario in ALL.items() if is_benign(scenario)}
    for scenario in ALL.values():
        if "fault" in scenario.tags:
            assert set(scenario.twins) <= benign, f"{scenario.name}: {set(scenario.twins) - benign} are not benign"
            for name in scenario.twins:
                assert scenario.name in ALL[name].twins, f"{name} does not name {scenario.name}"


def is_benign(scenario) -> bool:
    """It asks that nothing above a watch is ever said."""
    return any(never.alert is not None and never.alert.level in ("watch", "warning", "critical") and never.alert.hazard is None for never in scenario.never)  # fmt: skip


def test_every_scenario_asks_for_something_and_names_a_requirement_of_the_docs():
    page = (ROOT / "docs/hil.md").read_text().split("## Requirements")[1].split("## ")[0]
    known = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    used = set()
    for scenario in ALL.values():
        assert scenario.expect or scenario.never, scenario.name
        assert scenario.requirements, scenario.name
        used |= set(scenario.requirements)
    assert used == known


def test_the_schema_holds_for_every_file():
    validator = jsonschema.Draft202012Validator(schema())
    for path in SCENARIOS.glob("*.yaml"):
        errors = [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))]
        assert not errors, f"{path.name}: {errors}"


GOOD = {"schema": "edgebms.scenario/1", "name": "a", "says": "ten letters at least", "duration_s": 5}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"duration_s": -1}, "duration_s"),
        ({"unknown_field": 1}, "unknown_field"),
        ({"expect": [{}]}, "none or several"),
        ({"expect": [{"recovered": True, "unknown": "x"}]}, "none or several"),
        ({"expect": [{"recovered": True, "of": "whenever"}]}, "no event"),
        ({"never": [{"since": "start"}]}, "none or several"),
        ({"link": "pigeon"}, "link"),
        ({"mcu": [{"kind": "reset"}]}, "at_s"),
        ({"expect": [{"mcu": {"state": "asleep"}}]}, "state"),
        ({"pack": {"cells": 1}}, "pack.cells"),
    ],
)
def test_a_wrong_scenario_is_refused_by_field_and_mend(change, told):
    with pytest.raises(ConfigError) as refused:
        parse(GOOD | change)
    assert told in str(refused.value)
    assert refused.value.mend
