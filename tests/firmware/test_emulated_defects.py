"""The rig's scenarios with the firmware in the loop can fail: an image with a defect turns the one named for it red."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from c_library import tool
from shared_data import ROOT

from hil.rig.mcu_end import BoardChoice
from hil.rig.runner import run_one
from hil.rig.verbs import SCENARIOS
from hil.scenario import load

DEFECTS = [
    ("ebms_advice.c", "return EBMS_VERDICT_FORGED;", ";", "mcu_forged"),
    ("ebms_advice.c", "return EBMS_VERDICT_REPLAYED;", ";", "mcu_replayed"),
    ("ebms_advice.c", "return EBMS_VERDICT_REPLAYED;", ";", "mcu_counter_wrap"),
    ("ebms_advice.c", "return EBMS_VERDICT_OTHER_GATEWAY;", ";", "mcu_other_gateway"),
    ("ebms_contactor.c", "if (low || (", "if (true || (", "mcu_own_trip"),
    ("firmware/protection.c", "current_ma < -(int32_t)(PROFILE_DISCHARGE_DA * 110u)", "false", "mcu_over_current"),
]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("file", "old", "new", "scenario"), DEFECTS, ids=lambda value: value if str(value).startswith("mcu_") else "")
def test_an_image_with_a_defect_turns_its_scenario_red(tmp_path, file, old, new, scenario):
    tool("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    tool("qemu-system-arm", "qemu-system-arm")
    sources = tmp_path / "c"
    shutil.copytree(ROOT / "firmware_bridge/c", sources, ignore=shutil.ignore_patterns("build"))
    text = (sources / file).read_text()
    assert text.count(old) == 1
    (sources / file).write_text(text.replace(old, new))
    subprocess.run([tool("make", "make"), "-s", "-C", sources / "firmware", f"BUILD={tmp_path / 'build'}"], check=True)
    result = run_one(load(SCENARIOS / f"{scenario}.yaml"), board=BoardChoice(elf=tmp_path / "build/firmware.elf"))
    assert not result.skipped
    assert any("microcontroller" in check.asked or "plant" in check.asked for check in result.wrong), result.wrong
