"""The file of a saved state: records with their lengths and check sums, written so that a reader never meets half a file.

    "EDGEBMS" 0x01 | length u32 | crc32 u32 | payload ... (little endian; the first payload is the header)

A checkpoint is replaced as a whole (``replace``); a black box's state file grows at its end and its
reader stops at the first record that is not whole.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any

import msgspec

from edgebms.errors import StateError

MAGIC = b"EDGEBMS\x01"
HEAD = struct.Struct("<II")
LARGEST = 256 << 20
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def record(payload: Any) -> bytes:
    """One record with ``payload`` (what msgpack can carry) packed."""
    packed = zlib.compress(_encode(payload), 6)
    return HEAD.pack(len(packed), zlib.crc32(packed)) + packed


def join(payloads: Iterable[Any]) -> bytes:
    """A whole file."""
    return MAGIC + b"".join(record(payload) for payload in payloads)


def read(path: Path) -> Iterator[Any]:
    """The payloads of ``path`` that are whole, in order. Raises StateError where not even the first one is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"cannot be read: {error.strerror}", where=str(path), mend="name a checkpoint or a black box's state file"
        ) from None
    if not data.startswith(MAGIC):
        raise StateError("is no state file of this format", where=str(path), mend="name a checkpoint or a black box's state file")
    at, count = len(MAGIC), 0
    while at + HEAD.size <= len(data):
        size, check = HEAD.unpack_from(data, at)
        at += HEAD.size
        packed = data[at : at + size]
        at += size
        if size > LARGEST or len(packed) < size or zlib.crc32(packed) != check:
            break
        try:
            payload = _decode(zlib.decompress(packed))
        except (zlib.error, msgspec.DecodeError):
            break
        count += 1
        yield payload
    if not count:
        raise StateError("is damaged: its check sum does not fit", where=str(path), mend="use the generation before it (.previous)")


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a kill or a power cut at any moment leaves the old file or the new one,
    whole; what stood there stays beside it as ``.previous``. Raises OSError."""
    fresh, previous = path.with_suffix(".new"), path.with_suffix(".previous")
    with fresh.open("wb", buffering=0) as file:
        write_all(file, data)
        os.fsync(file.fileno())
    if path.exists():
        keep(path, previous)
    fresh.replace(path)
    sync_folder(path.parent)


def keep(path: Path, previous: Path) -> None:
    """Let ``previous`` be what ``path`` is, and ``path`` stay. Where there are no hard links (FAT), ``path`` is gone until it
    is written."""
    link = previous.with_suffix(".link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        path.replace(previous)
    else:
        link.replace(previous)


def write_all(file: RawIOBase, data: bytes) -> None:
    """Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(error: OSError) -> bool:
    return error.errno in FULL
