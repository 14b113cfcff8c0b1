"""Charge and discharge limits of a pack from its card's curves, over cell extremes.

Each limit is the least over the cells of: the card's continuous rate; what keeps the cell inside its
voltage limits for the next ten seconds, by the measured voltage and the cell's own resistance; tapers
over temperature and state of charge; all divided by the rise in resistance. Limits fall fast and rise
slowly. A cell that is not known makes the limit 0 A; voltage limits are never 0 V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.estimator.state import PowerLimits

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tapers:
    """Where limits begin to fall, and how fast they may move.

    cold_k, hot_k: kelvin inside a temperature limit over which the current goes from full to zero.
    soc_low, soc_empty: discharge goes from full to zero between them; soc_high, soc_full: charge does,
    down to full_charge_c_rate (the constant-voltage tail ends a charge, not the state of charge alone).
    fall_s, rise_s: time for a full-scale fall and rise. A cell beyond a hard limit is not ramped.
    """

    cold_k: float = 10.0
    hot_k: float = 8.0
    soc_empty: float = 0.0
    soc_low: float = 0.08
    soc_high: float = 0.92
    soc_full: float = 1.0
    full_charge_c_rate: float = 0.05
    fall_s: float = 2.0
    rise_s: float = 20.0


class Power:
    """One pack's limits; keeps the last limits for the ramps. Call ``step`` at each snapshot."""

    def __init__(self, card: CellCard, pack: PackConfig, tapers: Tapers | None = None) -> None:
        limits = card.limits
        self._limits = limits
        self._tapers = tapers or Tapers()
        self._cells, self._parallel = pack.cells, pack.parallel
        self._charge_max_a = limits.charge_c_rate * card.capacity_ah
        self._discharge_max_a = limits.discharge_c_rate * card.capacity_ah
        self._full_charge_a = min(self._tapers.full_charge_c_rate * card.capacity_ah, self._charge_max_a)
        self._charge_a = 0.0
        self._discharge_a = 0.0
        self._time_ns: int | None = None
        self._blind = False

    def step(
        self,
        now_ns: int,
        voltage_v: Floats,
        current_a: float,
        temperature_c: Floats,
        soc: Floats,
        resistance_ohm: Floats,
        soh_resistance: Floats,
    ) -> PowerLimits:
        """voltage_v ... soh_resistance: (cells,). current_a of one cell, positive while charging.
        resistance_ohm: what the voltage moves per ampere over the next ten seconds."""
        limits, tapers = self._limits, self._tapers
        v_max, v_min = float(np.maximum.reduce(voltage_v)), float(np.minimum.reduce(voltage_v))
        t_max, t_min = float(np.maximum.reduce(temperature_c)), float(np.minimum.reduce(temperature_c))
        soc_max, soc_min = float(np.maximum.reduce(soc)), float(np.minimum.reduce(soc))
        # What keeps every cell inside its voltage limits, from where it stands at the present current.
        charge_voltage_a = current_a + float(np.minimum.reduce((limits.voltage_max_v - voltage_v) / resistance_ohm))
        discharge_voltage_a = -current_a + float(np.minimum.reduce((voltage_v - limits.voltage_min_v) / resistance_ohm))
        # One NaN among the cells is a NaN in its extreme: nothing is known of the pack's weakest cell then.
        if math.isfinite(t_max + soc_max + charge_voltage_a):
            worst = float(np.fmax.reduce(soh_resistance))
            ageing = 1.0 / worst if worst > 1.0 else 1.0
            charge = {
                "rate": self._charge_max_a * ageing,
                "voltage": charge_voltage_a,
                "cold": self._charge_max_a * ramp(t_min, limits.charge_temperature_min_c, limits.charge_temperature_min_c + tapers.cold_k),
                "heat": self._charge_max_a * ramp(t_max, limits.charge_temperature_max_c, limits.charge_temperature_max_c - tapers.hot_k),
                "soc": self._full_charge_a + (self._charge_max_a - self._full_charge_a) * ramp(soc_max, tapers.soc_full, tapers.soc_high),
            }
            discharge = {
                "rate": self._discharge_max_a * ageing,
                "voltage": discharge_voltage_a,
                "cold": self._discharge_max_a
                * ramp(t_min, limits.discharge_temperature_min_c, limits.discharge_temperature_min_c + tapers.cold_k),
                "heat": self._discharge_max_a
                * ramp(t_max, limits.discharge_temperature_max_c, limits.discharge_temperature_max_c - tapers.hot_k),
                "soc": self._discharge_max_a * ramp(soc_min, tapers.soc_empty, tapers.soc_low),
            }
            bound_charge, bound_discharge = min(charge, key=charge.__getitem__), min(discharge, key=discharge.__getitem__)
            reasons = [f"charge_{bound_charge}", f"discharge_{bound_discharge}"]
            charge_a, discharge_a = max(charge[bound_charge], 0.0), max(discharge[bound_discharge], 0.0)
            hard = (
                v_max > limits.voltage_max_v
                or v_min < limits.voltage_min_v
                or bound_charge in ("cold", "heat")
                or bound_discharge in ("cold", "heat")
            )
            charge_v = self._charge_v(v_max, float(np.add.reduce(voltage_v)) / self._cells)
        else:
            # Zero while nothing is known; but the discharge limit comes back where it stood: one lost reading must not make
            # it rise from zero again, which an inverter would take for an empty battery.
            self._time_ns, self._charge_a, self._blind = now_ns, 0.0, True
            return PowerLimits(
                0.0,
                0.0,
                self._cells * limits.voltage_float_v,
                self._cells * limits.voltage_min_v,
                ("charge_unknown", "discharge_unknown"),
            )
        self._ramp(now_ns, charge_a, discharge_a, hard or self._blind)  # what was last known may be long ago
        self._blind = False
        return PowerLimits(
            self._charge_a * self._parallel,
            self._discharge_a * self._parallel,
            charge_v,
            self._cells * limits.voltage_min_v,
            tuple(reasons),
        )

    def _charge_v(self, v_max: float, v_mean: float) -> float:
        """Pack charge voltage that leaves the highest cell at its limit; never below float."""
        limits = self._limits
        near_top = ramp(v_max, limits.voltage_float_v, limits.voltage_max_v)
        return self._cells * max(limits.voltage_max_v - near_top * (v_max - v_mean), limits.voltage_float_v)

    def _ramp(self, now_ns: int, charge_a: float, discharge_a: float, hard: bool) -> None:
        dt_s = (now_ns - self._time_ns) / 1e9 if self._time_ns is not None else 0.0
        self._time_ns = now_ns
        self._charge_a = follow(self._charge_a, charge_a, self._charge_max_a, dt_s, self._tapers, hard)
        self._discharge_a = follow(self._discharge_a, discharge_a, self._discharge_max_a, dt_s, self._tapers, hard)

    def state(self) -> tuple[float, float]:
        """Where the ramps stand: charge and discharge limit of one cell, A."""
        return self._charge_a, self._discharge_a

    def restore(self, state: tuple[float, float]) -> None:
        """Go on from where the ramps stood: a restart of a few seconds must not black out a house."""
        self._charge_a, self._discharge_a = state


def ramp(x: float, zero: float, full: float) -> float:
    """0 at ``zero``, 1 at ``full``, linear between, clipped beyond.

    >>> [ramp(t, 0.0, 10.0) for t in (-5.0, 0.0, 5.0, 20.0)]
    [0.0, 0.0, 0.5, 1.0]
    >>> ramp(44.0, 45.0, 37.0)
    0.125
    """
    return min(max((x - zero) / (full - zero), 0.0), 1.0)


def follow(last_a: float, target_a: float, scale_a: float, dt_s: float, tapers: Tapers, hard: bool) -> float:
    """The next limit on the way from ``last_a`` to ``target_a``: a fall may be at once, a rise may not."""
    if target_a >= last_a:
        return min(target_a, last_a + scale_a * dt_s / tapers.rise_s)
    return target_a if hard else max(target_a, last_a - scale_a * dt_s / tapers.fall_s)
