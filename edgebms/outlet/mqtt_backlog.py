"""What waits to be published, between the loop that files it and the thread that sends it.

Of each pack's state only the newest is kept; of alerts each change is, in order, up to a bound.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping

from edgebms.decision.types import Alert, Decision
from edgebms.outlet.mqtt_payload import Change, changes
from edgebms.outlet.sink import Standing, standing_of

LIMIT_CHANGES = 10_000
"""Changes of alerts; a few megabytes. Beyond it the oldest goes and is counted."""


class Backlog:
    """``file`` in the loop's thread, all else in the sender's. every_ns: how often a pack's state is due.

    dropped: states that were due and were replaced before they left; lost: changes of alerts that found no room.
    """

    def __init__(self, every_ns: int) -> None:
        self.dropped = self.lost = 0
        self.alerts: dict[str, dict[str, Alert]] = {}
        """pack -> what stands, by id: what the next decision is compared with."""
        self._every_ns = every_ns
        self._lock = threading.Lock()
        self._changes: deque[Change] = deque()
        self._newest: dict[str, tuple[Decision, bytes]] = {}
        self._due: set[str] = set()
        self._due_ns: dict[str, int] = {}
        self._cells: dict[str, Decision] = {}
        self._cells_due_ns: dict[str, int] = {}
        self._standing: dict[str, Standing] = {}

    def file(self, decision: Decision, line: bytes) -> bool:
        """Is there anything to send for it? Never waits for the sender."""
        pack, now_ns = decision.pack, decision.mono_ns
        standing = standing_of(decision)
        known = self.alerts.get(pack, {})
        news = list(changes(known, decision)) if known or decision.alerts else []
        self.alerts[pack] = {alert.id: alert for alert in decision.alerts}
        with self._lock:
            due_ns = self._due_ns.get(pack, now_ns)
            due = now_ns >= due_ns or self._standing.get(pack) != standing
            self._standing[pack] = standing
            self._newest[pack] = (decision, line)
            if due:
                self.dropped += pack in self._due
                self._due.add(pack)
            if now_ns >= due_ns:
                on_beat = now_ns - due_ns < self._every_ns
                self._due_ns[pack] = (due_ns if on_beat else now_ns) + self._every_ns
            if decision.cells is not None and now_ns >= self._cells_due_ns.get(pack, now_ns):
                self._cells[pack] = decision
                self._cells_due_ns[pack] = now_ns + self._every_ns
                due = True
            self._changes.extend(news)
            while len(self._changes) > LIMIT_CHANGES:
                self._changes.popleft()
                self.lost += 1
        return due or bool(news)

    def __len__(self) -> int:
        """Changes of alerts that wait."""
        return len(self._changes)

    def idle(self) -> bool:
        return not (self._changes or self._due)

    def take_change(self) -> Change | None:
        """The oldest."""
        with self._lock:
            return self._changes.popleft() if self._changes else None

    def put_back(self, again: Iterable[Change]) -> None:
        """They are older than all that wait, the first of them the oldest."""
        with self._lock:
            self._changes.extendleft(reversed(list(again)))

    def take_all(self) -> list[Change]:
        with self._lock:
            taken, self._changes = list(self._changes), deque()
            return taken

    def due(self) -> list[str]:
        """Packs whose state is to go out."""
        with self._lock:
            return sorted(self._due)

    def take_state(self, pack: str) -> tuple[Decision, bytes]:
        """The newest of a pack that is due."""
        with self._lock:
            self._due.discard(pack)
            return self._newest[pack]

    def take_cells(self) -> Decision | None:
        """The newest decision with cells of some pack."""
        with self._lock:
            return self._cells.popitem()[1] if self._cells else None

    def newest(self) -> Mapping[str, Decision]:
        with self._lock:
            return {pack: decision for pack, (decision, _) in self._newest.items()}

    def renew(self, now_ns: int, within_ns: int, *, at_once: bool) -> None:
        """Every pack's state is due again by ``within_ns`` from now; ``at_once``: the newest now, too."""
        with self._lock:
            for pack in self._newest:
                if at_once:
                    self._due.add(pack)
                self._due_ns[pack] = min(self._due_ns.get(pack, now_ns), now_ns + within_ns)
            self._cells_due_ns.clear()
