"""The site around the pack: machines that obey commands and limits, and a person who may be told something."""

from __future__ import annotations

from dataclasses import dataclass

from edgebms.decision.types import Decision
from edgebms.vocabulary import Action, Mode
from hil.scenario import SiteSpec


@dataclass(frozen=True, slots=True)
class Orders:
    """What the plant is told: the current that flows, the contactors, the coolant, which cells (0-based) bleed."""

    current_a: float
    closed: bool
    cooling: bool
    balance: tuple[int, ...]
    unmet_a: float


class Site:
    """Takes each decision as a machine would: a limit holds until it expires, then nothing is allowed."""

    def __init__(self, spec: SiteSpec, closed: bool) -> None:
        """closed: the contactors, at the start."""
        self._spec, self._closed = spec, closed
        self._decision: Decision | None = None
        self._came_s = 0.0
        self._advised_s: float | None = None
        self.opened_s: float | None = None

    def take(self, decision: Decision, now_s: float) -> None:
        self._decision, self._came_s = decision, now_s
        command = decision.command
        if command.action is not Action.OPEN_CONTACTORS:
            self._advised_s = None
        elif command.mode is Mode.COMMAND:
            if self._spec.obeys != "nothing" and self.opened_s is None:
                self.opened_s = now_s
        elif self._advised_s is None:
            self._advised_s = now_s

    def orders(self, wanted_a: float, now_s: float) -> Orders:
        """What becomes of the load's wish at ``now_s``."""
        person_s = self._spec.person_s
        if self.opened_s is None and self._advised_s is not None and person_s is not None and now_s >= self._advised_s + person_s:
            self.opened_s = now_s
        if self.opened_s is not None:
            return Orders(0.0, False, self._cools(), (), 0.0)
        if self._spec.obeys != "all":
            return Orders(wanted_a, self._closed, self._cools(), (), self._unmet(wanted_a))
        low_a, high_a = self._limits(now_s)
        return Orders(min(max(wanted_a, low_a), high_a), self._closed, self._cools(), self._balance(), 0.0)

    def _limits(self, now_s: float) -> tuple[float, float]:
        decision = self._decision
        if decision is None or now_s > self._came_s + decision.expires_ms / 1e3:
            return (0.0, 0.0)
        limits = decision.command.limits
        return (-limits.discharge_a, limits.charge_a)

    def _unmet(self, current_a: float) -> float:
        if self._decision is None:
            return 0.0
        limits = self._decision.command.limits
        return max(0.0, current_a - limits.charge_a, -current_a - limits.discharge_a)

    def _cools(self) -> bool:
        return self._decision is not None and self._decision.command.cool

    def _balance(self) -> tuple[int, ...]:
        return tuple(cell - 1 for cell in self._decision.command.balance) if self._decision is not None else ()
