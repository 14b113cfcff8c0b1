"""Bytes that may be written to a card that wears out: so many a day."""

from __future__ import annotations


class Allowance:
    """``bytes_per_day`` on average, ``at_once`` bytes ahead of that at most.

    >>> allowance = Allowance(86_400, 100)
    >>> allowance.left(0), allowance.spend(80), allowance.left(0), allowance.left(30_000_000_000)
    (100.0, None, 20.0, 50.0)
    """

    def __init__(self, bytes_per_day: float, at_once: float) -> None:
        self._per_ns = bytes_per_day / 86400e9
        self._at_once = float(at_once)
        self._spent = 0.0
        self._last_ns: int | None = None

    def left(self, now_ns: int) -> float:
        """What may be written now; below 0 after more than that was."""
        elapsed_ns = max(now_ns - self._last_ns, 0) if self._last_ns is not None else 0
        self._last_ns = now_ns
        self._spent = max(self._spent - elapsed_ns * self._per_ns, 0.0)
        return self._at_once - self._spent

    def spend(self, count: int) -> None:
        self._spent += count
