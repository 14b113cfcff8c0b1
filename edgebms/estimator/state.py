"""What the estimator knows of each cell: the third frozen type of the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import ReasonerStatus, Source

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PowerLimits:
    """Limits for the pack's terminals, magnitudes in A and V. Unknown is 0 A, never 0 V.

    ``reasons`` names what bound each limit, for the explanation.
    """

    charge_a: float
    discharge_a: float
    charge_v: float
    discharge_v: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CellState:
    """Per cell arrays of shape (cells,), fractions 0..1 unless said, NaN = unknown.

    soc may leave 0..1 by a few per cent where the card's reference capacity does.
    soh_resistance is the ratio to the card's resistance (1.21 = 21 % more).
    current_offset_a: estimated offset of the pack current sensor, with its sigma.
    """

    soc: Floats
    soc_sigma: Floats
    soh_capacity: Floats
    soh_capacity_sigma: Floats
    soh_resistance: Floats
    soh_resistance_sigma: Floats
    source: Source
    since_anchor_s: Floats
    innovation_v: Floats
    current_offset_a: float
    current_offset_sigma_a: float
    limits: PowerLimits
    balance: tuple[int, ...]
    """0-based cells that the estimator proposes to bleed."""
    student: ReasonerStatus = ReasonerStatus.ABSENT
