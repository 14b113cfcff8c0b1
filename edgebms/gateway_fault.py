"""What is wrong with the gateway itself: a link, its configuration, its disk, an outlet.

Whoever finds one says so as a ``GatewayFault``; the loop gives the pack's to its pipeline at each step, and
they leave the house like the guard's findings: an alert with hazard ``gateway_fault``, raised by
``gateway``, and a line in ``quality.warnings``. Data goes one way: a fault is told, never asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgebms.vocabulary import Level


@dataclass(frozen=True, slots=True)
class GatewayFault:
    """rule: what is wrong and of which part, ``link_down.can0``. value and limit are in ``unit``; since_ns on the
    loop's clock. level NONE: told in ``quality.warnings``, no alert. packs: whom it concerns, None = every pack.
    count: how many things were lost (frames, decisions), 0 where nothing is counted."""

    rule: str
    level: Level
    value: float
    limit: float
    unit: str
    since_ns: int
    packs: frozenset[str] | None = None
    count: int = 0

    def concerns(self, pack: str) -> bool:
        return self.packs is None or pack in self.packs


Faults = Callable[[str], tuple[GatewayFault, ...]]
"""``faults(pack)``: what stands now and concerns that pack."""


def no_faults(pack: str) -> tuple[GatewayFault, ...]:
    """Replay: the gateway that recorded the log is not here."""
    del pack
    return ()
