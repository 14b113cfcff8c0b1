"""The audit log: the decisions that changed an alert's level or the command, and what people acknowledged, one JSON
object a line, bounded.

``audit.ndjson`` grows to its share of the limit, then it becomes ``audit.1.ndjson`` and so on; the oldest goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edgebms.decision.types import Decision
from edgebms.outlet.stream import ends_torn

FILES = 4

Gist = tuple[str, str, tuple[tuple[str, str], ...]]


def gist(decision: Decision) -> Gist:
    """What must change for a decision to be audited: action, mode, levels by alert."""
    command = decision.command
    return command.action, command.mode, tuple(sorted((alert.id, alert.level) for alert in decision.alerts))


class AuditedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag="edgebms.order/1"):
    """Someone acknowledged ``rule``: its latch opened at ``opened`` places and stays shut at ``stands``. uid: the user whose
    process asked; who the person is nobody knows. time: null while no wall clock is known."""

    pack: str
    time: str | None
    mono_ns: int
    order: Literal["acknowledge"]
    rule: str
    opened: int
    stands: int
    uid: int


class Audit:
    """One pack's. ``changed`` in the loop; ``append`` where the disk may be waited for."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._path = folder / "audit.ndjson"
        self._limit = max(limit_bytes // FILES, 4096)
        self._last: Gist | None = None

    def changed(self, decision: Decision) -> bool:
        """The first decision, and each that differs in its gist from the one before."""
        now = gist(decision)
        changed = now != self._last
        self._last = now
        return changed

    def append(self, line: bytes) -> None:
        """Raises OSError."""
        path = self._path
        if path.exists() and path.stat().st_size + len(line) >= self._limit:
            for number in range(FILES - 2, -1, -1):
                old = path if number == 0 else path.with_suffix(f".{number}.ndjson")
                if old.exists():
                    old.replace(path.with_suffix(f".{number + 1}.ndjson"))
        torn = ends_torn(path)
        with path.open("ab") as file:
            file.write(b"\n" * torn + line + b"\n")
