"""Messages to bytes and back, byte for byte as protocol.md has them. No clock, no I/O."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from cobs import cobs

from firmware_bridge.codes import (
    ACK_BYTES,
    ADVICE_BYTES,
    CELLS_BYTES,
    CELLS_PER_PAGE,
    CRC_BYTES,
    FLAG_ACK_WANTED,
    HEADER_BYTES,
    HEARTBEAT_BYTES,
    HELLO_BYTES,
    PACK_BYTES,
    PAYLOAD_BYTES_MAX,
    PROBES_BYTES,
    TIME_REPLY_BYTES,
    TIME_SYNC_BYTES,
    VERSION,
    Type,
    Verdict,
)

HEADER = struct.Struct("<BBBH")
FRAME_MAX = HEADER_BYTES + PAYLOAD_BYTES_MAX + CRC_BYTES + 1
"""Bytes of a frame without its closing 0x00."""
COUNTERS_BYTES = 8
FROM_MCU = frozenset({Type.HELLO, Type.HEARTBEAT, Type.ACK, Type.PACK, Type.CELLS, Type.PROBES, Type.COUNTERS, Type.TIME_REPLY})
FROM_GATEWAY = frozenset({Type.HELLO, Type.HEARTBEAT, Type.ACK, Type.TIME_SYNC, Type.ADVICE})


class Refused(ValueError):
    """A message that does not count. verdict: why."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(verdict.name)


class Message(NamedTuple):
    """type: a code of ``Type``. flags: bit 0 asks for an ACK. sequence: 0..65535."""

    type: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def ack_wanted(self) -> bool:
        return bool(self.flags & FLAG_ACK_WANTED)


class Hello(NamedTuple):
    role: int
    device_id: int
    version_min: int
    version_max: int
    firmware_major: int
    firmware_minor: int
    firmware_patch: int
    profile: int
    session: int
    cells: int
    probes: int
    actions: int
    freshness_last: int
    key_id: int


class Heartbeat(NamedTuple):
    time_ms: int
    session: int
    state: int
    linked: int


class Ack(NamedTuple):
    sequence: int
    type: int
    verdict: int


class TimeSync(NamedTuple):
    gateway_ms: int
    utc_ms: int
    synchronised: int


class TimeReply(NamedTuple):
    gateway_ms: int
    mcu_ms: int


class Advice(NamedTuple):
    """charge_da, discharge_da: 0.1 A; charge_dv, discharge_dv: 0.1 V. mac: 8 bytes over all before it."""

    gateway_id: int
    mcu_id: int
    key_id: int
    freshness: int
    action: int
    mode: int
    cool: int
    charge_da: int
    discharge_da: int
    charge_dv: int
    discharge_dv: int
    session: int
    issued_ms: int
    expiry_ms: int
    mac: bytes


class PackState(NamedTuple):
    """current_ma is positive while charging. charge_da, discharge_da: what the microcontroller applies now."""

    time_ms: int
    sweep: int
    current_ma: int
    voltage_mv: int
    contactor: int
    state: int
    faults: int
    cells: int
    probes: int
    charge_da: int
    discharge_da: int
    advice_left_ms: int


class Page(NamedTuple):
    """CELLS in 0.1 mV or PROBES in 0.1 degC. first: 0-based index of the first value."""

    time_ms: int
    sweep: int
    first: int
    values: tuple[int, ...]


class Counters(NamedTuple):
    """counts: by the codes of ``Verdict``; a newer microcontroller may send more."""

    time_ms: int
    session: int
    counts: tuple[int, ...]

    def of(self, verdict: int) -> int:
        return self.counts[verdict] if verdict < len(self.counts) else 0


_HELLO = struct.Struct("<BHBBBBBIIHHB6sB")
_HEARTBEAT = struct.Struct("<IIBB")
_ACK = struct.Struct("<HBB")
_TIME_SYNC = struct.Struct("<IQB")
_TIME_REPLY = struct.Struct("<II")
_ADVICE = struct.Struct("<HHB6sBBBHHHHIII8s")
_PACK = struct.Struct("<IHiIBBHHHHHI")
_PAGE = struct.Struct("<IHHB")
_COUNTERS = struct.Struct("<II")

LENGTHS = {
    Type.HELLO: HELLO_BYTES,
    Type.HEARTBEAT: HEARTBEAT_BYTES,
    Type.ACK: ACK_BYTES,
    Type.TIME_SYNC: TIME_SYNC_BYTES,
    Type.ADVICE: ADVICE_BYTES,
    Type.PACK: PACK_BYTES,
    Type.TIME_REPLY: TIME_REPLY_BYTES,
}


def _u48(value: int) -> bytes:
    return value.to_bytes(6, "little")


def pack_hello(hello: Hello) -> bytes:
    return _HELLO.pack(*hello[:12], _u48(hello.freshness_last), hello.key_id)


def pack_heartbeat(beat: Heartbeat) -> bytes:
    return _HEARTBEAT.pack(*beat)


def pack_ack(ack: Ack) -> bytes:
    return _ACK.pack(*ack)


def pack_time_sync(sync: TimeSync) -> bytes:
    return _TIME_SYNC.pack(*sync)


def pack_time_reply(reply: TimeReply) -> bytes:
    return _TIME_REPLY.pack(*reply)


def pack_advice(advice: Advice) -> bytes:
    return _ADVICE.pack(*advice[:3], _u48(advice.freshness), *advice[4:])


def pack_state(state: PackState) -> bytes:
    return _PACK.pack(*state)


def pack_cells(page: Page) -> bytes:
    return _PAGE.pack(page.time_ms, page.sweep, page.first, len(page.values)) + struct.pack(f"<{len(page.values)}H", *page.values)


def pack_probes(page: Page) -> bytes:
    return _PAGE.pack(page.time_ms, page.sweep, page.first, len(page.values)) + struct.pack(f"<{len(page.values)}h", *page.values)


def pack_counters(counters: Counters) -> bytes:
    return _COUNTERS.pack(counters.time_ms, counters.session) + struct.pack(f"<{len(counters.counts)}I", *counters.counts)


def read_hello(payload: bytes) -> Hello:
    *fields, freshness_last, key_id = _HELLO.unpack(payload)
    return Hello._make((*fields, int.from_bytes(freshness_last, "little"), key_id))


def read_heartbeat(payload: bytes) -> Heartbeat:
    return Heartbeat(*_HEARTBEAT.unpack(payload))


def read_ack(payload: bytes) -> Ack:
    return Ack(*_ACK.unpack(payload))


def read_time_sync(payload: bytes) -> TimeSync:
    return TimeSync(*_TIME_SYNC.unpack(payload))


def read_time_reply(payload: bytes) -> TimeReply:
    return TimeReply(*_TIME_REPLY.unpack(payload))


def read_advice(payload: bytes) -> Advice:
    gateway_id, mcu_id, key_id, freshness, *fields = _ADVICE.unpack(payload)
    return Advice._make((gateway_id, mcu_id, key_id, int.from_bytes(freshness, "little"), *fields))


def read_state(payload: bytes) -> PackState:
    return PackState(*_PACK.unpack(payload))


def read_cells(payload: bytes) -> Page:
    time_ms, sweep, first, count = _PAGE.unpack_from(payload)
    return Page(time_ms, sweep, first, struct.unpack_from(f"<{count}H", payload, CELLS_BYTES))


def read_probes(payload: bytes) -> Page:
    time_ms, sweep, first, count = _PAGE.unpack_from(payload)
    return Page(time_ms, sweep, first, struct.unpack_from(f"<{count}h", payload, PROBES_BYTES))


def read_counters(payload: bytes) -> Counters:
    time_ms, session = _COUNTERS.unpack_from(payload)
    return Counters(time_ms, session, struct.unpack_from(f"<{len(payload) // 4 - 2}I", payload, COUNTERS_BYTES))


def encode(message: Message) -> bytes:
    """Header, payload and CRC: what COBS frames."""
    if len(message.payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a payload of {len(message.payload)} bytes; {PAYLOAD_BYTES_MAX} is the most")
    body = HEADER.pack(VERSION, message.type, message.flags, message.sequence) + message.payload
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def frame(message: Message) -> bytes:
    """What goes over the line, its closing 0x00 included."""
    coded: bytes = cobs.encode(encode(message))
    return coded + b"\0"


def decode(coded: bytes, known: frozenset[Type] = FROM_MCU) -> Message:
    """One frame without its 0x00. known: the types that the sender may send. Raises Refused, in protocol.md's order."""
    try:
        body = cobs.decode(coded)
    except cobs.DecodeError:
        raise Refused(Verdict.BAD_COBS) from None
    if len(body) < HEADER_BYTES + CRC_BYTES:
        raise Refused(Verdict.BAD_FRAME_LENGTH)
    if zlib.crc32(body[:-CRC_BYTES]).to_bytes(CRC_BYTES, "little") != body[-CRC_BYTES:]:
        raise Refused(Verdict.BAD_CRC)
    version, kind, flags, sequence = HEADER.unpack_from(body)
    if version != VERSION:
        raise Refused(Verdict.BAD_VERSION)
    if kind not in known:
        raise Refused(Verdict.UNKNOWN_TYPE)
    if flags & ~FLAG_ACK_WANTED:
        raise Refused(Verdict.BAD_VALUE)
    payload = body[HEADER_BYTES:-CRC_BYTES]
    if not _fits(Type(kind), payload):
        raise Refused(Verdict.BAD_LENGTH)
    return Message(kind, flags, sequence, payload)


def _fits(kind: Type, payload: bytes) -> bool:
    if kind in (Type.CELLS, Type.PROBES):
        return len(payload) >= CELLS_BYTES and len(payload) == CELLS_BYTES + 2 * payload[8] and 1 <= payload[8] <= CELLS_PER_PAGE
    if kind is Type.COUNTERS:
        return len(payload) >= COUNTERS_BYTES and len(payload) % 4 == 0
    return len(payload) == LENGTHS[kind]


@dataclass(slots=True)
class Deframer:
    """Bytes in, in pieces of any size; whole messages out. ``counts``: what was refused, and why."""

    known: frozenset[Type]
    counts: Counter[Verdict]
    _rest: bytes
    _skipping: bool

    def __init__(self, known: frozenset[Type] = FROM_MCU) -> None:
        self.known, self.counts, self._rest, self._skipping = known, Counter(), b"", False

    def feed(self, data: bytes) -> list[Message]:
        found = []
        *whole, rest = (self._rest + data).split(b"\0")
        for coded in whole:
            if self._skipping:  # the end of what was too long and is counted already
                self._skipping = False
                continue
            if not coded:
                continue
            if len(coded) > FRAME_MAX:
                self.counts[Verdict.BAD_FRAME_LENGTH] += 1
                continue
            try:
                found.append(decode(coded, self.known))
            except Refused as refused:
                self.counts[refused.verdict] += 1
        if self._skipping:
            rest = b""
        elif len(rest) > FRAME_MAX:
            self.counts[Verdict.BAD_FRAME_LENGTH] += 1
            self._skipping, rest = True, b""
        self._rest = rest
        return found
