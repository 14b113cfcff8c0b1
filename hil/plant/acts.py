"""How each kind of fault acts on the plant. One function a kind: (world, row, fault, now) -> when to be called again.

``row`` is the pack's row. Called first at the onset.
"""

from __future__ import annotations

import numpy as np

from hil.plant.fault import Fault
from hil.plant.world import World

NEVER = float("inf")
START_OHM = 100.0
"""A decaying short begins at so many times its last resistance."""


def nothing(world: World, row: int, fault: Fault, now_s: float) -> float:
    return NEVER


def grown(fault: Fault, now_s: float) -> float:
    """Share of a fault that is there: 1 - exp(-t/tau), all of it at once for tau = 0."""
    return 1.0 if fault.tau_s <= 1.0 else float(-np.expm1(-(now_s - fault.onset_s) / fault.tau_s))


def soon(fault: Fault, now_s: float, every_s: float) -> float:
    return NEVER if now_s - fault.onset_s > 8 * fault.tau_s else now_s + every_s


def constant_short(world: World, row: int, fault: Fault, now_s: float) -> float:
    world.packs.effects.short_s[row, fault.cell] = 1.0 / fault.size
    return NEVER


def decaying_short(world: World, row: int, fault: Fault, now_s: float) -> float:
    """From START_OHM times the size down to it, exponentially with tau."""
    fade = np.exp(-(now_s - fault.onset_s) / fault.tau_s)
    world.packs.effects.short_s[row, fault.cell] = 1.0 / (fault.size * (1 + (START_OHM - 1) * fade))
    return soon(fault, now_s, 2.0)


def short_and_probe_lost(world: World, row: int, fault: Fault, now_s: float) -> float:
    """The probe goes when its cell passes 70 degC: in the middle of the event."""
    again_s = decaying_short(world, row, fault, now_s)
    if world.packs.state.temperature_c[row, fault.cell] > 70.0:
        world.senses.probe_lost[row, fault.probe] = True
        return again_s
    return now_s + 2.0


def micro_short(world: World, row: int, fault: Fault, now_s: float) -> float:
    """Dips of ``size`` volts for 1-3 s, every 20-180 s."""
    rng = world.generator(row, fault.kind, fault.seed)
    short_s = world.packs.effects.short_s
    if short_s[row, fault.cell] > 0:
        short_s[row, fault.cell] = 0.0
        return now_s + float(rng.integers(20, 180))
    short_s[row, fault.cell] = fault.size / world.group_ohm(row, fault.cell) / world.packs.state.voltage_v[row, fault.cell]
    return now_s + float(rng.integers(1, 4))


def external_short(world: World, row: int, fault: Fault, now_s: float) -> float:
    """Across one group, past the shunt, until whatever bridges it burns off after tau."""
    outside_s = world.packs.effects.outside_s
    if outside_s[row, fault.cell] > 0:
        outside_s[row, fault.cell] = 0.0
        return NEVER
    outside_s[row, fault.cell] = 1.0 / fault.size
    return now_s + fault.tau_s


def pack_short(world: World, row: int, fault: Fault, now_s: float) -> float:
    """Across the whole string until the fuse goes; the shunt is in its path in two packs of three."""
    state, control = world.packs.state, world.control
    parallel = world.packs.build.parallel[row, 0]
    ohm = fault.size + 1.5 * state.looked[0, row].sum() / parallel
    control.short_a[row, 0] = -max(float(state.looked_v[row].sum()), 0.0) / ohm
    control.short_seen[row, 0] = float(fault.seed % 3 != 0)
    return NEVER if control.fused[row, 0] else now_s + 1.0


def voltage_drift(world: World, row: int, fault: Fault, now_s: float) -> float:
    world.senses.cell_offset_v[row, fault.cell] = fault.size * grown(fault, now_s)
    return soon(fault, now_s, 5.0)


def voltage_stuck(world: World, row: int, fault: Fault, now_s: float) -> float:
    world.senses.cell_hold[row, fault.cell] = np.round(world.packs.state.voltage_v[row, fault.cell], 3)
    return NEVER


def tap(world: World, row: int, fault: Fault, now_s: float) -> float:
    """A tap between two cells: what one reads too much the next reads too little."""
    world.senses.cell_offset_v[row, fault.cell] = fault.size
    world.senses.cell_offset_v[row, fault.cell + 1] = -fault.size
    return NEVER


def probe_stuck(world: World, row: int, fault: Fault, now_s: float) -> float:
    cell = world.senses.probe_cell[fault.probe]
    world.senses.probe_hold[row, fault.probe] = np.round(world.packs.state.temperature_c[row, cell])
    return NEVER


def probe_drift(world: World, row: int, fault: Fault, now_s: float) -> float:
    world.senses.probe_offset_c[row, fault.probe] = fault.size * grown(fault, now_s)
    return soon(fault, now_s, 5.0)


def probe_lost(world: World, row: int, fault: Fault, now_s: float) -> float:
    world.senses.probe_lost[row, fault.probe] = True
    return NEVER


def current_offset(world: World, row: int, fault: Fault, now_s: float) -> float:
    world.senses.current_error_a[row, 0] = fault.size
    return NEVER


def joint(world: World, row: int, fault: Fault, now_s: float) -> float:
    world.packs.effects.joint_ohm[row, fault.cell] = fault.size * grown(fault, now_s)
    return soon(fault, now_s, 10.0)


def lift_charge_limit(world: World, row: int, fault: Fault, now_s: float) -> float:
    """The charger goes on past the cells' limit by ``size``; in every second pack the heat does not stop it either."""
    world.control.high_v[row, 0] += fault.size
    world.control.hot_cut[row, 0] = fault.seed % 2
    return NEVER


def lower_discharge_limit(world: World, row: int, fault: Fault, now_s: float) -> float:
    """The load goes on below the cells' limit by ``size``: no reserve holds it."""
    world.control.low_v[row, 0] -= fault.size
    world.control.reserve[row, 0] = 0.0
    return NEVER


def cooling(world: World, row: int, fault: Fault, now_s: float) -> float:
    """hA times ``size`` everywhere: the pump, or for a pack in still air what lets its heat out."""
    world.control.pump[row, 0] *= fault.size
    if not world.packs.build.coolant_w_per_k[row].any():
        world.packs.build.ambient_w_per_k[row] *= fault.size
    return NEVER


def block_cooling(world: World, row: int, fault: Fault, now_s: float) -> float:
    """hA times ``size`` at the cell and a sixth of the string around it."""
    cells = world.packs.build.capacity_as.shape[1]
    near = slice(max(fault.cell - cells // 12, 0), fault.cell + cells // 12 + 1)
    world.packs.effects.cooling[row, near] *= fault.size
    if not world.packs.build.coolant_w_per_k[row].any():
        world.packs.build.ambient_w_per_k[row, near] *= fault.size
    return NEVER


def plating(world: World, row: int, fault: Fault, now_s: float) -> float:
    """While the cell is charged in the cold, ``size`` of the current plates."""
    world.packs.effects.plating[row, fault.cell] = fault.size
    return NEVER


def imbalance(world: World, row: int, fault: Fault, now_s: float) -> float:
    soc = world.packs.state.soc
    soc[row, fault.cell] = np.clip(soc[row, fault.cell] + fault.size, 0.01, 1.0)
    return NEVER


def heat(world: World, row: int, cell: int, k_per_min: float) -> None:
    """A heater that would warm the group alone at ``k_per_min``, and keeps what it loses made up."""
    packs = world.packs
    parallel = packs.build.parallel[row, 0]
    loss = packs.build.ambient_w_per_k[row, cell] + packs.build.coolant_w_per_k[row, cell] * packs.effects.pump[row, 0]
    links = packs.build.link_w_per_k[row]
    loss += (links[cell - 1] if cell else 0.0) + (links[cell] if cell < len(links) else 0.0)
    above = packs.state.temperature_c[row, cell] - packs.effects.ambient_c[row, 0]
    watts = packs.build.heat_j_per_k[row, cell] * k_per_min / 60.0 + loss * max(above, 0.0)
    packs.effects.heater_w[row, cell] = watts * parallel


def heat_until_vent(world: World, row: int, fault: Fault, now_s: float) -> float:
    """The cell vents near 130 degC; the heater goes off and it cools. It may still run away by itself: the truth says so."""
    if world.packs.state.vented[row, fault.cell]:
        world.packs.effects.heater_w[row, fault.cell] = 0.0
        return NEVER
    heat(world, row, fault.cell, fault.size)
    return now_s + 2.0


def heat_until_runaway(world: World, row: int, fault: Fault, now_s: float) -> float:
    state = world.packs.state
    if np.isfinite(state.event_s[row, fault.cell]) or state.temperature_c[row, fault.cell] > 400.0:
        world.packs.effects.heater_w[row, fault.cell] = 0.0
        return NEVER
    heat(world, row, fault.cell, fault.size)
    return now_s + 2.0


def heat_and_spread(world: World, row: int, fault: Fault, now_s: float) -> float:
    """Into runaway in a pack whose cells stand wall to wall: three times the heat goes to the neighbours, over module ends too."""
    if now_s <= fault.onset_s:
        links = world.packs.build.link_w_per_k[row]
        links[:] = 3.0 * links.max()
    return heat_until_runaway(world, row, fault, now_s)


def heat_to(world: World, row: int, fault: Fault, now_s: float) -> float:
    """Abuse without runaway: heated to ``size`` degC at 8 K/min, then left alone."""
    if world.packs.state.temperature_c[row, fault.cell] >= fault.size:
        world.packs.effects.heater_w[row, fault.cell] = 0.0
        return NEVER
    heat(world, row, fault.cell, 8.0)
    return now_s + 2.0


def over_current(world: World, row: int, fault: Fault, now_s: float) -> float:
    """A load that takes more than it should, whatever the site allows."""
    world.control.factor[row, 0] = fault.size
    world.control.charge_a[row, 0] = world.control.discharge_a[row, 0] = np.inf
    world.control.hot_cut[row, 0] = fault.seed % 2
    return NEVER


def insulation(world: World, row: int, fault: Fault, now_s: float) -> float:
    """A leak of ``size`` to the chassis beside what was there."""
    ohm = world.packs.effects.insulation_ohm
    leak_s = grown(fault, now_s) / fault.size
    rng = world.generator(row, fault.kind, fault.seed)
    healthy_ohm = ohm[row, 0] if now_s <= fault.onset_s else world.healthy_ohm[row]
    world.healthy_ohm[row] = healthy_ohm
    ohm[row, 0] = 1.0 / (1.0 / healthy_ohm + leak_s) * (1 + 0.01 * rng.standard_normal())
    return soon(fault, now_s, 10.0)


def balance(world: World, row: int, fault: Fault, now_s: float) -> float:
    """The fullest fifth is bled at ``size`` A, chosen anew every ten minutes."""
    state, bleed_s = world.packs.state, world.packs.effects.bleed_s
    fullest = state.soc[row] >= np.quantile(state.soc[row], 0.8)
    bleed_s[row] = fullest * fault.size / np.maximum(state.voltage_v[row], 1.0)
    return now_s + 600.0


def weak_cell(world: World, row: int, fault: Fault, now_s: float) -> float:
    """Capacity times ``size``, resistance grown by three times what is missing."""
    build = world.packs.build
    build.capacity_as[row, fault.cell] *= fault.size
    build.resistance[row, fault.cell] *= 1.0 + 3.0 * (1.0 - fault.size)
    return NEVER


def sun(world: World, row: int, fault: Fault, now_s: float) -> float:
    """One side is warmed: the first cell by about ``size`` K where it comes to rest, the last not at all."""
    packs = world.packs
    cells = packs.build.capacity_as.shape[1]
    loss = packs.build.ambient_w_per_k[row] + packs.build.coolant_w_per_k[row] * packs.effects.cooling[row] * packs.effects.pump[row, 0]
    packs.effects.heater_w[row] += loss * fault.size * np.linspace(1.0, 0.0, cells) * packs.build.parallel[row, 0]
    return NEVER


def reconnect_cell(world: World, row: int, fault: Fault, now_s: float) -> float:
    lost = world.senses.cell_lost
    lost[row, fault.cell] = not lost[row, fault.cell]
    return now_s + fault.size if lost[row, fault.cell] else NEVER


def reconnect_probe(world: World, row: int, fault: Fault, now_s: float) -> float:
    """Back after ``size`` seconds, seated a little differently."""
    lost = world.senses.probe_lost
    lost[row, fault.probe] = not lost[row, fault.probe]
    if lost[row, fault.probe]:
        return now_s + fault.size
    world.senses.probe_offset_c[row, fault.probe] = world.generator(row, fault.kind, fault.seed).uniform(-0.8, 0.8)
    return NEVER


def connector(world: World, row: int, fault: Fault, now_s: float) -> float:
    """A plug that is somewhat warm: too little for the voltage to tell."""
    world.packs.effects.joint_ohm[row, fault.cell] = fault.size
    return NEVER
