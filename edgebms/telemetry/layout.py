"""A profile made ready for one pack: every signal placed in one buffer.

Each message, and each multiplexer value of a multiplexed one, has a *slot*: the place where its latest
payload lies until the snapshot reads it. Only what the pack uses is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgebms.telemetry.checks import Check
from edgebms.telemetry.profile_file import ProfileFile
from edgebms.telemetry.signals import SignalTable
from edgebms.vocabulary import Contactor

NO_SLOT = -1


class Selector(NamedTuple):
    """A counter or multiplexer inside one byte: (data[byte] >> shift) & mask."""

    byte: int
    shift: int
    mask: int


class Route(NamedTuple):
    """What becomes of a frame of one id.

    minimum: shortest payload taken. slots: multiplexer value -> slot, NO_SLOT = in the DBC but not mapped.
    slot: of a message without multiplexer, or of the signals beside one (NO_SLOT = none).
    beyond_ns: an unknown multiplexer value says for so long that the pack is larger than the profile (0 = no).
    """

    name: str
    number: int
    length: int
    minimum: int
    check: Check | None
    counter: Selector | None
    sweep: Selector | None
    mux: Selector | None
    slots: dict[int, int]
    slot: int
    beyond_ns: int


@dataclass(frozen=True, slots=True)
class Slot:
    """outside: holds nothing but cells or probes beyond this pack."""

    message: str
    start: int
    length: int
    period_s: float
    required: bool
    outside: bool


@dataclass(frozen=True, slots=True)
class ExtremePlace:
    """Entry numbers of a broadcast and of the signals that say where."""

    value: int
    index: tuple[int, ...]
    strides: tuple[int, ...]
    index_first: int


@dataclass(frozen=True, slots=True)
class ContactorPlace:
    entry: int
    slot: int
    values: dict[int, Contactor]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A profile for one pack. Entries of ``table``: cells, probes, padding, scalars, extremes (all judged),
    then flags, indices, states. padding: cells or probes beyond this pack in slots that it uses;
    outside: those in slots of their own."""

    name: str
    file: ProfileFile
    period_s: float
    scale: float
    routes: dict[tuple[int, bool], Route]
    reserved: frozenset[tuple[int, bool]]
    slots: tuple[Slot, ...]
    buffer_length: int
    table: SignalTable
    outside: SignalTable | None
    cells: int
    probes: int
    padding: int
    scalars: dict[str, int]
    extremes: dict[str, ExtremePlace]
    contactors: tuple[ContactorPlace, ...]
    balancing: tuple[int, ...]
    balancing_slots: tuple[int, ...]
    cell_period_s: float
    probe_period_s: float
    temperature_max_period_s: float
    mapped_messages: frozenset[str]

    def describe(self) -> str:
        """One line for ``edgebms check``."""
        scalars = ", ".join(name for name in self.scalars if not name.endswith("_count")) or "no pack values"
        cells = f"{self.cells} cells" if self.cells else "no single cells"
        return f"{self.file.title}: {cells}, {self.probes} probes, {scalars}; {len(self.routes)} ids, a snapshot every {self.period_s:g} s"
