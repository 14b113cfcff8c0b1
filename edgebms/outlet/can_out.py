"""Frames to an inverter, once a second, for as long as there is something true to say.

A thread of its own: it needs no loop to fall silent. Each cycle asks what the packs' decisions are worth at that
moment, so a loop that hangs is a loss of data like any other (``loss.py``), and a process that was stopped and goes
on says nothing that is old.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence

from edgebms.cellcard import load_card
from edgebms.config import CanOutlet, PackConfig, Site
from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.bus import Bus
from edgebms.inlet.frame import Frame
from edgebms.outlet import pylontech, victron
from edgebms.outlet.battery import join, voltages
from edgebms.outlet.loss import HARMED_BY_ZERO, rule_of
from edgebms.outlet.outlet import Gateway
from edgebms.outlet.standing import Pack, Share, Standing
from edgebms.vocabulary import Level

PERIOD_S = 1.0
SPACING_S = 0.003
"""Between the frames of a cycle: a queue of ten frames (a slow HAT's) must not overflow, and telemetry gets its turn."""
DOWN_S = 5.0
"""Nothing sent for so long although there was something to say."""
KEEP_ALIVE = (0x305, False)
VOLTS_APART = 0.02
"""Packs on one bus whose voltages differ by more than this share of them are not on one bus, or a sensor lies."""

PROTOCOLS = {"victron": victron, "pylontech": pylontech}


class CanOut:
    """An ``Outlet``. packs: those to sum, in the order of their numbers on the bus. Raises CardError."""

    def __init__(
        self,
        settings: CanOutlet,
        packs: Sequence[PackConfig],
        site: Site,
        gateway: Gateway,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        period_s: float = PERIOD_S,
    ) -> None:
        self.name = f"can-{settings.bus}"
        self.dropped = self.lost_changes = self.failed = 0
        self.sent = 0
        self._settings, self._gateway, self._now_ns, self._period_s = settings, gateway, now_ns, period_s
        self._protocol = PROTOCOLS[settings.protocol]
        self._ids = frozenset((identifier, False) for identifier in self._protocol.IDS)
        self._rule = rule_of(site)
        patient = site.kind in HARMED_BY_ZERO
        self._packs = {
            pack.name: Pack(number, pack, load_card(pack.card), self._rule, patient=patient) for number, pack in enumerate(packs, 1)
        }
        self._concerns = frozenset(self._packs)
        self._lock = threading.Lock()
        before = gateway.outlets().get(self.name)
        if isinstance(before, CanOut):
            with before._lock:
                for name in self._packs.keys() & before._packs.keys():
                    self._packs[name].carry_over(before._packs[name])
        self._listening_ns = now_ns()
        self._unsent_ns: int | None = None
        self._apart: tuple[int, float, float] | None = None
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"edgebms-{self.name}", daemon=True)
        self._thread.start()

    def offer(self, decision: Decision, line: bytes) -> None:
        """Take one decision; it is sent at the next cycle."""
        del line
        pack = self._packs.get(decision.pack)
        if pack is not None:
            with self._lock:
                pack.take(decision)

    def close(self) -> None:
        """Nothing is sent any more, at once."""
        self._stop.set()
        self._thread.join(2.0)

    # ---- the thread

    def _serve(self) -> None:
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + self._period_s, time.monotonic())
            try:
                self._cycle()
                self._problem = ""
            except Exception as error:  # whatever it is, the next cycle is tried
                self.failed += 1
                self._say(f"{type(error).__name__}: {error}")
                self._missed(self._now_ns())
        for bus in tuple(self._gateway.buses().values()):
            bus.release(self)

    def _cycle(self) -> None:
        bus = self._gateway.buses().get(self._settings.bus)
        if bus is None:
            return
        bus.claim(self._ids, self)
        bus.watch(KEEP_ALIVE)
        started_ns = self._now_ns()
        if not bus.up:
            self._listening_ns = started_ns  # nobody can be heard: the wait for the inverter begins anew
        with self._lock:
            shares = [pack.share(started_ns) for pack in self._packs.values()]
        self._look_apart(shares, started_ns)
        battery = join(shares, self._rule.end)
        if battery is None:
            self._unsent_ns = None
            return
        went = False
        for identifier, data in self._protocol.frames(battery, self._settings.name):
            now_ns = self._now_ns()
            if now_ns - started_ns > PERIOD_S * 1e9:  # the process or the bus stood still in between: this is old
                break
            if bus.send(Frame(now_ns, identifier, data)):
                self.sent += 1
                went = True
            else:
                self.dropped += 1
            if self._stop.wait(SPACING_S):
                return
        if went:
            self._unsent_ns = None
        else:
            self._missed(started_ns)

    def _missed(self, now_ns: int) -> None:
        if self._unsent_ns is None:
            self._unsent_ns = now_ns

    def _look_apart(self, shares: Sequence[Share], now_ns: int) -> None:
        volts = voltages(share for share in shares if share.standing is Standing.KNOWN)
        limit_v = VOLTS_APART * max(volts, default=0.0)
        apart_v = max(volts) - min(volts) if volts else 0.0
        if apart_v > limit_v:
            self._apart = (self._apart[0] if self._apart is not None else now_ns, apart_v, limit_v)
        else:
            self._apart = None

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            print(f"edgebms: warning: outlet {self.name}: {problem}", file=sys.stderr, flush=True)
        self._problem = problem

    # ---- the loop's thread

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        """Nothing sent, the inverter's keep-alive missing, packs whose voltages do not fit one bus."""
        bus = self._gateway.buses().get(self._settings.bus)
        found = []
        unsent_ns, apart = self._unsent_ns, self._apart
        if unsent_ns is not None and now_ns - unsent_ns > DOWN_S * 1e9:
            found.append(
                GatewayFault(
                    f"outlet_down.{self.name}",
                    Level.WARNING,
                    (now_ns - unsent_ns) / 1e9,
                    DOWN_S,
                    "s",
                    unsent_ns,
                    self._concerns,
                    self.dropped,
                )
            )
        if bus is not None and bus.up and self._settings.keep_alive_s > 0:
            silent = self._inverter_silent(bus, now_ns)
            if silent is not None:
                found.append(silent)
        if apart is not None:
            found.append(GatewayFault(f"packs_apart.{self._settings.bus}", Level.WATCH, apart[1], apart[2], "V", apart[0], self._concerns))
        return tuple(found)

    def _inverter_silent(self, bus: Bus, now_ns: int) -> GatewayFault | None:
        since_ns = max(bus.watch(KEEP_ALIVE) or 0, self._listening_ns)
        silent_s, limit_s = (now_ns - since_ns) / 1e9, self._settings.keep_alive_s
        if silent_s <= limit_s:
            return None
        return GatewayFault(f"inverter_silent.{self._settings.bus}", Level.WARNING, silent_s, limit_s, "s", since_ns, self._concerns)
