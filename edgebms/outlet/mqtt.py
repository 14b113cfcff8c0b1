"""Decisions to an MQTT broker: published, never asked for. docs/outlets.md has the topics.

``offer`` only files what is new; a thread connects, publishes and waits. What may be old and what may not part ways here: of
a pack's state only the newest goes out, and only while it has not expired; each change of an alert waits until the broker has
acknowledged it, over any number of connections, in order. It may then arrive twice, never not at all.
"""

from __future__ import annotations

import contextlib
import math
import random
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgebms.config import MqttOutlet
from edgebms.decision.types import Alert, Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.notify import NOTICE, WARNING, say
from edgebms.outlet import mqtt_access
from edgebms.outlet.homeassistant import discovery_message, discovery_topic
from edgebms.outlet.mqtt_link import Link, LinkLost, TakenOver
from edgebms.outlet.mqtt_payload import Change, alert_message, cells_message, changes, state_message
from edgebms.outlet.sink import CLOSE_S, Standing, standing_of
from edgebms.vocabulary import Level

BIRTH_TOPIC = "homeassistant/status"
"""Home Assistant's default, whatever the discovery prefix."""
LIMIT_CHANGES = 10_000
"""Alert changes that wait for a broker; a few megabytes."""
BACKOFF_S, BACKOFF_MOST_S = 0.5, 10.0
TAKEN_BACKOFF_S = 5.0
"""Two clients of one name would otherwise throw each other out twice a second."""
ACKNOWLEDGE_S = 10.0
"""A broker that takes longer is frozen, or the way to it is cut: connect anew. Sooner than keep-alive would notice."""
DOWN_S, STEADY_S = 3.0, 10.0
"""Down for so long is a fault, which stands until the connection has held for so long."""
TAKEN, TAKEN_S = 2, 600.0
UNSTEADY, UNSTEADY_S = 3, 60.0
"""So many connections lost within the time: mosquitto before 2.0.13 says nothing to a client whose id another one took."""
LOST_S = 60.0
BIRTH_EVERY_S = 5.0
SETTLE_S = 3.0
"""Home Assistant takes so long to subscribe to what it has just discovered."""
FOR_ALERTS = 7
"""Of a window of ten: the rest stays free for the state while a backlog of alerts goes out."""
PREDECESSOR_S = 10.0


class Sent(NamedTuple):
    """On its way. change: what must be sent again where no acknowledgement comes; None = it would be old by then."""

    at_ns: int
    topic: str
    change: Change | None


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
        self.dropped = self.lost_changes = self.failed = self.delivered = self.connections = 0
        self.left: deque[Change] = deque()
        self._settings, self._packs, self._cells_every_s = settings, packs, cells_every_s
        self._request_cells, self._before, self._now_ns = request_cells, predecessor, now_ns
        self._client_id = mqtt_access.client_id(settings, packs)
        self._availability = f"{settings.topic}/gateway/{self._client_id}/availability"
        self._every_ns = round(settings.every_s * 1e9)

        self._lock = threading.Lock()  # for what stands below, between the loop and the thread
        self._newest: dict[str, Decision] = {}
        self._lines: dict[str, bytes] = {}
        self._with_cells: dict[str, Decision] = {}
        self._due: set[str] = set()
        self._due_ns: dict[str, int] = {}
        self._cells_due_ns: dict[str, int] = {}
        self._standing: dict[str, Standing] = {}
        self._alerts: dict[str, dict[str, Alert]] = {}
        self._changes: deque[Change] = deque()
        self._used = False

        self._flying: dict[int, Sent] = {}
        self._announced: dict[str, tuple[str, bytes]] = {}
        """pack -> (topic, payload) of its discovery, once published."""
        self._withdraw: set[str] = set()
        self._announce = False
        self._birth_ns: int | None = None

        self._problem = ""
        self._down_ns: int | None = now_ns()
        self._up_ns = 0
        self._alarmed = False
        self._taken_ns: deque[int] = deque(maxlen=100)
        self._lost_ns: deque[int] = deque(maxlen=100)
        self._bad_ns: int | None = None
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
        pack, now_ns = decision.pack, decision.mono_ns
        if not self._used and self._before is not None:
            # from now on nothing is offered to it any more: what it knew is what was told
            self._alerts = {name: alerts for name, alerts in self._before._alerts.items() if name in self._packs}
        standing = standing_of(decision)
        known = self._alerts.get(pack, {})
        news = list(changes(known, decision)) if known or decision.alerts else []
        self._alerts[pack] = {alert.id: alert for alert in decision.alerts}
        with self._lock:
            self._used = True
            due_ns = self._due_ns.get(pack, now_ns)
            due = now_ns >= due_ns or self._standing.get(pack) != standing
            self._standing[pack] = standing
            self._newest[pack], self._lines[pack] = decision, line
            if due:
                self.dropped += pack in self._due
                self._due.add(pack)
            if now_ns >= due_ns:
                on_beat = now_ns - due_ns < self._every_ns
                self._due_ns[pack] = (due_ns if on_beat else now_ns) + self._every_ns
            if decision.cells is not None and now_ns >= self._cells_due_ns.get(pack, now_ns):
                self._with_cells[pack] = decision
                self._cells_due_ns[pack] = now_ns + self._every_ns
                due = True
            self._changes.extend(news)
            while len(self._changes) > LIMIT_CHANGES:
                self._changes.popleft()
                self._lose_change()
        if due or news:
            self._wake()

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        """What is wrong with this outlet now."""
        out = []
        down_ns = self._down_ns
        if down_ns is not None and now_ns - down_ns > DOWN_S * 1e9:
            self._alarmed = True
        elif down_ns is None and now_ns - self._up_ns > STEADY_S * 1e9:
            self._alarmed = False
        if self._alarmed:
            since_ns = down_ns if down_ns is not None else self._up_ns
            down_s = (now_ns - down_ns) / 1e9 if down_ns is not None else 0.0
            out.append(GatewayFault("outlet_down.mqtt", Level.WARNING, down_s, DOWN_S, "s", since_ns))
        taken = [at_ns for at_ns in list(self._taken_ns) if now_ns - at_ns < TAKEN_S * 1e9]
        if len(taken) >= TAKEN:
            out.append(GatewayFault("client_id_taken.mqtt", Level.WARNING, float(len(taken)), float(TAKEN), "times", taken[0]))
        lost = [at_ns for at_ns in list(self._lost_ns) if now_ns - at_ns < UNSTEADY_S * 1e9]
        if len(lost) >= UNSTEADY:
            out.append(GatewayFault("outlet_unsteady.mqtt", Level.WARNING, float(len(lost)), float(UNSTEADY), "times", lost[0]))
        bad_ns = self._bad_ns
        if bad_ns is not None and now_ns - bad_ns < LOST_S * 1e9:
            count = self.lost_changes + self.failed
            level = Level.WARNING if self.lost_changes else Level.WATCH
            out.append(GatewayFault("outlet_lost.mqtt", level, float(count), math.nan, "messages", bad_ns, None, count))
        return tuple(out)

    def close(self) -> None:
        """Send what waits, for CLOSE_S at most, then say goodbye."""
        self._closing.set()
        self._wake()
        self._thread.join(CLOSE_S + 1.5)
        waiting = len(self._changes) + len(self._flying)
        if waiting and not self._finished.is_set():
            say(f"outlet mqtt: {waiting} messages were not acknowledged at the end", WARNING)

    @property
    def connected(self) -> bool:
        return self._down_ns is None

    @property
    def waiting(self) -> int:
        """Alert changes that the broker has not acknowledged."""
        return len(self._changes) + sum(sent.change is not None for sent in list(self._flying.values()))

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it needs nothing any more
            self._wake_write.send(b"\0")

    def _lose_change(self) -> None:
        self.lost_changes += 1
        self._bad_ns = self._now_ns()

    # ---- the thread

    def _run(self) -> None:
        try:
            if self._take_over():
                self._connections()
        finally:
            with self._lock:
                self.left, self._changes = self._changes, deque()
            if self.left:
                say(f"outlet mqtt: {len(self.left)} alert changes did not leave", WARNING)
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
        with self._lock:
            gone = [change for change in before.left if change.pack in self._packs]
            self._changes.extendleft(reversed(gone))
            before.left = deque()
        before._before = None  # no chain of them over many reloads
        return True

    def _connections(self) -> None:
        delay_s = BACKOFF_S
        while True:
            link = Link(self._settings, self._client_id, self._availability, self._subscriptions())
            try:
                link.connect()
                self._up_ns, self._down_ns = self._now_ns(), None
                self.connections += 1
                self._say_once("", f"connected to {self._settings.host}:{self._settings.port} as {self._client_id}")
                self._serve(link)
                return
            except Exception as error:
                link.drop()
                if not isinstance(error, LinkLost):  # a fault of ours, or of the library's: told, and tried again
                    self.failed += 1
                    say(f"outlet mqtt failed:\n{traceback.format_exc()}", WARNING)
                now_ns = self._now_ns()
                if self._down_ns is None:
                    if now_ns - self._up_ns > UNSTEADY_S * 1e9:
                        delay_s = BACKOFF_S
                    self._down_ns = now_ns
                    self._lost_ns.append(now_ns)
                if isinstance(error, TakenOver):
                    self._taken_ns.append(now_ns)
                    delay_s = max(delay_s, TAKEN_BACKOFF_S)
                self._say_once(self._sentence(error, now_ns))
                self._land()
            if self._closing.wait(delay_s * random.uniform(0.8, 1.2)):
                return
            delay_s = min(2 * delay_s, BACKOFF_MOST_S)

    def _sentence(self, lost: Exception, now_ns: int) -> str:
        if isinstance(lost, TakenOver):
            return f"{lost}: another client has our client id {self._client_id}; give each gateway one of its own"
        if sum(now_ns - at_ns < UNSTEADY_S * 1e9 for at_ns in self._lost_ns) >= UNSTEADY:
            return f"{lost}, again and again: has another client our client id {self._client_id}?"
        return str(lost)

    def _say_once(self, problem: str, good: str = "") -> None:
        if problem != self._problem or good:
            say(f"outlet mqtt: {good or problem}", NOTICE if good else WARNING)
        self._problem = problem

    def _land(self) -> None:
        """Nothing flies any more: changes of alerts wait again, in order, before the others."""
        again = [sent.change for sent in self._flying.values() if sent.change is not None]
        self._flying.clear()
        with self._lock:
            self._changes.extendleft(reversed(again))

    def _subscriptions(self) -> tuple[str, ...]:
        prefix = self._settings.discovery
        return tuple(dict.fromkeys((BIRTH_TOPIC, f"{prefix}/status"))) if prefix else ()

    def _serve(self, link: Link) -> None:
        """Until closing; raises LinkLost."""
        self._publish(link, self._availability, b"online", retain=True)
        self._announced.clear()
        self._renew(due_at_once=True)
        closing_ns: int | None = None
        while True:
            if self._closing.is_set():
                now_ns = self._now_ns()
                closing_ns = closing_ns or now_ns
                if not (self._flying or self._changes or self._due) or now_ns - closing_ns > CLOSE_S * 1e9:
                    break
            self._send(link)
            link.poll(0.1 if self._closing.is_set() else 1.0, self._wake_read)
            with contextlib.suppress(OSError):
                self._wake_read.recv(4096)
            self._settle(link)
        self._goodbye(link)

    def _goodbye(self, link: Link) -> None:
        """The will is not sent where a client leaves by itself: say it ourselves."""
        last = self._publish(link, self._availability, b"offline", retain=True)
        end_ns = self._now_ns() + 10**9
        while last in self._flying and self._now_ns() < end_ns:
            link.poll(0.1)
            self._settle(link)
        self._land()
        link.close()

    def _renew(self, *, due_at_once: bool) -> None:
        """Discovery again, and the state right after: at once for what listens already, and once more for Home Assistant."""
        self._announce = True
        now_ns = self._now_ns()
        with self._lock:
            for pack in self._newest:
                if due_at_once:
                    self._due.add(pack)
                self._due_ns[pack] = min(self._due_ns.get(pack, now_ns), now_ns + round(SETTLE_S * 1e9))
            self._cells_due_ns.clear()
        for pack in self._packs:
            self._request_cells(pack)

    def _send(self, link: Link) -> None:
        """All that may go now."""
        now_ns = self._now_ns()
        for topic in sorted(self._withdraw):
            self._publish(link, topic, b"", retain=True)
            say(f"outlet mqtt: withdrew {topic}", NOTICE)
        self._withdraw.clear()
        if link.births and (self._birth_ns is None or now_ns - self._birth_ns > BIRTH_EVERY_S * 1e9):
            link.births, self._birth_ns = 0, now_ns
            self._announced.clear()
            self._renew(due_at_once=False)
        if self._settings.discovery and self._announce:
            self._discover(link)
        while self._changes and len(self._flying) < min(FOR_ALERTS, link.window):
            with self._lock:
                change = self._changes.popleft()
            self._publish(link, f"{self._settings.topic}/{change.pack}/alert", alert_message(change, now_ns), change=change)
        # one at a time of each pack: what lies in a frozen broker's buffers comes out as if it were new
        on_way = {sent.topic for sent in self._flying.values()}
        with self._lock:
            due = sorted(self._due)
        for pack in due:
            if len(self._flying) >= link.window or f"{self._settings.topic}/{pack}/state" in on_way:
                continue
            with self._lock:
                self._due.discard(pack)
                decision, line = self._newest[pack], self._lines[pack]
            if (left_s := self._left_s(decision)) is None:
                continue
            self._publish(link, f"{self._settings.topic}/{pack}/state", state_message(decision), expiry_s=left_s)
            self._publish(link, f"{self._settings.topic}/{pack}/decision", line, expiry_s=left_s)
        while len(self._flying) < link.window:
            with self._lock:
                if not self._with_cells:
                    break
                pack, decision = self._with_cells.popitem()
            if (left_s := self._left_s(decision)) is not None:
                self._publish(link, f"{self._settings.topic}/{pack}/cells", cells_message(decision), expiry_s=left_s)

    def _discover(self, link: Link) -> None:
        """The discovery of each pack that has decided by now, where it is not out yet or reads otherwise than it did."""
        settings = self._settings
        with self._lock:
            newest = dict(self._newest)
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
                if not cells or self._fits(link, topic, payload):
                    break
                say(f"outlet mqtt: the broker takes {link.largest} bytes a message: the cells of {pack} are not announced", WARNING)
                cells = 0
            if self._announced.get(pack) != (topic, payload):
                self._publish(link, topic, payload, retain=True)
                self._announced[pack] = (topic, payload)
        self._announce = set(newest) != set(self._packs)

    def _left_s(self, decision: Decision) -> int | None:
        """Whole seconds until it expires, 1 at least; None once it has: it would be a lie."""
        left_ns = decision.mono_ns + decision.expires_ms * 1_000_000 - self._now_ns()
        if left_ns > 0:
            return max(1, math.ceil(left_ns / 1e9))
        self.dropped += 1
        return None

    def _fits(self, link: Link, topic: str, payload: bytes) -> bool:
        return not link.largest or len(payload) + len(topic) + 64 <= link.largest

    def _publish(
        self, link: Link, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None, change: Change | None = None
    ) -> int:
        """The message's id, 0 where the broker would not take it."""
        if not self._fits(link, topic, payload):
            self._refused(topic, f"it takes {link.largest} bytes a message", change)
            return 0
        try:
            mid = link.publish(topic, payload, retain=retain, expiry_s=expiry_s)
        except LinkLost:
            if change is not None:
                with self._lock:
                    self._changes.appendleft(change)
                # what flies is older: it is put before this one when the link has gone
            raise
        self._flying[mid] = Sent(self._now_ns(), topic, change)
        return mid

    def _settle(self, link: Link) -> None:
        """What the broker has acknowledged or refused; raises LinkLost where it has been silent for too long."""
        for mid, refusal in link.acknowledged:
            sent = self._flying.pop(mid, None)
            if sent is None:
                continue
            if refusal is None:
                self.delivered += 1
            else:
                self._refused(sent.topic, refusal, sent.change)
        link.acknowledged.clear()
        oldest = next(iter(self._flying.values()), None)
        if oldest is not None and self._now_ns() - oldest.at_ns > ACKNOWLEDGE_S * 1e9:
            raise LinkLost(f"the broker has acknowledged nothing for {ACKNOWLEDGE_S:g} s")

    def _refused(self, topic: str, why: str, change: Change | None) -> None:
        self.failed += 1
        self._bad_ns = self._now_ns()
        if change is not None:
            self._lose_change()
        self._say_once(f"the broker refuses {topic}: {why}")
