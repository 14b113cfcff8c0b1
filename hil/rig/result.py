"""One scenario's outcome: its run and the checks made of it."""

from __future__ import annotations

from dataclasses import dataclass

from hil.rig.judge import Check
from hil.rig.run_log import RunLog


@dataclass(frozen=True, slots=True)
class Result:
    """skipped: why it did not run here; "" = it ran."""

    run: RunLog
    checks: tuple[Check, ...]
    skipped: str = ""

    @property
    def name(self) -> str:
        return self.run.scenario.name

    @property
    def passed(self) -> bool:
        return not self.skipped and all(check.passed for check in self.checks)
