"""The black box: what a pack's line was given and what it decided around an alert, so that it can be run again.

In memory, segments of the near past: each begins with an image of the line and goes on with the frames
(candump text), the decisions (NDJSON) and the moments (when each decision was made, what was wrong with
the gateway then). When an alert begins, the segments go to disk and what follows is appended for a while.

A box is a folder: ``frames.log.gz``, ``decisions.ndjson.gz``, ``start.state`` (the image at the first frame
with the moments behind it) and ``gateway.json`` (the settings it needs to be run again). Files grow by whole pieces: after a power cut the box is readable to its last piece.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
from binascii import hexlify
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgebms import __version__
from edgebms.config import PackConfig, Record
from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.frame import Frame
from edgebms.loop import PackLine
from edgebms.order import Acknowledge, Order
from edgebms.record import image, statefile
from edgebms.record.allowance import Allowance
from edgebms.record.writer import Writer
from edgebms.vocabulary import Cause, ReasonerStatus

KIND, FORMAT = "box", 2

CHUNK_BYTES = 64 << 10
"""Pieces of text that are packed and written at once."""

LIVE_S = 5.0
"""While an alert stands a piece waits no longer than this for the disk."""

RETRY_NS = 1_000_000_000
"""A disk that did not keep up is tried again after so long: an image is not taken for nothing."""

RANKS = {"watch": 1, "warning": 2, "critical": 3}
STATUSES = tuple(ReasonerStatus)
BY_FRAME, BY_TICK, TICK_ALONE, ORDERED = 0, 1, 2, 3
"""What a moment was made by: a frame, a look at a silent pack, a look that gave no decision, an order."""

FRAMES, DECISIONS, START, SETTINGS = "frames.log.gz", "decisions.ndjson.gz", "start.state", "gateway.json"


class Chunk:
    """A piece of a segment: text until ``pack``, then three compressed pieces. frames: frames recorded until its end."""

    __slots__ = ("decisions", "frames", "moments", "size", "text")

    def __init__(self, text: bytes, decisions: bytes, moments: list[Any], frames: int) -> None:
        self.text, self.decisions = text, decisions
        self.moments: Any = {"frames": frames, "moments": moments}
        self.frames = frames
        self.size = len(text) + len(decisions) + 64 * len(moments)

    def pack(self) -> None:
        self.text = gzip.compress(self.text, 6, mtime=0) if self.text else b""
        self.decisions = gzip.compress(self.decisions, 6, mtime=0) if self.decisions else b""
        self.moments = statefile.record(self.moments)
        self.size = len(self.text) + len(self.decisions) + len(self.moments)


class Segment:
    """A stretch of the past that can be run again from its beginning."""

    __slots__ = ("begun_ns", "chunks", "first_frame", "image", "ticked")

    def __init__(self, begun_ns: int, first_frame: int, taken: Any) -> None:
        self.begun_ns, self.first_frame = begun_ns, first_frame
        self.image: Any = taken
        self.chunks: list[Chunk] = []
        self.ticked = False

    def pack(self) -> None:
        self.image = statefile.record(self.image)

    @property
    def size(self) -> int:
        head = len(self.image) if isinstance(self.image, bytes) else 0
        return head + sum(chunk.size for chunk in self.chunks)


class BlackBox:
    """One pack's, in the loop: it formats and counts, the writer's thread packs and writes."""

    def __init__(
        self, line: PackLine, pack: PackConfig, about: dict[str, Any], settings: Record, folder: Path, writer: Writer, name: str
    ) -> None:
        self._line, self._about, self._writer, self._name = line, about, writer, name
        channels = (pack.channel, pack.shunt.channel) if pack.shunt is not None else (pack.channel,)
        self._channels = frozenset(channels) if None not in channels else None
        self._last: Frame | None = None
        self._segment_ns = round(settings.before_s * 0.5e9)
        self._before_ns, self._after_ns = round(settings.before_s * 1e9), round(settings.after_s * 1e9)
        self._memory = round(settings.memory_mb * 1e6)
        self._rank = RANKS[settings.level]
        self._boxes = Boxes(folder, round(settings.box_mb * 1e6), round(settings.boxes_mb * 1e6))
        self._segments: list[Segment] = []
        self._text, self._decisions = bytearray(), bytearray()
        self._moments: list[Any] = []
        self._chunk_ns = 0
        self._frames = 0
        self._retry_ns = 0
        self._packing = f"packing:{pack.name}"
        self._heads: dict[tuple[str, int, bool], bytes] = {}
        self._tick_ns: int | None = None
        self._alone_ns: int | None = None
        self._pending: list[Any] | None = None
        self._now_ns = 0
        self._known = {kept["id"]: max(RANKS.values()) for kept in line.pipeline.arbiter.state()}
        self._box: Box | None = None
        self._until_ns = 0
        self._allowance = Allowance(settings.boxes_mb * 1e6, settings.boxes_mb * 1e6)
        self.skipped_ns: int | None = None
        """When a box was last left out because the day's bytes were used up."""
        self.lost = 0
        """Stretches that could not be kept because the disk did not keep up."""

    def frame(self, frame: Frame) -> None:
        if frame is self._last or (self._channels is not None and frame.channel not in self._channels):
            return  # given for the shunt and for the pack; or another pack's, with the same identifiers
        self._last = frame
        if not self._segments and not self._begin(frame.time_ns):
            return
        if self._alone_ns is not None:
            self._look_alone()
        self._tick_ns = None
        self._frames += 1
        time_ns, identifier, data, extended, channel, error, remote = frame
        head = self._heads.get((channel, identifier, extended))
        if head is None or error:
            head = self._heads[channel, identifier, extended] = head_of(frame)
        seconds, rest_ns = divmod(time_ns, 1_000_000_000)
        payload = b"R" if remote else hexlify(data) if len(data) <= 8 else b"#0" + hexlify(data)
        self._text += b"(%d.%09d) %b#%b\n" % (seconds, rest_ns, head, payload)

    def tick(self, now_ns: int) -> None:
        self._now_ns = now_ns
        if not self._segments and not self._begin(now_ns):
            return
        if self._alone_ns is not None:
            self._look_alone()
        self._tick_ns = now_ns
        if not self._segments[-1].ticked:
            # the first look alone can tell the assembler when to look next
            self._segments[-1].ticked = True
            self._alone_ns = now_ns
        if self._box is not None:
            self._follow(now_ns)

    def order(self, order: Order, now_ns: int) -> None:
        if not self._segments:
            return  # what it changes is in the image that the first segment begins with
        if self._alone_ns is not None:
            self._look_alone()
        self._moments.append([self._frames, ORDERED, now_ns, plain_order(order)])

    def step(self, now_ns: int, utc_ns: int | None, faults: tuple[GatewayFault, ...]) -> None:
        kind, at_ns = (BY_FRAME, 0) if self._tick_ns is None else (BY_TICK, self._tick_ns)
        self._alone_ns = None
        self._pending = [self._frames, kind, at_ns, now_ns, utc_ns, 0, [plain_fault(fault) for fault in faults]]

    def decided(self, decision: Decision, line: bytes) -> None:
        """After the step: the line stands between two events, an image may be taken."""
        now_ns = self._now_ns = decision.mono_ns
        pending, self._pending = self._pending, None
        if pending is None or not self._segments:
            return
        pending[5] = STATUSES.index(decision.provenance.state_student)
        self._moments.append(pending)
        self._decisions += line + b"\n"
        if self._alerted(decision):
            self._until_ns = now_ns + self._after_ns
            if self._box is None and self._allowance.left(now_ns) > 0:
                self._open(decision)
            elif self._box is None:
                self.skipped_ns = now_ns
        if len(self._text) + len(self._decisions) >= CHUNK_BYTES:
            self._close_chunk()
        self._follow(now_ns)
        if self._segments:
            begun_ns, size = self._segments[-1].begun_ns, self._segments[-1].size
            if now_ns - begun_ns >= self._segment_ns or size >= self._memory // 3:
                self._close_chunk()
                self._begin(now_ns)

    def close(self) -> None:
        """What is on its way to the disk goes there."""
        if self._box is not None:
            self._close_chunk()

    @property
    def size(self) -> int:
        """Bytes held in memory."""
        return sum(segment.size for segment in self._segments) + len(self._text) + len(self._decisions)

    def _look_alone(self) -> None:
        self._moments.append([self._frames, TICK_ALONE, self._alone_ns, self._alone_ns, None, 0, []])
        self._alone_ns = None

    def _alerted(self, decision: Decision) -> bool:
        """Whether an alert of the level began or rose. The gateway's own troubles are not in the frames."""
        if not decision.alerts:
            self._known.clear()
            return False
        levels = {alert.id: RANKS[alert.level] for alert in decision.alerts if alert.hazard is not Cause.GATEWAY_FAULT}
        risen = any(rank >= self._rank and rank > self._known.get(name, 0) for name, rank in levels.items())
        # an alert that was restored stands at its highest
        self._known = {name: max(rank, self._known.get(name, 0)) for name, rank in levels.items()}
        return risen

    def _begin(self, now_ns: int) -> bool:
        """A new segment, from the line as it stands; what is too old or too much goes. False where the disk does not
        keep up: then it is tried again after a while."""
        if not self._segments and now_ns < self._retry_ns:
            return False
        taken = image.take(self._line)
        segment = Segment(now_ns, self._frames, taken)
        if not self._writer.put(segment.pack, image.size(taken), self._packing):
            self._forget()
            self._retry_ns = now_ns + RETRY_NS
            return False
        self._segments.append(segment)
        self._chunk_ns = now_ns
        self._trim(now_ns)
        return True

    def _trim(self, now_ns: int) -> None:
        segments = self._segments
        while len(segments) > 1 and (segments[1].begun_ns <= now_ns - self._before_ns or self.size > self._memory):
            del segments[0]

    def _close_chunk(self) -> None:
        if not self._segments or not (self._text or self._decisions or self._moments):
            return
        chunk = Chunk(bytes(self._text), bytes(self._decisions), self._moments, self._frames)
        self._text, self._decisions, self._moments = bytearray(), bytearray(), []
        self._chunk_ns = self._now_ns
        if not self._writer.put(chunk.pack, chunk.size, self._packing):
            self._forget()
            return
        self._segments[-1].chunks.append(chunk)
        if self._box is not None:
            box = self._box
            self._allowance.spend(chunk.size)
            if not self._writer.put(lambda: box.append(chunk), chunk.size, self._name):
                self._box = None
                self.lost += 1
        self._trim(self._now_ns)

    def _forget(self) -> None:
        """The disk does not keep up: what is recorded has a hole, and is begun anew."""
        self._segments, self._box = [], None
        self._tick_ns = self._alone_ns = self._pending = None
        self._text, self._decisions, self._moments = bytearray(), bytearray(), []
        self.lost += 1

    def _open(self, decision: Decision) -> None:
        first = self._segments[0]
        header = {
            "kind": KIND,
            "format": FORMAT,
            "runtime": __version__,
            "first_frame": first.first_frame,
            "begun_ns": first.begun_ns,
            "alerted_ns": decision.mono_ns,
            "alerted": decision.time,
            "alerts": [[alert.id, alert.level, alert.hazard.value] for alert in decision.alerts],
            **self._about,
        }
        box = self._boxes.new(decision)
        chunks = [chunk for segment in self._segments for chunk in segment.chunks]
        if self._writer.put(lambda: box.begin(header, first, chunks), 0, self._name):
            self._box = box
            self._allowance.spend(sum(segment.size for segment in self._segments))
            self._close_chunk()
        else:
            self.lost += 1

    def _follow(self, now_ns: int) -> None:
        """While a box is open: pieces go out in time, and it is closed when its time is over."""
        if self._box is None:
            return
        over = now_ns >= self._until_ns
        if over or now_ns - self._chunk_ns >= LIVE_S * 1e9:
            self._close_chunk()
        if over:
            self._box = None


def head_of(frame: Frame) -> bytes:
    """Channel and identifier in candump's form. A channel without a name is ``-``."""
    channel = re.sub(r"\s", "_", frame.channel) or "-"
    identifier = "20000000" if frame.error else f"{frame.arbitration_id:08X}" if frame.extended else f"{frame.arbitration_id:03X}"
    return f"{channel} {identifier}".encode()


def plain_fault(fault: GatewayFault) -> list[Any]:
    packs = sorted(fault.packs) if fault.packs is not None else None
    return [fault.rule, int(fault.level), fault.value, fault.limit, fault.unit, fault.since_ns, packs, fault.count]


def plain_order(order: Order) -> str | None:
    """The rule that was acknowledged; None: per-cell values were asked for."""
    return order.rule if isinstance(order, Acknowledge) else None


class Boxes:
    """The folder of a pack's boxes, bounded: the oldest goes first."""

    def __init__(self, folder: Path, box_bytes: int, all_bytes: int) -> None:
        self.folder, self.box_bytes, self.all_bytes = folder, box_bytes, all_bytes

    def new(self, decision: Decision) -> Box:
        hazard = next((alert.hazard.value for alert in decision.alerts if alert.hazard is not Cause.GATEWAY_FAULT), "alert")
        when = re.sub(r"[-:]|\.\d+", "", decision.time) if decision.time is not None else f"{decision.mono_ns // 1_000_000}ms"
        return Box(self, f"{when}-{hazard}")

    def standing(self) -> list[Path]:
        """The boxes there are, the oldest first: they are numbered, for clocks may be wrong."""
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if path.name[:6].isdigit()), key=lambda path: path.name)

    def make_room(self, keep: Path) -> bool:
        """Delete the oldest box but ``keep``. False where there is none."""
        for path in self.standing():
            if path != keep:
                shutil.rmtree(path, ignore_errors=True)
                return not path.exists()
        return False

    def prune(self, keep: Path) -> None:
        while sum(size_of(path) for path in self.standing() if path != keep) > self.all_bytes - self.box_bytes:
            if not self.make_room(keep):
                break


class Box:
    """One box on disk, in the writer's thread. A box that would grow beyond its bound ends."""

    def __init__(self, boxes: Boxes, name: str) -> None:
        self._boxes, self._name = boxes, name
        self.folder = boxes.folder
        self._size = 0
        self._full = False
        self._error: OSError | None = None

    def begin(self, header: dict[str, Any], first: Segment, chunks: list[Chunk]) -> None:
        """Raises OSError."""
        try:
            numbers = [int(path.name[:6]) for path in self._boxes.standing()]
            self.folder = self._boxes.folder / f"{max(numbers, default=0) + 1:06d}-{self._name}"
            self._boxes.prune(self.folder)
            self._retried(lambda: self.folder.mkdir(parents=True, exist_ok=True))
            self._write(SETTINGS, msgspec.json.format(msgspec.json.encode(header["config"]), indent=2))
            self._write(START, statefile.MAGIC + statefile.record(header) + first.image)
            statefile.sync_folder(self.folder)
            statefile.sync_folder(self._boxes.folder)
        except OSError as error:
            self._error = error
            raise
        for chunk in chunks:
            self.append(chunk)

    def append(self, chunk: Chunk) -> None:
        """Frames first, the moments last: what the state file tells of is there. Raises OSError, from the first on at
        every piece."""
        if self._error is not None:
            raise self._error
        self._full = self._full or self._size + chunk.size > self._boxes.box_bytes
        if self._full:
            return
        try:
            for name, data in ((FRAMES, chunk.text), (DECISIONS, chunk.decisions), (START, chunk.moments)):
                if data:
                    self._write(name, data)
        except OSError as error:
            self._error = error
            raise

    def _write(self, name: str, data: bytes) -> None:
        """Append ``data`` as a whole or not at all. A full disk costs older boxes first."""
        path = self.folder / name
        self._retried(lambda: append_whole(path, data))
        self._size += len(data)

    def _retried(self, work: Callable[[], None]) -> None:
        while True:
            try:
                work()
                return
            except OSError as error:
                if not statefile.is_full(error) or not self._boxes.make_room(self.folder):
                    raise


def append_whole(path: Path, data: bytes) -> None:
    """Raises OSError; then the file is as long as before."""
    # without Python's buffer, which would write the rest when it is closed
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            statefile.write_all(file, data)
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, before)
            raise


def size_of(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:
        return 0
