"""The loops over all cells of all packs that a second of the plant is made of, one pass over memory each (``compiled``).

What they compute is told where they are called (``advance``, ``curves``, ``sense``, ``packs``). Arrays as in ``rows``: p packs,
c cells, float32 (``Reals``) but for charge, temperature and sums. Every constant is a float32 on purpose: a plain one would make
its expression float64, at half the speed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hil.plant.compiled import compiled, compiled_extremes

Floats = NDArray[np.float64]
Reals = NDArray[np.float32]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
NONE_W = np.float64(0.0)
BLOCK = 256
"""Cells that a look-up takes at a time: their places stay in the nearest cache."""


@compiled
def source(
    through_a: Reals, leak_a: Reals, floor_a: np.float32, exchange_a: Reals, pair_ohm: Reals, pair_a: Reals,
    soc: Floats, looked_soc: Floats, looked_v: Reals, slope_v: Reals,
) -> tuple[Reals, Reals, Reals]:  # fmt: skip
    """(|current| into the cell, A; the argument whose logarithm is asinh(current / 2 exchange currents); what the cell's curve
    and its relaxations make together, V), each (p, c)."""
    packs, cells = leak_a.shape
    pairs = pair_a.shape[0]
    level_a, argument, emf_v = np.empty_like(leak_a), np.empty_like(leak_a), np.empty_like(leak_a)
    for p in range(packs):
        through = through_a[p, 0]
        for c in range(cells):
            level = max(abs(through - leak_a[p, c]), floor_a)
            x = HALF * level / exchange_a[p, c]
            level_a[p, c] = level
            argument[p, c] = np.sqrt(x * x + ONE) + x
            emf_v[p, c] = np.float32(soc[p, c] - looked_soc[p, c]) * slope_v[p, c] + looked_v[p, c]
        for k in range(pairs):
            for c in range(cells):
                emf_v[p, c] += pair_ohm[k, p, c] * pair_a[k, p, c]
    return level_a, argument, emf_v


@compiled
def terminals(
    through_a: Reals, level_a: Reals, log_argument: Reals, emf_v: Reals, transfer_v: Reals, r0_ohm: Reals, entropic_v: Reals,
    pair_ohm: Reals, pair_a: Reals, gain: Reals, parallel: Reals, short_s: Reals, outside_s: Reals, bleed_s: Reals, joint_ohm: Reals, heater_w: Reals,
    failed: Flags, failed_s: np.float32, empty_soc: np.float32, over_soc: np.float32, soc: Floats, capacity_as: Reals, step_s: np.float32,
) -> tuple[Reals, Reals, Reals, Reals, Floats]:  # fmt: skip
    """(voltage at the tap, V; leak, A; current into the cell, A; heat, W; SOC after the step); ``pair_a`` is moved in place."""
    packs, cells = emf_v.shape
    pairs = pair_a.shape[0]
    voltage_v, leak_a, cell_a, heat_w = np.empty_like(emf_v), np.empty_like(emf_v), np.empty_like(emf_v), np.empty_like(emf_v)
    soc_after = np.empty_like(soc)
    ten = np.float32(10.0)
    for p in range(packs):
        through, groups = through_a[p, 0], parallel[p, 0]
        for c in range(cells):
            full = np.float32(soc[p, c])
            dead = np.float32(failed[p, c])
            left = min(max(full / empty_soc, ZERO), ONE)
            emf = emf_v[p, c] * (ONE - dead + dead * left)
            ohm = log_argument[p, c] * transfer_v[p, c] / level_a[p, c] + r0_ohm[p, c]
            inside_s = short_s[p, c] / groups + dead * failed_s
            leak_s = inside_s + (outside_s[p, c] + bleed_s[p, c]) / groups
            terminal = (emf + ohm * through) / (ONE + ohm * leak_s)
            leak = terminal * leak_s
            into = through - leak
            over = min(max((full - over_soc) * ten, ZERO), ONE)
            share = over if into > ZERO else ZERO
            # the tap stands beyond the joint; its heat stays at the cell
            joint = joint_ohm[p, c] * groups
            voltage_v[p, c] = terminal + joint * through
            leak_a[p, c] = leak
            cell_a[p, c] = into
            heat_w[p, c] = (
                into * (ohm * into + entropic_v[p, c])
                + terminal * terminal * inside_s
                + joint * (through * through)
                + share * into * terminal
                + heater_w[p, c] / groups
            )
            soc_after[p, c] = soc[p, c] + into * (ONE - share) * step_s / capacity_as[p, c]
        for k in range(pairs):
            towards = gain[k, p, 0]
            for c in range(cells):
                pair = pair_a[k, p, c]
                heat_w[p, c] += pair_ohm[k, p, c] * pair * pair
                pair_a[k, p, c] = pair + (cell_a[p, c] - pair) * towards
    return voltage_v, leak_a, cell_a, heat_w, soc_after


@compiled
def warm(
    temperature_c: Floats, heat_w: Reals, stream_c: Reals, coolant_w_per_k: Reals, cooling: Reals, pump: Reals, ambient_c: Reals,
    ambient_w_per_k: Reals, link_w_per_k: Reals, heat_j_per_k: Reals, separator_c: Reals, failed: Flags, step_s: np.float32,
) -> tuple[Floats, Reals, Floats, Floats, Floats]:  # fmt: skip
    """(temperature after the step, (p, c); its rate, K/s; heat made, given to the coolant, given to the air, W per pack (p, 1)); ``failed``
    is set in place where a separator has gone."""
    packs, cells = heat_w.shape
    after_c, rate = np.empty_like(temperature_c), np.empty_like(heat_w)
    made_w, given_w, air_w = np.zeros((packs, 1)), np.zeros((packs, 1)), np.zeros((packs, 1))
    here_c = np.empty(cells, np.float32)
    for p in range(packs):
        flow, outside_c = pump[p, 0], ambient_c[p, 0]
        made = given = air = NONE_W
        for c in range(cells):
            here_c[c] = temperature_c[p, c]
            to_coolant = (here_c[c] - stream_c[p, c]) * (coolant_w_per_k[p, c] * cooling[p, c] * flow)
            to_air = (here_c[c] - outside_c) * ambient_w_per_k[p, c]
            rate[p, c] = heat_w[p, c] - to_coolant - to_air
            made += heat_w[p, c]
            given += to_coolant
            air += to_air
        for c in range(cells - 1):
            across = (here_c[c + 1] - here_c[c]) * link_w_per_k[p, c]
            rate[p, c] += across
            rate[p, c + 1] -= across
        for c in range(cells):
            k_per_s = rate[p, c] / heat_j_per_k[p, c]
            rate[p, c] = k_per_s
            after = temperature_c[p, c] + k_per_s * step_s
            after_c[p, c] = after
            failed[p, c] |= after > separator_c[p, c]
        made_w[p, 0], given_w[p, 0], air_w[p, 0] = made, given, air
    return after_c, rate, made_w, given_w, air_w


@compiled
def open_circuit(
    table_v: Floats, width: int, rows: int, soc: Floats, temperature_c: Floats, soc_low: float, soc_step: float, low_c: float, step_k: float
) -> tuple[Floats, Floats]:
    """Bilinear in a raveled table (temperatures, socs) for n cells: (V, V per unit of SOC), both (n,). Beyond the table's temperatures
    the last row, beyond its SOC the end slope goes on."""
    emf_v, slope_v = np.empty_like(soc), np.empty_like(soc)
    for i in range(soc.size):
        at_t = (temperature_c[i] - low_c) / step_k
        row = int(min(max(at_t, 0.0), rows - 2.0))
        share_t = min(max(at_t - row, 0.0), 1.0)
        at_s = (soc[i] - soc_low) / soc_step
        column = int(min(max(at_s, 0.0), width - 2.0))
        base = row * width + column
        low, high = table_v[base], table_v[base + width]
        low_rise, high_rise = table_v[base + 1] - low, table_v[base + width + 1] - high
        rise = low_rise + share_t * (high_rise - low_rise)
        emf_v[i] = low + share_t * (high - low) + (at_s - column) * rise
        slope_v[i] = rise / soc_step
    return emf_v, slope_v


@compiled
def from_map(
    tables: Reals, width: int, rows: int, soc: Floats, temperature_c: Floats, soc_low: float, soc_step: float, low_c: float, step_k: float
) -> Reals:
    """Bilinear in raveled tables (k, temperatures x socs) for n cells, the edge's value beyond them: (k, n)."""
    found = np.empty((tables.shape[0], soc.size), np.float32)
    base, weight = np.empty(BLOCK, np.intp), np.empty((4, BLOCK), np.float32)
    for start in range(0, soc.size, BLOCK):
        count = min(BLOCK, soc.size - start)
        for i in range(count):
            at_t = (temperature_c[start + i] - low_c) / step_k
            row = int(min(max(at_t, 0.0), rows - 2.0))
            share_t = np.float32(min(max(at_t - row, 0.0), 1.0))
            at_s = (soc[start + i] - soc_low) / soc_step
            column = int(min(max(at_s, 0.0), width - 2.0))
            share_s = np.float32(min(max(at_s - column, 0.0), 1.0))
            both = share_t * share_s
            base[i] = row * width + column
            weight[0, i] = ONE - share_s - share_t + both
            weight[1, i] = share_s - both
            weight[2, i] = share_t - both
            weight[3, i] = both
        for k in range(tables.shape[0]):
            for i in range(count):
                at = base[i]
                near = tables[k, at] * weight[0, i] + tables[k, at + 1] * weight[1, i]
                found[k, start + i] = near + tables[k, at + width] * weight[2, i] + tables[k, at + width + 1] * weight[3, i]
    return found


@compiled_extremes
def extremes(short_s: Reals, outside_s: Reals, voltage_v: Reals, heat_k_per_s: Reals) -> tuple[Reals, Reals]:
    """(the largest current that a short draws, A; the largest |K/s|) of each pack, (p,)."""
    packs, cells = voltage_v.shape
    drawn_a, rate = np.empty(packs, np.float32), np.empty(packs, np.float32)
    for p in range(packs):
        most_a, most = ZERO, ZERO
        for c in range(cells):
            most_a = max(most_a, (short_s[p, c] + outside_s[p, c]) * voltage_v[p, c])
            most = max(most, abs(heat_k_per_s[p, c]))
        drawn_a[p], rate[p] = most_a, most
    return drawn_a, rate


@compiled_extremes
def lowest_highest(values: Reals) -> tuple[Reals, Reals]:
    """Of each row of (p, n), each (p, 1)."""
    rows = values.shape[0]
    lowest, highest = np.empty((rows, 1), np.float32), np.empty((rows, 1), np.float32)
    for p in range(rows):
        low = high = values[p, 0]
        for c in range(1, values.shape[1]):
            low, high = min(low, values[p, c]), max(high, values[p, c])
        lowest[p, 0], highest[p, 0] = low, high
    return lowest, highest


@compiled
def hold(held: Reals, before: Reals, now: Reals, within: Flags, share: Reals) -> None:
    """What was read within a step, at ``share`` of it, is held from now on; all (p, n)."""
    for p in range(held.shape[0]):
        for c in range(held.shape[1]):
            if within[p, c]:
                held[p, c] = before[p, c] + (now[p, c] - before[p, c]) * share[p, c]


@compiled
def read(
    held: Reals, noise: Reals, first: int, noise_scale: Reals, error: Reals, fault: Reals, lsb: Reals, stuck: Reals, lost: Flags
) -> Reals:
    """What sensors tell of ``held`` (p, n): with noise (p, from column ``first`` on) times its scale (p, 1), their own error, a fault's, in steps of
    ``lsb`` (p, 1); ``stuck`` where that is not NaN; NaN where ``lost``."""
    told = np.empty_like(held)
    for p in range(held.shape[0]):
        scale, step = noise_scale[p, 0], lsb[p, 0]
        for c in range(held.shape[1]):
            value = np.rint((noise[p, first + c] * scale + error[p, c] + fault[p, c] + held[p, c]) / step) * step
            value = value if np.isnan(stuck[p, c]) else stuck[p, c]
            told[p, c] = np.float32(np.nan) if lost[p, c] else value
    return told
