"""What the guard found: the second frozen type of the line."""

from __future__ import annotations

from dataclasses import dataclass

from edgebms.vocabulary import Action, Cause, Level


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that holds, with the numbers read from the bus that made it hold.

    where: 0-based cell or probe, -1 = the whole pack. kind says which: "cell", "probe" or "pack".
    value and limit are in ``unit``; window_s is the time over which value was measured (0 = one sample).
    action is what the guard asks for; what it may do is the authority table's. by: "guard", or "gateway" where
    the pipeline passes on what is wrong with the gateway itself.
    """

    rule: str
    level: Level
    hazard: Cause
    action: Action
    kind: str
    where: int
    value: float
    limit: float
    unit: str
    window_s: float
    since_ns: int
    latched: bool
    by: str = "guard"
