"""What a pack is, what is done to it, and how it stands: arrays whose first axis is the packs (SECOND: the second).

Everything is per *card cell*: a series group of ``parallel`` card cells (a real parallel count, or the size of a
larger cell of the same chemistry) carries ``parallel`` times the current, the heat and the heat capacity of one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hil.plant.curves import PAIRS, ROWS

Floats = NDArray[np.float64]
REAL = np.float32
Reals = NDArray[np.float32]
TRANSFER = ROWS
"""A row of ``looked`` beyond those of the map: 2RT/F times the resistance factor, V."""
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(slots=True, eq=False)
class Build:
    """What the packs are made of. p = packs, c = series groups."""

    parallel: Reals  # (p, 1) card cells in a group
    capacity_as: Reals  # (p, c) of one card cell
    resistance: Reals  # (p, c) factor on every resistance of the card
    tau: Reals  # (p, 1) factor on the RC time constants
    volume_m3: Reals  # (p, 1)
    heat_j_per_k: Reals  # (p, c)
    link_w_per_k: Reals  # (p, c - 1) to the next cell
    ambient_w_per_k: Reals  # (p, c)
    coolant_w_per_k: Reals  # (p, c) at full flow
    flow_w_per_k: Reals  # (p, 1) heat capacity flow of the coolant per card cell of one string; inf = an unlimited bath
    loop_j_per_k: Reals  # (p, 1) coolant in the loop, likewise
    radiator_w_per_k: Reals  # (p, 1) loop to ambient, likewise
    chiller_w: Reals  # (p, 1) taken out of the loop while cooling is asked for and the loop is warmer than chiller_c
    chiller_c: Reals  # (p, 1)
    vent_c: Reals  # (p, c)
    separator_c: Reals  # (p, c)
    ejected: Reals  # (p, 1) share of reaction heat that leaves with the gas after venting


@dataclass(slots=True, eq=False)
class Effects:
    """What faults, the balancer, the contactors and the pump do: changed from outside between two steps."""

    short_s: Reals  # (p, c) conductance inside the cell: its heat stays there
    outside_s: Reals  # (p, c) conductance across the terminals: its heat does not
    bleed_s: Reals  # (p, c) the balancer's
    joint_ohm: Reals  # (p, c) of the group's joint, within the voltage tap
    heater_w: Reals  # (p, c) into the group from outside
    cooling: Reals  # (p, c) factor on the way to the coolant
    pump: Reals  # (p, 1) 0 off ... 1 full flow
    chill: Reals  # (p, 1) 1 = cooling asked for
    ambient_c: Reals  # (p, 1)
    plating: Reals  # (p, c) share of a cold charge current that plates
    insulation_ohm: Reals  # (p, 1)

    @classmethod
    def none(cls, packs: int, cells: int, ambient_c: Floats) -> Effects:
        def zero() -> Reals:
            return np.zeros((packs, cells), REAL)

        one = np.ones((packs, 1), REAL)
        return cls(
            zero(), zero(), zero(), zero(), zero(), np.ones((packs, cells), REAL), one.copy(), 0 * one,
            ambient_c.reshape(packs, 1).astype(REAL), zero(), 5e6 * one,
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class State:
    """The truth. looked_*: what the curves said at ``looked_soc``; refreshed every few seconds (see ``advance``)."""

    soc: Floats  # (p, c)
    temperature_c: Floats  # (p, c)
    pair_a: Reals  # (PAIRS, p, c) current through the resistor of each RC pair
    branch: Reals  # (p, c) hysteresis, -1 after discharge ... 1 after charge
    voltage_v: Reals  # (p, c) at the tap
    leak_a: Reals  # (p, c) through shorts and balancer, per card cell
    cell_a: Reals  # (p, c) into the cell, per card cell
    heat_k_per_s: Reals  # (p, c)
    stream_c: Reals  # (p, c) coolant where it passes the cell
    loop_c: Floats  # (p, 1)
    sei: Floats  # (p, c) reactants left, and so on: see kinetics
    film: Floats
    cathode: Floats
    electrolyte: Floats
    plated_as: Floats  # (p, c)
    failed: Flags  # (p, c) separator gone
    vented: Flags  # (p, c)
    gas: Floats  # (p, 1) 0 = clean air, about 1 = one vented cell in the pack's air
    rising_s: Floats  # (p, c) how long it has warmed by 1 K/s or more
    event_s: Floats  # (p, c) instant of the event rule, NaN = none
    generated_j: Floats  # (p, 1) heat made since the start, per card cell summed over the string
    lost_j: Floats  # (p, 1) heat gone to ambient, chiller and with gas
    looked: Reals  # (ROWS + 1, p, c)
    looked_soc: Floats  # (p, c)
    looked_v: Reals  # (p, c) OCV there
    looked_slope_v: Reals  # (p, c)

    @classmethod
    def at_rest(cls, soc: Floats, temperature_c: Floats, loop_c: Floats, cathode_0: float) -> State:
        """Cells that have rested long. soc, temperature_c (p, c); loop_c (p, 1)."""

        def full(value: float) -> Floats:
            return np.full(soc.shape, value)

        def real() -> Reals:
            return np.zeros(soc.shape, REAL)

        packs, cells = soc.shape
        return cls(
            soc=soc.copy(), temperature_c=temperature_c.copy(), pair_a=np.zeros((PAIRS, packs, cells), REAL), branch=real(), voltage_v=real(),
            leak_a=real(), cell_a=real(), heat_k_per_s=real(), stream_c=np.repeat(loop_c, cells, axis=1).astype(REAL), loop_c=loop_c.copy(),
            sei=full(0.15), film=full(0.033), cathode=full(cathode_0), electrolyte=full(1.0), plated_as=full(0.0),
            failed=np.zeros(soc.shape, bool), vented=np.zeros(soc.shape, bool), gas=np.zeros((packs, 1)), rising_s=full(0.0),
            event_s=full(np.nan), generated_j=np.zeros((packs, 1)), lost_j=np.zeros((packs, 1)),
            looked=np.zeros((ROWS + 1, packs, cells), REAL), looked_soc=soc.copy(), looked_v=real(), looked_slope_v=real(),
        )  # fmt: skip


Group = TypeVar("Group", Build, Effects, State)
SECOND = frozenset({"pair_a", "looked"})


def take(group: Group, rows: Rows) -> Group:
    """A copy of some packs."""
    return type(group)(**{name: array.take(rows, axis=int(name in SECOND)) for name, array in arrays(group)})


def narrowed(build: Build) -> Build:
    """A copy in REAL."""
    return Build(**{name: np.array(array, REAL) for name, array in arrays(build)})


def put(group: Group, rows: Rows, part: Group) -> None:
    """Write ``part``, taken from ``rows``, back."""
    for name, array in arrays(part):
        target = getattr(group, name)
        if name in SECOND:
            target[:, rows] = array
        else:
            target[rows] = array


def stack(parts: list[Group]) -> Group:
    """Packs of several groups behind each other."""
    joined = {name: np.concatenate([getattr(part, name) for part in parts], axis=int(name in SECOND)) for name, _ in arrays(parts[0])}
    return type(parts[0])(**joined)


def arrays(group: Build | Effects | State) -> list[tuple[str, NDArray[np.generic]]]:
    return [(name, getattr(group, name)) for name in NAMES[type(group)]]


NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in (Build, Effects, State)}
