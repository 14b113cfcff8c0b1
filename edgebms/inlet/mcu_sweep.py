"""A microcontroller's pages of values as the frames of our own CAN FD protocol (docs/protocol-can.md), so that telemetry,
black boxes and replay know one form only: packs on such a line have the profile ``edgebms_fd``.

A frame goes out only where all its values came; the others stay as old as they are.
"""

from __future__ import annotations

import binascii

from firmware_bridge.codec import PackState, Page
from firmware_bridge.codes import CURRENT_INVALID_MA, PACK_VOLTAGE_INVALID_MV, TEMPERATURE_INVALID_DC, TEMPERATURE_SATURATED_DC

PACK, CELLS, PROBES = 0x100, 0x110, 0x120
CELLS_A_FRAME, PROBES_A_FRAME, MOST = 30, 40, 400
NO_CELL, NO_PROBE, PROBE_TOP, PROBE_ZERO_DC = 0xFFFF, 0xFFF, 0xFFE, 500
CURRENT_MOST_MA, VOLTAGE_MOST_MV, NO_VOLTAGE = 0x7FFFFF, 0xFFFFFE, 0xFFFFFF
NO_INDEX, NO_SOC = 0x1FF, 0xFFFF
CONTACTORS = (3, 0, 1, 2)
"""By the microcontroller's code: unknown, open, precharge, closed."""
NO_SENSORS = 0xFFFF | 0xFFF << 16 | 0xFF << 28 | 0xFFF << 36
SWEEPS = 64

Payloads = list[tuple[int, bytes]]
"""(identifier, payload)"""


class Sweeps:
    """``cells`` and ``probes`` gather, ``pack`` ends a sweep; each gives the frames that are due."""

    def __init__(self) -> None:
        self._sweep: int | None = None
        self._cells: dict[int, int] = {}
        self._probes: dict[int, int] = {}
        self._sizes: tuple[int, int] | None = None
        """(cells, probes), as last stated."""

    def cells(self, page: Page) -> Payloads:
        due = self._turn(page.sweep)
        self._cells.update(enumerate(page.values, page.first))
        return due

    def probes(self, page: Page) -> Payloads:
        due = self._turn(page.sweep)
        self._probes.update((at, probe(value)) for at, value in enumerate(page.values, page.first))
        return due

    def pack(self, state: PackState) -> Payloads:
        """PACK closes a sweep; what another began and lost its PACK goes out before."""
        due = self._turn(state.sweep)
        self._sizes = (state.cells, state.probes)
        due += self._values(state.sweep)
        due.append(framed(PACK, state.sweep, self._head(state).to_bytes(44, "little")))
        self._sweep, self._cells, self._probes = None, {}, {}
        return due

    def _turn(self, sweep: int) -> Payloads:
        if sweep == self._sweep:
            return []
        due = self._values(self._sweep) if self._sweep is not None else []
        self._sweep, self._cells, self._probes = sweep, {}, {}
        return due

    def _values(self, sweep: int) -> Payloads:
        if self._sizes is None:
            return []
        cells, probes = (min(size, MOST) for size in self._sizes)
        due: Payloads = []
        for start in range(0, probes, PROBES_A_FRAME):
            own = range(start, min(start + PROBES_A_FRAME, probes))
            if all(at in self._probes for at in own):
                raw = [self._probes[at] for at in own] + [NO_PROBE] * (PROBES_A_FRAME - len(own))
                body = sum(value << 12 * place for place, value in enumerate(raw))
                due.append(framed(PROBES + start // PROBES_A_FRAME, sweep, body.to_bytes(60, "little")))
        for start in range(0, cells, CELLS_A_FRAME):
            own = range(start, min(start + CELLS_A_FRAME, cells))
            if all(at in self._cells for at in own):
                raw = [self._cells[at] for at in own] + [NO_CELL] * (CELLS_A_FRAME - len(own))
                due.append(framed(CELLS + start // CELLS_A_FRAME, sweep, b"".join(value.to_bytes(2, "little") for value in raw)))
        return due

    def _head(self, state: PackState) -> int:
        # a page beyond the stated number makes the sweep unknown: the larger number says so to the assembler
        cells = min(max(state.cells, 1 + max(self._cells, default=-1)), NO_INDEX)
        probes = min(max(state.probes, 1 + max(self._probes, default=-1)), NO_INDEX)
        current, voltage = state.current_ma, state.voltage_mv
        if current == CURRENT_INVALID_MA or abs(current) > CURRENT_MOST_MA:
            current = -CURRENT_MOST_MA - 1
        if voltage == PACK_VOLTAGE_INVALID_MV or voltage > VOLTAGE_MOST_MV:
            voltage = NO_VOLTAGE
        contactors = CONTACTORS[state.contactor] if state.contactor < len(CONTACTORS) else CONTACTORS[0]
        low, high, low_at, high_at = extremes(self._cells, state.cells, NO_CELL)
        cold, hot, cold_at, hot_at = extremes(self._probes, state.probes, NO_PROBE)
        return (
            current & 0xFFFFFF
            | voltage << 24
            | (contactors | cells << 2 | probes << 11 | NO_SOC << 24) << 48
            | NO_SENSORS << 88
            | (low | high << 16 | low_at << 32 | high_at << 41) << 136
            | (cold | hot << 12 | cold_at << 24 | hot_at << 33) << 186
        )


def probe(value_dc: int) -> int:
    """0.1 degC as the frame's 12 bits from -50 degC; what lies past its ends is saturated.

    >>> probe(250), probe(-600), probe(0x7FFE), probe(0x7FFF)
    (750, 0, 4094, 4095)
    """
    if value_dc == TEMPERATURE_INVALID_DC:
        return NO_PROBE
    if value_dc == TEMPERATURE_SATURATED_DC:
        return PROBE_TOP
    return min(max(value_dc + PROBE_ZERO_DC, 0), PROBE_TOP)


def extremes(values: dict[int, int], count: int, invalid: int) -> tuple[int, int, int, int]:
    """(lowest, highest, where, where) of a sweep that came whole; invalid codes where it did not or knows nothing."""
    known = [(value, at) for at, value in values.items() if value != invalid]
    if not known or len(values) < count:
        return invalid, invalid, NO_INDEX, NO_INDEX
    low, high = min(known), max(known, key=lambda entry: (entry[0], -entry[1]))
    return low[0], high[0], low[1] & NO_INDEX, high[1] & NO_INDEX


def framed(identifier: int, sweep: int, body: bytes) -> tuple[int, bytes]:
    """CRC-16 over the identifier and what follows the CRC, the sweep counter, a zero, the body."""
    marked = bytes((sweep % SWEEPS, 0)) + body
    crc = binascii.crc_hqx(marked, binascii.crc_hqx(identifier.to_bytes(2, "big"), 0xFFFF))
    return identifier, crc.to_bytes(2, "little") + marked
