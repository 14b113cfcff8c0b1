"""Messages on their way over one connection: never more at once than the broker takes, oldest first, until it acknowledges them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgebms.outlet.mqtt_link import Link, LinkLost
from edgebms.outlet.mqtt_payload import Change

ACKNOWLEDGE_S = 10.0
"""A broker that takes longer is frozen, or the way to it is cut: connect anew. Sooner than keep-alive would notice."""


class Ready(NamedTuple):
    """To be sent as soon as the broker has room. until_ns: when it has expired, None = never. change: what must be sent again
    where no acknowledgement comes; None = it would be old by then."""

    topic: str
    payload: bytes
    retain: bool = False
    until_ns: int | None = None
    change: Change | None = None


class Flight:
    """For the sender's thread. refused(message, why): the broker will not have it. expired: messages that grew too old."""

    def __init__(self, refused: Callable[[Ready, str], None], now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.expired = 0
        self._refused, self._now_ns = refused, now_ns
        self._ready: deque[Ready] = deque()
        self._flying: dict[int, tuple[int, Ready]] = {}
        """Message id -> (when it was sent, what), oldest first."""

    def put(self, link: Link, ready: Ready) -> None:
        """Send it, or as soon as there is room. Raises LinkLost."""
        if fits(link, ready.topic, ready.payload):
            self._ready.append(ready)
            self.pump(link)
        else:
            self._refused(ready, f"it takes {link.largest} bytes a message")

    def pump(self, link: Link) -> None:
        """What waits and has room now. Raises LinkLost."""
        while self._ready and len(self._flying) < link.window:
            ready, expiry_s, now_ns = self._ready[0], None, self._now_ns()
            if ready.until_ns is not None:
                if ready.until_ns <= now_ns:
                    self._ready.popleft()
                    self.expired += 1
                    continue
                expiry_s = max(1, math.ceil((ready.until_ns - now_ns) / 1e9))
            mid = link.publish(ready.topic, ready.payload, retain=ready.retain, expiry_s=expiry_s)
            self._flying[mid] = (now_ns, self._ready.popleft())

    def settle(self, link: Link) -> list[Ready]:
        """What the broker has acknowledged since the last look. Raises LinkLost where it has been silent for too long."""
        arrived = []
        for mid, refusal in link.acknowledged:
            if mid not in self._flying:
                continue
            _, ready = self._flying.pop(mid)
            if refusal is None:
                arrived.append(ready)
            else:
                self._refused(ready, refusal)
        link.acknowledged.clear()
        oldest = next(iter(self._flying.values()), None)
        if oldest is not None and self._now_ns() - oldest[0] > ACKNOWLEDGE_S * 1e9:
            raise LinkLost(f"the broker has acknowledged nothing for {ACKNOWLEDGE_S:g} s")
        return arrived

    def room(self, link: Link) -> int:
        return link.window - len(self._flying) - len(self._ready)

    def under_way(self) -> list[Ready]:
        """What is not acknowledged, oldest first."""
        return [ready for _, ready in list(self._flying.values())] + list(self._ready)

    def topics(self) -> set[str]:
        return {ready.topic for ready in self.under_way()}

    def land(self) -> list[Change]:
        """The connection is over: what must be sent again, oldest first."""
        again = [ready.change for ready in self.under_way() if ready.change is not None]
        self._flying.clear()
        self._ready.clear()
        return again


def fits(link: Link, topic: str, payload: bytes) -> bool:
    """Does the broker take so large a packet? 64 bytes are for its header and properties."""
    return not link.largest or len(payload) + len(topic) + 64 <= link.largest
