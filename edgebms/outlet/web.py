"""HTTP for the metrics and the page, as little as they need: GET and HEAD, one request a connection, nothing that writes.

A few lines on asyncio's streams instead of a web framework: what stands here is what keeps a gateway well when somebody
opens two hundred connections, sends a byte a minute, or never reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

CONNECTIONS = 64
REQUEST_BYTES = 8192
REQUEST_S, ANSWER_S = 5.0, 10.0
"""Longest time for a request to arrive and for an answer to be taken."""

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

WORDS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """headers: names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


class Web:
    """``routes``: path -> handler. names: hosts that a request may be for, empty = any."""

    def __init__(self, listen: str, routes: Mapping[str, Handler], names: frozenset[str]) -> None:
        host, _, port = listen.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._routes, self._names = routes, names
        self._open: set[asyncio.StreamWriter] = set()
        self._asking: dict[asyncio.StreamWriter, None] = {}
        """Those whose request has not come yet, the oldest first."""
        self.refused = 0

    async def open(self) -> asyncio.Server:
        """Raises OSError."""
        return await asyncio.start_server(self._serve, self._host, self._port, limit=REQUEST_BYTES, backlog=CONNECTIONS)

    def shut(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS:
            self.refused += 1
            if self._asking:  # whoever has waited longest without asking makes room
                next(iter(self._asking)).transport.abort()
            else:
                writer.write(answer(503, b"too many connections\n"))
                writer.close()
                return
        self._open.add(writer)
        self._asking[writer] = None
        try:
            request = await asyncio.wait_for(self._request(reader, writer), REQUEST_S)
            self._asking.pop(writer, None)
            if request is not None:
                await self._route(request)(request, writer)
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), ANSWER_S)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._asking.pop(writer, None)
            self._open.discard(writer)
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
        """None: it was refused, and the answer says why."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            writer.write(answer(431, b"the request is too long\n"))
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            writer.write(answer(400, b"not a request\n"))
            return None
        return Request(words[0], words[1].partition("?")[0], headers)

    def _route(self, request: Request) -> Handler:
        if self._names and host_of(request.headers.get("host", "")) not in self._names:
            # a foreign site whose name was made to point here (DNS rebinding) reads nothing
            return refuse(421, b"this is not the host that was asked for: use the address in the configuration\n")
        if request.method not in ("GET", "HEAD"):
            return refuse(405, b"there is nothing to write here\n", {"Allow": "GET, HEAD"})
        return self._routes.get(request.path) or refuse(404, b"there is nothing of that name\n")


def answer(status: int, body: bytes, kind: str = "text/plain; charset=utf-8", more: Mapping[str, str] = {}, *, head: bool = False) -> bytes:
    """One whole answer."""
    lines = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **SECURITY, **more}
    return heading(status, lines) + (b"" if head else body)


def heading(status: int, lines: Mapping[str, str]) -> bytes:
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {WORDS[status]}\r\n{text}\r\n".encode("latin-1")


def refuse(status: int, body: bytes, more: Mapping[str, str] = {}) -> Handler:
    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(status, body, more=more, head=request.method == "HEAD"))

    return handler


def document(body: bytes, kind: str) -> Handler:
    """A handler that always gives ``body``."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, body, kind, head=request.method == "HEAD"))

    return handler


def host_of(header: str) -> str:
    """The host of a Host header, without its port.

    >>> host_of("Localhost:8080"), host_of("[::1]:80"), host_of("gateway.local")
    ('localhost', '::1', 'gateway.local')
    """
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def names_of(listen: str) -> frozenset[str]:
    """The hosts that a browser may ask for at ``listen``: loopback, the address itself, and for a wildcard (0.0.0.0, ::)
    this machine's names and addresses. An address cannot be rebound; a name that is not ours can.

    >>> sorted(names_of("127.0.0.1:8080"))
    ['127.0.0.1', '::1', 'localhost']
    """
    host = host_of(listen)
    names = {"localhost", "127.0.0.1", "::1", host}
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_unspecified:
            own = socket.gethostname().lower()
            names |= {own, f"{own}.local", socket.getfqdn().lower(), *addresses()}
    return frozenset(names)


def addresses() -> set[str]:
    """This machine's addresses, as far as they can be told without sending anything."""
    found = set()
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            found.add(str(probe.getsockname()[0]))
    with contextlib.suppress(OSError):
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    return found
