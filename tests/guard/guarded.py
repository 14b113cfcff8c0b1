"""A guard over a stated card, and a way to run snapshots through it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from snapshots import make_snapshot

from edgebms.cellcard import CardLimits, CellCard
from edgebms.config import PackConfig
from edgebms.guard.finding import Finding
from edgebms.guard.guard import Guard
from edgebms.guard.limits import LimitRow, load_limits
from edgebms.telemetry.snapshot import Snapshot

LIMITS = CardLimits(
    voltage_min_v=2.5,
    voltage_max_v=4.2,
    voltage_float_v=4.1,
    charge_c_rate=1.0,
    discharge_c_rate=2.0,
    charge_temperature_min_c=0.0,
    charge_temperature_max_c=45.0,
    discharge_temperature_min_c=-20.0,
    discharge_temperature_max_c=60.0,
    temperature_runaway_c=80.0,
    source="tests",
)


OCV_V = ((2.9, 3.3, 3.5, 4.1), (3.0, 3.3, 3.6, 4.2), (3.1, 3.3, 3.7, 4.2))


def make_card(capacity_ah: float = 50.0, limits: CardLimits = LIMITS) -> CellCard:
    """The guard reads a card's capacity, limits and open-circuit voltage and nothing else."""
    voltage = SimpleNamespace(soc=(0.0, 0.1, 0.5, 1.0), temperature_c=(10.0, 30.0, 42.0), value=OCV_V)
    return cast(CellCard, SimpleNamespace(name="test", capacity_ah=capacity_ah, limits=limits, ocv=SimpleNamespace(voltage=voltage)))


def make_pack(cells: int = 16, probes: int = 4, **other: Any) -> PackConfig:
    return PackConfig(name="pack", profile="edgebms", card="test", cells=cells, probes=probes, **other)


class Guarded:
    """A guard; ``show`` gives it a snapshot and returns what stands."""

    def __init__(
        self,
        cells: int = 16,
        probes: int = 4,
        *,
        card: CellCard | None = None,
        pack: PackConfig | None = None,
        rows: tuple[LimitRow, ...] | None = None,
        limits: str = "default",
        period_s: float = 1.0,
    ) -> None:
        self.card = card or make_card()
        self.pack = pack or make_pack(cells, probes)
        self.rows = load_limits(limits, self.card, self.pack) if rows is None else rows
        self.guard = Guard(self.card, self.pack, self.rows)
        self.period_s = period_s
        self.time_s = 100.0
        self.seq = 0

    def give(self, snapshot: Snapshot) -> tuple[Finding, ...]:
        return self.guard.step(snapshot, snapshot.time_ns)

    def show(self, **values: Any) -> tuple[Finding, ...]:
        """One snapshot, ``period_s`` after the last one."""
        self.time_s += self.period_s
        self.seq += 1
        return self.give(make_snapshot(self.pack.cells, self.pack.probes, time_s=self.time_s, seq=self.seq, **values))

    def run(self, seconds: float, **values: Any) -> tuple[Finding, ...]:
        """The same values for ``seconds``; what stands at the end."""
        findings: tuple[Finding, ...] = ()
        for _ in range(max(1, round(seconds / self.period_s))):
            findings = self.show(**values)
        return findings


def rules(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.rule for finding in findings}
