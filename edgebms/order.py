"""What a pack's line is told besides frames and time: an order from a person, or from an outlet's reader.

An order goes into the line between two frames, in the loop's thread, and onto the tape like all else that the
line is given, so that a black box in which one fell decides again what was decided.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """A person has seen the latched ``rule``: its latch opens wherever its cause is over for long enough."""

    rule: str


@dataclass(frozen=True, slots=True)
class SendCells:
    """The next decision carries the per-cell values."""


Order = Acknowledge | SendCells


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an acknowledgement: at how many places (cells, probes, the pack) the latch of ``rule`` opened, and
    at how many it stays shut because its cause is not over."""

    rule: str
    opened: int
    stands: int
