"""The status page at http://LISTEN/: a few files, and the decisions as server-sent events (HTML living standard, 9.2).

Nothing can be written through it. A viewer that does not keep up is cut off and connects again by itself.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from importlib import resources

import msgspec

from edgebms import __version__
from edgebms.config import PackConfig, PageOutlet
from edgebms.decision.types import CellValues, Decision, encode
from edgebms.gateway_fault import GatewayFault
from edgebms.outlet.page_words import page_words
from edgebms.outlet.served import Cuts
from edgebms.outlet.sink import Standing, standing_of
from edgebms.outlet.web import SECURITY, Handler, Request, Web, answer, document, heading, names_of

VIEWERS = 24
QUEUE_BYTES, KERNEL_BYTES = 256 * 1024, 64 * 1024
"""What may wait for one viewer, here and in the kernel: with 16 cells some twenty seconds."""
EVERY_S = 0.2
"""Decisions that say nothing new are shown so often at most."""
BEAT_S = 1.0
CELLS_S = 5.0
"""While somebody looks, each cell's values are asked for so often."""
STEP_S, KEPT_S = 2.0, 900.0
"""The curves: one point a step, kept so long, on the decisions' own clock."""
RETRY_MS = 1000

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/cells.js": ("cells.js", "text/javascript; charset=utf-8"),
    "/curves.js": ("curves.js", "text/javascript; charset=utf-8"),
    "/text.js": ("text.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

_encoder = msgspec.json.Encoder()


class PageHead(msgspec.Struct, frozen=True):
    """What the page knows of a pack before its first decision."""

    name: str
    cells: int
    probes: int
    card: str


class Point(msgspec.Struct, array_like=True):
    """One step of the curves: extremes within it, the last current and state of charge. None = not known."""

    at_ms: float
    low_v: float | None
    high_v: float | None
    spread_v: float | None
    low_c: float | None
    high_c: float | None
    current_a: float | None
    soc: float | None


class Page:
    """The service of ``served.py``. request_cells: of the daemon."""

    def __init__(
        self,
        settings: PageOutlet,
        packs: tuple[PackConfig, ...],
        request_cells: Callable[[str], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.where = f"http://{settings.listen}/"
        self._cuts = Cuts("viewer_cut.page")
        self.notice = ""
        """A line above everything, for whoever looks."""
        self._told_notice = ""
        self._now_ns, self._request_cells = now_ns, request_cells
        self._heads = tuple(PageHead(pack.name, pack.cells, pack.probes, pack.card) for pack in packs)
        self._packs = {pack.name: _Pack() for pack in packs}
        self._viewers: dict[asyncio.StreamWriter, int] = {}
        """Viewer -> what may wait for it: its welcome is long, and its line may be slow."""
        self._beat_ns = 0
        folder = resources.files("edgebms.outlet") / "static"
        files: dict[str, Handler] = {path: document((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}
        self._web = Web(settings.listen, {**files, "/events": self._events}, names_of(settings.listen))

    @property
    def viewers(self) -> int:
        """How many look now."""
        return len(self._viewers)

    async def open(self) -> asyncio.Server:
        return await self._web.open()

    def stands(self) -> bool:
        return True

    def shut(self) -> None:
        self._web.shut()

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        return self._cuts.faults(now_ns)

    @property
    def failed(self) -> int:
        return self._cuts.count

    def take(self, decision: Decision, line: bytes) -> None:
        pack = self._packs.setdefault(decision.pack, _Pack())
        point = pack.take(decision, line, self._now_ns())
        if not self._viewers:
            return
        if point is not None:
            self._push("point", _encoder.encode({"pack": decision.pack, "point": point}))
        if pack.is_news:
            self._show(pack)

    def tick(self) -> None:
        now_ns = self._now_ns()
        if not self._viewers:
            return
        for name, pack in self._packs.items():
            if pack.waits and now_ns - pack.shown_ns >= EVERY_S * 1e9:
                self._show(pack)
            if now_ns - pack.asked_ns >= CELLS_S * 1e9:
                pack.asked_ns = now_ns
                self._request_cells(name)
        if self.notice != self._told_notice:
            self._told_notice = self.notice
            self._push("notice", _encoder.encode({"text": self.notice}))
        if now_ns - self._beat_ns >= BEAT_S * 1e9:
            self._beat_ns = now_ns
            self._push("beat", _encoder.encode({"now_ms": now_ns / 1e6}))

    # ---- viewers

    async def _events(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            writer.write(answer(403, b"not for other sites\n"))
            return
        if len(self._viewers) >= VIEWERS:
            writer.write(answer(503, b"too many viewers\n"))
            return
        writer.write(heading(200, {"Content-Type": "text/event-stream", "Connection": "close", **SECURITY}))
        if request.method == "HEAD":
            return
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        welcome = self._welcome()
        writer.write(welcome)
        self._viewers[writer] = QUEUE_BYTES + len(welcome)
        try:
            # a viewer that went is noticed by the beat that finds nobody
            while not writer.transport.is_closing():
                await asyncio.sleep(BEAT_S)
        finally:
            self._viewers.pop(writer, None)

    def _welcome(self) -> bytes:
        """All that a viewer who comes now should see."""
        now_ms = self._now_ns() / 1e6
        hello = {"now_ms": now_ms, "runtime": __version__, "packs": self._heads, "step_ms": STEP_S * 1e3, "kept_ms": KEPT_S * 1e3}
        parts = [f"retry: {RETRY_MS}\n\n".encode(), event("hello", _encoder.encode(hello | {"notice": self.notice}))]
        for name, pack in self._packs.items():
            pack.asked_ns = 0  # its cells are asked for at the next tick
            parts.append(event("points", _encoder.encode({"pack": name, "points": list(pack.points)})))
            if pack.newest is not None:
                if pack.cells is not None:
                    parts.append(event("cells", pack.cells_body(name)))
                parts.append(event("decision", pack.body(now_ms)))
        return b"".join(parts)

    def _show(self, pack: _Pack) -> None:
        assert pack.newest is not None
        pack.shown_ns, pack.waits, pack.is_news = self._now_ns(), False, False
        if pack.cells_wait:  # they may have come with a decision that was passed over
            pack.cells_wait = False
            self._push("cells", pack.cells_body(pack.newest.pack))
        self._push("decision", pack.body(pack.shown_ns / 1e6))

    def _push(self, kind: str, body: bytes) -> None:
        text = event(kind, body)
        for viewer, room in tuple(self._viewers.items()):
            if viewer.transport.is_closing():
                del self._viewers[viewer]
            elif viewer.transport.get_write_buffer_size() > room:
                self._cuts.add(self._now_ns())
                del self._viewers[viewer]
                viewer.transport.abort()
            else:
                viewer.write(text)


class _Pack:
    """What is kept of one pack."""

    def __init__(self) -> None:
        self.newest: Decision | None = None
        self.line = b""
        self.at_ns = self.shown_ns = self.asked_ns = 0
        self.waits = self.is_news = False
        self.cells: CellValues | None = None
        self.cells_ns = 0
        self.cells_wait = False
        self.points: deque[Point] = deque(maxlen=round(KEPT_S / STEP_S))
        self._point: Point | None = None
        self._standing: Standing | None = None

    def take(self, decision: Decision, line: bytes, now_ns: int) -> Point | None:
        """The point of the curves that this decision ended, None while its step lasts."""
        self.newest, self.line, self.at_ns, self.waits = decision, line, now_ns, True
        standing = standing_of(decision)
        if decision.cells is not None:
            self.cells, self.cells_ns, self.cells_wait = decision.cells, now_ns, True
        if standing != self._standing:
            self._standing, self.is_news = standing, True
        return self._draw(decision)

    def _draw(self, decision: Decision) -> Point | None:
        at_ms = decision.mono_ns // round(STEP_S * 1e9) * STEP_S * 1e3
        volts, degrees = decision.measured.cell_voltage_v, decision.measured.temperature_c
        spread_v = volts.max - volts.min if volts.max is not None and volts.min is not None else None
        current_a, soc = decision.measured.current_a, decision.soc.pack
        point, done = self._point, None
        if point is None or point.at_ms != at_ms:
            if point is not None:
                self.points.append(point)
                done = point
            self._point = Point(at_ms, volts.min, volts.max, spread_v, degrees.min, degrees.max, current_a, soc)
            return done
        point.low_v, point.high_v = lower(point.low_v, volts.min), higher(point.high_v, volts.max)
        point.low_c, point.high_c = lower(point.low_c, degrees.min), higher(point.high_c, degrees.max)
        point.spread_v, point.current_a, point.soc = higher(point.spread_v, spread_v), current_a, soc
        return None

    def cells_body(self, name: str) -> bytes:
        return _encoder.encode({"pack": name, "at_ms": self.cells_ns / 1e6, "cells": self.cells})

    def body(self, now_ms: float) -> bytes:
        """The event's data: the decision as it left, with its words and the time that it came at."""
        assert self.newest is not None
        times = f'{{"now_ms":{now_ms},"at_ms":{self.at_ns / 1e6},"words":'.encode()
        return times + _encoder.encode(page_words(self.newest)) + b',"decision":' + (self.line or encode(self.newest)) + b"}"


def event(kind: str, body: bytes) -> bytes:
    """One server-sent event. JSON has no line breaks in it."""
    return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


def lower(a: float | None, b: float | None) -> float | None:
    """The lower of what is known.

    >>> lower(1.0, None), lower(None, 2.0), lower(1.0, 2.0)
    (1.0, 2.0, 1.0)
    """
    return b if a is None else a if b is None else min(a, b)


def higher(a: float | None, b: float | None) -> float | None:
    """The higher of what is known.

    >>> higher(1.0, None), higher(None, 2.0), higher(1.0, 2.0)
    (1.0, 2.0, 2.0)
    """
    return b if a is None else a if b is None else max(a, b)
