"""The gateway's configuration: one TOML file, parsed strictly once, frozen afterwards.

Unknown keys, wrong types and values out of range are refused with file, field and mend; nothing
is repaired. Nothing is read at import.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgebms.errors import ConfigError
from edgebms.vocabulary import Mode, SiteKind

Positive = Annotated[float, Meta(gt=0, le=1e6)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the packs work. A mode left out follows from ``kind`` (see ``decision/authority.py``).

    loss_hold_s, loss_fade_s, loss_end: what an inverter is told when a pack's data is lost: its last limits for hold,
    falling to zero over fade, then nothing (silence) or zeros; left out, they follow from ``kind`` (``outlet/loss.py``).
    """

    kind: SiteKind = SiteKind.NOT_STATED
    stop_discharge: Mode | None = None
    open_contactors: Mode | None = None
    loss_hold_s: Annotated[float, Meta(ge=0, le=600)] | None = None
    loss_fade_s: Annotated[float, Meta(ge=0, le=600)] | None = None
    loss_end: Literal["silence", "zero"] | None = None


class ShuntConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A current sensor of its own: its current replaces the pack's. profile: one that maps a current (the sensor's
    frames). channel, id_offset: as the pack's. invert: it was fitted the other way round."""

    profile: str
    channel: str | None = None
    id_offset: Annotated[int, Meta(ge=0, le=0x1FFFFFFF)] = 0
    invert: bool = False


class PackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pack.

    profile, card, limits: a name in the catalogue or a path to a TOML file.
    cells: series groups. parallel: cells in each group. probes: temperature probes on the bus.
    probe_of_cell: for each cell the 1-based probe that watches it; left out, probes are spread evenly.
    firmware: the BMS's firmware version, where the profile's meaning depends on it.
    channel: only frames of this channel belong to the pack; left out, every channel's.
    id_offset: added to every arbitration id of the profile (several like packs on one bus).
    startup_s: an alert when no valid snapshot came within this time.
    period_s: time between two sweeps, where this pack's departs from the profile's (a slow logger);
    what counts as stale follows from it.
    thresholds: limit-row name -> value in the row's unit, in place of the card's or the file's.
    shunt: a current sensor on a link of its own.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    profile: str
    card: str
    cells: Annotated[int, Meta(ge=1, le=400)]
    probes: Annotated[int, Meta(ge=0, le=400)] = 0
    parallel: Annotated[int, Meta(ge=1, le=10_000)] = 1
    limits: str = "default"
    probe_of_cell: tuple[int, ...] | None = None
    firmware: str | None = None
    channel: str | None = None
    id_offset: Annotated[int, Meta(ge=0, le=0x1FFFFFFF)] = 0
    startup_s: Positive = 10.0
    period_s: Positive | None = None
    thresholds: dict[str, float] = {}
    shunt: ShuntConfig | None = None


class Students(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The learned models, each a name in models/ or a path to an ONNX file. state: "" = filter alone; reasoner: "" = none.

    deadline_ms: from a snapshot's last frame; what is not there by then is left out of the decision.
    """

    state: str = "state"
    reasoner: str = ""
    deadline_ms: Positive = 8.0


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ndjson: a file to append decisions to; "-" = standard output. cells_every_s: how often the
    per-cell values travel in a decision (0 = in every one)."""

    ndjson: str = "-"
    cells_every_s: Annotated[float, Meta(ge=0, le=1e6)] = 60.0


class BusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One live bus.

    name: what ``pack.channel`` names. interface: ``socketcan``, ``slcan``, ``edgebms_mcu`` (a microcontroller's serial line), or any other of python-can.
    channel: ``can0``, ``/dev/ttyACM0``, ... bitrate in bit/s: for interfaces that set it themselves (SocketCAN's
    is set by the system). transmit: frames may be sent; left out, the gateway listens only. silent_s: a
    link that gives nothing for so long is opened again. options: passed to the interface as they are.
    """

    name: Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_-]+$")]
    interface: Annotated[str, Meta(min_length=1)] = "socketcan"
    channel: str | None = None
    bitrate: Annotated[int, Meta(ge=1000, le=8_000_000)] | None = None
    fd: bool = False
    transmit: bool = False
    silent_s: Annotated[float, Meta(ge=1, le=86400)] = 10.0
    options: dict[str, str | int | float | bool] = {}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept on disk: checkpoints, black boxes, the audit log (docs/record.md).

    folder: where; "" = nothing is kept and nothing survives a restart.
    checkpoint_s: how much a power cut may cost. checkpoint_mb_per_day: what checkpoints may write; where
    checkpoint_s would be more, they come less often.
    unknown_off_h: how long the gateway is taken to have been off where no clock tells.
    before_s, after_s: what a black box holds around an alert of ``level`` or above. memory_mb: what may wait for
    an alert in memory, a pack. box_mb: largest black box; boxes_mb: all of a pack's, the oldest go
    first, and what they may write in a day.
    audit_mb: the audit log of a pack.
    """

    folder: str = ""
    checkpoint_s: Annotated[float, Meta(ge=0.1, le=86400)] = 60.0
    checkpoint_mb_per_day: Positive = 200.0
    unknown_off_h: Positive = 24.0
    before_s: Annotated[float, Meta(ge=1, le=86400)] = 600.0
    after_s: Annotated[float, Meta(ge=1, le=86400)] = 300.0
    level: Literal["watch", "warning", "critical"] = "warning"
    memory_mb: Positive = 32.0
    box_mb: Positive = 64.0
    boxes_mb: Positive = 512.0
    audit_mb: Positive = 16.0


Listen = Annotated[str, Meta(pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")]
"""host:port; an IPv6 address in brackets."""


class SocketOutlet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Unix socket that many readers may connect to: NDJSON, one decision a line (docs/outlets.md).

    path: of the socket. mode: its permissions, octal digits. readers: so many at once; the next is turned away.
    """

    path: Annotated[str, Meta(min_length=1, max_length=100)] = "/run/edgebms/decisions.sock"
    mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}$")] = "660"
    readers: Annotated[int, Meta(ge=1, le=1000)] = 32


class MqttOutlet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An MQTT broker; it is published to, never listened to for commands.

    tls: on unless turned off by name; the broker's certificate is verified against ca_file, or the system's store
    where that is "". cert_file, key_file: our own, where the broker asks for one. password_file: a file with the
    password alone, so that it stands in no configuration. plain_password: it may travel unencrypted, which is refused
    otherwise unless the broker is on this machine. topic: before every topic of ours. every_s: how often a
    pack's state goes out; what changes an alert or the action goes at once. discovery: Home Assistant's
    discovery prefix, "" = none.
    """

    host: Annotated[str, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    tls: bool = True
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password_file: str = ""
    plain_password: bool = False
    client_id: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = ""
    topic: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^#+\s]+$")] = "edgebms"
    every_s: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    discovery: Annotated[str, Meta(max_length=64, pattern=r"^[^#+\s]*$")] = "homeassistant"


class CanOutlet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Frames to an inverter on the bus called ``bus`` (which needs ``transmit = true``).

    protocol: victron or pylontech. packs: summed as one battery; empty = all. name: what the inverter shows.
    keep_alive_s: an alert when the inverter's 0x305 was not heard for so long; 0 = it sends none.
    """

    bus: str
    protocol: Literal["victron", "pylontech"] = "victron"
    packs: tuple[str, ...] = ()
    name: Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[ -~]+$")] = "edgebms"
    keep_alive_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0


class McuOutlet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Advice to the BMS microcontroller at the end of ``bus`` (which needs ``transmit = true``; docs/firmware-bridge.md).

    bus: of interface ``edgebms_mcu``, or a CAN bus. pack: the one that it guards; left out, the only one. gateway_id, mcu_id:
    as provisioned there. key_file, counter_file: as ``edgebms keys new`` made them. profile: what its firmware was made
    for, 0 = not looked at. firmware: the oldest that will do. every_s: advice that stays the same is renewed so often.
    """

    bus: str
    gateway_id: Annotated[int, Meta(ge=1, le=65535)]
    mcu_id: Annotated[int, Meta(ge=1, le=65535)]
    key_file: Annotated[str, Meta(min_length=1)]
    counter_file: Annotated[str, Meta(min_length=1)]
    pack: str = ""
    profile: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    firmware: Annotated[str, Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){0,2}$")] = "0.0.0"
    every_s: Annotated[float, Meta(ge=0.1, le=10)] = 0.5


class MetricsOutlet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prometheus text at http://listen/metrics."""

    listen: Listen = "127.0.0.1:9190"


class PageOutlet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The status page at http://listen/."""

    listen: Listen = "127.0.0.1:8080"


class Outlets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where decisions go besides ``[output]``; a part left out is not opened."""

    socket: SocketOutlet | None = None
    mqtt: MqttOutlet | None = None
    can: tuple[CanOutlet, ...] = ()
    mcu: tuple[McuOutlet, ...] = ()
    metrics: MetricsOutlet | None = None
    page: PageOutlet | None = None


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The socket on which ``edgebms acknowledge`` and ``edgebms selftest`` speak to the daemon; "" = none.
    mode: its permissions, octal digits: who may write to it may acknowledge alerts."""

    socket: Annotated[str, Meta(max_length=100)] = ""
    mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}$")] = "600"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. At least one pack. bus: what ``edgebms run`` listens to; a replay needs none."""

    pack: Annotated[tuple[PackConfig, ...], Meta(min_length=1)]
    bus: tuple[BusConfig, ...] = ()
    site: Site = Site()
    students: Students = Students()
    output: Output = Output()
    outlet: Outlets = Outlets()
    control: Control = Control()
    record: Record = Record()


def parse(text: str, where: str = "config") -> Config:
    """Parse the TOML ``text``; ``where`` names it in errors. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=where, mend="mend the line named") from None
    return convert(data, where)


def convert(data: object, where: str) -> Config:
    """From parsed TOML to a checked Config. Raises ConfigError."""
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise ConfigError(
            what,
            where=where + (f": {path.strip('`').lstrip('.')}" if path else ""),
            mend="see docs/integrator.md for the fields and their ranges",
        ) from None
    names = [pack.name for pack in config.pack]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two packs are called {name!r}", where=f"{where}: pack", mend="give each pack a name of its own")
    buses = [bus.name for bus in config.bus]
    for name in buses:
        if buses.count(name) > 1:
            raise ConfigError(f"two buses are called {name!r}", where=f"{where}: bus", mend="give each bus a name of its own")
    for i, pack in enumerate(config.pack):
        for field, channel in (("channel", pack.channel), ("shunt.channel", pack.shunt.channel if pack.shunt is not None else None)):
            if not buses or channel is None or channel in buses:
                continue
            raise ConfigError(
                f"no bus is called {channel!r}",
                where=f"{where}: pack[{i}].{field}",
                mend=f"name one of: {', '.join(buses)}, or add a [[bus]] of that name",
            )
        for row, value in pack.thresholds.items():
            if not math.isfinite(value):
                raise ConfigError(f"{value} is no threshold", where=f"{where}: pack[{i}].thresholds.{row}", mend="give a number")
        check_probes(pack, f"{where}: pack[{i}].probe_of_cell")
    for name, part in (("metrics", config.outlet.metrics), ("page", config.outlet.page)):
        if part is not None:
            check_listen(part.listen, f"{where}: outlet.{name}.listen")
    return config


def check_listen(listen: str, where: str) -> None:
    """The pattern alone lets ports through that are none."""
    if not 1 <= int(listen.rpartition(":")[2]) <= 65535:
        raise ConfigError(f"{listen} has no port from 1 to 65535", where=where, mend="write HOST:PORT, as 127.0.0.1:8080")


def page_at(listen: str, where: str) -> PageOutlet:
    """The page of a command line, in place of ``[outlet.page]``. Raises ConfigError."""
    try:
        page = msgspec.convert({"listen": listen}, PageOutlet)
    except msgspec.ValidationError:
        raise ConfigError(f"{listen!r} is no address", where=where, mend="write HOST:PORT, as 127.0.0.1:8080") from None
    check_listen(page.listen, where)
    return page


def check_probes(pack: PackConfig, where: str) -> None:
    if pack.probe_of_cell is None:
        return
    if len(pack.probe_of_cell) != pack.cells:
        raise ConfigError(
            f"{len(pack.probe_of_cell)} entries for {pack.cells} cells",
            where=where,
            mend="name one probe for each cell, or leave the field out",
        )
    for probe in pack.probe_of_cell:
        if not 1 <= probe <= pack.probes:
            raise ConfigError(f"probe {probe} is not between 1 and {pack.probes}", where=where, mend="probes are counted from 1")


def load(path: Path) -> Config:
    """Read and parse ``path``. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), mend="name a readable TOML file") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", where=str(path), mend="name a TOML file") from None
    return parse(text, str(path))


def probe_of_cell(pack: PackConfig) -> tuple[int, ...]:
    """0-based probe of each cell, -1 where the pack has none; evenly spread when not stated."""
    if pack.probe_of_cell is not None:
        return tuple(probe - 1 for probe in pack.probe_of_cell)
    if pack.probes == 0:
        return (-1,) * pack.cells
    return tuple(cell * pack.probes // pack.cells for cell in range(pack.cells))
