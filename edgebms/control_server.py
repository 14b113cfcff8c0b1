"""The control socket's side of the daemon: a thread that answers one line at a time and harms nobody.

Whatever comes in (nothing, half a line, megabytes, garbage) ends in an error line or a closed connection. The socket's
file is replaced where the daemon that made it is gone; a live one is never taken over.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgebms.config import Control
from edgebms.control import REQUEST_BYTES, Acknowledged, Answer, Ask, Begun, Refused, Status, asks
from edgebms.desk import DeskFull
from edgebms.errors import EdgebmsError
from edgebms.gateway_fault import GatewayFault
from edgebms.vocabulary import Level

LINE_S = 2.0
"""From the connection to its whole line."""
WAIT_S = 0.5
BETWEEN_S = 0.02
"""After each answer: whoever asks in a loop takes no more than this leaves of the daemon's time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0

Handler = Callable[[Ask, int], Acknowledged | Begun | Status]


class ControlServer:
    """``handle(request, uid)`` runs in this thread; what it raises is answered. Closed by ``close``."""

    def __init__(self, settings: Control, handle: Handler, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.problem = ""
        """Why nobody can connect, "" while they can."""
        self._path = Path(settings.socket)
        self._handle, self._say = handle, say
        self._since_ns = time.monotonic_ns()
        self._stop = threading.Event()
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="edgebms-control", daemon=True)
        self._thread.start()

    def faults(self) -> tuple[GatewayFault, ...]:
        if not self.problem:
            return ()
        return (GatewayFault("control_down", Level.WATCH, math.nan, math.nan, "", self._since_ns),)

    def close(self) -> None:
        self._stop.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # a waiting accept returns
        self._thread.join(WAIT_S + LINE_S + 1.0)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                listener = listen(self._path, int(self.settings.mode, 8))
            except OSError as error:
                self._trouble(str(error.strerror or error))
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            self.problem, pause_s = "", FIRST_PAUSE_S
            with listener, contextlib.suppress(OSError):  # the file can go at any moment: then it is made anew
                mine, self._listener = self._path.stat().st_ino, listener
                self._serve(listener, mine)
                if self._path.stat().st_ino == mine:
                    self._path.unlink()

    def _trouble(self, text: str) -> None:
        if not self.problem:
            self._since_ns = time.monotonic_ns()
        if text != self.problem:
            self._say(f"control socket {self._path}: {text}")
        self.problem = text

    def _serve(self, listener: socket.socket, mine: int) -> None:
        """Until told to stop, or the socket's file is no longer ours."""
        listener.settimeout(WAIT_S)
        while not self._stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                try:
                    if self._path.stat().st_ino == mine:
                        continue
                except OSError:
                    pass
                return  # someone took the file away: make it anew
            except OSError as error:
                if not self._stop.is_set():
                    self._trouble(str(error.strerror or error))
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue  # the client went away
                except Exception as error:  # a fault of ours in one answer: the next is tried
                    self._say(f"control socket: {type(error).__name__}: {error}")
            self._stop.wait(BETWEEN_S)

    def _answer(self, connection: socket.socket) -> None:
        line = read_line(connection)
        if line is not None:
            answer = self._reply(line, uid_of(connection))
            connection.settimeout(LINE_S)
            connection.sendall(msgspec.json.encode(answer) + b"\n")
            if len(line) > REQUEST_BYTES:
                drain(connection)  # closed with bytes unread, the client would be told of a reset instead

    def _reply(self, line: bytes, uid: int) -> Answer:
        if len(line) > REQUEST_BYTES:
            return Refused(f"a request has at most {REQUEST_BYTES} bytes")
        try:
            return self._handle(asks.decode(line), uid)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Refused(f"not a request: {error}", 'one JSON line, e.g. {"verb":"status"}')
        except EdgebmsError as error:
            return Refused(error.what, error.mend)
        except (TimeoutError, DeskFull):
            return Refused("the daemon is too busy to answer", "try again; look at its journal")


def listen(path: Path, mode: int) -> socket.socket:
    """A listening Unix socket at ``path``. Raises OSError; a file that another daemon listens at, or that is no socket,
    is left alone."""
    if path.exists() or path.is_symlink():
        if not path.is_socket():
            raise OSError(f"{path} is there and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(LINE_S)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except FileNotFoundError:
                pass
            else:
                raise OSError("another process listens there")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # never open wider, not even until the mode is set
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(4)
    except OSError:
        listener.close()
        raise
    return listener


def read_line(connection: socket.socket) -> bytes | None:
    """One line within LINE_S, without its newline; None where none came. It ends soon behind REQUEST_BYTES."""
    data = bytearray()
    end_s = time.monotonic() + LINE_S
    while b"\n" not in data and len(data) <= REQUEST_BYTES:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            return None
        connection.settimeout(left_s)
        try:
            piece = connection.recv(REQUEST_BYTES + 1)
        except TimeoutError:
            return None
        if not piece:
            break
        data += piece
    return bytes(data.partition(b"\n")[0]) if data else None


def drain(connection: socket.socket) -> None:
    """Read away what the client still sends, for LINE_S at most."""
    end_s = time.monotonic() + LINE_S
    with contextlib.suppress(TimeoutError):
        while (left_s := end_s - time.monotonic()) > 0:
            connection.settimeout(left_s)
            if not connection.recv(65536):
                return


def uid_of(connection: socket.socket) -> int:
    """The user whose process is at the other end (SO_PEERCRED)."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    del pid, gid
    return int(uid)
