"""Named checksum rules. Each makes a function that says whether a payload is sound.

Tables are made once a message at load; the hot path is a few look-ups.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

Check = Callable[[bytes], bool]

CRC8_J1850_POLYNOMIAL = 0x1D
"""SAE J1850, as AUTOSAR's CRC library has it: start 0xFF, final XOR 0xFF."""


def _crc8_table(polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc << 1) ^ polynomial if crc & 0x80 else crc << 1
        table.append(crc & 0xFF)
    return tuple(table)


TABLE = _crc8_table(CRC8_J1850_POLYNOMIAL)


def crc8_j1850(data: bytes) -> int:
    """CRC-8 SAE J1850 of ``data``.

    >>> hex(crc8_j1850(b"123456789"))
    '0x4b'
    """
    crc = 0xFF
    for byte in data:
        crc = TABLE[crc ^ byte]
    return crc ^ 0xFF


def crc16_ccitt(data: bytes) -> int:
    """CRC-16 CCITT-FALSE of ``data`` (polynomial 0x1021, start 0xFFFF).

    >>> hex(crc16_ccitt(b"123456789"))
    '0x29b1'
    """
    return binascii.crc_hqx(data, 0xFFFF)


def crc8_tables(identifier: int, length: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """(constant, one table a payload byte from byte 1): their XOR is the CRC of the id (two bytes, big
    endian) followed by payload bytes 1... A CRC is linear over XOR, so each byte has a share of its own."""
    prefix = identifier.to_bytes(4, "big")[-2:]
    constant = crc8_j1850(prefix + bytes(length - 1))
    tables = []
    for place in range(1, length):
        share = [crc8_j1850(prefix + bytes(place - 1) + bytes((byte,)) + bytes(length - 1 - place)) ^ constant for byte in range(256)]
        tables.append(tuple(share))
    return constant, tuple(tables)


_LINEAR: dict[int, tuple[tuple[int, ...], ...]] = {}


def _shares(length: int) -> tuple[tuple[int, ...], ...]:
    # a byte's share does not depend on the id: one set of tables serves every message of a length
    if length not in _LINEAR:
        _LINEAR[length] = crc8_tables(0, length)[1]
    return _LINEAR[length]


def crc8_j1850_check(identifier: int, length: int) -> Check:
    """Byte 0 is the CRC-8 of id and bytes 1..., as in docs/protocol-can.md."""
    constant = crc8_j1850(identifier.to_bytes(4, "big")[-2:] + bytes(length - 1))
    tables = _shares(length)
    if length != 8:

        def check_any(data: bytes) -> bool:
            crc = constant
            for table, byte in zip(tables, data[1:], strict=False):
                crc ^= table[byte]
            return crc == data[0]

        return check_any
    t1, t2, t3, t4, t5, t6, t7 = tables

    def check(data: bytes) -> bool:
        b0, b1, b2, b3, b4, b5, b6, b7 = data[:8]
        return b0 == constant ^ t1[b1] ^ t2[b2] ^ t3[b3] ^ t4[b4] ^ t5[b5] ^ t6[b6] ^ t7[b7]

    return check


def crc16_ccitt_check(identifier: int, length: int) -> Check:
    """Bytes 0-1 (little endian) are the CRC-16 of id and bytes 2..., as in docs/protocol-can.md."""
    start = binascii.crc_hqx(identifier.to_bytes(4, "big")[-2:], 0xFFFF)
    crc_hqx = binascii.crc_hqx

    def check(data: bytes) -> bool:
        return crc_hqx(data[2:length], start) == data[0] | data[1] << 8

    return check


def sum8_check(identifier: int, length: int) -> Check:
    """The last byte is (id + length + sum of the others) modulo 256, as Orion 2 sends it."""
    start = identifier + length

    def check(data: bytes) -> bool:
        return (start + sum(data[: length - 1])) & 0xFF == data[length - 1]

    return check


RULES: dict[str, Callable[[int, int], Check]] = {
    "crc8_j1850": crc8_j1850_check,
    "crc16_ccitt": crc16_ccitt_check,
    "sum8": sum8_check,
}
"""Rule -> maker(id in the DBC, message length). A profile names its rules; nothing is inferred."""
