"""The estimator's limits, and what the actions and the forbidden combinations make of them.

A stop is at once; what comes back comes slowly, so that a charger is not thrown from 0 to full. The
charge voltage is lowered on a ramp and never below the card's float voltage: 0 V makes inverters dump
the battery, and a step trips them.
"""

from __future__ import annotations

import math

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.decision.types import Limits
from edgebms.estimator.state import PowerLimits

DERATED = 0.5
"""``limit`` halves the currents: the heat of a resistance goes with the square, so a quarter is left."""

DERATE_S = 2.0
RISE_S = 20.0
"""Time from full to zero for a derating, and from zero to full when it ends (as the estimator's ramps)."""

CHARGE_V_RAMP_S = 10.0
"""Time from the card's maximum to its float voltage and back."""


class Limiter:
    """One pack's limits as they leave. ``step`` at each decision."""

    def __init__(self, card: CellCard, pack: PackConfig) -> None:
        self._float_v = pack.cells * card.limits.voltage_float_v
        self._min_v = pack.cells * card.limits.voltage_min_v
        self._max_v = pack.cells * card.limits.voltage_max_v
        self._charge_share = 1.0
        self._discharge_share = 1.0
        self._charge_v = self._float_v
        self._last_ns: int | None = None

    def step(
        self, base: PowerLimits, now_ns: int, *, stop_charge: bool, stop_discharge: bool, derate: bool, charge_reason: str | None = None
    ) -> Limits:
        """charge_reason: why charging is forbidden (below the minimum temperature), None = it is not."""
        # the first word is said at once: there is nothing yet that it could depart from too fast
        dt_s = max(now_ns - self._last_ns, 0) * 1e-9 if self._last_ns is not None else math.inf
        self._last_ns = now_ns
        no_charge = stop_charge or charge_reason is not None
        target = DERATED if derate else 1.0
        self._charge_share = move(self._charge_share, 0.0 if no_charge else target, dt_s)
        self._discharge_share = move(self._discharge_share, 0.0 if stop_discharge else target, dt_s)
        reasons = list(base.reasons)
        if charge_reason is not None:
            reasons.append(charge_reason)
        if stop_charge:
            reasons.append("charge_stopped")
        if stop_discharge:
            reasons.append("discharge_stopped")
        if derate:
            reasons.append("derated")
        return Limits(
            charge_a=round(magnitude(base.charge_a) * self._charge_share, 3),
            discharge_a=round(magnitude(base.discharge_a) * self._discharge_share, 3),
            charge_v=max(round(self._lower_charge_v(base.charge_v, no_charge, dt_s), 3), self._float_v),
            discharge_v=max(base.discharge_v, self._min_v) if math.isfinite(base.discharge_v) else self._min_v,
            reasons=tuple(reasons),
        )

    def _lower_charge_v(self, base_v: float, no_charge: bool, dt_s: float) -> float:
        base_v = min(max(base_v, self._float_v), self._max_v) if math.isfinite(base_v) else self._float_v
        step_v = max(self._max_v - self._float_v, 1e-9) * dt_s / CHARGE_V_RAMP_S
        if no_charge:
            self._charge_v = max(self._float_v, min(base_v, self._charge_v - step_v))
        else:
            self._charge_v = min(base_v, self._charge_v + step_v)
        return self._charge_v


def magnitude(value: float) -> float:
    """0 for what is not known or below 0.

    >>> magnitude(3.0), magnitude(float("nan")), magnitude(-1.0)
    (3.0, 0.0, 0.0)
    """
    return value if math.isfinite(value) and value > 0.0 else 0.0


def move(share: float, target: float, dt_s: float) -> float:
    """The next share of the estimator's limit: to 0 at once, else down in DERATE_S, up in RISE_S.

    >>> move(1.0, 0.0, 0.1), move(1.0, 0.5, 0.2), move(0.0, 1.0, 2.0)
    (0.0, 0.9, 0.1)
    """
    if target == 0.0:
        return 0.0
    return max(target, share - dt_s / DERATE_S) if target < share else min(target, share + dt_s / RISE_S)
