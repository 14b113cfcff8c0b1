"""AES-128-CMAC (RFC 4493) by the library ``cryptography``."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC


def cmac(key: bytes, message: bytes) -> bytes:
    """16 bytes. key: 16 bytes; ValueError otherwise.

    >>> cmac(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), b"").hex()
    'bb1d6929e95937287fa37d129b756746'
    """
    if len(key) != 16:
        raise ValueError(f"an AES-128 key has 16 bytes, not {len(key)}")
    code = CMAC(AES(key))
    code.update(message)
    return code.finalize()
