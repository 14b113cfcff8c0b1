"""All disk writes of the record, in a thread of their own behind a bounded queue: a slow disk delays no decision."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

HANGS_S = 30.0
"""A job that takes so long is told as a disk that hangs."""


class Writer:
    """``put`` jobs; they run one after the other. A job that raises is told in ``problems`` until one of the
    same ``about`` succeeds."""

    def __init__(self, limit_bytes: int = 32 << 20, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """now_ns: the machine's clock, also where a rig holds the packs': a disk takes its own time."""
        self._limit, self._now_ns = limit_bytes, now_ns
        self._jobs: deque[tuple[Callable[[], None], int, str]] = deque()
        self._bytes = 0
        self._ready = threading.Condition()
        self._closing = False
        self._done = 0
        self._seen: tuple[int, int] | None = None
        self.problems: dict[str, tuple[str, int]] = {}
        """about -> what went wrong with it last, as the system says it, and the number of that job."""
        self.lost = 0
        """Jobs that found the queue full."""
        self._thread = threading.Thread(target=self._serve, name="edgebms-record", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None], size: int, about: str) -> bool:
        """Have ``job`` run, which holds ``size`` bytes. False where the queue is full: it is not run."""
        with self._ready:
            if self._closing or (self._jobs and self._bytes + size > self._limit):
                self.lost += 1
                return False
            self._jobs.append((job, size, about))
            self._bytes += size
            self._ready.notify()
        return True

    def hangs(self) -> bool:
        """Whether the disk has kept one job for HANGS_S. Call now and then."""
        now_ns = self._now_ns()
        with self._ready:
            done, waiting = self._done, bool(self._jobs)
        if not waiting or self._seen is None or self._seen[0] != done:
            self._seen = (done, now_ns) if waiting else None
            return False
        return now_ns - self._seen[1] >= HANGS_S * 1e9

    def close(self, patience_s: float = 5.0) -> bool:
        """Run what waits, for at most ``patience_s``. True = all of it was run."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            with self._ready:
                while not self._jobs:
                    if self._closing:
                        return
                    self._ready.wait()
                job, size, about = self._jobs[0]
            try:
                job()
                self.problems.pop(about, None)
            except OSError as error:
                self.problems[about] = error.strerror or str(error), self._done
            except Exception as error:  # a fault of ours must not end all recording
                self.problems[about] = f"{type(error).__name__}: {error}", self._done
            with self._ready:
                self._jobs.popleft()
                self._bytes -= size
                self._done += 1
