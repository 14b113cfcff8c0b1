"""What a fault may touch: the packs, their sensors, their hardware."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hil.plant.control import Control
from hil.plant.curves import EXCHANGE, KELVIN, R0, TWO_GAS_OVER_FARADAY
from hil.plant.packs import Packs
from hil.plant.sense import Senses


@dataclass(slots=True, eq=False)
class World:
    """memory: a fault's own draws, by (row, kind). healthy_ohm: insulation before its fault, by row. hottest_c: (rows,) so far."""

    packs: Packs
    senses: Senses
    control: Control
    memory: dict[tuple[int, str], np.random.Generator] = field(default_factory=dict)
    healthy_ohm: dict[int, float] = field(default_factory=dict)
    hottest_c: NDArray[np.float64] | float = -273.15

    def generator(self, row: int, kind: str, seed: int) -> np.random.Generator:
        if (row, kind) not in self.memory:
            self.memory[row, kind] = np.random.default_rng(seed)
        return self.memory[row, kind]

    def group_ohm(self, row: int, cell: int) -> float:
        """About what the group's voltage moves per ampere."""
        packs = self.packs
        level = packs.curves.capacity_ah
        looked = packs.state.looked[:, row, cell]
        kelvin = packs.state.temperature_c[row, cell] + KELVIN
        transfer = TWO_GAS_OVER_FARADAY * kelvin * np.arcsinh(0.5 * level / looked[EXCHANGE]) / level * packs.build.resistance[row, cell]
        return float((looked[R0] + transfer) / packs.build.parallel[row, 0])
