"""Where one pack stands for the inverter: what its decisions say, and what is left of them when they stop or say "unknown"."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.decision.limits import DERATED
from edgebms.decision.types import Decision
from edgebms.outlet.loss import LossRule
from edgebms.vocabulary import Contactor

UNKNOWN = frozenset({"charge_unknown", "discharge_unknown"})
STOPS_CHARGE = frozenset({"charge_stopped", "charge_too_cold"})
STOPS_DISCHARGE = frozenset({"discharge_stopped"})
"""Of ``limits.reasons``: what is said in full knowledge, and therefore at once, whatever else is unknown."""
NO_TEMPERATURE = "charge_temperature_unknown"
LIMITED = "derated"
RISE_S = 20.0
"""How long the estimator's limits take from zero to full (``estimator/power.py``)."""


class Standing(enum.Enum):
    """NEVER: not known since this outlet was opened. KNOWN: a decision that holds and knows its cells. LOST: the last known
    limits hold or fade. ENDED: they have faded. OPEN: the pack says that it is not connected."""

    NEVER = enum.auto()
    KNOWN = enum.auto()
    LOST = enum.auto()
    ENDED = enum.auto()
    OPEN = enum.auto()


@dataclass(frozen=True, slots=True)
class Share:
    """One pack's part in the battery at one moment.

    charge_a, discharge_a: last known limits, of which charge_left and discharge_left (0..1) still count. charge_stopped,
    discharge_stopped: said by a decision that holds. charge_v, float_v, discharge_v: V, always there. soc, soh:
    fractions, None = unknown; held while the limits are. resistance: over the card's, None = unknown. decision:
    one that has not expired; last: the last at all, for its alerts do not end with it. number: from 1.
    """

    number: int
    standing: Standing
    capacity_ah: float
    charge_a: float
    discharge_a: float
    charge_left: float
    discharge_left: float
    charge_stopped: bool
    discharge_stopped: bool
    charge_v: float
    float_v: float
    discharge_v: float
    soc: float | None
    soh: float | None
    resistance: float | None
    decision: Decision | None
    last: Decision | None


class Pack:
    """``take`` each decision, ``share`` at each cycle; both under the caller's lock.

    patient: the first word waits until the discharge limit has stopped rising, ``RISE_S`` at most.
    """

    def __init__(self, number: int, settings: PackConfig, card: CellCard, rule: LossRule, *, patient: bool = False) -> None:
        self.number, self._settings = number, settings
        self.capacity_ah = card.capacity_ah * settings.parallel
        self.max_v = settings.cells * card.limits.voltage_max_v
        self._float_v = settings.cells * card.limits.voltage_float_v
        self._min_v = settings.cells * card.limits.voltage_min_v
        self._rule, self._patient = rule, patient
        self._last: Decision | None = None
        self._known: Decision | None = None
        """The last that knew its cells."""
        self._first_ns: int | None = None
        self._lost_ns: int | None = None

    def carry_over(self, old: Pack) -> None:
        """Go on where ``old`` stood before a reload, if it is the same pack: a fade that has begun goes on."""
        if old._settings == self._settings:
            self._last, self._known, self._first_ns, self._lost_ns = old._last, old._known, old._first_ns, old._lost_ns
            self._patient = self._patient and old._patient

    def take(self, decision: Decision) -> None:
        limits = decision.command.limits
        if UNKNOWN.isdisjoint(limits.reasons):
            if self._first_ns is None:
                self._first_ns = decision.mono_ns
            before = self._known
            risen = before is not None and limits.discharge_a <= before.command.limits.discharge_a
            if risen or decision.mono_ns - self._first_ns > RISE_S * 1e9:
                self._patient = False
            self._known, self._lost_ns = decision, None
        elif self._known is not None and self._lost_ns is None:
            self._lost_ns = min(decision.mono_ns, expiry_ns(self._known))
        self._last = decision

    def share(self, now_ns: int) -> Share:
        """What counts of this pack at ``now_ns``."""
        last, known = self._last, self._known
        decision = last if last is not None and now_ns <= expiry_ns(last) else None
        reasons = frozenset(decision.command.limits.reasons) if decision is not None else frozenset()
        standing, left, charge_v = Standing.NEVER, 0.0, self._float_v
        if known is not None and not self._patient:
            if decision is known:
                standing, left = Standing.KNOWN, 1.0
            else:
                lost_s = (now_ns - (self._lost_ns if self._lost_ns is not None else expiry_ns(known))) * 1e-9
                left = self._rule.share(lost_s)
                standing = Standing.LOST if left > 0 else Standing.ENDED
                if LIMITED in reasons and LIMITED not in known.command.limits.reasons:
                    left *= DERATED
                charge_v = self._rule.charge_v(known.command.limits.charge_v, self._float_v, lost_s)
        if decision is not None:
            charge_v = decision.command.limits.charge_v
            if decision.measured.contactors in (Contactor.OPEN, Contactor.PRECHARGE):
                standing, left = Standing.OPEN, 0.0
        limits = known.command.limits if known is not None else None
        counts = standing in (Standing.KNOWN, Standing.LOST) and known is not None
        return Share(
            number=self.number,
            standing=standing,
            capacity_ah=self.capacity_ah,
            charge_a=limits.charge_a if limits is not None else 0.0,
            discharge_a=limits.discharge_a if limits is not None else 0.0,
            charge_left=0.0 if NO_TEMPERATURE in reasons else left,
            discharge_left=left,
            charge_stopped=not STOPS_CHARGE.isdisjoint(reasons),
            discharge_stopped=not STOPS_DISCHARGE.isdisjoint(reasons),
            charge_v=max(charge_v, self._float_v),
            float_v=self._float_v,
            discharge_v=limits.discharge_v if limits is not None else self._min_v,
            soc=known.soc.pack if counts and known is not None else None,
            soh=known.soh.capacity if counts and known is not None else None,
            resistance=known.soh.resistance if counts and known is not None else None,
            decision=decision,
            last=last,
        )


def expiry_ns(decision: Decision) -> int:
    return decision.mono_ns + decision.expires_ms * 1_000_000
