"""Faults and their benign look-alikes: one row a kind, each with its ground truth.

A row says what is drawn (how large, where, under which load) and how it acts. ``act`` is called at the onset and then at
the instants that it returns (inf = never again). Sizes follow FACTS section 1. A size that belongs to a cell of some Ah is
scaled where ``per_parallel`` says so: a group of n card cells has n times the mass, so the same heat per kilogram takes a
short of 1/n the resistance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgebms.vocabulary import Cause
from hil.plant.acts import (
    balance,
    block_cooling,
    connector,
    constant_short,
    cooling,
    current_offset,
    decaying_short,
    external_short,
    heat_and_spread,
    heat_to,
    heat_until_runaway,
    heat_until_vent,
    imbalance,
    insulation,
    joint,
    lift_charge_limit,
    lower_discharge_limit,
    micro_short,
    nothing,
    over_current,
    pack_short,
    plating,
    probe_drift,
    probe_lost,
    probe_stuck,
    reconnect_cell,
    reconnect_probe,
    short_and_probe_lost,
    sun,
    tap,
    voltage_drift,
    voltage_stuck,
    weak_cell,
)  # fmt: skip
from hil.plant.fault import Fault
from hil.plant.world import World

Act = Callable[[World, int, Fault, float], float]


@dataclass(frozen=True, slots=True)
class Kind:
    """where: "cell", "pack" or "probe". size (low, high), log = drawn in the logarithm, signed = either sign.
    load: a name in ``loads.LOADS`` or "" = ordinary use. ambient_c: range, None = as drawn. soc: likewise.
    mimics: for look-alikes (cause healthy), the fault that they resemble. onset_0: there from the start. cold_charge: the charger
    does not hold back in the cold, in the healthy twin neither."""

    cause: Cause
    act: Act
    where: str
    unit: str
    size: tuple[float, float]
    log: bool = False
    signed: bool = False
    per_parallel: float = 0.0
    tau_s: tuple[float, float] = (0.0, 0.0)
    load: str = ""
    ambient_c: tuple[float, float] | None = None
    soc: tuple[float, float] | None = None
    mimics: str = ""
    onset_0: bool = False
    cold_charge: bool = False


C = Cause
FAULTS: dict[str, Kind] = {
    "short_constant": Kind(C.INTERNAL_SHORT, constant_short, "cell", "ohm", (0.5, 1000.0), log=True, per_parallel=0.5),
    "short_decaying": Kind(C.INTERNAL_SHORT, decaying_short, "cell", "ohm", (0.3, 5.0), log=True, per_parallel=1.0, tau_s=(60.0, 900.0)),
    "short_probe_lost": Kind(C.INTERNAL_SHORT, short_and_probe_lost, "cell", "ohm", (0.3, 3.0), log=True, per_parallel=1.0, tau_s=(60.0, 600.0)),
    "short_micro": Kind(C.MICRO_SHORT, micro_short, "cell", "V", (0.020, 0.080)),
    "short_outside_group": Kind(C.EXTERNAL_SHORT, external_short, "cell", "ohm", (0.001, 0.050), log=True, tau_s=(2.0, 60.0)),
    "short_outside_pack": Kind(C.EXTERNAL_SHORT, pack_short, "pack", "ohm", (0.001, 0.050), log=True),
    "voltage_drift": Kind(C.VOLTAGE_SENSOR, voltage_drift, "cell", "V", (0.005, 0.050), signed=True, tau_s=(1.0, 2400.0)),
    "voltage_stuck": Kind(C.VOLTAGE_SENSOR, voltage_stuck, "cell", "1", (1.0, 1.0)),
    "voltage_tap": Kind(C.VOLTAGE_SENSOR, tap, "cell", "V", (0.005, 0.050), signed=True),
    "probe_stuck": Kind(C.TEMPERATURE_SENSOR, probe_stuck, "probe", "1", (1.0, 1.0), load="heavy"),
    "probe_drift": Kind(C.TEMPERATURE_SENSOR, probe_drift, "probe", "K", (3.0, 20.0), signed=True, tau_s=(1.0, 2400.0)),
    "probe_open": Kind(C.TEMPERATURE_SENSOR, probe_lost, "probe", "1", (1.0, 1.0)),
    "current_offset": Kind(C.CURRENT_OFFSET, current_offset, "pack", "A", (0.05, 1.0), log=True, signed=True, per_parallel=-0.5),
    "joint_loose": Kind(C.LOOSE_JOINT, joint, "cell", "ohm", (0.0005, 0.010), log=True, per_parallel=0.5, tau_s=(1.0, 1800.0)),
    "overcharge": Kind(C.OVERCHARGE, lift_charge_limit, "pack", "V", (0.05, 0.60), load="charge", soc=(0.75, 0.95), ambient_c=(12.0, 35.0)),
    "over_discharge": Kind(C.OVER_DISCHARGE, lower_discharge_limit, "pack", "V", (0.3, 1.5), load="discharge", soc=(0.1, 0.3)),
    "cooling_failure": Kind(C.COOLING_FAILURE, cooling, "pack", "1", (0.1, 0.5), load="heavy"),
    "cooling_blocked": Kind(C.COOLING_FAILURE, block_cooling, "cell", "1", (0.1, 0.5), load="heavy"),
    "plating": Kind(
        C.LITHIUM_PLATING, plating, "cell", "1", (0.03, 0.3), log=True, load="fast_charge", ambient_c=(-8.0, 6.0), soc=(0.2, 0.5), onset_0=True,
        cold_charge=True,
    ),
    "imbalance": Kind(C.IMBALANCE, imbalance, "cell", "1", (0.01, 0.10), signed=True, onset_0=True),
    "vent_only": Kind(C.VENTING, heat_until_vent, "cell", "K/min", (4.0, 12.0), ambient_c=(10.0, 35.0)),
    "heater_runaway": Kind(C.THERMAL_RUNAWAY, heat_until_runaway, "cell", "K/min", (5.0, 25.0), soc=(0.7, 0.98)),
    "propagation": Kind(C.THERMAL_RUNAWAY, heat_and_spread, "cell", "K/min", (8.0, 25.0), soc=(0.8, 0.98)),
    "heater_stopped": Kind(C.OVER_TEMPERATURE, heat_to, "cell", "degC", (65.0, 105.0)),
    "over_current": Kind(C.OVER_CURRENT, over_current, "pack", "1", (1.6, 3.0), load="drive"),
    "insulation_loss": Kind(C.INSULATION, insulation, "pack", "ohm", (2e3, 5e4), log=True, tau_s=(1.0, 600.0)),
}  # fmt: skip
LOOK_ALIKES: dict[str, Kind] = {
    "balancing": Kind(C.HEALTHY, balance, "pack", "A", (0.05, 0.2), per_parallel=-0.5, mimics="short_constant"),
    "cold_fast_charge": Kind(
        C.HEALTHY, nothing, "pack", "1", (0.0, 0.0), load="fast_charge", ambient_c=(2.0, 10.0), soc=(0.2, 0.5), mimics="plating", onset_0=True,
        cold_charge=True,
    ),
    "weak_cell": Kind(C.HEALTHY, weak_cell, "cell", "1", (0.85, 0.95), mimics="imbalance", onset_0=True),
    "sun_on_one_side": Kind(C.HEALTHY, sun, "pack", "K", (2.0, 8.0), mimics="cooling_failure"),
    "hot_day_heavy_use": Kind(C.HEALTHY, nothing, "pack", "1", (0.0, 0.0), load="heavy", ambient_c=(30.0, 38.0), mimics="cooling_failure"),
    "cell_reconnected": Kind(C.HEALTHY, reconnect_cell, "cell", "s", (10.0, 120.0), mimics="voltage_stuck"),
    "probe_reconnected": Kind(C.HEALTHY, reconnect_probe, "probe", "s", (10.0, 120.0), mimics="probe_open"),
    "connector_warm": Kind(C.HEALTHY, connector, "cell", "ohm", (2e-5, 1.5e-4), log=True, per_parallel=0.5, mimics="joint_loose"),
    "full_charge": Kind(C.HEALTHY, nothing, "pack", "1", (0.0, 0.0), load="charge", soc=(0.75, 0.95), mimics="overcharge"),
    "empty": Kind(C.HEALTHY, nothing, "pack", "1", (0.0, 0.0), load="discharge", soc=(0.1, 0.3), mimics="over_discharge"),
    "hard_pull": Kind(C.HEALTHY, nothing, "pack", "1", (0.0, 0.0), load="heavy", mimics="over_current"),
    "damp_day": Kind(C.HEALTHY, insulation, "pack", "ohm", (4e6, 2e7), log=True, tau_s=(60.0, 600.0), mimics="insulation_loss"),
}  # fmt: skip
KINDS = {**FAULTS, **LOOK_ALIKES}
ORDINARY = "ordinary"


def draw_fault(rng: np.random.Generator, kind: str, cells: int, probe_of: tuple[int, ...], parallel: float, seconds: float) -> Fault:
    """A fault of ``kind`` within an episode of ``seconds``; probe_of: probe of each cell."""
    row = KINDS[kind]
    low, high = row.size
    size = float(np.exp(rng.uniform(np.log(low), np.log(high))) if row.log else rng.uniform(low, high))
    size *= parallel**-row.per_parallel
    if row.signed and rng.random() < 0.5:
        size = -size
    cell = int(rng.integers(cells - 1 if row.act is tap else cells))
    probe = probe_of[cell]
    onset_s = 0.0 if row.onset_0 else round(float(rng.uniform(0.1, 0.55)) * seconds)
    tau_s = float(rng.uniform(*row.tau_s))
    return Fault(
        kind, row.cause, cell if row.where == "cell" else -1, -1 if row.where == "pack" else probe, onset_s, size, row.unit, tau_s,
        int(rng.integers(2**31)),
    )  # fmt: skip
