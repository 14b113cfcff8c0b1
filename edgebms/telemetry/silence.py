"""When a replay looks at a pack from which nothing comes."""

from __future__ import annotations

from collections.abc import Iterator

TICK_NS = 100_000_000
"""How often silent packs are looked at."""


def silence_ticks_ns(start_ns: int, end_ns: int) -> Iterator[int]:
    """The times at which a replay looks at silent packs between two frames.

    Every 100 ms like a live loop for the first 10 s, then every second up to a minute, then every
    minute: a night without frames in a log is one long loss of data, not a million decisions.
    """
    at_ns = start_ns
    while True:
        silent_ns = at_ns - start_ns
        at_ns += TICK_NS if silent_ns < 10_000_000_000 else 1_000_000_000 if silent_ns < 60_000_000_000 else 60_000_000_000
        if at_ns >= end_ns:
            return
        yield at_ns
