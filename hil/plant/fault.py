"""What a fault of the plant is: its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

from edgebms.vocabulary import Cause


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one pack. cell: 0-based, -1 = the whole pack or a probe; probe: 0-based, -1 = none. size in ``unit``.

    tau_s: how fast it grows. seed: of its own draws.
    """

    kind: str
    cause: Cause
    cell: int
    probe: int
    onset_s: float
    size: float
    unit: str
    tau_s: float
    seed: int
