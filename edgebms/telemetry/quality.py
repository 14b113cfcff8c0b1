"""What the values of one sweep say of each other: frozen signals, and a sum that does not fit the pack."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgebms.telemetry.snapshot import Codes, Floats

LOOKS = 10
"""Frozen is looked for so often a window: a median a look would cost more than all decoding."""

MIN_SAMPLES = 5
"""A value must have stood still over so many samples of its own, however slow the sweep."""


class FrozenWatch:
    """Finds values that stand bit for bit while the median of the others moves.

    A value is frozen once it has not changed for ``window_s`` and the median has moved away by more than
    ``moved`` from where it stood at the last change; it stays so until it changes. At rest nothing moves
    and nothing is frozen, whatever the resolution; ``moved`` must be several steps of the signal.
    """

    def __init__(self, count: int, window_s: float, moved: float, period_s: float) -> None:
        self._window_ns = round(max(window_s, MIN_SAMPLES * period_s) * 1e9)
        self._moved = moved
        self._last = np.full(count, np.nan)
        self._since_ns = np.zeros(count, dtype=np.int64)
        self._median = np.full(count, np.nan)
        self._next_ns: int | None = None
        self.frozen = np.zeros(count, dtype=np.bool_)
        self.any = False

    def step(self, value: Floats, now_ns: int) -> None:
        """value: (count,), NaN = unknown. Sets ``frozen`` and ``any``."""
        changed = value != self._last  # NaN differs from itself: what is unknown is not frozen
        if self.any and (changed & self.frozen).any():
            self.frozen &= ~changed
            self.any = bool(self.frozen.any())
        if self._next_ns is not None and now_ns < self._next_ns and now_ns >= self._next_ns - self._window_ns:
            return
        self._next_ns = now_ns + self._window_ns // LOOKS
        known = value[np.isfinite(value)]
        median = float(np.median(known)) if known.size else math.nan
        self._last[changed] = value[changed]
        self._since_ns[changed] = now_ns
        self._median[changed] = median
        self.frozen = ~changed & (now_ns - self._since_ns >= self._window_ns) & (np.abs(median - self._median) > self._moved)
        self.any = bool(self.frozen.any())

    @property
    def last_change_ns(self) -> int:
        """When any value was last seen to change."""
        return int(self._since_ns.max())


class AllFrozenWatch:
    """All cells standing still while the current moves: a measuring chip that repeats itself."""

    def __init__(self, window_s: float, moved_a: float) -> None:
        self._window_ns = round(window_s * 1e9)
        self._moved_a = moved_a
        self._last: Floats | None = None
        self._since_ns = 0
        self._low_a = self._high_a = math.nan

    def step(self, value: Floats, current_a: float, now_ns: int) -> bool:
        """Whether all of ``value`` have stood for the window while the current moved by more than moved_a."""
        if self._last is None or bool((value != self._last).any()):
            self._last, self._since_ns = value, now_ns
            self._low_a = self._high_a = current_a
            return False
        self._low_a, self._high_a = _fmin(self._low_a, current_a), _fmax(self._high_a, current_a)
        return now_ns - self._since_ns >= self._window_ns and self._high_a - self._low_a > self._moved_a


def _fmin(a: float, b: float) -> float:
    return b if math.isnan(a) or b < a else a


def _fmax(a: float, b: float) -> float:
    return b if math.isnan(a) or b > a else a


class SumCheck:
    """The cells in series add up to the pack voltage, within tolerance_v + relative * voltage.

    A departure counts once it has stood for ``hold_s``: cells of a slow sweep are read at other moments of
    a changing load than the pack voltage. With a cell or the pack voltage unknown nothing is checked.
    """

    def __init__(self, tolerance_v: float, relative: float, hold_s: float) -> None:
        self._tolerance_v, self._relative = tolerance_v, relative
        self._hold_ns = round(hold_s * 1e9)
        self._since_ns: int | None = None

    def step(self, value: Floats, reason: Codes, pack_v: float, now_ns: int) -> bool:
        """Whether the departure has stood for the hold time."""
        if math.isnan(pack_v) or reason.any() or abs(float(value.sum()) - pack_v) <= self._tolerance_v + self._relative * abs(pack_v):
            self._since_ns = None
            return False
        if self._since_ns is None:
            self._since_ns = now_ns
        return now_ns - self._since_ns >= self._hold_ns


def uncovered(probe_of_cell: NDArray[np.intp], probe_good: NDArray[np.bool_]) -> int:
    """Cells whose probe is not good; -1 stands for no probe."""
    return int(np.count_nonzero((probe_of_cell < 0) | ~probe_good[probe_of_cell])) if probe_good.size else len(probe_of_cell)
