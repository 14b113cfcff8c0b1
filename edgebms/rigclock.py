"""The rig's clock (``edgebms run --clock rig``): time comes as frames on the buses, and nothing else moves it.

A rig that sends a second of frames in a millisecond needs a daemon whose clock it holds. It sends a frame of TIME_ID
on every bus, then waits until the daemon says that all up to it is done (``Notify.rig``). Never used in the field.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from edgebms.inlet.frame import Frame

TIME_ID = 0x1EDB0000
"""Extended arbitration id of a time frame: nanoseconds, u64, Intel."""


class RigClock:
    """Stands at the least of what the buses have brought. Until each has brought one, at 0.

    The rig's time counts from 0 and names no day, so there is no UTC. barrier: so many time frames has every bus
    brought; what was sent before the last of them is done.
    """

    def __init__(self) -> None:
        self.synchronised = False
        self.barrier = 0
        self._brought: dict[str, tuple[int, int]] = {}
        self._now_ns = 0

    def use(self, buses: Iterable[str]) -> None:
        """The buses whose time counts."""
        self._brought = {name: self._brought.get(name, (self.barrier, self._now_ns)) for name in buses}

    def take(self, frame: Frame) -> bool:
        """Is ``frame`` a time frame? Then it is the clock's and no pack's."""
        if frame.arbitration_id != TIME_ID or not frame.extended or len(frame.data) != 8 or frame.channel not in self._brought:
            return False
        (now_ns,) = struct.unpack("<Q", frame.data)
        self._brought[frame.channel] = (self._brought[frame.channel][0] + 1, now_ns)
        self.barrier = min(count for count, _ in self._brought.values())
        self._now_ns = max(self._now_ns, min(brought_ns for _, brought_ns in self._brought.values()))
        return True

    def now_ns(self) -> int:
        return self._now_ns

    def utc_ns(self) -> int | None:
        return None
