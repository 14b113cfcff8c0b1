"""An outlet that others connect to: a thread with an event loop in which a service listens.

``offer`` hands the decision over and never waits. A service that cannot listen yet (port taken, folder missing) is tried
again with growing pauses, and that is told as the fault ``outlet_down.NAME``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.notify import NOTICE, WARNING, say
from edgebms.vocabulary import Level

LIMIT = 2000
"""Decisions between the loop and this thread: more than a minute of three packs at ten a second."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
DOWN_S = 1.0
"""An outlet that listens within this time was not down for anyone (after a reload the old one lets go of its port first)."""
TICK_S, LOOK_S = 0.1, 1.0
STUCK_S = 5.0
CLOSE_S = 3.0
CUT_SHOWN_S = 60.0


class Service(Protocol):
    """What listens. All of it runs in the thread's event loop, but for ``faults``.

    where: for messages. failed: clients that were cut off because they did not keep up.
    """

    where: str

    @property
    def failed(self) -> int: ...

    async def open(self) -> asyncio.Server:
        """Listen. Raises OSError."""
        ...

    def stands(self) -> bool:
        """Can it still be connected to? Looked at each second."""
        ...

    def take(self, decision: Decision, line: bytes) -> None: ...

    def tick(self) -> None:
        """Called about ten times a second."""
        ...

    def shut(self) -> None:
        """Let all clients go and what was listened on."""
        ...

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]: ...


class Cuts:
    """How many clients were cut off, and the fault ``rule`` that tells it for a while. It is no alert: whoever may connect
    could raise one by not reading."""

    def __init__(self, rule: str) -> None:
        self.count = 0
        self._rule = rule
        self._span_ns: tuple[int, int] | None = None

    def add(self, now_ns: int) -> None:
        self.count += 1
        self._span_ns = (self._span_ns[0] if self._span_ns is not None else now_ns, now_ns)

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        span_ns = self._span_ns
        if span_ns is None:
            return ()
        if now_ns - span_ns[1] > CUT_SHOWN_S * 1e9:
            self._span_ns = None
            return ()
        return (GatewayFault(self._rule, Level.NONE, float(self.count), 0.0, "clients", span_ns[0], None, self.count),)


class Served:
    """The outlet ``name`` around ``service``."""

    def __init__(self, name: str, service: Service, *, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.name = name
        self.dropped = self.lost_changes = self.failed = 0
        self.problem = ""
        """Why it does not listen, in words; "" while it does."""
        self._service, self._now_ns = service, now_ns
        self._queue: deque[tuple[Decision, bytes]] = deque()
        self._woken = False
        self._taken_ns = now_ns()
        self._down_since_ns: int | None = now_ns()
        self._tries = self._errors = 0
        self._error = ""
        self._events = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"edgebms-{name}", daemon=True)
        self._thread.start()

    # ---- the loop's thread

    def offer(self, decision: Decision, line: bytes) -> None:
        """Take one decision. Returns at once."""
        if not self._queue:
            self._taken_ns = self._now_ns()
        self._queue.append((decision, line))
        if len(self._queue) > LIMIT:
            self._queue.popleft()
            self.dropped += 1
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._events.call_soon_threadsafe(self._drain)

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        """What is wrong with this outlet now."""
        found = list(self._service.faults(now_ns))
        since_ns = self._down_since_ns
        if since_ns is not None and now_ns - since_ns > DOWN_S * 1e9:
            down_s = round((now_ns - since_ns) / 1e9, 3)
            found.append(GatewayFault(f"outlet_down.{self.name}", Level.WARNING, down_s, DOWN_S, "s", since_ns, None, self._tries))
        if self._queue and now_ns - self._taken_ns > STUCK_S * 1e9:
            stuck_s = (now_ns - self._taken_ns) / 1e9
            found.append(
                GatewayFault(f"outlet_stuck.{self.name}", Level.WARNING, stuck_s, STUCK_S, "s", self._taken_ns, None, self.dropped)
            )
        return tuple(found)

    def close(self) -> None:
        """Hand on what is queued, for CLOSE_S at most, and let everybody go."""
        with contextlib.suppress(RuntimeError):
            self._events.call_soon_threadsafe(self._closing.set)
        self._thread.join(CLOSE_S)

    # ---- its own thread

    def _run(self) -> None:
        try:
            self._events.run_until_complete(self._serve())
        finally:
            self._events.close()

    def _drain(self) -> None:
        """One decision a turn of the loop: in between, clients are written to. After a pause of ours, what had piled up
        would otherwise look like a client that does not read."""
        self._woken = False
        self._take()
        if self._queue and not self._woken:
            self._woken = True
            self._events.call_soon(self._drain)

    def _take(self) -> None:
        if self._queue:
            decision, line = self._queue.popleft()
            self._taken_ns = self._now_ns()
            self._guarded(self._service.take, decision, line)

    async def _serve(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._closing.is_set():
            try:
                server = await self._service.open()
            except OSError as error:
                self._down(error.strerror or str(error))
                await self._wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            self._up()
            await self._listen()
            server.close()
            while self._queue:
                self._take()
            self._service.shut()
            if not self._closing.is_set():
                self._down("is gone")
        clients = asyncio.all_tasks() - {asyncio.current_task()}
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _listen(self) -> None:
        """Until the outlet is closed, or nobody can connect any more."""
        looked_ns = self._now_ns()
        while not self._closing.is_set():
            await self._wait(TICK_S)
            self._guarded(self._service.tick)
            self.failed = self._service.failed + self._errors
            if self._now_ns() - looked_ns > LOOK_S * 1e9:
                looked_ns = self._now_ns()
                if not self._service.stands():
                    return

    def _guarded(self, call: Callable[..., None], *arguments: object) -> None:
        """A fault of ours in one decision does not end the outlet: it is counted, and said once for each kind."""
        try:
            call(*arguments)
        except Exception as error:
            self._errors += 1
            text = f"{type(error).__name__}: {error}"
            if text != self._error:
                say(f"outlet {self.name}: a fault of ours: {text}", WARNING)
            self._error = text

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    def _up(self) -> None:
        say(f"outlet {self.name}: {self._service.where}", NOTICE)
        self.problem, self._tries, self._down_since_ns = "", 0, None

    def _down(self, why: str) -> None:
        self._tries += 1
        if self._down_since_ns is None:
            self._down_since_ns = self._now_ns()
        if why != self.problem:  # once for each reason, not at each attempt
            say(f"outlet {self.name}: {self._service.where}: {why}; it is tried again", WARNING)
        self.problem = why
