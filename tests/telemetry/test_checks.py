"""Checksum rules against crccheck and against worked examples."""

from __future__ import annotations

import pytest
from crccheck.crc import Crc8SaeJ1850, Crc16Ibm3740
from hypothesis import given
from hypothesis import strategies as st

from edgebms.telemetry import checks


@given(st.integers(0, 0x7FF), st.binary(min_size=3, max_size=64))
def test_crc8_agrees_with_crccheck(identifier: int, body: bytes) -> None:
    data = bytes((Crc8SaeJ1850.calc(identifier.to_bytes(2, "big") + body),)) + body
    check = checks.crc8_j1850_check(identifier, len(data))
    assert check(data)
    assert check(data + b"beyond the message")
    assert not check(bytes((data[0] ^ 1,)) + body)


@given(st.integers(0, 0x7FF), st.binary(min_size=6, max_size=6), st.integers(8, 63))
def test_crc8_of_a_classic_frame_finds_every_flipped_bit(identifier: int, body: bytes, bit: int) -> None:
    data = bytearray(bytes((Crc8SaeJ1850.calc(identifier.to_bytes(2, "big") + body + b"\0"),)) + body + b"\0")
    check = checks.crc8_j1850_check(identifier, 8)
    assert check(bytes(data))
    data[bit // 8] ^= 1 << bit % 8
    assert not check(bytes(data))


@given(st.integers(0, 0x7FF), st.binary(min_size=1, max_size=62))
def test_crc16_agrees_with_crccheck(identifier: int, body: bytes) -> None:
    crc = Crc16Ibm3740.calc(identifier.to_bytes(2, "big") + body).to_bytes(2, "little")
    check = checks.crc16_ccitt_check(identifier, len(body) + 2)
    assert check(crc + body)
    assert not check(bytes((crc[0] ^ 0x80, crc[1])) + body)


def test_orion_sum() -> None:
    # (0x36 + 8 + sum of bytes 0-6) & 0xFF
    body = bytes((0x05, 0x8C, 0xA0, 0x01, 0x2C, 0x8C, 0xB0))
    good = (0x36 + 8 + sum(body)) & 0xFF
    check = checks.sum8_check(0x36, 8)
    assert check(body + bytes((good,)))
    assert not check(body + bytes((good ^ 0x10,)))


def test_every_rule_refuses_something_and_takes_something() -> None:
    for name, make in checks.RULES.items():
        check = make(0x123, 8)
        verdicts = {check(bytes((crc, 0x21, 3, 4, 5, 6, 7, crc))) for crc in range(256)} | {
            check(bytes((crc, other, 0, 0, 0, 0, 0, 0))) for crc in range(256) for other in range(256)
        }
        assert verdicts == {True, False}, name


@pytest.mark.parametrize(("rule", "expected"), [(checks.crc8_j1850, 0x4B), (checks.crc16_ccitt, 0x29B1)])
def test_catalogue_check_values(rule: object, expected: int) -> None:
    assert rule(b"123456789") == expected  # type: ignore[operator]
