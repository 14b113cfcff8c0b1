"""Where a student runs: in the caller's thread (replay) or in one of its own, bounded by a deadline (live).

What a student does wrong stays here: a student that raises, hangs or comes late is a status, never an
exception and never a delay beyond the deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from edgebms.clock import Clock
from edgebms.vocabulary import ReasonerStatus

T = TypeVar("T")


class Ask(Protocol):
    """``ask(work, since_ns)`` gives (OK, result), or a status that says why there is none.

    since_ns: receive time of the snapshot's last frame, from which the deadline counts.
    """

    def __call__(self, work: Callable[[], T], since_ns: int) -> tuple[ReasonerStatus, T | None]: ...


Late = Callable[[int], bool]
"""``late(since_ns)``: whether the time of the snapshot received then is nearly up, so that a student must come to its end."""

NEARLY = 0.6
"""Share of the deadline after which a student is told to come to its end."""


def never(since_ns: int) -> bool:
    """Replay: time is never up."""
    del since_ns
    return False


def ask_inline(work: Callable[[], T], since_ns: int) -> tuple[ReasonerStatus, T | None]:
    """Replay: no deadline, so that a log always gives the same decisions."""
    del since_ns
    try:
        return ReasonerStatus.OK, work()
    except Exception:
        return ReasonerStatus.FAILED, None


class Worker:
    """One daemon thread; ``ask`` as above with a deadline on ``clock``.

    While an earlier piece of work hangs, every ask is answered at once with SKIPPED: nothing queues
    up behind it. A thread cannot be killed; it is a daemon, so it never holds up the process's end.
    """

    def __init__(self, clock: Clock, deadline_s: float) -> None:
        self._clock = clock
        self._deadline_ns = int(deadline_s * 1e9)
        self._wake = threading.Semaphore(0)
        self._job: _Job | None = None
        self._thread = threading.Thread(target=self._serve, name="edgebms-students", daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        """A piece of work has not ended: nothing new is taken until it does."""
        return self._job is not None and not self._job.ended

    def _serve(self) -> None:
        while True:
            self._wake.acquire()
            job = self._job
            if job is not None:
                job.run()

    def late(self, since_ns: int) -> bool:
        """See ``Late``."""
        return self._clock.now_ns() - since_ns > NEARLY * self._deadline_ns

    def ask(self, work: Callable[[], T], since_ns: int) -> tuple[ReasonerStatus, T | None]:
        if self.hangs:
            return ReasonerStatus.SKIPPED, None
        patience_s = (since_ns + self._deadline_ns - self._clock.now_ns()) / 1e9
        if patience_s <= 0:
            return ReasonerStatus.DEADLINE_MISSED, None
        job = _Job(work)
        self._job = job
        self._wake.release()
        if not job.done.acquire(timeout=patience_s):
            return ReasonerStatus.DEADLINE_MISSED, None
        if job.failed:
            return ReasonerStatus.FAILED, None
        return ReasonerStatus.OK, job.result  # type: ignore[return-value]


class _Job:
    """``done`` is a bare lock, the cheapest thing a thread can wait on with a time-out."""

    __slots__ = ("done", "ended", "failed", "result", "work")

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.result: object = None
        self.failed = False
        self.ended = False
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        try:
            self.result = self.work()
        except BaseException:  # SystemExit out of a student must not end the thread either
            self.failed = True
        self.ended = True
        self.done.release()
