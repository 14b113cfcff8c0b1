"""A bus and the receive loop around its link: it opens, reads, counts, and opens again, for as long as it is let.

One thread a bus. Whatever happens to the link ends in a ``LinkError``; then the link is closed and opened
again with growing pauses. What was lost is counted and told as faults (``gateway_fault.py``).
"""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable

from edgebms.clock import Clock
from edgebms.config import BusConfig
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.bus_faults import BusFaults
from edgebms.inlet.frame import Frame
from edgebms.inlet.inbox import Inbox
from edgebms.inlet.link import Counts, Link, LinkError, Opener
from edgebms.inlet.links import open_link
from edgebms.vocabulary import Level

READ_S = 0.2
"""How long a read waits: so late a stop is noticed at worst."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
ECHO_S = 5.0
"""A frame of ours that comes back later than this is another node's; a busy machine may read its echo late."""
SILENCE_LONGEST_S = 60.0
"""A pack that sleeps all night is no reason to open its link every few seconds."""


class Bus:
    """One live bus. ``start`` it, ``close`` it; frames arrive in ``inbox``. packs: whom its faults concern."""

    def __init__(
        self,
        settings: BusConfig,
        clock: Clock,
        inbox: Inbox,
        packs: frozenset[str] | None = None,
        opener: Opener = open_link,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.packs = packs
        self.counts = Counts()
        self.problem = "not opened yet"
        """Why the link is down, in words; "" while it is up."""
        self._clock, self._inbox, self._opener = clock, inbox, opener
        self._say = say or say_on_stderr
        self._link: Link | None = None
        self._stop = threading.Event()
        self._down_since_ns: int | None = clock.now_ns()
        self._heard_ns = clock.now_ns()
        self._own_ids: frozenset[tuple[int, bool]] = frozenset()
        self._claims: dict[object, frozenset[tuple[int, bool]]] = {}
        self._claiming = threading.Lock()
        self._watched_ns: dict[tuple[int, bool], int | None] = {}
        self._taps: dict[tuple[int, bool], Callable[[Frame], None]] = {}
        self._echoes: deque[tuple[int, int, bytes]] = deque(maxlen=256)
        self._conflict_ns: int | None = None
        self._conflict_id = 0
        self._faults = BusFaults()
        self._thread = threading.Thread(target=self._serve, name=f"edgebms-{settings.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop reading and close the link, within about ``READ_S``."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    @property
    def up(self) -> bool:
        return self._link is not None

    # ---- sending

    def claim(self, ids: Iterable[tuple[int, bool]], by: object = None) -> None:
        """(arbitration id, extended) that we send on this bus: seen from another node, sending stops for good. Frames
        with these ids, our own echoes among them, are no telemetry. by: who sends them; what others have claimed stays."""
        own = frozenset(ids)
        if self._claims.get(by) != own:
            with self._claiming:
                self._claims[by] = own
                self._own_ids = frozenset().union(*self._claims.values())

    def release(self, by: object) -> None:
        """``by`` sends no more."""
        with self._claiming:
            self._claims.pop(by, None)
            self._own_ids = frozenset().union(*self._claims.values())

    def watch(self, key: tuple[int, bool]) -> int | None:
        """When a frame with this (arbitration id, extended) last came; None = not since the first call with it."""
        return self._watched_ns.setdefault(key, None)

    def tap(self, ids: Iterable[tuple[int, bool]], put: Callable[[Frame], None]) -> None:
        """Frames with these (arbitration id, extended) go to ``put``, which may not wait, and to nobody else."""
        self._taps = self._taps | dict.fromkeys(ids, put)

    def untap(self, put: Callable[[Frame], None]) -> None:
        """``put`` gets no more; nothing happens where another has tapped since."""
        self._taps = {key: standing for key, standing in self._taps.items() if standing != put}

    @property
    def conflict(self) -> bool:
        """Another node sends one of our ids: nothing is sent any more until the daemon starts anew."""
        return self._conflict_ns is not None

    def send(self, frame: Frame) -> bool:
        """Send ``frame`` now, from any thread. False: not sent (listen-only, down, full, or the ids are in conflict)."""
        link = self._link
        if link is None or not self.settings.transmit or self.conflict:
            return False
        if link.echoes:
            self._echoes.append((self._clock.now_ns(), frame.arbitration_id, frame.data))
        try:
            return link.send(frame)
        except LinkError:  # whether the link is down is for the thread that reads it to find out
            self.counts.unsent += 1
            return False

    # ---- the thread

    def _serve(self) -> None:
        pause_s = FIRST_PAUSE_S
        silent_s = self.settings.silent_s
        while not self._stop.is_set():
            heard = self.counts.frames
            try:
                self._link = self._opener(self.settings, self.counts, self._clock.now_ns)
                self._up()
                self._receive(self._link, silent_s)
            except LinkError as error:
                self._down(str(error))
            except Exception as error:  # a driver that raises anything else must not end the thread
                self._down(f"{type(error).__name__}: {error}")
            finally:
                self._close_link()
            if self.counts.frames > heard:
                pause_s, silent_s = FIRST_PAUSE_S, self.settings.silent_s
            elif not self.problem:
                pause_s, silent_s = FIRST_PAUSE_S, min(2 * silent_s, SILENCE_LONGEST_S)
            if self._stop.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self.counts.reconnects += 1

    def _close_link(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        try:
            link.close()
        except Exception as error:  # it is given up either way
            self._say(f"bus {self.name}: closing: {error}")

    def _up(self) -> None:
        if self.problem:
            self._say(f"bus {self.name}: open ({self.settings.interface} {self.settings.channel or ''})")
        self.problem = ""
        self._down_since_ns = None

    def _down(self, why: str) -> None:
        if self._down_since_ns is None:
            self.counts.downs += 1
            self._down_since_ns = self._clock.now_ns()
        if why != self.problem:  # once for each reason, not at each attempt
            self._say(f"bus {self.name}: down: {why}")
        self.problem = why

    def _receive(self, link: Link, silent_s: float) -> None:
        """Read until the link breaks (LinkError), or has given nothing for ``silent_s``: an adapter that lost its
        power and came back listens to nobody until it is opened again."""
        opened_ns = self._clock.now_ns()
        bus_off = self.counts.bus_off
        while not self._stop.is_set():
            frames = link.read(READ_S)
            now_ns = self._clock.now_ns()
            if self.counts.bus_off != bus_off:
                bus_off = self.counts.bus_off
                self._faults.bus_off(now_ns)
            if not frames:
                if now_ns - max(self._heard_ns, opened_ns) > silent_s * 1e9:
                    return
                continue
            self._heard_ns = now_ns
            if self._watched_ns:
                for frame in frames:
                    if (frame.arbitration_id, frame.extended) in self._watched_ns:
                        self._watched_ns[frame.arbitration_id, frame.extended] = now_ns
            own_ids = self._own_ids
            if own_ids:
                self._look_for_our_ids(link, frames, own_ids, now_ns)
                frames = [frame for frame in frames if (frame.arbitration_id, frame.extended) not in own_ids]
            taps = self._taps
            if taps:
                frames = [frame for frame in frames if not tapped(taps, frame)]
            self.counts.overflow += self._inbox.put(frames)

    def _look_for_our_ids(self, link: Link, frames: list[Frame], own_ids: frozenset[tuple[int, bool]], now_ns: int) -> None:
        for frame in frames:
            if (frame.arbitration_id, frame.extended) not in own_ids:
                continue
            if link.echoes and self._is_echo(frame, now_ns):
                continue
            if self._conflict_ns is None:
                self._say(f"bus {self.name}: another node sends our id {frame.arbitration_id:#x}: sending stops")
                self._conflict_id = frame.arbitration_id
                self._conflict_ns = now_ns

    def _is_echo(self, frame: Frame, now_ns: int) -> bool:
        while self._echoes and now_ns - self._echoes[0][0] > ECHO_S * 1e9:
            self._echoes.popleft()
        for sent in tuple(self._echoes):  # a copy: the sender's thread appends
            if sent[1:] == (frame.arbitration_id, frame.data):
                self._echoes.remove(sent)
                return True
        return False

    # ---- the loop's thread

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        """What is wrong with this bus now."""
        found = self._faults.look(self.name, self.packs, self.counts, self._down_since_ns, now_ns)
        if self._conflict_ns is not None:
            found.append(
                GatewayFault(
                    f"address_conflict.{self.name}",
                    Level.WARNING,
                    float(self._conflict_id),
                    math.nan,
                    "id",
                    self._conflict_ns,
                    self.packs,
                )
            )
        silent_s = (now_ns - self._heard_ns) / 1e9
        if self._link is not None and silent_s > self.settings.silent_s:
            found.append(GatewayFault(f"silent.{self.name}", Level.NONE, silent_s, self.settings.silent_s, "s", self._heard_ns, self.packs))
        return tuple(found)


def tapped(taps: dict[tuple[int, bool], Callable[[Frame], None]], frame: Frame) -> bool:
    put = taps.get((frame.arbitration_id, frame.extended))
    if put is not None:
        put(frame)
    return put is not None


def say_on_stderr(text: str) -> None:
    print(f"edgebms: {text}", file=sys.stderr, flush=True)
