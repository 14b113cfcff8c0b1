"""One scenario's outcome: its run and the checks made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from hil.rig.judge import Check
from hil.rig.run_log import RunLog

Verdict = Literal["pass", "known", "fail", "skip"]


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
    def verdict(self) -> Verdict:
        """known: what fails is marked as known, all else holds. A mark on what holds is a failure: it has to go."""
        if self.skipped:
            return "skip"
        if self.wrong:
            return "fail"
        return "known" if self.gaps else "pass"

    @property
    def wrong(self) -> list[Check]:
        """What fails and was not known to, and marks that are out of date."""
        wrong = [check for check in self.checks if not check.passed and not check.known]
        return wrong + [
            replace(check, says=f"holds: take out `known: {check.known}`") for check in self.checks if check.passed and check.known
        ]

    @property
    def gaps(self) -> list[Check]:
        """What fails as known."""
        return [check for check in self.checks if not check.passed and check.known]
