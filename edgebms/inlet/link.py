"""A live link to one bus: what the receive loop (``bus.py``) needs of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgebms.config import BusConfig
from edgebms.inlet.frame import Frame


class LinkError(Exception):
    """The link is down; the text says why. The receive loop closes it and opens it again."""


class Counts:
    """What a link lost or dropped since the daemon's start. Written by its own thread alone.

    frames: received whole. error_frames, remote_frames: dropped, they carry no telemetry. bad_lines: a
    corrupt SLCAN line or datagram. truncated: fewer bytes than the frame said. overflow: dropped
    because the loop did not keep up. kernel_dropped: dropped by the socket. controller_overflow: times that
    the controller said so itself. bus_off, downs, reconnects: times. unsent: frames that found no room to be sent.
    """

    __slots__ = (
        "bad_lines",
        "bus_off",
        "controller_overflow",
        "downs",
        "error_frames",
        "frames",
        "kernel_dropped",
        "overflow",
        "reconnects",
        "remote_frames",
        "truncated",
        "unsent",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    frames: int
    error_frames: int
    remote_frames: int
    bad_lines: int
    truncated: int
    overflow: int
    kernel_dropped: int
    controller_overflow: int
    bus_off: int
    downs: int
    reconnects: int
    unsent: int

    @property
    def lost(self) -> int:
        """Frames that were on the bus and did not reach the loop, as far as anyone can tell."""
        return self.bad_lines + self.truncated + self.overflow + self.kernel_dropped + self.controller_overflow

    def __str__(self) -> str:
        told = {name: count for name, count in self.as_dict().items() if count and name != "frames"}
        return ", ".join([f"{self.frames} frames", *(f"{name} {count}" for name, count in told.items())])

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class Link(Protocol):
    """An open link. echoes: frames that we send come back as if received."""

    echoes: bool

    def read(self, timeout_s: float) -> list[Frame]:
        """Data frames received within ``timeout_s``, in order; empty when none came. Bad ones are counted and
        left out. Raises LinkError."""
        ...

    def send(self, frame: Frame) -> bool:
        """False when it found no room. Raises LinkError."""
        ...

    def close(self) -> None: ...


Opener = Callable[[BusConfig, Counts, Callable[[], int]], Link]
