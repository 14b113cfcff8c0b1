"""NDJSON to standard output or to a file: one decision a line, handed to the system line by line."""

from __future__ import annotations

import errno
import sys
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from edgebms.errors import ConfigError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Stream:
    """``target``: "-" for standard output, or a path to append to. Raises ConfigError where it cannot be opened.

    A disk that is full is said once on standard error; the decisions that found no room are counted
    in ``lost`` and the house goes on, and writes again as soon as there is room. A reader that went away
    raises BrokenPipeError: the command ends.
    """

    def __init__(self, target: str | Path) -> None:
        self.lost = 0
        self._name = "standard output" if str(target) == "-" else str(target)
        self._full = False
        self._torn = False
        self._own = str(target) != "-"
        if not self._own:
            sys.stdout.flush()
            # past Python's buffer, which would keep a line that found no room and raise for it again at exit
            self._file = cast("BinaryIO | RawIOBase", getattr(sys.stdout.buffer, "raw", sys.stdout.buffer))
            return
        try:
            self._torn = ends_torn(Path(target))
            self._file = Path(target).open("ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise ConfigError(
                f"cannot be written: {error.strerror}",
                where=str(target),
                mend="name a file in a folder that can be written, or - for standard output",
            ) from None

    def write(self, line: bytes) -> None:
        """Append ``line`` and its newline. Raises BrokenPipeError; other errors of the disk that is not full are raised too."""
        rest = memoryview(b"\n" + line + b"\n" if self._torn else line + b"\n")
        try:
            while rest:
                # what was begun must be ended: a torn line would spoil the next one
                rest = rest[self._file.write(rest) or 0 :]
                self._torn = bool(rest)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self.lost += 1
            if not self._full:
                self._full = True
                print(f"edgebms: warning: {self._name}: {error.strerror}: decisions are lost until there is room", file=sys.stderr)
            return
        self._full = False

    def close(self) -> None:
        if self.lost:
            print(f"edgebms: warning: {self._name}: {self.lost} decisions found no room", file=sys.stderr)
        if self._own:
            self._file.close()


def ends_torn(path: Path) -> bool:
    """Does the file end in the middle of a line (the power went while it was written)?"""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"
