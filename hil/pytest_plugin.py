"""Scenario files as pytest's test items: ``pytest -p hil.pytest_plugin hil/scenarios``.

Each scenario is one item with the markers ``requires_socketcan``, ``requires_firmware``, ``requires_hardware`` and ``realtime`` as they apply,
and one for each of its tags (``scenario_fault``, ``scenario_bus``, ...). A scenario whose known gaps fail is an expected failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.rig.judge import Check
from hil.rig.result import Result
from hil.rig.runner import run_one
from hil.scenario import SCHEMA, Scenario, load

MARKERS = {
    "requires_socketcan": "a scenario whose link is SocketCAN (vcan0, or the interface in EDGEBMS_RIG_CAN)",
    "requires_firmware": "a scenario with a microcontroller (QEMU and its compiler, or a board at --rig-port)",
    "requires_hardware": "a scenario run against a physical pack emulator (--rig-hardware FILE)",
    "realtime": "a scenario on the machine's own clock",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rig", "scenarios of the rig")
    group.addoption("--rig-seed", type=int, default=None, help="in place of the scenarios' own")
    group.addoption("--rig-traces", type=Path, default=None, metavar="DIR", help="BLF, MF4 and NDJSON of each scenario")
    group.addoption("--rig-port", default=None, metavar="DEVICE", help="a real microcontroller in the emulated one's place")
    group.addoption("--rig-front-end", default=None, metavar="DEVICE", help="the port of its emulated front end")
    group.addoption("--rig-hardware", type=Path, default=None, metavar="FILE", help="a physical pack emulator in place of the plant")


def pytest_configure(config: pytest.Config) -> None:
    for name, says in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {says}")
    for tag in ("fault", "benign", "site", "bus", "gateway", "mcu"):
        config.addinivalue_line("markers", f"scenario_{tag}: a scenario with the tag {tag}")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != ".yaml" or SCHEMA not in file_path.read_text(encoding="utf-8", errors="replace"):
        return None
    return ScenarioFile.from_parent(parent, path=file_path)


class ScenarioFile(pytest.File):
    """One file, one scenario. Raises ConfigError, which pytest shows as an error of collection."""

    def collect(self) -> Iterator[ScenarioItem]:
        scenario = load(self.path)
        yield ScenarioItem.from_parent(self, name=scenario.name, scenario=scenario)


class ScenarioItem(pytest.Item):
    def __init__(self, *, scenario: Scenario, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario
        if scenario.link == "socketcan":
            self.add_marker("requires_socketcan")
        if scenario.link == "mcu":
            self.add_marker("requires_firmware")
        if self.config.getoption("--rig-hardware") is not None:
            self.add_marker("requires_hardware")
        if scenario.realtime:
            self.add_marker("realtime")
        for tag in scenario.tags:
            self.add_marker(f"scenario_{tag}")
        self.user_properties += [("requirement", name) for name in scenario.requirements]

    def runtest(self) -> None:
        result = run_one(
            self.scenario,
            self.config.getoption("--rig-seed"),
            self.config.getoption("--rig-traces"),
            hardware=self.config.getoption("--rig-hardware"),
            board=board_of(self.config),
        )
        self.add_report_section("call", "checks", "\n".join(f"{line(check)}" for check in result.checks))
        if result.skipped:
            pytest.skip(result.skipped)
        if result.wrong:
            raise Failed(result)
        if result.gaps:
            pytest.xfail("; ".join(f"{check.asked}: {check.known}" for check in result.gaps))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, Failed):
            return "\n".join([self.scenario.says, *map(line, excinfo.value.result.wrong)])
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, 0, f"scenario {self.name}"


def board_of(config: pytest.Config) -> Any:
    if config.getoption("--rig-port") is None:
        return None
    from hil.rig.mcu_end import BoardChoice

    return BoardChoice(config.getoption("--rig-port"), config.getoption("--rig-front-end"))


class Failed(Exception):
    def __init__(self, result: Result) -> None:
        super().__init__(result.name)
        self.result = result


def line(check: Check) -> str:
    return f"{'pass' if check.passed else 'known' if check.known else 'FAIL'}  {check.asked}: {check.says}"
