"""Signing of advice, its refusal by the receiver's rules, and its form on CAN (protocol.md, ADVICE and "Over CAN")."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from firmware_bridge.codec import Advice, pack_advice
from firmware_bridge.codes import ADVICE_BYTES, MAC_BYTES, VERSION, Type
from firmware_bridge.mac import cmac

CAN_BYTES = 2 + ADVICE_BYTES
SEGMENTS, SEGMENT_BYTES = 7, 7
FD_BYTES = 48


def sign(advice: Advice, secret: bytes) -> Advice:
    """``advice`` with its MAC in place."""
    return advice._replace(mac=mac_of(advice, secret))


def mac_of(advice: Advice, secret: bytes) -> bytes:
    """The first 8 bytes of AES-128-CMAC over version, type and all of the payload before the MAC."""
    signed = bytes((VERSION, Type.ADVICE)) + pack_advice(advice)[:-MAC_BYTES]
    return cmac(secret, signed)[:MAC_BYTES]


def is_genuine(advice: Advice, secret: bytes) -> bool:
    return hmac.compare_digest(mac_of(advice, secret), advice.mac)


def to_can(advice: Advice, *, fd: bool, number: int) -> list[bytes]:
    """The payloads of its CAN frames: one of 48 bytes, or seven of 8. number: one more for each ADVICE."""
    body = bytes((VERSION, Type.ADVICE)) + pack_advice(advice)
    if fd:
        return [body.ljust(FD_BYTES, b"\0")]
    body = body.ljust(SEGMENTS * SEGMENT_BYTES, b"\0")
    return [
        bytes(((number & 15) << 4 | segment,)) + body[SEGMENT_BYTES * segment : SEGMENT_BYTES * (segment + 1)]
        for segment in range(SEGMENTS)
    ]


def from_segments(frames: Iterable[bytes]) -> bytes | None:
    """The payload of ADVICE from seven frames in order; None where they are not of one ADVICE."""
    found = list(frames)
    if [frame[0] & 15 for frame in found] != list(range(SEGMENTS)) or len({frame[0] >> 4 for frame in found}) != 1:
        return None
    body = b"".join(frame[1:] for frame in found)[:CAN_BYTES]
    return body[2:] if body[:2] == bytes((VERSION, Type.ADVICE)) else None
