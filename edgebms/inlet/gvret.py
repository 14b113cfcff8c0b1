"""GVRET csv (SavvyCAN, ESP32RET) to frames. Time stamps are microseconds since the logger's start.

Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8
303004300,00000450,false,0,3,00,C2,05
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from edgebms.inlet.candump import ID_MASK, LAST_NS
from edgebms.inlet.frame import Frame

COLUMNS = ("time stamp", "id", "extended", "bus", "len", "d1")


def columns(header: str) -> dict[str, int] | None:
    """Column name -> position, or None where ``header`` is not a GVRET csv's first line."""
    names = [name.strip().lower() for name in header.split(",")]
    return {name: names.index(name) for name in COLUMNS} if all(name in names for name in COLUMNS) else None


def read(lines: Iterable[bytes], bad: Callable[[int, str], None]) -> Iterator[Frame]:
    """Frames of ``lines``, the header first. ``bad(line number, what)`` is called for each line that is none."""
    place: dict[str, int] | None = None
    for number, line in enumerate(lines, 1):
        if place is None:
            place = columns(line.decode("utf-8", "replace"))
            if place is None:
                bad(number, "is not the header of a GVRET csv")
                return
            continue
        if not line.strip():
            continue
        fields = line.decode("utf-8", "replace").split(",")
        try:
            time_ns = int(fields[place["time stamp"]]) * 1000
            code = int(fields[place["id"]], 16)
            length, first = int(fields[place["len"]]), place["d1"]
            data = bytes(int(byte, 16) for byte in fields[first : first + length])
            extended = fields[place["extended"]].strip().lower() in ("true", "1")
            bus = int(fields[place["bus"]])
        except (ValueError, IndexError):
            bad(number, "is not a GVRET record")
            continue
        if not -LAST_NS <= time_ns <= LAST_NS or code < 0 or length > 64 or len(data) != length:
            bad(number, "is not a GVRET record")
            continue
        yield Frame(time_ns, code & ID_MASK, data, extended, f"can{bus}")
