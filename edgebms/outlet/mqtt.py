"""Decisions to an MQTT broker: published, never asked for. docs/outlets.md has the topics.

``offer`` only files what is new; a thread connects, publishes and waits. What may be old and what may not part ways here: of
a pack's state only the newest goes out, and only while it has not expired; each change of an alert waits until the broker has
acknowledged it, over any number of connections, in order. It may then arrive twice, never not at all.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
from collections.abc import Callable

from edgebms.config import MqttOutlet
from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.notify import NOTICE, WARNING, say
from edgebms.outlet import mqtt_access
from edgebms.outlet.homeassistant import discovery_message, discovery_topic
from edgebms.outlet.mqtt_backlog import Backlog
from edgebms.outlet.mqtt_flight import Flight, Ready, fits
from edgebms.outlet.mqtt_health import Health
from edgebms.outlet.mqtt_link import Link, LinkLost
from edgebms.outlet.mqtt_payload import alert_message, cells_message, state_message
from edgebms.outlet.sink import CLOSE_S

BIRTH_TOPIC = "homeassistant/status"
"""Home Assistant's default, whatever the discovery prefix."""
BIRTH_EVERY_S = 5.0
SETTLE_S = 3.0
"""Home Assistant takes so long to subscribe to what it has just discovered."""
FOR_ALERTS = 7
"""Of a window of ten: the rest stays free for the state while a backlog of alerts goes out."""
PREDECESSOR_S = 10.0


class Mqtt:
    """An ``Outlet``. packs: names. cells_every_s: how often a decision carries the cells' values. request_cells(pack) asks for
    them. predecessor: the outlet whose place this one takes at a reload: its alerts that did not leave go out here, and what
    it announced of packs that are no more is withdrawn. Raises ConfigError.
    """

    def __init__(
        self,
        settings: MqttOutlet,
        packs: tuple[str, ...],
        cells_every_s: float,
        request_cells: Callable[[str], None],
        predecessor: Mqtt | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        for warning in mqtt_access.check(settings):
            say(f"outlet mqtt: {warning}", WARNING)
        self.name = "mqtt"
        self.failed = self.delivered = self.connections = 0
        self._settings, self._packs, self._cells_every_s = settings, packs, cells_every_s
        self._request_cells, self._before, self._now_ns = request_cells, predecessor, now_ns
        self._client_id = mqtt_access.client_id(settings, packs)
        self._availability = f"{settings.topic}/gateway/{self._client_id}/availability"
        self._backlog = Backlog(round(settings.every_s * 1e9))
        self._used = False
        self._expired = self._refused_changes = 0
        self._flight = Flight(self._refused, now_ns)
        self._announced: dict[str, tuple[str, bytes]] = {}
        """pack -> (topic, payload) of its discovery, once published; it stands at the broker until it is withdrawn."""
        self._fresh: set[str] = set()
        """Packs whose discovery went out on this connection, after the last birth."""
        self._withdraw: set[str] = set()
        """Topics of the predecessor, retained at the broker until the broker has acknowledged their end."""
        self._announce = False
        self._birth_ns: int | None = None

        self._health = Health(self._client_id, now_ns)
        self._closing = threading.Event()
        self._finished = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="edgebms-mqtt", daemon=True)
        self._thread.start()

    # ---- the loop's side

    def offer(self, decision: Decision, line: bytes) -> None:
        """Take one decision. Returns at once."""
        if not self._used and self._before is not None:
            # from now on nothing is offered to it any more: what it knew is what was told
            known = self._before._backlog.alerts
            self._backlog.alerts = {pack: known[pack] for pack in self._packs if pack in known}
        self._used = True
        lost = self._backlog.lost
        if self._backlog.file(decision, line):
            self._wake()
        if self._backlog.lost > lost:
            self._health.message_lost()

    @property
    def dropped(self) -> int:
        """States that were due and did not leave: replaced by newer ones, or expired before they could."""
        return self._backlog.dropped + self._flight.expired + self._expired

    @property
    def lost_changes(self) -> int:
        return self._backlog.lost + self._refused_changes

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        """What is wrong with this outlet now."""
        return self._health.faults(now_ns, self.lost_changes, self.failed)

    def close(self) -> None:
        """Send what waits, for CLOSE_S at most, then say goodbye."""
        self._closing.set()
        self._wake()
        self._thread.join(CLOSE_S + 1.5)
        if self.waiting and not self._finished.is_set():
            say(f"outlet mqtt: {self.waiting} changes of alerts were not acknowledged at the end", WARNING)

    @property
    def connected(self) -> bool:
        return self._health.connected

    @property
    def waiting(self) -> int:
        """Alert changes that the broker has not acknowledged."""
        return len(self._backlog) + sum(ready.change is not None for ready in self._flight.under_way())

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it needs nothing any more
            self._wake_write.send(b"\0")

    # ---- the thread

    def _run(self) -> None:
        try:
            if self._take_over():
                self._connections()
        finally:
            if len(self._backlog):
                say(f"outlet mqtt: {len(self._backlog)} changes of alerts did not leave", WARNING)
            self._finished.set()
            self._wake_read.close()
            self._wake_write.close()

    def _take_over(self) -> bool:
        """Wait for the predecessor's end, so that one client at a time has the id. False: closed before it was used."""
        before, used_ns = self._before, None
        if before is None:
            return True
        while not before._finished.wait(0.05):
            if self._closing.is_set() and not self._used:
                return False
            if self._used:
                used_ns = used_ns or self._now_ns()
                if self._now_ns() - used_ns > PREDECESSOR_S * 1e9:
                    break
        topics = {discovery_topic(self._settings.discovery, self._settings.topic, pack) for pack in self._packs}
        self._withdraw = ({topic for topic, _ in before._announced.values()} | before._withdraw) - (
            topics if self._settings.discovery else set()
        )
        if before._availability != self._availability:
            self._withdraw.add(before._availability)
        self._backlog.put_back(change for change in before._backlog.take_all() if change.pack in self._packs)
        before._before = None  # no chain of them over many reloads
        return True

    def _connections(self) -> None:
        while True:
            link: Link | None = None
            try:
                link = Link(self._settings, self._client_id, self._availability, self._subscriptions())
                link.connect()
                if self._closing.is_set() and self._backlog.idle():  # too late to say that we are here
                    link.close()
                    return
                self._health.up(f"{self._settings.host}:{self._settings.port}")
                self.connections += 1
                self._serve(link)
                return
            except Exception as error:
                if link is not None:
                    link.drop()
                if not isinstance(error, LinkLost):  # a fault of ours, or of the library's: told, and tried again
                    self.failed += 1
                    say(f"outlet mqtt failed:\n{traceback.format_exc()}", WARNING)
                delay_s = self._health.lost(error)
                self._land()
            if self._closing.wait(delay_s):
                return

    def _land(self) -> None:
        """Nothing flies any more: changes of alerts wait again, in order, before the others."""
        self._backlog.put_back(self._flight.land())

    def _subscriptions(self) -> tuple[str, ...]:
        prefix = self._settings.discovery
        return tuple(dict.fromkeys((BIRTH_TOPIC, f"{prefix}/status"))) if prefix else ()

    def _serve(self, link: Link) -> None:
        """Until closing; raises LinkLost."""
        self._flight.put(link, Ready(self._availability, b"online", retain=True))
        self._fresh.clear()
        self._renew(due_at_once=True)
        closing_ns: int | None = None
        while True:
            if self._closing.is_set():
                now_ns = self._now_ns()
                closing_ns = closing_ns or now_ns
                if (self._backlog.idle() and not self._flight.under_way()) or now_ns - closing_ns > CLOSE_S * 1e9:
                    break
            self._send(link)
            link.poll(0.1 if self._closing.is_set() else 1.0, self._wake_read)
            with contextlib.suppress(OSError):
                self._wake_read.recv(4096)
            self._settle(link)
            if link.unread:
                self._health.say_once(
                    f"the broker does not let us read {BIRTH_TOPIC} ({link.unread}): discovery is not sent again at a birth"
                )
                link.unread = ""
        self._goodbye(link)

    def _goodbye(self, link: Link) -> None:
        """The will is not sent where a client leaves by itself: say it ourselves."""
        self._flight.put(link, Ready(self._availability, b"offline", retain=True))
        end_ns = self._now_ns() + 10**9
        while self._flight.under_way() and self._now_ns() < end_ns:
            link.poll(0.1)
            self._settle(link)
            self._flight.pump(link)
        self._land()
        link.close()

    def _renew(self, *, due_at_once: bool) -> None:
        """Discovery again, and the state right after: at once for what listens already, and once more for Home Assistant."""
        self._announce = True
        self._backlog.renew(self._now_ns(), round(SETTLE_S * 1e9), at_once=due_at_once)
        for pack in self._packs:
            self._request_cells(pack)

    def _send(self, link: Link) -> None:
        """All that may go now."""
        now_ns = self._now_ns()
        self._flight.pump(link)
        for topic in sorted(self._withdraw - self._flight.topics()):
            self._flight.put(link, Ready(topic, b"", retain=True))
        if link.births and (self._birth_ns is None or now_ns - self._birth_ns > BIRTH_EVERY_S * 1e9):
            link.births, self._birth_ns = 0, now_ns
            self._fresh.clear()
            self._renew(due_at_once=False)
        if self._settings.discovery and self._announce:
            self._discover(link)
        topic = self._settings.topic
        while (
            self._flight.room(link) > link.window - FOR_ALERTS
            and self._flight.room(link) > 0
            and (change := self._backlog.take_change()) is not None
        ):
            self._flight.put(link, Ready(f"{topic}/{change.pack}/alert", alert_message(change, now_ns), change=change))
        # one at a time of each pack: what lies in a frozen broker's buffers comes out as if it were new
        on_way = self._flight.topics()
        for pack in self._backlog.due():
            if self._flight.room(link) <= 0 or f"{topic}/{pack}/state" in on_way:
                continue
            decision, line = self._backlog.take_state(pack)
            if (until_ns := self._until_ns(decision)) is not None:
                self._flight.put(link, Ready(f"{topic}/{pack}/state", state_message(decision), until_ns=until_ns))
                self._flight.put(link, Ready(f"{topic}/{pack}/decision", line, until_ns=until_ns))
        while self._flight.room(link) > 0 and (with_cells := self._backlog.take_cells()) is not None:
            if (until_ns := self._until_ns(with_cells)) is not None:
                self._flight.put(link, Ready(f"{topic}/{with_cells.pack}/cells", cells_message(with_cells), until_ns=until_ns))

    def _discover(self, link: Link) -> None:
        """The discovery of each pack that has decided by now, where it is not out yet or reads otherwise than it did."""
        settings = self._settings
        newest = self._backlog.newest()
        for pack, decision in newest.items():
            expires_s = decision.expires_ms / 1e3
            topic = discovery_topic(settings.discovery, settings.topic, pack)
            cells = decision.quality.cells
            while True:
                payload = discovery_message(
                    topic=settings.topic,
                    pack=pack,
                    availability=self._availability,
                    cells=cells,
                    card=decision.provenance.card,
                    state_expires_s=settings.every_s + expires_s,
                    cells_expire_s=self._cells_every_s + settings.every_s + expires_s,
                )
                if not cells or fits(link, topic, payload):
                    break
                say(f"outlet mqtt: the broker takes {link.largest} bytes a message: the cells of {pack} are not announced", WARNING)
                cells = 0
            if pack not in self._fresh or self._announced.get(pack) != (topic, payload):
                self._flight.put(link, Ready(topic, payload, retain=True))
                self._announced[pack] = (topic, payload)
                self._fresh.add(pack)
        self._announce = set(newest) != set(self._packs)

    def _until_ns(self, decision: Decision) -> int | None:
        """When it expires; None once it has: it would be a lie."""
        until_ns = decision.mono_ns + decision.expires_ms * 1_000_000
        if until_ns > self._now_ns():
            return until_ns
        self._expired += 1
        return None

    def _settle(self, link: Link) -> None:
        for ready in self._flight.settle(link):
            self.delivered += 1
            if ready.topic in self._withdraw:
                self._withdraw.discard(ready.topic)
                say(f"outlet mqtt: withdrew {ready.topic}", NOTICE)

    def _refused(self, ready: Ready, why: str) -> None:
        self.failed += 1
        self._refused_changes += ready.change is not None
        self._withdraw.discard(ready.topic)  # it would be refused again
        self._health.message_lost()
        self._health.say_once(f"the broker refuses {ready.topic}: {why}")
