"""The one clock. Passed in; nothing else in the house reads time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """now_ns: monotonic nanoseconds. utc_ns: wall clock at the same moment, None when not known."""

    def now_ns(self) -> int: ...

    def utc_ns(self) -> int | None: ...


class MonotonicClock:
    """Live: the machine's monotonic clock; its wall clock only once it is said to be synchronised."""

    def __init__(self, synchronised: bool = False) -> None:
        self.synchronised = synchronised

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def utc_ns(self) -> int | None:
        return time.time_ns() if self.synchronised else None


class LogClock:
    """Replay and rig: the frames' own time. ``set_ns`` is called with each frame's time stamp.

    Stamps that go back (a log put together from pieces) do not turn the clock back.
    """

    def __init__(self) -> None:
        self._now_ns = 0
        self._utc_ns: int | None = None

    def set_ns(self, now_ns: int, utc_ns: int | None = None) -> None:
        self._now_ns = max(self._now_ns, now_ns)
        self._utc_ns = utc_ns

    def now_ns(self) -> int:
        return self._now_ns

    def utc_ns(self) -> int | None:
        return self._utc_ns


def wall_ns() -> int:
    """What the machine's wall clock shows, right or wrong: a bound for how long the gateway was off, nothing else."""
    return time.time_ns()
