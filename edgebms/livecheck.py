"""Live traffic against the profiles: which ids are missing, unknown or late, how full the bus is, what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from edgebms.clock import MonotonicClock
from edgebms.config import BusConfig, Config, PackConfig
from edgebms.inlet.bus import Bus
from edgebms.inlet.frame import Frame
from edgebms.inlet.inbox import Inbox
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.snapshot import Snapshot

LATE = 1.5
"""A message is late where its mean period is so much longer than the profile's."""
SHOWN = 12
STANDARD_BITS, EXTENDED_BITS, STUFFING = 47, 67, 1.1
"""Bits of a classic frame beside its data, with the gap after it (ISO 11898-1), and what stuffing adds on average."""


@dataclass
class Seen:
    """What came under one id on one bus."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def take(self, time_ns: int) -> None:
        if not self.count:
            self.first_ns = time_ns
        self.count += 1
        self.last_ns = time_ns

    @property
    def period_s(self) -> float:
        return (self.last_ns - self.first_ns) / 1e9 / (self.count - 1) if self.count > 1 else float("inf")


@dataclass
class Finding:
    """One line of the report. wrong: it needs mending."""

    text: str
    wrong: bool = False


@dataclass
class Traffic:
    """What came within ``seconds``."""

    seconds: float
    seen: dict[tuple[str, int, bool], Seen] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)

    def take(self, frame: Frame) -> None:
        self.seen.setdefault((frame.channel, frame.arbitration_id, frame.extended), Seen()).take(frame.time_ns)
        overhead = EXTENDED_BITS if frame.extended else STANDARD_BITS
        self.bits[frame.channel] = self.bits.get(frame.channel, 0) + overhead + 8 * len(frame.data)


def check(config: Config, seconds: float) -> Iterator[Finding]:
    """Listen to the buses of ``config`` for ``seconds``, then say what was seen. Raises ProfileError."""
    clock, inbox = MonotonicClock(), Inbox()
    packs = [Watched(pack) for pack in config.pack]
    buses = [Bus(settings, clock, inbox, say=silent) for settings in config.bus]
    traffic = Traffic(seconds)
    for bus in buses:
        bus.start()
    try:
        end_ns = clock.now_ns() + round(seconds * 1e9)
        while (left_s := (end_ns - clock.now_ns()) / 1e9) > 0:
            frame = inbox.get(min(left_s, 0.1))
            if frame is not None:
                traffic.take(frame)
                for watched in packs:
                    watched.take(frame)
            for watched in packs:
                watched.poll(clock.now_ns())
        for bus in buses:
            yield from describe_bus(bus, traffic)
    finally:
        for bus in buses:
            bus.close()
    for watched in packs:
        yield from watched.describe(traffic, config.bus)
    yield from unknown_ids(traffic, packs, config)


def silent(text: str) -> None:
    """The report says what a bus would have said."""
    del text


def describe_bus(bus: Bus, traffic: Traffic) -> Iterator[Finding]:
    if bus.problem:
        yield Finding(f"bus {bus.name}: down: {bus.problem}", wrong=True)
        return
    bits = traffic.bits.get(bus.name, 0)
    load = (
        f", about {100 * STUFFING * bits / traffic.seconds / bus.settings.bitrate:.0f} % of {bus.settings.bitrate} bit/s"
        if bus.settings.bitrate and bus.settings.interface != "edgebms_mcu"
        else ""
    )
    counts = bus.counts
    yield Finding(
        f"bus {bus.name}: {counts} in {traffic.seconds:g} s{load}", wrong=not counts.frames or counts.lost > 0 or counts.error_frames > 0
    )


class Watched:
    """One pack's share of the traffic, through its own assembler."""

    def __init__(self, pack: PackConfig) -> None:
        self.pack = pack
        self.profile = load_profile(pack.profile, pack)
        self._assembler = Assembler(self.profile, pack)
        self.ids = self._assembler.accepts()
        self.snapshots = self.whole = self.valid_cells = 0
        self.refused: dict[str, int] = {}

    def take(self, frame: Frame) -> None:
        if (frame.arbitration_id, frame.extended) in self.ids:
            self._note(self._assembler.push(frame))

    def poll(self, now_ns: int) -> None:
        self._note(self._assembler.poll(now_ns))

    def _note(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        self.snapshots += 1
        self.whole += snapshot.complete
        self.valid_cells = max(self.valid_cells, snapshot.valid_cells)
        for word, count in snapshot.refused_frames:
            self.refused[word] = self.refused.get(word, 0) + count

    def describe(self, traffic: Traffic, buses: tuple[BusConfig, ...]) -> Iterator[Finding]:
        name, cells = self.pack.name, self.profile.cells
        sight = f", {self.valid_cells} of {cells} cells valid at best" if cells else ""
        yield Finding(f"{name}: {self.snapshots} snapshots, {self.whole} complete{sight}", wrong=not self.whole or self.valid_cells < cells)
        if self.refused:
            yield Finding(f"{name}: frames refused: {', '.join(f'{word} {count}' for word, count in self.refused.items())}", wrong=True)
        channels = [bus.name for bus in buses] if self.pack.channel is None else [self.pack.channel]
        for (identifier, extended), route in sorted(self.profile.routes.items()):
            slots = [self.profile.slots[number] for number in {route.slot, *route.slots.values()} if number >= 0]
            owed = [slot for slot in slots if not slot.outside]
            if not owed:
                continue
            label = f"{name}: {route.name} ({identifier:#x})"
            seen = [traffic.seen[channel, identifier, extended] for channel in channels if (channel, identifier, extended) in traffic.seen]
            needed = any(slot.required for slot in owed)
            if not seen:
                yield Finding(f"{label}: missing{'' if needed else ' (not needed for a snapshot)'}", wrong=needed)
                continue
            period_s = min(slot.period_s for slot in owed) / len(owed)
            measured_s = seen[0].period_s
            if measured_s > LATE * period_s and traffic.seconds > 3 * period_s:
                every = f"every {measured_s:.3g} s" if seen[0].count > 1 else "once"
                yield Finding(f"{label}: {every}, the profile says every {period_s:.3g} s", wrong=needed)


def unknown_ids(traffic: Traffic, packs: list[Watched], config: Config) -> Iterator[Finding]:
    """Ids that no pack has a use for: not wrong, but telling."""
    shunts = {pack.name: pack.shunt for pack in config.pack if pack.shunt is not None}
    for bus in config.bus:
        ids: set[tuple[int, bool]] = set()
        for watched in packs:
            if watched.pack.channel in (None, bus.name):
                ids |= watched.ids
        strange = [
            (identifier, seen.count)
            for (channel, identifier, extended), seen in sorted(traffic.seen.items())
            if channel == bus.name and (identifier, extended) not in ids and not between_us(bus, identifier, extended)
        ]
        if strange:
            told = ", ".join(f"{identifier:#x} ({count})" for identifier, count in strange[:SHOWN])
            more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
            aside = " (a shunt's among them)" if any(shunt.channel in (None, bus.name) for shunt in shunts.values()) else ""
            yield Finding(f"bus {bus.name}: ids that no pack maps: {told}{more}{aside}")


def between_us(bus: BusConfig, identifier: int, extended: bool) -> bool:
    """Handshake and heartbeat of a microcontroller's line, which are no telemetry."""
    if bus.interface != "edgebms_mcu":
        return False
    from edgebms.inlet.mcu import TO_OUTLET

    return (identifier, extended) in TO_OUTLET
