"""The daemon's turns: a frame, what others left on the desk, and each tick the time; live, and with the rig's clock."""

from __future__ import annotations

from typing import Protocol

from edgebms.clock import Clock
from edgebms.desk import Desk
from edgebms.inlet.frame import Frame
from edgebms.inlet.inbox import Inbox
from edgebms.rigclock import RigClock

TICK_S = 0.1
BACKLOG_S = 1.0
"""While frames wait, time stands still for so long at most: they are older than the clock."""
OLD_S = 5.0
"""A frame that waited longer is no news: a loop that hung, or that is too slow, goes on with what is newer."""


class Turns(Protocol):
    """Who takes the turns. None of it raises but to end the process."""

    def stopping(self) -> bool: ...

    def take(self, frame: Frame) -> None: ...

    def old(self) -> None:
        """A frame had waited too long and is not taken."""
        ...

    def tick(self, now_ns: int) -> None:
        """Let time pass for the packs, then attend."""
        ...

    def attend(self, now_ns: int) -> None:
        """What is looked at each tick besides the packs."""
        ...

    def done(self, barrier: int) -> None:
        """The rig: all that was sent before time frame number ``barrier`` is done."""
        ...


def serve(turns: Turns, inbox: Inbox, desk: Desk, clock: Clock) -> None:
    """Until stopping. Sleeps until a frame comes, something is left on the desk, or the next tick is due."""
    tick_ns, backlog_ns, old_ns = round(TICK_S * 1e9), round(BACKLOG_S * 1e9), round(OLD_S * 1e9)
    ticked_ns = clock.now_ns()
    while not turns.stopping():
        wait_ns = ticked_ns + tick_ns - clock.now_ns()
        frame = inbox.get(max(wait_ns, 0) / 1e9) if wait_ns > 0 or inbox else None
        if frame is not None:
            if clock.now_ns() - frame.time_ns > old_ns:
                turns.old()
            else:
                turns.take(frame)
        if desk:
            desk.serve()
        now_ns = clock.now_ns()
        if now_ns - ticked_ns >= (backlog_ns if inbox else tick_ns):
            ticked_ns = now_ns
            turns.tick(now_ns)


def serve_rig(turns: Turns, inbox: Inbox, desk: Desk, clock: RigClock) -> None:
    """As ``serve``, but time moves with the rig's frames alone, each of which is answered."""
    while not turns.stopping():
        frame = inbox.get(TICK_S)
        if desk:
            desk.serve()
        if frame is None:
            turns.attend(clock.now_ns())
            continue
        barrier = clock.barrier
        if not clock.take(frame):
            turns.take(frame)
        elif clock.barrier != barrier:
            turns.tick(clock.now_ns())
            turns.done(clock.barrier)
