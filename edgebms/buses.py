"""The buses of the running daemon: opened, kept and closed as the configuration says."""

from __future__ import annotations

from edgebms.clock import Clock
from edgebms.config import Config, PackConfig
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.bus import Bus
from edgebms.inlet.inbox import Inbox
from edgebms.notify import WARNING, say


class Buses:
    """``live``: by name, another dict after each ``use``, so that any thread may read it. ``use`` in the loop's thread."""

    def __init__(self, clock: Clock, inbox: Inbox) -> None:
        self._clock, self._inbox = clock, inbox
        self.live: dict[str, Bus] = {}

    def use(self, config: Config) -> None:
        """Close what is no longer wanted, keep what stayed the same, open the rest."""
        keep = {bus.name: bus for bus in config.bus}
        live: dict[str, Bus] = {}
        for name, bus in self.live.items():
            if keep.get(name) == bus.settings:
                live[name] = bus
            else:
                bus.close()
                say(f"bus {bus.name}: {bus.counts}")
        for name, settings in keep.items():
            packs = frozenset(pack.name for pack in config.pack if name in channels(pack, every=tuple(keep)))
            if name in live:
                live[name].packs = packs
                continue
            live[name] = Bus(settings, self._clock, self._inbox, packs, say=lambda text: say(text, WARNING))
            live[name].start()
        self.live = live

    def faults(self, pack: str, now_ns: int) -> list[GatewayFault]:
        """What is wrong with the buses that ``pack`` hears."""
        return [fault for bus in self.live.values() if bus.packs is None or pack in bus.packs for fault in bus.faults(now_ns)]

    def close(self) -> None:
        for bus in self.live.values():
            bus.close()
            say(f"bus {bus.name}: {bus.counts}")


def channels(pack: PackConfig, every: tuple[str, ...]) -> tuple[str, ...]:
    """The buses that ``pack`` hears."""
    heard = every if pack.channel is None else (pack.channel,)
    if pack.shunt is None:
        return heard
    return (*heard, *(every if pack.shunt.channel is None else (pack.shunt.channel,)))
