"""Heat of decomposition: four lumped Arrhenius reactions per cell, rate = A exp(-Ea/RT) f(x).

Hatchard et al., J. Electrochem. Soc. 148 (2001) A755, and Kim et al., J. Power Sources 170 (2007) 476;
constants of LCO on graphite in an 18650. The NMC and LFP cathodes are literature values of the same
form and less sure. ``python -m hil plant-check`` prints the oven test next to what is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.vocabulary import Chemistry

Floats = NDArray[np.float64]

GAS_J_PER_MOL_K = 8.314
KELVIN = 273.15
HEAT_CAPACITY_J_PER_M3_K = 2.14e6
INERT_BELOW_C = 50.0
"""Below this every rate is under 3e-7 per second: not worth the time."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """a_per_s: pre-exponential factor. ea_j_per_mol: activation energy. heat_j_per_m3: of the whole reactant."""

    a_per_s: float
    ea_j_per_mol: float
    heat_j_per_m3: float

    def rate(self, temperature_k: Floats) -> Floats:
        return self.a_per_s * np.exp(-self.ea_j_per_mol / (GAS_J_PER_MOL_K * temperature_k))


SEI = Reaction(1.667e15, 1.3508e5, 2.57e5 * 610.4)
ANODE = Reaction(2.5e13, 1.3508e5, 1.714e6 * 610.4)
ELECTROLYTE = Reaction(5.14e25, 2.74e5, 1.55e5 * 406.9)
CATHODE = {
    Chemistry.LCO: Reaction(6.667e13, 1.396e5, 3.14e5 * 1221),
    Chemistry.NMC: Reaction(2.25e14, 1.54e5, 7.9e5 * 1221),
    Chemistry.NCA: Reaction(2.25e14, 1.54e5, 7.9e5 * 1221),
    Chemistry.LFP: Reaction(2e8, 1.03e5, 1.947e5 * 1221),
}
SEI_THICKNESS_0 = 0.033
SEI_0, ANODE_0, ELECTROLYTE_0 = 0.15, 0.75, 1.0
"""The anode's lithium is that of a full cell: ANODE_0 times the SOC reacts (see ``advance``)."""


def cathode_0(chemistry: Chemistry) -> float:
    """LFP decomposes by first order; the oxides by a(1-a), which a trace of a = 0.04 starts."""
    return 0.0 if chemistry is Chemistry.LFP else 0.04


def decompose(
    chemistry: Chemistry,
    sei: Floats,
    anode: Floats,
    film: Floats,
    cathode: Floats,
    electrolyte: Floats,
    temperature_c: Floats,
    step_s: float,
) -> Floats:
    """Let ``step_s`` pass at constant temperature; all arrays (n,), the reactants are changed in place.

    Returns the mean rate of heat, W/m3, (n,). Exact at constant temperature, so that no step, however long, uses
    more than there is.
    """
    kelvin = temperature_c + KELVIN
    cathode_row = CATHODE[chemistry]
    used_sei = sei * -np.expm1(-SEI.rate(kelvin) * step_s)
    used_anode = anode * -np.expm1(-ANODE.rate(kelvin) * np.exp(-film / SEI_THICKNESS_0) * step_s)
    used_electrolyte = electrolyte * -np.expm1(-ELECTROLYTE.rate(kelvin) * step_s)
    growth = np.exp(np.minimum(cathode_row.rate(kelvin) * step_s, 50.0))
    if chemistry is Chemistry.LFP:
        converted = (1 - cathode) * (1 - 1 / growth)
    else:
        converted = cathode * growth / (1 - cathode + cathode * growth) - cathode
    sei -= used_sei
    anode -= used_anode
    film += used_anode
    cathode += converted
    electrolyte -= used_electrolyte
    return (
        SEI.heat_j_per_m3 * used_sei
        + ANODE.heat_j_per_m3 * used_anode
        + cathode_row.heat_j_per_m3 * converted
        + ELECTROLYTE.heat_j_per_m3 * used_electrolyte
    ) / step_s
