"""From a configuration to its outlets: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edgebms.clock import MonotonicClock
from edgebms.config import Config, MetricsOutlet, MqttOutlet, PackConfig, PageOutlet, SocketOutlet
from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.outlet.outlet import Gateway, Outlet
from edgebms.outlet.sink import Sink
from edgebms.outlet.stream import Stream


@dataclass(frozen=True, slots=True)
class Opened:
    """An outlet and the part of the configuration that it was opened from: while that stays, so does the outlet."""

    settings: object
    outlet: Outlet


def open_outlets(config: Config, gateway: Gateway, standing: Mapping[str, Opened] = {}) -> dict[str, Opened]:
    """An outlet for each part of ``config`` that names one; those of ``standing`` whose settings stayed are kept.
    Raises ConfigError, MissingExtra; what was opened until then is closed again."""
    opened: dict[str, Opened] = {}
    try:
        for name, (settings, opener) in wanted(config, gateway).items():
            before = standing.get(name)
            opened[name] = before if before is not None and before.settings == settings else Opened(settings, opener())
    except Exception:
        for name, new in opened.items():
            if standing.get(name) is not new:
                new.outlet.close()
        raise
    return opened


def outlet_faults(opened: Mapping[str, Opened], now_ns: int, *, on_rig: bool) -> list[GatewayFault]:
    """What is wrong with the outlets. They live on the machine's clock, which is the packs' (``now_ns``) except on a rig's: that
    passes a minute in a millisecond, and an outlet in the middle of a write is not stuck for it."""
    machine_ns = MonotonicClock().now_ns() if on_rig else now_ns
    found = [fault for each in opened.values() for fault in each.outlet.faults(machine_ns)]
    return [replace(fault, since_ns=max(0, fault.since_ns + now_ns - machine_ns)) for fault in found] if on_rig else found


def wanted(config: Config, gateway: Gateway) -> dict[str, tuple[object, Callable[[], Outlet]]]:
    """Outlet name -> (what it is made from, how it is opened)."""
    packs, outlet = tuple(pack.name for pack in config.pack), config.outlet
    found: dict[str, tuple[object, Callable[[], Outlet]]] = {"ndjson": (config.output.ndjson, lambda: ndjson(config))}
    if (settings := outlet.socket) is not None:
        found["socket"] = ((settings, packs), lambda: unix_socket(settings, packs, gateway))
    if (mqtt := outlet.mqtt) is not None:
        announced = tuple((pack.name, pack.profile, pack.card, pack.cells, pack.period_s) for pack in config.pack)
        cells_s = config.output.cells_every_s
        found["mqtt"] = ((mqtt, announced, cells_s), lambda: mqtt_broker(mqtt, packs, cells_s, gateway))
    if (metrics_at := outlet.metrics) is not None:
        found["metrics"] = ((metrics_at, packs), lambda: metrics(metrics_at, packs, gateway))
    if config.outlet.can:
        found |= inverters(config, gateway)
    if config.outlet.mcu:
        found |= microcontrollers(config, gateway)
    if (page_at := outlet.page) is not None:
        found["page"] = ((page_at, config.pack), lambda: page(page_at, config.pack, gateway))
    return found


def ndjson(config: Config) -> Sink:
    stream = Stream(config.output.ndjson)

    def write(decision: Decision, line: bytes) -> None:
        del decision
        stream.write(line)

    return Sink("ndjson", write, stream.close)


def unix_socket(settings: SocketOutlet, packs: tuple[str, ...], gateway: Gateway) -> Outlet:
    from edgebms.outlet.served import Served
    from edgebms.outlet.unix_socket import UnixSocket

    return Served("socket", UnixSocket(settings, packs, gateway.request_cells))


def mqtt_broker(settings: MqttOutlet, packs: tuple[str, ...], cells_every_s: float, gateway: Gateway) -> Outlet:
    from edgebms.outlet.mqtt import Mqtt

    before = gateway.outlets().get("mqtt")
    return Mqtt(settings, packs, cells_every_s, gateway.request_cells, before if isinstance(before, Mqtt) else None)


def metrics(settings: MetricsOutlet, packs: tuple[str, ...], gateway: Gateway) -> Outlet:
    from edgebms.outlet.metrics import Metrics
    from edgebms.outlet.served import Served

    return Served("metrics", Metrics(settings, packs, gateway))


def inverters(config: Config, gateway: Gateway) -> dict[str, tuple[object, Callable[[], Outlet]]]:
    """One for each ``[[outlet.can]]``."""
    from edgebms.outlet.can_check import check, summed
    from edgebms.outlet.can_out import CanOut

    check(config)
    found: dict[str, tuple[object, Callable[[], Outlet]]] = {}
    for settings in config.outlet.can:
        packs = summed(settings, config)
        found[f"can-{settings.bus}"] = (
            (settings, packs, config.site),
            lambda settings=settings, packs=packs: CanOut(settings, packs, config.site, gateway),  # type: ignore[misc]
        )
    return found


def microcontrollers(config: Config, gateway: Gateway) -> dict[str, tuple[object, Callable[[], Outlet]]]:
    """One for each ``[[outlet.mcu]]``."""
    from edgebms.outlet.mcu_check import check, joined

    check(config)
    from edgebms.outlet.mcu import Mcu

    found: dict[str, tuple[object, Callable[[], Outlet]]] = {}
    for settings in config.outlet.mcu:
        pack, bus = joined(settings, config)
        found[f"mcu-{settings.bus}"] = (
            (settings, pack, bus),
            lambda settings=settings, pack=pack, bus=bus: Mcu(settings, pack, bus, gateway),  # type: ignore[misc]
        )
    return found


def page(settings: PageOutlet, packs: tuple[PackConfig, ...], gateway: Gateway) -> Outlet:
    from edgebms.outlet.page import Page
    from edgebms.outlet.served import Served

    return Served("page", Page(settings, packs, gateway.request_cells))
