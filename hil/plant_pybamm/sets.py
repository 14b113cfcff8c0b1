"""The published parameter sets that serve as cells, and what a pack needs beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgebms.errors import ConfigError, MissingExtra
from edgebms.vocabulary import Chemistry

HEAT_S = 1800.0
"""A cell in a pack follows its surroundings with this time constant: the sets' own cooling is that of bare cells in
a laboratory, some of them with the area of every electrode sheet."""
CONTACT_OHM_AH = 0.01
"""Tabs and weld: 2 mOhm for 5 Ah. The sets have none."""
BORROWED = ("collector", "density", "specific heat", "thermal conductivity", "heat transfer")
"""Prada2013 has no thermal part: these words name what it takes from Chen2020."""
CELL_26650_M2 = 6.4e-3


@dataclass(frozen=True, slots=True)
class CellSet:
    """name: of the parameter set. cell: what was measured. group_ah: a series group of so much is composed of it."""

    name: str
    cell: str
    chemistry: Chemistry
    capacity_ah: float
    voltage_min_v: float
    voltage_max_v: float
    group_ah: float

    @property
    def parallel(self) -> int:
        """Cells in a group."""
        return max(1, round(self.group_ah / self.capacity_ah))

    @property
    def key(self) -> str:
        return self.name.lower()


SETS = {
    one.key: one
    for one in (
        CellSet("Chen2020", "LG M50, NMC811 (Chen et al. 2020)", Chemistry.NMC, 5.0, 2.5, 4.2, 60.0),
        CellSet("Prada2013", "A123 26650, LFP (Prada et al. 2013)", Chemistry.LFP, 2.3, 2.0, 3.6, 100.0),
        CellSet("Marquis2019", "Kokam SLPB 78205130H, LCO (Marquis et al. 2019)", Chemistry.LCO, 0.680616, 3.105, 4.1, 20.0),
        CellSet("Ecker2015", "Kokam SLPB 75106100, NMC (Ecker et al. 2015)", Chemistry.NMC, 0.15625, 2.5, 4.2, 30.0),
        CellSet("NCA_Kim2011", "NCA pouch (Kim et al. 2011)", Chemistry.NCA, 0.43, 2.7, 4.2, 40.0),
    )
}


def find_set(name: str) -> CellSet:
    """Raises ConfigError."""
    if name.lower() not in SETS:
        raise ConfigError(f"no parameter set called {name!r}", where="--set", mend=f"one of {', '.join(SETS)}")
    return SETS[name.lower()]


def library() -> Any:
    """The module pybamm, quiet. Raises MissingExtra."""
    try:
        import pybamm
    except ImportError:
        raise MissingExtra("PyBaMM is not installed", where="hil", mend="pip install -e '.[rig]'") from None
    pybamm.set_logging_level("ERROR")
    return pybamm


def values(cell_set: CellSet) -> Any:
    """PyBaMM's parameter values, with a body and contacts. Raises MissingExtra."""
    pybamm = library()
    found = pybamm.ParameterValues(cell_set.name)
    names = set(found.keys())
    if "Cell volume [m3]" not in names:
        other = pybamm.ParameterValues("Chen2020")
        lent = {key: other[key] for key in set(other.keys()) - names if any(word in key for word in BORROWED)}
        lent |= {"Cell volume [m3]": 1.0, "Cell cooling surface area [m2]": CELL_26650_M2}
        found.update(lent | {"Total heat transfer coefficient [W.m-2.K-1]": 10.0}, check_already_exists=False)
    found["Contact resistance [Ohm]"] = CONTACT_OHM_AH / cell_set.capacity_ah
    return found
