"""The bounded queue between the buses' threads and the loop."""

from __future__ import annotations

import contextlib
import queue

from edgebms.inlet.frame import Frame

LIMIT = 8192
"""Frames: about 2 s of two full 500 kbit/s buses."""


class Inbox:
    """Frames in, from any thread; frames out, in the loop's. Full: the oldest go, for new telemetry is worth more."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._queue: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()

    def put(self, frames: list[Frame]) -> int:
        """Add ``frames``; the number of oldest ones that had to go."""
        dropped = 0
        for frame in frames:
            self._queue.put(frame)
        while self._queue.qsize() > self._limit:
            with contextlib.suppress(queue.Empty):
                dropped += self._queue.get_nowait() is not None
        return dropped

    def get(self, timeout_s: float) -> Frame | None:
        """The oldest frame; None when none came in time, or at a ``wake``."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def wake(self) -> None:
        """Let a waiting ``get`` return now. May be called from a signal handler."""
        self._queue.put(None)

    def __len__(self) -> int:
        return self._queue.qsize()
