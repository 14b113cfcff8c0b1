"""A black box run again: the frames of its log through a line that stands where it stood at the first of them.

What a live line is given besides frames (when it was looked at, the clocks, the gateway's faults, a student
that came too late) is in the box's state file as moments, and is given again at the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from edgebms.clock import LogClock
from edgebms.config import Config, PackConfig
from edgebms.errors import StateError
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.frame import Frame
from edgebms.loop import Loop, PackLine
from edgebms.order import Acknowledge, Order, SendCells
from edgebms.record import blackbox, image, statefile
from edgebms.record.about import fingerprint_of_line
from edgebms.record.blackbox import BY_FRAME, BY_TICK, ORDERED, STATUSES
from edgebms.vocabulary import Level, ReasonerStatus
from edgebms.worker import ask_inline

T = TypeVar("T")

NO_ANSWER = (ReasonerStatus.DEADLINE_MISSED, ReasonerStatus.SKIPPED, ReasonerStatus.FAILED)


class Moment(NamedTuple):
    """See ``blackbox.BlackBox``. frames: recorded before it, from the box's first."""

    frames: int
    kind: int
    tick_ns: int
    now_ns: int
    utc_ns: int | None
    status: ReasonerStatus
    faults: tuple[GatewayFault, ...]


class Ordered(NamedTuple):
    """An order that fell between the frames; ``frames`` as in a moment."""

    frames: int
    kind: int
    now_ns: int
    order: Order


@dataclass(frozen=True, slots=True)
class Start:
    """A box's state file. frames: how many belong to it."""

    where: str
    header: dict[str, Any]
    image: dict[str, Any]
    moments: tuple[Moment | Ordered, ...]
    frames: int

    @property
    def pack(self) -> str:
        return str(self.header["pack"]["name"])


def is_box(path: Path) -> bool:
    """A box's state file, or a checkpoint? Raises StateError where it is neither."""
    header = next(statefile.read(path))
    kind = header.get("kind") if isinstance(header, dict) else None
    if kind not in (blackbox.KIND, "checkpoint"):
        raise StateError("is no state file of edgebms", where=str(path), mend="name a checkpoint or a black box's start.state")
    return bool(kind == blackbox.KIND)


def load(path: Path) -> Start:
    """Raises StateError."""
    payloads = list(statefile.read(path))
    header = payloads[0]
    if header.get("format") != blackbox.FORMAT:
        raise StateError(
            f"is of format {header.get('format')}, this version reads {blackbox.FORMAT}",
            where=str(path),
            mend="use the version of edgebms that wrote it",
        )
    if len(payloads) < 2:
        raise StateError("breaks off before the line's state", where=str(path), mend="use another black box")
    try:
        first = header["first_frame"]
        moments = tuple(moment_of(entry, first) for batch in payloads[2:] for entry in batch["moments"])
        frames = max((batch["frames"] for batch in payloads[2:]), default=first) - first
        header["pack"]["name"], header["line"]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StateError(
            f"does not hold what it should ({type(error).__name__})", where=str(path), mend="use the version of edgebms that wrote it"
        ) from None
    return Start(str(path), header, payloads[1], moments, frames)


def moment_of(entry: list[Any], first_frame: int) -> Moment | Ordered:
    if entry[1] == ORDERED:
        frames, kind, now_ns, rule = entry
        return Ordered(frames - first_frame, kind, now_ns, SendCells() if rule is None else Acknowledge(rule))
    frames, kind, tick_ns, now_ns, utc_ns, status, faults = entry
    return Moment(frames - first_frame, kind, tick_ns, now_ns, utc_ns, STATUSES[status], tuple(fault_of(fault) for fault in faults))


def fault_of(entry: list[Any]) -> GatewayFault:
    rule, level, value, limit, unit, since_ns, packs, count = entry
    return GatewayFault(rule, Level(level), value, limit, unit, since_ns, frozenset(packs) if packs is not None else None, count)


class Rerun:
    """Build the line with ``ask`` and the loop with ``faults``, then ``begin``, then ``feed`` the log."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self._moment: Moment | None = None
        self.missing = 0
        """Frames that the state file tells of and the log did not have."""

    def ask(self, work: Callable[[], T], since_ns: int) -> tuple[ReasonerStatus, T | None]:
        """A student that had no answer in time then has none now."""
        if self._moment is not None and self._moment.status in NO_ANSWER:
            return self._moment.status, None
        return ask_inline(work, since_ns)

    def faults(self, pack: str) -> tuple[GatewayFault, ...]:
        del pack
        return self._moment.faults if self._moment is not None else ()

    def begin(self, config: Config, pack: PackConfig, line: PackLine) -> None:
        """Put the line where it stood. Raises StateError where it is another's."""
        if self.start.header["line"] != fingerprint_of_line(config, pack, line):
            raise StateError(
                f"was recorded with another configuration or card of {self.start.pack}",
                where=self.start.where,
                mend="replay it with the settings of that day (gateway.json in the box has them) and the card of that day",
            )
        try:
            image.put(self.start.image, line)
        except StateError as error:
            raise StateError(error.what, where=self.start.where, mend=error.mend) from None

    def feed(self, frames: Iterable[Frame], line: PackLine, loop: Loop, clock: LogClock) -> int:
        """Run the box's frames; returns their number. Frames behind the last one that the state file tells of are left
        out: the box was cut off while it was written."""
        moments = iter(self.start.moments)
        moment = next(moments, None)
        count = 0
        for frame in frames:
            while moment is not None and moment.frames == count and moment.kind != BY_FRAME:
                self._between(moment, line, loop, clock)
                moment = next(moments, None)
            if count == self.start.frames:
                break
            count += 1
            self._moment = None
            if isinstance(moment, Moment) and moment.frames == count and moment.kind == BY_FRAME:
                self._set(moment, clock)
                moment = next(moments, None)
            else:
                clock.set_ns(frame.time_ns)
            loop.frame(frame)
        while moment is not None and moment.kind != BY_FRAME:
            self._between(moment, line, loop, clock)
            moment = next(moments, None)
        self.missing = self.start.frames - count
        return count

    def _set(self, moment: Moment, clock: LogClock) -> None:
        self._moment = moment
        clock.set_ns(moment.now_ns, moment.utc_ns)

    def _between(self, moment: Moment | Ordered, line: PackLine, loop: Loop, clock: LogClock) -> None:
        if isinstance(moment, Ordered):
            clock.set_ns(moment.now_ns)
            loop.order(line, moment.order)
            return
        if moment.kind == BY_TICK:
            self._set(moment, clock)
        else:
            clock.set_ns(moment.tick_ns)
        loop.look(line, moment.tick_ns)
        self._moment = None
