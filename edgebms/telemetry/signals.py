"""Signals read and judged together: value, or NaN with the reason why it is not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.telemetry.snapshot import Codes, Floats
from edgebms.telemetry.tables import Bits, DecodeTable, Raw
from edgebms.vocabulary import Reason


@dataclass(frozen=True, slots=True)
class Entry:
    """One signal of a slot (a message, or one multiplexer value of it). flag: its validity flag in the
    same slot; good: the flag's value that says valid. Codes are raw values."""

    bits: Bits
    slot: int
    invalid_codes: tuple[int, ...] = ()
    saturated_codes: tuple[int, ...] = ()
    range: tuple[float, float] | None = None
    flag: Bits | None = None
    good: int = 1


class SignalTable:
    """Reads all ``entries``; judges the first ``judged`` of them (the others are indices and states)."""

    def __init__(self, entries: Sequence[Entry], judged: int, slot_starts: Sequence[int], zero: int) -> None:
        rows = entries[:judged]
        flagged = [i for i, entry in enumerate(rows) if entry.flag is not None]
        bits = [entry.bits for entry in entries] + [flag for entry in rows if (flag := entry.flag) is not None]
        starts = [slot_starts[entry.slot] for entry in entries] + [slot_starts[rows[i].slot] for i in flagged]
        self._table = DecodeTable(bits, starts, zero)
        self._judged = judged
        self.slot = np.array([entry.slot for entry in rows], dtype=np.intp)
        self._end = np.array([entry.bits.end for entry in rows], dtype=np.int64)
        self._low = np.array([entry.range[0] if entry.range else -np.inf for entry in rows])
        self._high = np.array([entry.range[1] if entry.range else np.inf for entry in rows])
        self._codes = _code_columns([entry.saturated_codes for entry in rows], Reason.SATURATED)
        self._codes += _code_columns([entry.invalid_codes for entry in rows], Reason.INVALID_CODE)
        self._flagged = np.array(flagged, dtype=np.intp)
        self._flags = np.arange(len(entries), len(bits))
        self._good = np.array([rows[i].good for i in flagged], dtype=np.uint64)

    def read(self, buffer: NDArray[np.uint8], slot_reason: Codes, slot_length: NDArray[np.int64] | None) -> tuple[Raw, Floats, Codes]:
        """(raw, value, reason). raw: (entries and flags,). value, reason: (judged,), value NaN where reason is not VALID.

        slot_length: bytes received, where frames may be cut off; signals beyond them were never received.
        """
        raw, physical = self._table.decode(buffer)
        value = physical[: self._judged]
        reason = np.zeros(self._judged, dtype=np.uint8)
        # from the weakest to the strongest reason; "not (inside)" catches NaN of float signals
        reason[~((value >= self._low) & (value <= self._high))] = Reason.OUT_OF_RANGE
        for where, codes, code_reason in self._codes:
            reason[where[raw[where] == codes]] = code_reason
        if len(self._flagged):
            reason[self._flagged[raw[self._flags] != self._good]] = Reason.INVALID_FLAG
        if slot_length is not None:
            reason[slot_length[self.slot] < self._end] = Reason.NEVER_RECEIVED
        late = slot_reason[self.slot]
        np.copyto(reason, late, where=late != 0)
        value[reason != 0] = np.nan
        return raw, value, reason


def _code_columns(codes: list[tuple[int, ...]], reason: Reason) -> list[tuple[NDArray[np.intp], Raw, int]]:
    """One (rows, code of each, reason) a column: nearly always one column."""
    columns = []
    for column in range(max((len(entry) for entry in codes), default=0)):
        rows = [i for i, entry in enumerate(codes) if len(entry) > column]
        columns.append((np.array(rows, dtype=np.intp), np.array([codes[i][column] for i in rows], dtype=np.uint64), int(reason)))
    return columns
