"""What the values of one sweep say of each other: frozen signals, and a sum that does not fit the pack."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgebms.telemetry.snapshot import Codes, Floats

LOOKS = 8
"""Frozen is looked for so often a window: a median a look would cost more than all decoding."""

AWAY_LOOKS = 5
"""So many looks must find the median away. Two are not enough: vehicles repeat cells for up to half a minute
after a step of the load (BatICM, train)."""

EASED = 0.8
"""A charger that holds the fullest cell at a voltage takes its current back: to less than so much of what flowed when that cell last
moved, and hardly to the other way."""


class FrozenWatch:
    """Finds values that stand bit for bit while the median of the others moves.

    A value is frozen once it has not changed for ``window_s`` (at least LOOKS periods of its own) and
    AWAY_LOOKS looks since its last change found the median more than ``moved`` from where it stood then, and from where it
    stood at the look behind (a load that steps within a sweep leaves a cell of after the step beside a median of before);
    it stays so until it changes. At rest nothing moves and nothing is frozen, whatever the resolution;
    ``moved`` must be several steps of the signal. The outermost cell, by which a charger (a load) holds the
    pack, stands as well while its current eases: it is judged as soon as that is over or another is beyond it by ``moved``.
    """

    def __init__(self, count: int, window_s: float, moved: float, period_s: float) -> None:
        self._window_ns = round(max(window_s, LOOKS * period_s) * 1e9)
        self._moved = moved
        self._last = np.full(count, np.nan)
        self._since_ns = np.zeros(count, dtype=np.int64)
        self._median, self._behind, self._current_a = (np.full(count, np.nan) for _ in range(3))
        self._young = np.zeros(count, dtype=np.bool_)
        self._away = np.zeros(count, dtype=np.int64)
        self._next_ns: int | None = None
        self.frozen = np.zeros(count, dtype=np.bool_)
        self.any = False

    def step(self, value: Floats, now_ns: int, current_a: float = math.nan) -> None:
        """value: (count,), NaN = unknown. current_a: the pack's, positive while charging, where it moves the signal. Sets
        ``frozen`` and ``any``."""
        due = self._next_ns is None or now_ns >= self._next_ns
        if not (due or self.any):
            return
        changed = value != self._last  # NaN differs from itself: what is unknown is not frozen
        if not due:
            self.frozen &= ~changed
            self.any = bool(self.frozen.any())
            return
        self._next_ns = now_ns + self._window_ns // LOOKS
        known = value[np.isfinite(value)]
        median = float(np.median(known)) if known.size else math.nan
        self._behind[self._young] = median
        self._away += (np.abs(median - self._median) > self._moved) & (np.abs(median - self._behind) > self._moved)
        self._last[changed] = value[changed]
        self._since_ns[changed] = now_ns
        self._current_a[changed] = current_a
        self._young = changed.copy()
        changed |= self._held(value, current_a)
        self._median[changed] = self._behind[changed] = median
        self._away[changed] = 0
        self.frozen = (self._away >= AWAY_LOOKS) & (now_ns - self._since_ns >= self._window_ns)
        self.any = bool(self.frozen.any())

    def _held(self, value: Floats, current_a: float) -> NDArray[np.bool_]:
        """Which cells the pack may be held by: the highest since a charge, the lowest since a discharge that eases, and those whose
        sensors do not tell them from it."""
        charged = self._current_a > 0
        outermost = (
            np.abs(value - np.where(charged, np.fmax.reduce(value, initial=np.nan), np.fmin.reduce(value, initial=np.nan))) <= self._moved
        )
        before_a, flows_a = np.abs(self._current_a), np.where(charged, current_a, -current_a)
        held: NDArray[np.bool_] = outermost & (flows_a < EASED * before_a) & (flows_a > (EASED - 1.0) * before_a)
        return held


class AllFrozenWatch:
    """All cells standing still while the current moves: a measuring chip that repeats itself."""

    def __init__(self, window_s: float, moved_a: float) -> None:
        self._window_ns = round(window_s * 1e9)
        self._moved_a = moved_a
        self._last = b""
        self._since_ns = 0
        self._low_a = self._high_a = math.nan

    def step(self, value: Floats, current_a: float, now_ns: int) -> bool:
        """Whether all of ``value`` have stood for the window while the current moved by more than moved_a."""
        bits = value.tobytes()  # as bits, so that cells that stay unknown stand still too
        if bits != self._last:
            self._last, self._since_ns = bits, now_ns
            self._low_a = self._high_a = current_a
            return False
        self._low_a, self._high_a = _fmin(self._low_a, current_a), _fmax(self._high_a, current_a)
        return now_ns - self._since_ns >= self._window_ns and self._high_a - self._low_a > self._moved_a


def _fmin(a: float, b: float) -> float:
    return b if math.isnan(a) or b < a else a


def _fmax(a: float, b: float) -> float:
    return b if math.isnan(a) or b > a else a


MISMATCH_SWEEPS = 3


class SumCheck:
    """The cells in series add up to the pack voltage, within tolerance_v + relative * voltage.

    A departure counts once it has stood for ``hold_s`` and MISMATCH_SWEEPS sweeps: cells are read at other
    moments of a changing load than the pack voltage. With a cell or the pack voltage unknown nothing is
    checked.
    """

    def __init__(self, tolerance_v: float, relative: float, hold_s: float, period_s: float) -> None:
        self._tolerance_v, self._relative = tolerance_v, relative
        self._hold_ns = round(max(hold_s, MISMATCH_SWEEPS * period_s) * 1e9)
        self._since_ns: int | None = None

    def step(self, value: Floats, reason: Codes, pack_v: float, now_ns: int) -> bool:
        """Whether the departure has stood for the hold time. value, reason: (cells,)."""
        if math.isnan(pack_v) or reason.any() or abs(float(value.sum()) - pack_v) <= self._tolerance_v + self._relative * abs(pack_v):
            self._since_ns = None
            return False
        if self._since_ns is None:
            self._since_ns = now_ns
        return now_ns - self._since_ns >= self._hold_ns
