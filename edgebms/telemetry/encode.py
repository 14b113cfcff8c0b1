"""Values to frames of our own protocol (docs/protocol-can.md), for bench, rig and tests.

Nothing on the way from frames to decisions imports this. All frames of a sweep are made in numpy at once.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgebms.errors import ConfigError
from edgebms.inlet.frame import Frame
from edgebms.telemetry.checks import crc8_j1850, crc8_tables
from edgebms.vocabulary import Contactor

PACK, STATUS, SENSORS, VOLTAGE_EXTREMES, TEMPERATURE_EXTREMES, BALANCING, CELLS, PROBES = (
    0x100,
    0x101,
    0x102,
    0x103,
    0x104,
    0x105,
    0x110,
    0x198,
)
FD_BALANCING, FD_PROBES = 0x101, 0x120
NO_CELL, NO_PROBE, PROBE_TOP, CELL_TOP = 0xFFFF, 0xFFF, 0xFFE, 0xFFFE
NO_INDEX = 0x1FF
SWEEPS = 64
CONTACTORS = {Contactor.OPEN: 0, Contactor.PRECHARGE: 1, Contactor.CLOSED: 2, Contactor.UNKNOWN: 3}
Words = NDArray[np.int64]


class Encoder:
    """Encodes one pack's sweeps. ``profile`` is "edgebms" or "edgebms_fd"; ids are shifted by ``id_offset``.

    spacing_ns: between two frames of a sweep; the last frame has the sweep's own time.
    """

    def __init__(self, profile: str, cells: int, probes: int, *, channel: str = "", id_offset: int = 0, spacing_ns: int = 200_000) -> None:
        if profile not in ("edgebms", "edgebms_fd"):
            raise ConfigError(f"no encoder for profile {profile!r}", where="profile", mend="known: edgebms, edgebms_fd")
        if not (1 <= cells <= 400 and 0 <= probes <= 400):
            raise ConfigError(f"{cells} cells and {probes} probes", where="encoder", mend="up to 400 cells and 400 probes")
        self._fd = profile == "edgebms_fd"
        self._cells, self._probes = cells, probes
        self._channel, self._offset, self._spacing_ns = channel, id_offset, spacing_ns
        self._sweep = 0
        self._sensed = False
        zero, shares = crc8_tables(0, 8)
        del zero
        self._shares = np.array(shares, dtype=np.uint8)
        per_cell, per_probe = (30, 40) if self._fd else (3, 4)
        self._cell_frames = -(-cells // per_cell)
        self._probe_frames = -(-probes // per_probe)

    def encode(
        self,
        time_ns: int,
        cell_voltage_v: ArrayLike,
        temperature_c: ArrayLike,
        current_a: float,
        voltage_v: float,
        *,
        contactors: Contactor = Contactor.UNKNOWN,
        reported_soc: float = float("nan"),
        insulation_ohm: float = float("nan"),
        pressure_pa: float = float("nan"),
        gas: float = float("nan"),
        coolant_temperature_c: float = float("nan"),
        balancing: ArrayLike | None = None,
    ) -> list[Frame]:
        """The frames of one sweep, complete with its last frame. NaN becomes the invalid code; values past
        the ends of a signal its saturation code. cell_voltage_v: (cells,). temperature_c: (probes,).
        reported_soc and gas are fractions. Sensors go out from the first sweep on in which one of them is known."""
        volts = np.asarray(cell_voltage_v, dtype=np.float64)
        degrees = np.asarray(temperature_c, dtype=np.float64)
        if volts.shape != (self._cells,) or degrees.shape != (self._probes,):
            raise ConfigError(
                f"shapes {volts.shape} and {degrees.shape}", where="encoder", mend=f"give {self._cells} cells and {self._probes} probes"
            )
        cell_raw = words(volts, 0.0001, 0.0, 0, CELL_TOP, NO_CELL)
        probe_raw = words(degrees, 0.1, -50.0, 0, PROBE_TOP, NO_PROBE)
        current = word(current_a, 0.001, 0.0, -0x7FFFFF, 0x7FFFFF, -0x800000) & 0xFFFFFF
        voltage = word(voltage_v, 0.001, 0.0, 0, 0xFFFFFE, 0xFFFFFF)
        pack = current | voltage << 24
        status = CONTACTORS[contactors] | self._cells << 2 | self._probes << 11 | word(reported_soc, 0.0001, 0.0, 0, 0xFFFE, 0xFFFF) << 24
        sensors = word(insulation_ohm, 1000.0, 0.0, 0, 0xFFFE, 0xFFFF) | word(pressure_pa, 100.0, 0.0, 0, 0xFFE, 0xFFF) << 16
        sensors |= word(gas, 0.005, 0.0, 0, 0xFE, 0xFF) << 28 | word(coolant_temperature_c, 0.1, -50.0, 0, 0xFFE, 0xFFF) << 36
        # once there, a value that is lost goes out as such: without a frame its last one would stand until it is stale
        self._sensed = self._sensed or any(np.isfinite(value) for value in (insulation_ohm, pressure_pa, gas, coolant_temperature_c))
        cell_low, cell_high, cell_low_at, cell_high_at = extremes(cell_raw, NO_CELL)
        probe_low, probe_high, probe_low_at, probe_high_at = extremes(probe_raw, NO_PROBE)
        bits = None if balancing is None else np.asarray(balancing, dtype=np.bool_)
        hottest = probe_low | probe_high << 12 | probe_low_at << 24 | probe_high_at << 33
        if self._fd:
            head = (
                pack
                | status << 48
                | sensors << 88
                | (cell_low | cell_high << 16 | cell_low_at << 32 | cell_high_at << 41) << 136
                | hottest << 186
            )
            return self._fd_frames(time_ns, head, cell_raw, probe_raw, bits)
        spare = (cell_low_at | cell_high_at << 9) & 0x3
        extra = (cell_low_at | cell_high_at << 9) >> 2 | (cell_low | cell_high << 16) << 16
        heads = [(STATUS, status, 0), (VOLTAGE_EXTREMES, extra, spare), (TEMPERATURE_EXTREMES, hottest, 0)]
        if self._sensed:
            heads.insert(1, (SENSORS, sensors, 0))
        if bits is not None:
            for i in range(-(-self._cells // 48)):
                part = bits[48 * i : 48 * i + 48]
                heads.append((BALANCING + i, sum(1 << int(k) for k in np.flatnonzero(part)), 0))
        return self._classic_frames(time_ns, heads, pack, cell_raw, probe_raw)

    def _classic_frames(self, time_ns: int, heads: list[tuple[int, int, int]], pack: int, cell_raw: Words, probe_raw: Words) -> list[Frame]:
        ids = [identifier for identifier, _, _ in heads]
        first_probe = len(ids)
        ids += range(PROBES, PROBES + self._probe_frames)
        first_cell = len(ids)
        ids += range(CELLS, CELLS + self._cell_frames)
        ids.append(PACK)
        payload = np.zeros((len(ids), 8), dtype=np.uint8)
        payload[:, 1] = self._sweep
        for row, (_, body, spare) in enumerate(heads):
            payload[row, 2:] = np.frombuffer(body.to_bytes(6, "little"), dtype=np.uint8)
            payload[row, 1] |= spare << 6
        payload[-1, 2:] = np.frombuffer(pack.to_bytes(6, "little"), dtype=np.uint8)
        four = padded(probe_raw, 4, NO_PROBE)
        packed = four[:, 0] | four[:, 1] << 12 | four[:, 2] << 24 | four[:, 3] << 36
        payload[first_probe:first_cell, 2:] = packed.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :6]
        payload[first_cell:-1, 2:] = padded(cell_raw, 3, NO_CELL).astype("<u2").view(np.uint8).reshape(-1, 6)
        crc = np.array([_id_constant(identifier) for identifier in ids], dtype=np.uint8)
        for place in range(1, 8):
            crc ^= self._shares[place - 1][payload[:, place]]
        payload[:, 0] = crc
        return self._frames(time_ns, ids, [row.tobytes() for row in payload])

    def _fd_frames(self, time_ns: int, head: int, cell_raw: Words, probe_raw: Words, balancing: NDArray[np.bool_] | None) -> list[Frame]:
        mark = bytes((self._sweep, 0))
        bodies: list[tuple[int, bytes]] = []
        if balancing is not None:
            on = sum(1 << int(k) for k in np.flatnonzero(balancing))
            bodies.append((FD_BALANCING, mark + on.to_bytes(60, "little")))
        probes = padded(probe_raw, 40, NO_PROBE)
        pairs = probes[:, 0::2] | probes[:, 1::2] << 12
        packed = pairs.astype("<u4").view(np.uint8).reshape(len(probes), 20, 4)[:, :, :3].reshape(len(probes), 60)
        bodies += [(FD_PROBES + i, mark + row.tobytes()) for i, row in enumerate(packed)]
        bodies += [(CELLS + i, mark + row.astype("<u2").tobytes()) for i, row in enumerate(padded(cell_raw, 30, NO_CELL))]
        bodies.append((PACK, mark + head.to_bytes(44, "little")))
        payloads = []
        for identifier, body in bodies:
            crc = binascii.crc_hqx(body, binascii.crc_hqx(identifier.to_bytes(2, "big"), 0xFFFF))
            payloads.append(crc.to_bytes(2, "little") + body)
        return self._frames(time_ns, [identifier for identifier, _ in bodies], payloads)

    def _frames(self, time_ns: int, ids: Sequence[int], payloads: Sequence[bytes]) -> list[Frame]:
        self._sweep = (self._sweep + 1) % SWEEPS
        start_ns = time_ns - (len(ids) - 1) * self._spacing_ns
        step_ns, offset, channel = self._spacing_ns, self._offset, self._channel
        return [
            Frame(start_ns + i * step_ns, identifier + offset, data, False, channel)
            for i, (identifier, data) in enumerate(zip(ids, payloads, strict=True))
        ]


_CONSTANTS: dict[int, int] = {}


def _id_constant(identifier: int) -> int:
    if identifier not in _CONSTANTS:
        _CONSTANTS[identifier] = crc8_j1850(identifier.to_bytes(2, "big") + bytes(7))
    return _CONSTANTS[identifier]


def words(values: NDArray[np.float64], scale: float, offset: float, low: int, high: int, invalid: int) -> Words:
    """Raw values, to the nearest step, held at the ends; NaN = ``invalid``."""
    known = np.isfinite(values)
    raw = np.clip(np.rint((np.where(known, values, offset) - offset) / scale), low, high).astype(np.int64)
    raw[~known] = invalid
    return raw


def word(value: float, scale: float, offset: float, low: int, high: int, invalid: int) -> int:
    """One raw value, as ``words``."""
    if not np.isfinite(value):
        return invalid
    return int(min(max(round((value - offset) / scale), low), high))


def padded(raw: Words, width: int, invalid: int) -> Words:
    """Rows of ``width``, the last one filled up with the invalid code."""
    rows = -(-len(raw) // width)
    out = np.full(rows * width, invalid, dtype=np.int64)
    out[: len(raw)] = raw
    return out.reshape(rows, width)


def extremes(raw: Words, invalid: int) -> tuple[int, int, int, int]:
    """(lowest, highest, where, where) of what is valid; invalid codes where nothing is."""
    known = np.flatnonzero(raw != invalid)
    if not known.size:
        return invalid, invalid, NO_INDEX, NO_INDEX
    low, high = known[raw[known].argmin()], known[raw[known].argmax()]
    return int(raw[low]), int(raw[high]), int(low), int(high)
