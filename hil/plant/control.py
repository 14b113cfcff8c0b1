"""The pack's own hardware between a request and its current: charger, current limits near the cells' limits, contactors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CardLimits
from hil.plant.curves import EXCHANGE, R0
from hil.plant.loops import lowest_highest
from hil.plant.packs import Packs

Floats = NDArray[np.float64]

COLD_FROM_C, COLD_FULL_C = 2.0, 15.0
"""Charge current is cut from COLD_FULL_C down, to nothing at COLD_FROM_C."""
HOT_FROM_C, HOT_NONE_C = 50.0, 65.0
"""Any current is cut as the hottest cell warms, to nothing at HOT_NONE_C."""
CHARGE_TAPER_K = 5.0
HOT_MARGIN_K = 3.0
"""The sensors of a site differ from the cells by their errors."""
LOW_MARGIN_V = 0.15
"""A site that keeps the card's limits stops discharging so far above the least cell voltage ..."""
HIGH_MARGIN_V = 0.010
"""... and charges so far below the highest: it goes by what its sensors read (offset and noise of a few mV)."""
RESERVE_FROM, RESERVE_NONE = 0.10, 0.05
"""SOC of the emptiest cell from which such a site takes less, and at which it takes nothing: its reserve."""
LOOK_S = 5.0
PUMP_FROM_C, PUMP_LEAST, CHILL_FROM_C = 24.0, 0.4, 32.0
"""The pump runs up, and the chiller starts, with the hottest cell."""
FUSE_C_RATE, FUSE_S = 12.0, 1.5
PRECHARGE_S, LINK_READY = 0.4, 0.95
"""Time constant of the link capacitor through the precharge resistor, and the share at which the main contactors close."""


class Control:
    """One row a pack, (p, 1). high_v, low_v: where charge and discharge taper off at the outermost cell. charge_a, discharge_a:
    commanded limits (>= 0). closed: 1 = contactors commanded closed; welded: 1 = they
    do not open; fused: 1 = the fuse has gone, for good. cold_charge: 1 = the cold does not cut the charge current.
    charge_hot_c: no charging from there on. reserve: 1 = the site leaves the last of its energy in the cells. pump: factor on the coolant's flow (a fault's); cool: 1 = cooling commanded. hot_cut: 1 = heat cuts the current. short_a: what flows through a short across the pack (<= 0); short_seen: 1 = the shunt is in its path."""

    def __init__(self, packs: Packs) -> None:
        count = len(packs.state.soc)

        def full(value: float) -> Floats:
            return np.full((count, 1), float(value))

        self._group_ah = packs.curves.capacity_ah * packs.build.parallel
        self.high_v, self.low_v = full(packs.curves.voltage_max_v), full(packs.curves.voltage_min_v)
        self.charge_a, self.discharge_a = full(np.inf), full(np.inf)
        self.factor, self.closed, self.cold_charge = full(1), full(1), full(0)
        self.pump, self.cool, self.hot_cut = full(1), full(0), full(1)
        self.short_a, self.short_seen = full(0), full(1)
        self.through_a, self.total_a = full(0), full(0)
        self.welded, self.fused = full(0), full(0)
        self.charge_hot_c, self.reserve = full(np.inf), full(0)
        self._over_s, self.link = full(0), full(1)
        self._gain, self._charge_a, self._discharge_a = full(0), full(0), full(np.inf)
        self._warm, self._looked_s = full(1), -np.inf

    def keep(self, limits: CardLimits) -> None:
        """From now on the site asks for no more than the card allows, as one does whose charger and inverter were set up by it."""
        self.charge_a[...], self.discharge_a[...] = limits.charge_c_rate * self._group_ah, limits.discharge_c_rate * self._group_ah
        self.low_v += LOW_MARGIN_V
        self.high_v -= HIGH_MARGIN_V
        self.reserve[...] = 1.0
        self.charge_hot_c[...] = limits.charge_temperature_max_c - HOT_MARGIN_K

    def current(self, packs: Packs, request_a: Floats, step_s: float) -> Floats:
        """The current through the string for the coming step, A, (p,); ``request_a`` (p,)."""
        state = packs.state
        if packs.time_s - self._looked_s >= LOOK_S:
            self._look(packs)
        bottom, top = lowest_highest(state.voltage_v)
        most = np.maximum(self.through_a + self._gain * (self.high_v - top), 0.0)
        least = np.minimum(self.through_a - self._gain * (bottom - self.low_v), 0.0)
        through = request_a.reshape(-1, 1) * self.factor
        np.maximum(through, -np.minimum(self.discharge_a, self._discharge_a), out=through)
        np.minimum(through, np.minimum(self.charge_a, self._charge_a), out=through)
        np.maximum(through, least, out=through)
        np.minimum(through, most, out=through)
        through *= self._warm
        # precharge: the link follows the pack's voltage before the contactors carry the load
        self.closed[self.fused > 0] = 0.0
        shut = np.maximum(self.closed, self.welded * (1.0 - self.fused))
        self.link += (shut - self.link) * -np.expm1(-step_s / PRECHARGE_S)
        carries = (shut > 0) & (self.link > LINK_READY)
        self.through_a = through * carries
        total = self.through_a + self.short_a * carries
        beyond = np.abs(total) > FUSE_C_RATE * packs.curves.capacity_ah * packs.build.parallel
        self._over_s = np.where(beyond, self._over_s + step_s, 0.0)
        self.fused[self._over_s > FUSE_S] = 1.0
        self.total_a = total
        return total[:, 0]

    def _look(self, packs: Packs) -> None:
        """What changes slowly: the weakest answer of the string, what temperatures allow, pump and chiller."""
        state, parallel = packs.state, packs.build.parallel
        # ohms: what one more ampere does to a cell's voltage
        ohm = state.looked[R0].max(axis=1, keepdims=True) * 1.5 + 0.05 / state.looked[EXCHANGE].min(axis=1, keepdims=True)
        self._gain, self._looked_s = 0.7 * parallel / ohm, packs.time_s
        hottest_c = state.temperature_c.max(axis=1, keepdims=True)
        packs.effects.pump[...] = self.pump * np.where(self.cool > 0, 1.0, np.clip((hottest_c - PUMP_FROM_C) / 5.0, PUMP_LEAST, 1.0))
        packs.effects.chill[...] = np.maximum(self.cool, np.clip((hottest_c - CHILL_FROM_C) / 3.0, 0.0, 1.0))
        warmth = np.clip((state.temperature_c.min(axis=1, keepdims=True) - COLD_FROM_C) / (COLD_FULL_C - COLD_FROM_C), 0.0, 1.0)
        self._charge_a = np.where(self.cold_charge > 0, np.inf, warmth * packs.curves.capacity_ah * parallel)
        hot = np.clip((self.charge_hot_c - hottest_c) / CHARGE_TAPER_K, 0.0, 1.0)
        self._charge_a = np.where(hot < 1, np.minimum(self._charge_a, hot * packs.curves.capacity_ah * parallel), self._charge_a)
        left = np.clip((state.soc.min(axis=1, keepdims=True) - RESERVE_NONE) / (RESERVE_FROM - RESERVE_NONE), 0.0, 1.0)
        kept = (self.reserve > 0) & (left < 1)
        self._discharge_a = np.where(kept, left * packs.curves.capacity_ah * parallel, np.inf)
        warm = np.clip((HOT_NONE_C - hottest_c) / (HOT_NONE_C - HOT_FROM_C), 0.0, 1.0)
        self._warm = np.where(self.hot_cut > 0, warm, 1.0)

    def shunt_a(self, total_a: Floats) -> Floats:
        """What the shunt sees of ``total_a`` (p,)."""
        unseen = self.short_a * (self.total_a != self.through_a) * (1.0 - self.short_seen)
        return total_a - unseen[:, 0]
