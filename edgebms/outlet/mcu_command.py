"""A decision in the units of the protocol's ADVICE. Rounding never loosens a limit; what is not known is not stated."""

from __future__ import annotations

import math

from edgebms.decision.types import Decision
from edgebms.outlet.standing import STOPS_CHARGE, STOPS_DISCHARGE
from firmware_bridge import codes
from firmware_bridge.adviser import Command
from firmware_bridge.codes import LIMIT_UNSTATED

ACTIONS = {action.name.lower(): action for action in codes.Action}
MODES = {mode.name.lower(): mode for mode in codes.Mode}
MOST = LIMIT_UNSTATED - 1
SLACK = 1e-6
"""Of a tenth: 80.0 A may come as 79.99999999999999."""


def command_of(decision: Decision) -> Command:
    """A limit of which the decision says that it is not known is left to the microcontroller's own; a stop is said."""
    command, limits = decision.command, decision.command.limits
    reasons = frozenset(limits.reasons)
    charge_known = "charge_unknown" not in reasons or not STOPS_CHARGE.isdisjoint(reasons)
    discharge_known = "discharge_unknown" not in reasons or not STOPS_DISCHARGE.isdisjoint(reasons)
    return Command(
        ACTIONS[command.action.value],
        MODES[command.mode.value],
        int(command.cool),
        floor_tenths(limits.charge_a) if charge_known else LIMIT_UNSTATED,
        floor_tenths(limits.discharge_a) if discharge_known else LIMIT_UNSTATED,
        floor_tenths(limits.charge_v),
        min(math.ceil(10 * limits.discharge_v - SLACK), MOST),
        decision.mono_ns // 1_000_000,
        decision.expires_ms,
    )


def floor_tenths(value: float) -> int:
    """
    >>> floor_tenths(120.09), floor_tenths(79.99999999999999), floor_tenths(1e9)
    (1200, 800, 65534)
    """
    return min(math.floor(10 * value + SLACK), MOST)
