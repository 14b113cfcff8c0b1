"""The site behind a microcontroller: the firmware under test holds contactors and limits, the daemon's word reaches it as advice alone."""

from __future__ import annotations

from edgebms.decision.types import Decision
from hil.rig.mcu_end import McuEnd
from hil.rig.site import Orders
from hil.scenario import SiteSpec


class McuSite:
    """As ``Site``. Cooling is the gateway's: it does not go through the microcontroller."""

    def __init__(self, spec: SiteSpec, end: McuEnd) -> None:
        self._spec, self._end = spec, end
        self._cools = self._was_closed = False
        self.opened_s: float | None = None

    def take(self, decision: Decision, now_s: float) -> None:
        del now_s
        self._cools = decision.command.cool

    def orders(self, wanted_a: float, now_s: float) -> Orders:
        """What the firmware makes of the load's wish at ``now_s``. A firmware that says nothing holds no contactor."""
        drive = self._end.drive
        closed = drive is not None and bool(drive.closed)
        if self._was_closed and not closed and self.opened_s is None:
            self.opened_s = now_s
        self._was_closed = closed
        if drive is None or not closed:
            return Orders(0.0, False, self._cools, (), 0.0)
        held_a = drive.held(wanted_a)
        return Orders(
            held_a if self._spec.obeys == "all" else wanted_a,
            True,
            self._cools,
            (),
            0.0 if self._spec.obeys == "all" else abs(wanted_a - held_a),
        )
