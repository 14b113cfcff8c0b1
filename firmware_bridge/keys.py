"""The key that the gateway and one microcontroller share: a TOML file that only its owner may read.

schema = "edgebms.mcu_key/1"
number = 1                                   # rises with each change; the microcontroller states the one it holds
key = "2b7e151628aed2a6abf7158809cf4f3c"     # AES-128, 32 hexadecimal digits
"""

from __future__ import annotations

import os
import secrets
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.mac import cmac

SCHEMA = "edgebms.mcu_key/1"
LENGTH = 16
LONGEST = 4096
"""Bytes; a key file is smaller."""


class KeyProblem(ValueError):
    """A key or counter file that cannot be used: what is wrong, where, and how to mend it."""

    def __init__(self, what: str, where: str, mend: str) -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(f"{where}: {what} - {mend}")


@dataclass(frozen=True, slots=True)
class Key:
    """number: 1..255. secret: 16 bytes, never shown by ``repr``."""

    number: int
    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart without telling either: AES-CMAC of a fixed text, its first 4 bytes in hexadecimal."""
        return cmac(self.secret, b"edgebms fingerprint")[:4].hex()


def read_key(path: Path) -> Key:
    """The key in ``path``. Others than its owner may have no right to it, and its owner must be we or root. Raises KeyProblem."""
    where = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyProblem(f"cannot be read: {error.strerror}", where, "make one with edgebms keys new, or let our user read it") from None
    try:
        told = os.fstat(descriptor)
        if not stat.S_ISREG(told.st_mode):
            raise KeyProblem("is no file", where, "name a key file")
        if told.st_mode & 0o077:
            raise KeyProblem(f"others may use it (mode {told.st_mode & 0o777:o})", where, f"chmod 600 {where}, and change the key")
        if told.st_uid not in (0, os.geteuid()):
            raise KeyProblem(f"belongs to user {told.st_uid}", where, "give it to the user that the gateway runs as")
        text = os.read(descriptor, LONGEST + 1)
    finally:
        os.close(descriptor)
    return parse_key(text, where)


def parse_key(text: bytes, where: str) -> Key:
    """Raises KeyProblem, whose words never hold what stands in the file."""
    mend = "make one with edgebms keys new"
    try:
        found = tomllib.loads(text.decode("utf-8")) if len(text) <= LONGEST else {}
    except ValueError:
        raise KeyProblem("is not valid TOML", where, mend) from None
    if found.get("schema") != SCHEMA or found.keys() != {"schema", "number", "key"}:
        raise KeyProblem(f"is no key file ({SCHEMA})", where, mend)
    number, digits = found["number"], found["key"]
    if type(number) is not int or not 1 <= number <= 255:
        raise KeyProblem("number is not between 1 and 255", where, mend)
    try:
        secret = bytes.fromhex(digits) if isinstance(digits, str) else b""
    except ValueError:
        secret = b""
    if len(secret) != LENGTH:
        raise KeyProblem("key is not 32 hexadecimal digits", where, mend)
    if len(set(secret)) == 1:
        raise KeyProblem("the key is one byte repeated", where, mend)
    return Key(number, secret)


def new_key(path: Path, number: int = 1) -> Key:
    """Draw a key and write it to ``path``, which may not exist yet. Raises KeyProblem."""
    key = Key(number, secrets.token_bytes(LENGTH))
    text = f'schema = "{SCHEMA}"\nnumber = {number}\nkey = "{key.secret.hex()}"\n'
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        keep_entry(path.parent)
    except FileExistsError:
        raise KeyProblem("exists", str(path), "name another file: a key is never overwritten") from None
    except OSError as error:
        raise KeyProblem(f"cannot be written: {error.strerror}", str(path), "name a folder that exists and that we may write to") from None
    return key


def keep_entry(folder: Path) -> None:
    """Let the folder's entries survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
