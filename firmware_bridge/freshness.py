"""The freshness counter: each value is used once, whatever is killed when.

A file holds the first value that is not reserved. Values are handed out only below it, and before it is reached the
next block is reserved: written beside, synchronised, moved into place. After a kill the counter goes on at the file's
value; what was reserved and not used is lost, which a receiver that takes any greater value does not mind.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

from firmware_bridge.keys import KeyProblem, keep_entry

SCHEMA = "edgebms.freshness/1"
BLOCK = 4096
"""Values reserved at once: at ten commands a second one write in seven minutes."""
RENEW = "the counter cannot go back: change the key (edgebms keys new --after), which starts a new one"


class Freshness:
    """``next`` from any thread. fingerprint: of the key that the values are used with. last: the greatest value there is.

    The file is locked while this lives: two gateways with one counter would use a value twice. Raises KeyProblem.
    """

    def __init__(self, path: Path, fingerprint: str, last: int, block: int = BLOCK) -> None:
        self._path, self._fingerprint, self._last, self._block = path, fingerprint, last, block
        self._lock = threading.Lock()
        try:
            self._held = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KeyProblem(f"cannot be locked: {error.strerror}", str(path), "make its folder, and let our user write to it") from None
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise KeyProblem("another process uses this counter", str(path), "end it: one gateway speaks to a microcontroller") from None
        try:
            self._next = self._reserved = reserved_in(path, fingerprint)
            self._reserve()
        except BaseException:
            self.close()
            raise

    def next(self) -> int:
        """A value that was never given before and never will be. Raises KeyProblem where none can be reserved."""
        with self._lock:
            if self._held < 0:
                raise KeyProblem("is closed", str(self._path), "open it again")
            if self._next >= self._reserved:
                self._reserve()
            value = self._next
            self._next += 1
            return value

    @property
    def upcoming(self) -> int:
        """What ``next`` would give now, untaken."""
        return self._next

    @property
    def left(self) -> int:
        """How many values this key has left."""
        return self._last - self._next + 1

    def close(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _reserve(self) -> None:
        if self._next > self._last:
            raise KeyProblem("every value has been used", str(self._path), "change the key (edgebms keys new --after)")
        end = min(self._next + self._block, self._last + 1)
        try:
            _write(self._path, self._fingerprint, end)
        except OSError as error:
            raise KeyProblem(f"cannot be written: {error.strerror}", str(self._path), "mend the disk or its permissions") from None
        self._reserved = end


def begin_counter(path: Path, fingerprint: str) -> None:
    """The counter of a key that was never used; an older key's is replaced, this key's own is not. Raises KeyProblem."""
    try:
        reserved_in(path, fingerprint)
    except KeyProblem:
        pass  # none yet, or an older key's
    else:
        raise KeyProblem("is this key's counter already", str(path), "leave it as it is")
    try:
        _write(path, fingerprint, 1)
    except OSError as error:
        raise KeyProblem(f"cannot be written: {error.strerror}", str(path), "name a folder that we may write to") from None


def reserved_in(path: Path, fingerprint: str) -> int:
    """The first value that is not reserved. Raises KeyProblem where the file is none, or another key's."""
    where = str(path)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise KeyProblem("the counter is missing", where, RENEW) from None
    except OSError as error:
        raise KeyProblem(f"cannot be read: {error.strerror}", where, "let our user read and write it") from None
    try:
        found = json.loads(text)
        reserved = found["reserved"]
        if found["schema"] != SCHEMA or type(reserved) is not int or reserved < 1:
            raise ValueError
        key = found["key"]
    except (ValueError, KeyError, TypeError):
        raise KeyProblem("is no counter that we wrote", where, RENEW) from None
    if key != fingerprint:
        raise KeyProblem(f"belongs to another key ({key}, not {fingerprint})", where, RENEW)
    return int(reserved)


def _write(path: Path, fingerprint: str, reserved: int) -> None:
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"schema": SCHEMA, "key": fingerprint, "reserved": reserved}, file)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    keep_entry(path.parent)
