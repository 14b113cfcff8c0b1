"""Opening the contactors, step by step: limits to 0, wait for a low current, then open.

A contactor that opens under load burns its contacts; so known practice (Battery-Emulator) takes the
current away first: 1.8 A or less, and opens after 7 s in any case.
"""

from __future__ import annotations

import math

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig
from edgebms.decision.types import ContactorSequence
from edgebms.telemetry.snapshot import Reading
from edgebms.vocabulary import Contactor, SequenceStep

LOW_CURRENT_A = 1.8
TIMEOUT_S = 7.0
"""Battery-Emulator, PR 2713."""

LOW_CURRENT_C_RATE = 0.01
"""A large pack's current sensor is off by more than 1.8 A: C/100 is the floor there."""


class Opener:
    """One pack's sequence. ``step`` at each decision; a request that ends takes it back to its start."""

    def __init__(self, card: CellCard, pack: PackConfig) -> None:
        self.low_current_a = max(LOW_CURRENT_A, LOW_CURRENT_C_RATE * card.capacity_ah * pack.parallel)
        self._step: SequenceStep | None = None
        self._since_ns = 0
        self._under_load: bool | None = None

    def step(self, requested: bool, current_a: Reading, contactors: Contactor, now_ns: int) -> ContactorSequence | None:
        """None while nothing is requested. A current that is not known is not low: it waits for the time-out."""
        if not requested:
            self._step = None
            return None
        if self._step is None:
            self._step, self._since_ns, self._under_load = SequenceStep.LOWERING, now_ns, None
        elapsed_s = (now_ns - self._since_ns) * 1e-9
        if contactors is Contactor.OPEN:
            if self._step is SequenceStep.LOWERING:
                # open before they were told to: nothing was switched under load by us
                self._under_load = False
            self._step = SequenceStep.OPENED
        elif self._step is SequenceStep.LOWERING:
            known = math.isfinite(current_a.value)
            low = known and abs(current_a.value) <= self.low_current_a
            if low or elapsed_s >= TIMEOUT_S:
                self._step = SequenceStep.OPEN
                self._under_load = not low if known else None
        elif self._step is SequenceStep.OPENED:
            # closed again, or no longer said to be open, while the request stands: told once more
            self._step = SequenceStep.OPEN
        return ContactorSequence(self._step, round(elapsed_s, 3), self.low_current_a, TIMEOUT_S, self._under_load)
