"""What a folder of logs gives under a profile: frames, snapshots, and how much of what is mapped was known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebms.config import PackConfig
from edgebms.inlet.logfile import LogFile
from edgebms.loop import TICK_NS, silence_ticks_ns
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.snapshot import Reading, Snapshot
from edgebms.vocabulary import Contactor, Reason

SCALARS = ("current_a", "voltage_v", "insulation_ohm", "gas", "pressure_pa", "coolant_temperature_c", "reported_soc")


@dataclass(frozen=True, slots=True)
class LogRow:
    """shares: field -> share of snapshots in which it was not null; only fields that the profile maps."""

    log: str
    frames: int
    mapped: int
    skipped: int
    snapshots: int
    share: float
    shares: dict[str, float]


def fields(snapshot: Snapshot) -> Iterator[tuple[str, float]]:
    """(field, share known) of one snapshot, for the fields that its profile maps."""
    for name, reasons in (("cell_voltage_v", snapshot.cell_reason), ("temperature_c", snapshot.temperature_reason)):
        mapped = reasons != Reason.NOT_IN_PROFILE
        if mapped.any():
            yield name, float(np.mean(reasons[mapped] == Reason.VALID))
    for name in SCALARS:
        reading: Reading = getattr(snapshot, name)
        if reading.reason is not Reason.NOT_IN_PROFILE:
            yield name, float(reading.valid)
    yield "contactors", float(snapshot.contactors is not Contactor.UNKNOWN)
    for name in ("voltage_min_v", "voltage_max_v", "temperature_min_c", "temperature_max_c"):
        extreme = getattr(snapshot.extremes, name)
        if extreme is not None:
            yield f"broadcast.{name}", float(extreme.reason is Reason.VALID)


def read(path: Path, pack: PackConfig) -> LogRow:
    """One log through the assembler on its own time, silent stretches included. Raises LogError."""
    assembler = Assembler(load_profile(pack.profile, pack), pack)
    accepted = assembler.accepts()
    log = LogFile(path)
    frames = mapped = snapshots = 0
    sums: dict[str, float] = {}
    last_ns: int | None = None

    def take(snapshot: Snapshot | None) -> None:
        nonlocal snapshots
        if snapshot is None:
            return
        snapshots += 1
        for name, share in fields(snapshot):
            sums[name] = sums.get(name, 0.0) + share

    for frame in log:
        frames += 1
        mapped += (frame.arbitration_id, frame.extended) in accepted
        if last_ns is not None and frame.time_ns - last_ns > TICK_NS:
            for at_ns in silence_ticks_ns(last_ns, frame.time_ns):
                take(assembler.poll(at_ns))
        take(assembler.poll(frame.time_ns))
        take(assembler.push(frame))
        last_ns = frame.time_ns
    shares = {name: total / snapshots for name, total in sums.items()}
    return LogRow(path.name, frames, mapped, log.skipped, snapshots, float(np.mean(list(shares.values()))) if shares else 0.0, shares)


def lines(rows: list[LogRow]) -> Iterator[str]:
    """A Markdown table, one line a log."""
    yield "| log | frames | mapped | lines skipped | snapshots | share not null | by field |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        by_field = ", ".join(f"{name} {share:.2f}" for name, share in row.shares.items())
        yield f"| {row.log} | {row.frames} | {row.mapped} | {row.skipped} | {row.snapshots} | {row.share:.2f} | {by_field} |"
