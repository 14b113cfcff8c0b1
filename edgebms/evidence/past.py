"""What the questions are put to: one pack's history as it stands now, and what its card says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig, probe_of_cell
from edgebms.evidence.memory import LEAST_HOURS, Weeks
from edgebms.evidence.reach import LONGEST_S, Reach
from edgebms.history.history import History, Window

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

SHORT_S, MIDDLE_S = 300.0, 14400.0
"""Windows up to here are read from 1 s means, up to there from 10 s means, longer ones from 5 min means."""
LEAST_SHARE = 0.3
"""A window of which less has passed since the first snapshot is unknown."""
LEAST_ROWS = 4

Means = Callable[[float, float], Window]
"""(seconds, period_s) -> the last ``seconds`` of the means over ``period_s``: ``History.means``."""


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What a pack's values are measured against. currents in A of the pack, voltages of one cell, degrees Celsius.

    probe_of_cell: 0-based probe that watches each cell, -1 = none. cell_of_probe: the cell that a probe is named by.
    soc, ocv_v: the card's open-circuit curve at 25 degC. resistance_ohm: one series group's at 50 % and 25 degC.
    """

    cells: int
    probes: int
    capacity_ah: float
    sensor_v: float
    probe_of_cell: Places
    cell_of_probe: Places
    soc: Floats
    ocv_v: Floats
    resistance_ohm: float
    voltage_min_v: float
    voltage_max_v: float
    charge_c_rate: float
    discharge_c_rate: float
    temperature_max_c: float
    chemistry: str

    @classmethod
    def of(cls, card: CellCard, pack: PackConfig) -> Scale:
        watched = np.array(probe_of_cell(pack), dtype=np.intp)
        return cls.watched_by(card, watched, pack.probes, pack.parallel)

    @classmethod
    def watched_by(cls, card: CellCard, probe_of_cell: Places, probes: int, parallel: float) -> Scale:
        """probe_of_cell (cells,) 0-based, -1 = none."""
        table, ohmic = card.ocv.voltage, card.resistance_ohm
        ocv = np.array([np.interp(25.0, table.temperature_c, column) for column in np.array(table.value).T])
        at_half = [float(np.interp(0.5, ohmic.soc, row)) for row in ohmic.value]
        return cls(
            cells=len(probe_of_cell),
            probes=probes,
            capacity_ah=card.capacity_ah * parallel,
            sensor_v=card.accuracy.sensor_v,
            probe_of_cell=probe_of_cell,
            cell_of_probe=np.array([named_by(probe_of_cell, probe) for probe in range(probes)], dtype=np.intp),
            soc=np.array(table.soc),
            ocv_v=ocv,
            resistance_ohm=float(np.interp(25.0, ohmic.temperature_c, at_half)) / parallel,
            voltage_min_v=card.limits.voltage_min_v,
            voltage_max_v=card.limits.voltage_max_v,
            charge_c_rate=card.limits.charge_c_rate,
            discharge_c_rate=card.limits.discharge_c_rate,
            temperature_max_c=min(card.limits.charge_temperature_max_c, card.limits.discharge_temperature_max_c),
            chemistry=card.chemistry.value,
        )


def named_by(probe_of_cell: Places, probe: int) -> int:
    """The cell that stands for a probe: the middle one of those that it watches, -1 = it watches none."""
    watched = np.flatnonzero(probe_of_cell == probe)
    return int(watched[(len(watched) - 1) // 2]) if len(watched) else -1


@dataclass(slots=True, eq=False)
class Past:
    """One pack at one instant. What several questions need is worked out once and kept in ``worked``."""

    scale: Scale
    means: Means
    weeks: Weeks | None = None
    worked: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, history: History, scale: Scale, weeks: Weeks | None = None) -> Past:
        """As ``history`` stands; ask before its next push. weeks: what is usual of the pack, None = nobody remembered."""
        return cls(scale, history.means, weeks)

    def window(self, seconds: float) -> Window | None:
        """Rows of the last ``seconds``, None = too little of it has passed to say anything."""
        if seconds not in self.worked:
            period_s = 1.0 if seconds <= SHORT_S else 10.0 if seconds <= MIDDLE_S else 300.0
            window = self.means(seconds, period_s)
            enough = len(window) >= LEAST_ROWS and window.span_s >= LEAST_SHARE * seconds
            self.worked[seconds] = window if enough else None
        found: Window | None = self.worked[seconds]
        return found

    @property
    def reach(self) -> Reach:
        stands = [place for place, seconds in enumerate(LONGEST_S) if place and self.window(seconds) is not None]
        return Reach(max(stands, default=0), self.weeks is not None and bool((self.weeks.cells.hours >= LEAST_HOURS).any()))


def soc_of(scale: Scale, voltage_v: Floats | float) -> Floats:
    """SOC of an open-circuit voltage at 25 degC by the card."""
    return np.asarray(np.interp(voltage_v, scale.ocv_v, scale.soc), dtype=float)


def slope_v(scale: Scale, voltage_v: float, least_v: float = 0.05) -> float:
    """``slopes_v`` at one voltage."""
    return float(slopes_v(scale, np.array([voltage_v]), least_v)[0])


def slopes_v(scale: Scale, voltage_v: Floats, least_v: float = 0.05) -> Floats:
    """dOCV/dSOC at each of the voltages (t,), V, over 4 % of SOC; at least ``least_v``: a plateau tells no SOC. NaN stays NaN."""
    soc = soc_of(scale, voltage_v)
    low, high = np.maximum(soc - 0.02, scale.soc[0]), np.minimum(soc + 0.02, scale.soc[-1])
    rise = np.interp(high, scale.soc, scale.ocv_v) - np.interp(low, scale.soc, scale.ocv_v)
    slope: Floats = np.maximum(rise / np.maximum(high - low, 1e-6), least_v)
    return slope
