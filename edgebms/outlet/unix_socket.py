"""A Unix socket with many readers: NDJSON, one decision a line (docs/outlets.md).

A reader that does not keep up is cut off and counted: it connects again and gets the newest decision of each pack, so
that it misses no alert that stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgebms.config import SocketOutlet
from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.outlet.served import Cuts

QUEUE_BYTES = 512 * 1024
"""What may wait for one reader: some 200 decisions of a 16-cell pack."""
LINE_BYTES = 1024
"""Longest line that a reader may send."""
REQUESTS_PER_S = 20


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{"cells": true}``: the next decision carries the per-cell values; of one pack alone, where it is named."""

    cells: bool
    pack: str | None = None


_decoder = msgspec.json.Decoder(Request)


class UnixSocket:
    """The service of ``served.py``. request_cells: of the daemon. packs: their names."""

    def __init__(
        self,
        settings: SocketOutlet,
        packs: tuple[str, ...],
        request_cells: Callable[[str], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.where = settings.path
        self._cuts = Cuts("reader_cut.socket")
        self.readers: set[Reader] = set()
        self._path, self._mode, self._most = Path(settings.path), int(settings.mode, 8), settings.readers
        self._packs, self._request_cells, self.now_ns = packs, request_cells, now_ns
        self._newest: dict[str, tuple[int, bytes]] = {}
        """Pack -> (when it expires, its line)."""
        self._inode: tuple[int, int] | None = None

    async def open(self) -> asyncio.Server:
        clear(self._path)
        # it gets its permissions under another name, and its own when it listens: nobody meets it without them
        making = self._path.with_name(self._path.name + ".new")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            making.unlink(missing_ok=True)
            listening.bind(str(making))
            making.chmod(self._mode)
            listening.listen(self._most)
            making.rename(self._path)
        except OSError:
            listening.close()
            raise
        server = await asyncio.get_running_loop().create_unix_server(lambda: Reader(self), sock=listening, backlog=self._most)
        self._inode = inode(self._path)
        return server

    def stands(self) -> bool:
        return inode(self._path) == self._inode

    def take(self, decision: Decision, line: bytes) -> None:
        self._newest[decision.pack] = (self.now_ns() + decision.expires_ms * 1_000_000, line)
        for reader in tuple(self.readers):
            reader.send(line)

    def tick(self) -> None:
        pass

    def shut(self) -> None:
        for reader in tuple(self.readers):
            reader.end()
        if self.stands():
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._inode = None

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        return self._cuts.faults(now_ns)

    @property
    def failed(self) -> int:
        return self._cuts.count

    # ---- of its readers

    def admit(self, reader: Reader) -> bool:
        """False: there are too many."""
        if len(self.readers) >= self._most:
            return False
        self.readers.add(reader)
        now_ns = self.now_ns()
        for expires_ns, line in self._newest.values():
            if now_ns < expires_ns:
                reader.send(line)
        return True

    def cut(self) -> None:
        self._cuts.add(self.now_ns())

    def ask(self, request: Request) -> None:
        if request.cells:
            for pack in self._packs if request.pack is None else (request.pack,):
                self._request_cells(pack)


class Reader(asyncio.Protocol):
    """One connection."""

    def __init__(self, outlet: UnixSocket) -> None:
        self._outlet = outlet
        self._transport: asyncio.Transport | None = None
        self._said = b""
        self._asked: tuple[int, int] = (0, 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=2 * QUEUE_BYTES)
        if not self._outlet.admit(self):
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._outlet.readers.discard(self)

    def send(self, line: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > QUEUE_BYTES:
            self._outlet.cut()
            self._leave(transport)
            return
        transport.write(line + b"\n")

    def end(self) -> None:
        """What the kernel has not taken by now is not waited for."""
        if self._transport is not None:
            self._leave(self._transport)

    def _leave(self, transport: asyncio.Transport) -> None:
        self._outlet.readers.discard(self)
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        *lines, self._said = (self._said + data).split(b"\n")
        second = self._outlet.now_ns() // 1_000_000_000
        asked = (self._asked[1] if self._asked[0] == second else 0) + len(lines)
        self._asked = (second, asked)
        try:
            if len(self._said) > LINE_BYTES or asked > REQUESTS_PER_S:
                raise msgspec.DecodeError
            for line in filter(None, (line.strip() for line in lines)):
                self._outlet.ask(_decoder.decode(line))
        except msgspec.DecodeError:  # not a reader of ours, or one that asks without end
            self._outlet.cut()
            self._leave(self._transport)


def clear(path: Path) -> None:
    """Take away a socket that nobody listens on any more. Raises OSError where somebody does, or another file is there."""
    if not path.is_socket():
        if path.exists():
            raise FileExistsError(errno.EEXIST, "a file of that name is there and is no socket", str(path))
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:  # its backlog is full: somebody listens
            pass
    raise OSError(errno.EADDRINUSE, "another process listens there", str(path))


def inode(path: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(path, follow_symlinks=False)  # noqa: PTH116
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
