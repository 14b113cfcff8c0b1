"""Which plant a scenario asks for, and the card that its cells go by."""

from __future__ import annotations

from edgebms.errors import MissingExtra
from hil.errors import Missing
from hil.plant.live import LivePack
from hil.plant.live import PackSpec as CircuitSpec
from hil.plant.sense import Schedule
from hil.plant_pybamm.characterise import card_path
from hil.plant_pybamm.live import PackSpec as PybammSpec
from hil.plant_pybamm.live import PybammPack
from hil.plant_pybamm.sets import find_set
from hil.scenario import PackSpec

SWEEP_S = 0.1
"""In which the BMS reads all its cells."""


def build(spec: PackSpec, seed: int) -> LivePack | PybammPack:
    """Raises ConfigError, CardError; Missing where PyBaMM is not installed."""
    if spec.plant == "pybamm":
        pybamm = PybammSpec(find_set(spec.card), spec.cells, spec.probes, seed, spec.parallel, spec.soc, spec.ambient_c)
        try:
            return PybammPack(pybamm)
        except MissingExtra as error:
            raise Missing(error.what, where=error.where, mend=error.mend, installable=True) from None
    schedule = Schedule.even(spec.period_s, spec.cells, spec.probes, min(SWEEP_S, spec.period_s))
    circuit = CircuitSpec(
        spec.card, spec.cells, spec.probes, seed, spec.parallel, spec.soc, spec.ambient_c, cooled=spec.cooled, schedule=schedule
    )
    rehearse(circuit)
    return LivePack(circuit)


def rehearse(spec: CircuitSpec) -> None:
    """A second of a pack that nobody sees: on a machine's first run it compiles the plant's loops, for which no frame can wait."""
    pack = LivePack(spec)
    pack.step(1.0, 0.0)
    pack.measure()


def daemon_card(spec: PackSpec) -> str:
    """A name in the catalogue, or the file of the card that was fitted to the set. Raises ConfigError."""
    return str(card_path(find_set(spec.card))) if spec.plant == "pybamm" else spec.card
