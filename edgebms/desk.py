"""Where other threads leave work for the loop's: it is done between two frames, in the order in which it came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

LIMIT = 256
"""Pieces of work that may wait."""
PATIENCE_S = 5.0


class DeskFull(Exception):
    """So much work waits that no more is taken."""


class Desk:
    """``ask`` and ``leave`` from any thread, ``serve`` in the loop's. wake: lets a waiting loop look at once."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Callable[[], None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def ask(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, or raises, in the loop's thread. Raises DeskFull, TimeoutError (then it is not done any more)."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as error:  # whoever asked is told
                future.set_exception(error)

        self.leave(run)
        try:
            return future.result(PATIENCE_S)
        except TimeoutError:
            if future.cancel():
                raise
            return future.result(PATIENCE_S)  # it is being done

    def leave(self, work: Callable[[], None]) -> None:
        """Have ``work`` done soon; it may not raise. Raises DeskFull."""
        if len(self._waiting) >= LIMIT:
            raise DeskFull(f"{LIMIT} pieces of work wait")
        self._waiting.append(work)
        self._wake()

    def serve(self) -> None:
        """Do what waits now."""
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
