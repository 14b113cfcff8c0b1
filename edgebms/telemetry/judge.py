"""What a sweep's values say of each other, by the profile's rules: the same for frames and for recorded rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.telemetry.profile import Profile
from edgebms.telemetry.quality import AllFrozenWatch, FrozenWatch, SumCheck
from edgebms.telemetry.snapshot import Codes, Floats
from edgebms.vocabulary import Reason

VALID = int(Reason.VALID)


class Judge:
    """Takes what is frozen or does not fit the pack out of one pack's sweeps. Call in the order of time."""

    def __init__(self, profile: Profile) -> None:
        file = profile.file
        cells, probes, frozen, total = file.cells, file.probes, file.all_frozen, file.sum
        self._cells = (
            FrozenWatch(profile.cells, cells.frozen.window_s, cells.frozen.moved, profile.cell_period_s) if cells and cells.frozen else None
        )
        self._probes = (
            FrozenWatch(profile.probes, probes.frozen.window_s, probes.frozen.moved, profile.probe_period_s)
            if probes and probes.frozen
            else None
        )
        self._all = AllFrozenWatch(frozen.window_s, frozen.moved_a) if frozen and profile.cells else None
        self._sum = SumCheck(total.tolerance_v, total.relative, total.hold_s, profile.cell_period_s) if total and profile.cells else None

    def cells(self, value: Floats, reason: Codes, current_a: float, voltage_v: float, now_ns: int) -> None:
        """Set ``value`` to NaN and ``reason`` where a cell is not believed; both (cells,), changed in place."""
        mismatch = self._sum is not None and self._sum.step(value, reason, voltage_v, now_ns)
        repeated = self._all is not None and self._all.step(value, current_a, now_ns)
        if self._cells is not None:
            self._cells.step(value, now_ns, current_a)
            if self._cells.any:
                blank(value, reason, self._cells.frozen & (reason == VALID), Reason.FROZEN)
        if repeated:
            blank(value, reason, reason == VALID, Reason.FROZEN)
        if mismatch:
            blank(value, reason, reason == VALID, Reason.SUM_MISMATCH)

    def probes(self, value: Floats, reason: Codes, now_ns: int) -> None:
        """Likewise for the probes; both (probes,)."""
        if self._probes is not None:
            self._probes.step(value, now_ns)
            if self._probes.any:
                blank(value, reason, self._probes.frozen & (reason == VALID), Reason.FROZEN)


def blank(value: Floats, reason: Codes, where: NDArray[np.bool_], why: Reason) -> None:
    value[where] = np.nan
    reason[where] = why
