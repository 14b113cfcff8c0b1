"""Frames to a candump -L file."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from edgebms.errors import LogError
from edgebms.inlet.frame import Frame


def line(frame: Frame) -> str:
    """One record. Payloads over 8 bytes are CAN FD.

    >>> line(Frame(1_500_000_000, 0x123, bytes((1, 2)), False, "can0"))
    '(1.500000) can0 123#0102\\n'
    """
    seconds, rest_ns = divmod(frame.time_ns, 1_000_000_000)
    head = f"({seconds}.{rest_ns // 1000:06d}) {frame.channel or 'can0'} "
    identifier = f"{frame.arbitration_id:08X}" if frame.extended else f"{frame.arbitration_id:03X}"
    flags = "#0" if len(frame.data) > 8 else ""
    return f"{head}{identifier}#{flags}{frame.data.hex().upper()}\n"


def write(path: Path, frames: Iterable[Frame]) -> int:
    """Write ``frames`` to ``path``, gzipped where it ends in .gz; returns their number. Same frames, same bytes.

    Raises LogError where ``path`` cannot be written.
    """
    try:
        return _write(path, frames)
    except OSError as error:
        raise LogError(f"cannot be written: {error.strerror}", where=str(path), mend="name a file in a folder that is there") from None


def _write(path: Path, frames: Iterable[Frame]) -> int:
    count = 0
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) if path.suffix == ".gz" else nullcontext(raw) as file:
        for frame in frames:
            file.write(line(frame).encode("ascii"))
            count += 1
    return count
