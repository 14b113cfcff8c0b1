"""What an inverter is told of a pack whose data is lost: hold, fade, then silence or zeros. docs/decisions/0008.

A limit that falls to zero in one step shuts an off-grid inverter down, and a limit that stays for ever is a lie; so the
last known limits hold for ``hold_s``, fall to zero over ``fade_s``, and then nothing is said any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgebms.config import Site
from edgebms.vocabulary import SiteKind

CHARGE_V_RAMP_S = 10.0
"""From the last charge voltage to float, once the hold is over; as the decision's own ramp (``decision/limits.py``)."""


@dataclass(frozen=True, slots=True)
class LossRule:
    """hold_s, fade_s: seconds. end: after them. ``zero`` is said only while decisions still come."""

    hold_s: float
    fade_s: float
    end: Literal["silence", "zero"]

    def share(self, lost_s: float) -> float:
        """What is left of the last known limits ``lost_s`` after the loss.

        >>> rule = LossRule(10.0, 20.0, "silence")
        >>> [rule.share(lost_s) for lost_s in (0.0, 10.0, 15.0, 30.0, 1e9)]
        [1.0, 1.0, 0.75, 0.0, 0.0]
        """
        if lost_s <= self.hold_s:
            return 1.0
        return max(0.0, 1.0 - (lost_s - self.hold_s) / self.fade_s) if self.fade_s > 0 else 0.0

    def charge_v(self, last_v: float, float_v: float, lost_s: float) -> float:
        """The charge voltage on its way to float, never below it."""
        ramp = min(max(lost_s - self.hold_s, 0.0) / CHARGE_V_RAMP_S, 1.0)
        return max(float_v, last_v + (float_v - last_v) * ramp)


OF_KIND = {
    SiteKind.NOT_STATED: LossRule(10.0, 30.0, "silence"),
    SiteKind.GRID_TIED: LossRule(5.0, 10.0, "silence"),
    SiteKind.ISLANDED: LossRule(60.0, 120.0, "silence"),
    SiteKind.VEHICLE_PARKED: LossRule(5.0, 10.0, "zero"),
    SiteKind.VEHICLE_IN_MOTION: LossRule(10.0, 60.0, "silence"),
}
"""Ours, from what a loss of power does there; no source states such times. An island and a moving vehicle get long enough to
mend a plug or to pull over; a zero at their end would be the blackout itself, so they end in silence, and the
inverter's own rule for a lost battery decides."""

HARMED_BY_ZERO = frozenset({SiteKind.ISLANDED, SiteKind.VEHICLE_IN_MOTION})
"""There the first frames wait until the discharge limit has stopped rising from the zero that every start begins with."""


def rule_of(site: Site) -> LossRule:
    """The site's own times and end, those of its kind where it states none."""
    kind = OF_KIND[site.kind]
    return LossRule(
        site.loss_hold_s if site.loss_hold_s is not None else kind.hold_s,
        site.loss_fade_s if site.loss_fade_s is not None else kind.fade_s,
        site.loss_end or kind.end,
    )
