"""Recorded CAN logs to frames: candump .log, .asc, .blf, .trc, .csv (python-can's and GVRET), .mf4; also .gz of each.

A log from a gateway that lost power ends in half a line or half a block, and a long one has a few
bad lines: those are left out, counted and told (``problems``). A file of which nothing can be read
is a LogError.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgebms.errors import LogError, MissingExtra
from edgebms.inlet import candump, gvret
from edgebms.inlet.candump import LAST_NS, channel_name
from edgebms.inlet.frame import Frame

if TYPE_CHECKING:
    import can

FORMATS = (".log", ".asc", ".blf", ".trc", ".csv", ".mf4")
WALL_CLOCK_NS = 10**18
"""Stamps from here on (2001-09-09) are wall-clock times; smaller ones count from the log's start."""


def open_log(path: Path) -> Iterator[Frame]:
    """The frames of ``path``. Raises LogError, MissingExtra."""
    return iter(LogFile(path))


class LogFile:
    """An iterable over the frames of one file, in the file's order.

    skipped: records left out so far. problems: what to tell the user of them, "" when there is nothing.
    wall_clock: the stamps are UTC, not time since the start; None before the first frame.
    Raises LogError where the file cannot be opened, has a suffix that no reader knows, or gives no
    frame at all; MissingExtra for .mf4 without its package.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        suffixes = [suffix.lower() for suffix in path.suffixes]
        self._zipped = suffixes[-1:] == [".gz"]
        self._format = (suffixes[:-1] if self._zipped else suffixes)[-1:]
        self.skipped = 0
        self.wall_clock: bool | None = None
        self._first_problem = ""
        self._raw: BinaryIO | None = None
        try:
            self._size = path.stat().st_size
        except OSError as error:
            raise LogError(f"cannot be read: {error.strerror}", where=str(path), mend="name a readable log file") from None
        if not self._format or self._format[0] not in FORMATS:
            known = ", ".join(FORMATS)
            raise LogError(
                "is of no known log format", where=str(path), mend=f"name a file that ends in one of {known} (or one of them and .gz)"
            )

    def fraction(self) -> float:
        """How much of the file has been read, 0..1: for a progress bar."""
        if self._raw is None or self._size == 0 or self._raw.closed:
            return 0.0 if self._raw is None else 1.0
        return min(1.0, self._raw.tell() / self._size)

    @property
    def problems(self) -> str:
        if not self.skipped:
            return ""
        return f"{self.skipped} record{'s' if self.skipped > 1 else ''} could not be read and {'were' if self.skipped > 1 else 'was'} left out (first: {self._first_problem})"

    def __iter__(self) -> Iterator[Frame]:
        self.skipped, self._first_problem, self.wall_clock = 0, "", None
        try:
            # Unbuffered below, so that tell() is the place on the disk for zipped files too.
            self._raw = self.path.open("rb")
        except OSError as error:
            raise LogError(f"cannot be read: {error.strerror}", where=str(self.path), mend="name a readable log file") from None
        with self._raw as raw:
            for frame in self._frames(raw):
                if self.wall_clock is None:
                    self.wall_clock = frame.time_ns >= WALL_CLOCK_NS
                yield frame
        if self.wall_clock is None:
            if self.skipped:
                line, colon, why = self._first_problem.partition(": ")
                if not line.startswith("line "):
                    line, colon, why = "", "", self._first_problem
                where = f"{self.path}{colon}{line}"
                raise LogError(f"no frame could be read ({why})", where=where, mend=f"is it really a {self._format[0]} log?")
            if self._size == 0:
                raise LogError("is empty", where=str(self.path), mend="record again, or leave the file out")
            # python-can's text readers pass over lines that they do not know without a word.
            raise LogError("holds no frame", where=str(self.path), mend=f"is it really a {self._format[0]} log?")

    def _frames(self, raw: BinaryIO) -> Iterator[Frame]:
        file: BinaryIO = gzip.GzipFile(fileobj=raw) if self._zipped else raw  # type: ignore[assignment]
        suffix = self._format[0]
        if suffix in (".blf", ".mf4"):
            yield from self._binary(file, suffix)
            return
        lines = self._lines(file)
        if suffix == ".log":
            yield from candump.read(lines, self._bad_line)
            return
        if suffix == ".csv":
            header = next(lines, b"")
            lines = prepend(header, lines)
            if gvret.columns(header.decode("utf-8", "replace")) is not None:
                yield from gvret.read(lines, self._bad_line)
                return
        yield from self._text(lines, suffix)

    def _bad_line(self, number: int, what: str) -> None:
        self._bad(f"line {number}: {what}")

    def _bad(self, what: str) -> None:
        self.skipped += 1
        self._first_problem = self._first_problem or what

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Lines as bytes; a zipped file that breaks off ends there and is told."""
        try:
            yield from file
        except (OSError, EOFError, zlib.error) as error:
            self._bad(f"breaks off: {error}")

    def _text(self, lines: Iterator[bytes], suffix: str) -> Iterator[Frame]:
        """.asc, .trc and .csv by python-can, taken up again behind a line that it fails at."""
        import can

        reader_of, again = {
            ".asc": (can.ASCReader, "no internal events logged\n"),
            ".trc": (can.TRCReader, ""),
            ".csv": (can.CSVReader, "timestamp,arbitration_id,extended,remote,error,dlc,data\n"),
        }[suffix]
        feed = Feed(lines)
        reader = reader_of(feed)
        start = -1
        while feed.number > start:
            start = feed.number
            try:
                for message in reader:
                    yield to_frame(message)
            except GeneratorExit:
                raise
            except Exception as error:  # python-can's readers raise whatever a bad line makes int(), split() or Message() raise
                if feed.number > start:
                    self._bad(f"line {feed.number}: {error or type(error).__name__}")
                # The reader starts over: its header step takes a line, so it is given one that says nothing.
                feed.inject(again)
            else:
                return

    def _binary(self, file: BinaryIO, suffix: str) -> Iterator[Frame]:
        """.blf and .mf4 by python-can; a block that cannot be read ends the log."""
        import can

        try:
            reader: Any = can.BLFReader(file) if suffix == ".blf" else can.MF4Reader(file)
            # MF4 by its library: times must rise over channel groups, which only a sort in memory gives.
            for message in reader:
                yield to_frame(message)
            if suffix == ".blf" and not self._zipped and reader.file_size > self._size:
                # python-can takes a block cut short for the end of the file.
                self._bad(f"the file breaks off at {self._size} of {reader.file_size} bytes")
        except GeneratorExit:
            raise
        except NotImplementedError:
            raise MissingExtra("reading .mf4 needs asammdf", where=str(self.path), mend="pip install 'edgebms[mf4]'") from None
        except Exception as error:  # struct, zlib, BLFParseError, MdfException, ...: the formats' own ways to say "broken"
            said = str(error)
            # asammdf names the buffer that it was given, with its address: nothing for a user.
            self._bad("the file breaks off" if not said or " object at 0x" in said else f"the file breaks off: {said}")


class Feed:
    """Lines for a python-can reader: text, counted, with a line put in where reading starts over."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._injected = ""
        self.number = 0

    def inject(self, line: str) -> None:
        self._injected = line

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> str:
        if self._injected:
            line, self._injected = self._injected, ""
            return line
        text = next(self._lines).decode("utf-8", "replace")
        self.number += 1
        return text

    def close(self) -> None:
        """python-can closes what it has read; the file is the LogFile's."""


def prepend(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def to_frame(message: can.Message) -> Frame:
    """A python-can message as a frame. Raises ValueError where its time is none."""
    time_ns = round(message.timestamp * 1e9)
    if not -LAST_NS <= time_ns <= LAST_NS:
        raise ValueError(f"time {message.timestamp} is not one")
    if message.is_error_frame:
        return Frame(time_ns, 0, b"", True, channel_name(message.channel), True)
    if not 0 <= message.arbitration_id < 1 << (29 if message.is_extended_id else 11):
        raise ValueError(f"identifier {message.arbitration_id:#x} is too long")
    return Frame(
        time_ns,
        message.arbitration_id,
        bytes(message.data),
        message.is_extended_id,
        channel_name(message.channel),
        False,
        message.is_remote_frame,
    )
