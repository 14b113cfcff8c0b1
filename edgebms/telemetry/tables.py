"""Decode tables: every signal of a profile decoded in one sweep of numpy, Intel and Motorola alike.

A signal's bytes are gathered in order of rising significance into one little-endian 64-bit word; byte
order is then gone, and a shift, a mask and a sign bit are left. cantools reads the DBC file; the tables
are compiled from its database and held against its own decode in the tests.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import ProfileError

Raw = NDArray[np.uint64]
Floats = NDArray[np.float64]

MAX_BYTES = 8


@dataclass(frozen=True, slots=True)
class Bits:
    """Where a signal lies in its message and how it is read.

    places: byte positions in order of rising significance, at most 8. shift: of the word's lowest bit.
    kind: "unsigned", "signed" or "float" (IEEE 754, 16, 32 or 64 bits). Physical = raw * scale + offset.
    """

    places: tuple[int, ...]
    shift: int
    length: int
    kind: str
    scale: float
    offset: float

    @property
    def end(self) -> int:
        """Bytes that a frame must have to hold the signal."""
        return max(self.places) + 1

    def raw(self, data: bytes) -> int:
        """The bits as an unsigned number, one signal at a time (the tables do the same for all at once)."""
        word = 0
        for significance, place in enumerate(self.places):
            word |= data[place] << (8 * significance)
        return (word >> self.shift) & ((1 << self.length) - 1)


def bits_of(signal: Any, where: str) -> Bits:
    """Compile a cantools signal. Raises ProfileError where it does not fit 8 bytes."""
    start, length = int(signal.start), int(signal.length)
    if signal.byte_order == "little_endian":
        first, last = start // 8, (start + length - 1) // 8
        places = tuple(range(first, last + 1))
        shift = start % 8
    else:
        # DBC counts bit 7 of a byte as its first on the wire: 7 - bit gives the place in network order
        begin = 8 * (start // 8) + 7 - start % 8
        first, last = begin // 8, (begin + length - 1) // 8
        places = tuple(range(last, first - 1, -1))
        shift = 7 - (begin + length - 1) % 8
    if len(places) > MAX_BYTES:
        raise ProfileError(
            f"signal {signal.name} spans {len(places)} bytes",
            where=where,
            mend="signals of up to 64 bits within 8 bytes can be mapped; split it in the DBC",
        )
    conversion = signal.conversion
    kind = "float" if conversion.is_float else "signed" if signal.is_signed else "unsigned"
    if kind == "float" and length not in (16, 32, 64):
        raise ProfileError(f"signal {signal.name} is a float of {length} bits", where=where, mend="floats have 16, 32 or 64 bits")
    scale, offset = float(conversion.scale), float(conversion.offset)
    if not (math.isfinite(scale) and math.isfinite(offset)):
        raise ProfileError(f"signal {signal.name} has scale {scale} and offset {offset}", where=where, mend="mend them in the DBC")
    return Bits(places, shift, length, kind, scale, offset)


class DecodeTable:
    """``bits[i]`` read from the payload that starts at ``starts[i]`` of one buffer.

    The buffer must have ``zero``, the index of a byte that is always 0, which fills the words up.
    """

    def __init__(self, bits: Sequence[Bits], starts: Sequence[int], zero: int) -> None:
        count = len(bits)
        gather = np.full((count, MAX_BYTES), zero, dtype=np.intp)
        for row, (entry, start) in enumerate(zip(bits, starts, strict=True)):
            gather[row, : len(entry.places)] = [start + place for place in entry.places]
        self._gather = gather
        self._shift = np.array([entry.shift for entry in bits], dtype=np.uint64)
        self._mask = np.array([(1 << entry.length) - 1 for entry in bits], dtype=np.uint64)
        self._sign = np.array([1 << (entry.length - 1) if entry.kind == "signed" else 0 for entry in bits], dtype=np.uint64)
        self._scale = np.array([entry.scale for entry in bits])
        self._offset = np.array([entry.offset for entry in bits])
        # an int64 holds every word but unsigned ones of 64 bits; IEEE floats are read as such
        self._wide = np.array([i for i, entry in enumerate(bits) if entry.kind == "unsigned" and entry.length == 64], dtype=np.intp)
        self._floats = [
            (np.array(rows, dtype=np.intp), integer, real)
            for length, integer, real in ((16, "<u2", "<f2"), (32, "<u4", "<f4"), (64, "<u8", "<f8"))
            if (rows := [i for i, entry in enumerate(bits) if entry.kind == "float" and entry.length == length])
        ]

    def __len__(self) -> int:
        return len(self._shift)

    def decode(self, buffer: NDArray[np.uint8]) -> tuple[Raw, Floats]:
        """(raw, physical), each (n,): the bits as unsigned words, and raw * scale + offset."""
        raw: Raw = buffer[self._gather].view("<u8")[:, 0]
        raw = (raw >> self._shift) & self._mask
        numbers = ((raw ^ self._sign) - self._sign).view(np.int64).astype(np.float64)
        if len(self._wide):
            numbers[self._wide] = raw[self._wide]
        if self._floats:
            with np.errstate(all="ignore"):  # infinities and NaN are judged, not warned of
                for rows, integer, real in self._floats:
                    numbers[rows] = raw[rows].astype(integer).view(real)
                return raw, numbers * self._scale + self._offset
        numbers *= self._scale
        numbers += self._offset
        return raw, numbers


def cantools_database() -> Any:
    """The module ``cantools.database`` without the rest of cantools.

    ``import cantools`` runs its test tools, which bring python-can and, where the mf4 extra is installed,
    asammdf and pandas: 130 MB and 2 s for a parser of 3 MB (measured). The parser needs none of them, so it
    is imported below an empty package, which is taken away again.
    """
    if "cantools.database" in sys.modules:
        return sys.modules["cantools.database"]
    spec = importlib.util.find_spec("cantools")
    if "cantools" in sys.modules or spec is None or spec.submodule_search_locations is None:
        return importlib.import_module("cantools.database")
    package = types.ModuleType("cantools")
    package.__path__ = spec.submodule_search_locations
    package.__spec__ = spec
    sys.modules["cantools"] = package
    try:
        return importlib.import_module("cantools.database")
    finally:
        del sys.modules["cantools"]


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """Parsing takes a third of a second on a PC, and many packs have one DBC. Nobody changes what is returned."""
    parser = cantools_database()
    logging.getLogger("cantools").setLevel(logging.ERROR)  # what it warns of is refused below
    return parser.load_string(text, database_format="dbc", strict=True)


def load_dbc(path: Path, where: str) -> Any:
    """The cantools database of ``path``, strictly read. Raises ProfileError."""
    try:
        text = path.read_text(encoding="utf-8", errors="strict")
    except UnicodeDecodeError:
        # DBC files in the wild are Windows-1252; only names and units can differ
        text = path.read_text(encoding="cp1252", errors="replace")
    except OSError as error:
        raise ProfileError(
            f"DBC {path} cannot be read: {error.strerror}", where=where, mend="name a DBC file beside the profile or in the catalogue"
        ) from None
    try:
        database = _parsed(text)
    except Exception as error:  # cantools lets parser, value and type errors of many kinds through
        reason = " ".join(str(error).split()).removeprefix("DBC: ").strip('"') or type(error).__name__
        raise ProfileError(
            f"not a sound DBC file: {reason}", where=str(path), mend="mend the DBC; signals must not overlap and must fit their message"
        ) from None
    names: dict[object, str] = {}
    for message in database.messages:
        for key in (message.name, (message.frame_id, message.is_extended_frame)):
            if key in names:
                raise ProfileError(
                    f"messages {names[key]} and {message.name} share their {'name' if key == message.name else f'id {message.frame_id:#x}'}",
                    where=str(path),
                    mend="give each message its own",
                )
            names[key] = message.name
    return database
