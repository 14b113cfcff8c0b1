"""What every outlet is to the daemon, and what the daemon is to an outlet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.bus import Bus


class Outlet(Protocol):
    """Where decisions go. ``offer`` may not block: a slow outlet has a queue and a thread of its own (``sink.py``).

    name: for faults, messages and counts. dropped: cyclic decisions that found no room; lost_changes: others that
    found none; failed: attempts that raised.
    """

    name: str

    @property
    def dropped(self) -> int: ...

    @property
    def lost_changes(self) -> int: ...

    @property
    def failed(self) -> int: ...

    def offer(self, decision: Decision, line: bytes) -> None: ...

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]: ...

    def close(self) -> None:
        """Write what is queued, within a stated time."""
        ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """What an outlet may ask of the daemon, from any thread. A reload changes what the first two give.

    buses: the live buses by name. outlets: all outlets by name. request_cells: the pack's next decision carries the
    per-cell values.
    """

    buses: Callable[[], Mapping[str, Bus]]
    outlets: Callable[[], Mapping[str, Outlet]]
    request_cells: Callable[[str], None]
