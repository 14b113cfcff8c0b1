"""What the bus said of one pack at one moment: the first frozen type of the line.

A value that is not known is NaN with its reason beside it, never a default. Indices are 0-based
in here and 1-based at the faces (decision JSON, explanations), like ``cell_voltage_001`` in BDF.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import Contactor, Reason

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Reading:
    """One scalar signal: value in the unit of its field (NaN = unknown), age, reason."""

    value: float
    age_s: float
    reason: Reason

    @property
    def valid(self) -> bool:
        return self.reason is Reason.VALID


MISSING = Reading(float("nan"), float("inf"), Reason.NOT_IN_PROFILE)


@dataclass(frozen=True, slots=True)
class Extreme:
    """A broadcast extreme: the pack's own statement of its lowest or highest value and where.

    ``index`` is 0-based, -1 when the bus does not say where.
    """

    value: float
    index: int
    age_s: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Extremes:
    """Extremes broadcasts (foxBMS 0x230/0x231, Pylontech 0x373...). None = not in the profile."""

    voltage_min_v: Extreme | None = None
    voltage_max_v: Extreme | None = None
    temperature_min_c: Extreme | None = None
    temperature_max_c: Extreme | None = None


NO_EXTREMES = Extremes()


@dataclass(frozen=True, slots=True)
class RunawayView:
    """How well the runaway rule (dT/dt >= 1 K/s for > 3 s) can see this pack.

    worst_s: worst detection time over the covered cells, seconds, inf when none is covered.
    uncovered_cells: cells whose temperature no live probe or broadcast watches.
    saturated: a temperature signal stands at its saturation value, so its rate is frozen.
    """

    worst_s: float
    uncovered_cells: int
    saturated: bool


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One complete (or timed-out) sweep of a pack.

    time_ns: receive time of the last frame, on the loop's clock. Arrays are float64 with NaN for
    unknown, reasons uint8 of ``Reason``, ages in seconds. cell_*: (cells,), temperature_*: (probes,).
    current_a is positive while charging. complete: the profile's completion rule was met;
    a snapshot that left on time-out says False.
    """

    pack: str
    seq: int
    time_ns: int
    cell_voltage_v: Floats
    cell_reason: Codes
    cell_age_s: Floats
    temperature_c: Floats
    temperature_reason: Codes
    temperature_age_s: Floats
    current_a: Reading
    voltage_v: Reading
    runaway_view: RunawayView
    insulation_ohm: Reading = MISSING
    gas: Reading = MISSING
    pressure_pa: Reading = MISSING
    coolant_temperature_c: Reading = MISSING
    reported_soc: Reading = MISSING
    contactors: Contactor = Contactor.UNKNOWN
    balancing: NDArray[np.bool_] | None = None
    extremes: Extremes = NO_EXTREMES
    complete: bool = True
    refused_frames: tuple[tuple[str, int], ...] = field(default=())
    """(FrameFault word, count) since the previous snapshot."""

    @property
    def valid_cells(self) -> int:
        return int(np.count_nonzero(self.cell_reason == 0))

    @property
    def watched(self) -> bool:
        """Something valid tells of the cells: one of them, or, where the bus has no single cells, the pack's
        voltage or a broadcast extreme."""
        if self.valid_cells:
            return True
        if not (self.cell_reason == Reason.NOT_IN_PROFILE).all():
            return False
        broadcast = (self.extremes.voltage_min_v, self.extremes.voltage_max_v)
        return self.voltage_v.valid or any(extreme is not None and extreme.reason is Reason.VALID for extreme in broadcast)

    @property
    def oldest_s(self) -> float:
        """Age of the oldest cell voltage that was ever received; inf when none was."""
        ages = self.cell_age_s[np.isfinite(self.cell_age_s)]
        return float(ages.max()) if ages.size else float("inf")
