"""What can never work in ``[[outlet.mcu]]``, said before anything starts."""

from __future__ import annotations

from importlib.util import find_spec

from edgebms.config import BusConfig, Config, McuOutlet, PackConfig
from edgebms.errors import ConfigError, MissingExtra
from edgebms.outlet.sending_bus import sending_bus


def joined(settings: McuOutlet, config: Config) -> tuple[PackConfig, BusConfig]:
    """The pack that the microcontroller guards, and the bus to it."""
    bus = next(bus for bus in config.bus if bus.name == settings.bus)
    return next(pack for pack in config.pack if pack.name == settings.pack) if settings.pack else config.pack[0], bus


def check(config: Config, where: str = "config") -> None:
    """Every ``[[outlet.mcu]]`` of ``config``. Raises ConfigError, MissingExtra, ProfileError."""
    if find_spec("cobs") is None or find_spec("cryptography") is None:
        raise MissingExtra("a microcontroller needs cobs and cryptography", where=f"{where}: outlet.mcu", mend="pip install 'edgebms[mcu]'")
    packs = [pack.name for pack in config.pack]
    for i, settings in enumerate(config.outlet.mcu):
        here = f"{where}: outlet.mcu[{i}]"
        bus = sending_bus(config, settings.bus, here)
        if [other.bus for other in config.outlet.mcu].count(settings.bus) > 1:
            raise ConfigError(f"two microcontrollers on bus {bus.name}", where=f"{here}.bus", mend="give each a bus of its own")
        if settings.pack and settings.pack not in packs:
            raise ConfigError(f"no pack is called {settings.pack!r}", where=f"{here}.pack", mend=f"name one of: {', '.join(packs)}")
        if not settings.pack and len(packs) > 1:
            raise ConfigError("which pack it guards is not stated", where=f"{here}.pack", mend=f"name one of: {', '.join(packs)}")
        if bus.interface != "edgebms_mcu":
            for pack in config.pack:
                check_ids(pack, bus, here)
        for other in config.outlet.mcu[:i]:
            if other.counter_file == settings.counter_file or other.key_file == settings.key_file:
                raise ConfigError(
                    "two microcontrollers share a key or a counter", where=f"{here}.key_file", mend="make a key for each: edgebms keys new"
                )


def check_ids(pack: PackConfig, bus: BusConfig, where: str) -> None:
    """A pack whose own frames have the ids of advice and its answers, on the same CAN bus."""
    from edgebms.telemetry.assembler import Assembler
    from edgebms.telemetry.profile import load_profile
    from firmware_bridge.gateway_can import HEARD, SAID

    if pack.channel not in (None, bus.name):
        return
    accepted = Assembler(load_profile(pack.profile, pack), pack).accepts()
    both = [identifier for identifier in (*SAID, *HEARD) if (identifier, False) in accepted]
    if both:
        raise ConfigError(
            f"pack {pack.name} is read from ids that advice over CAN has: {', '.join(map(hex, sorted(both)))}",
            where=f"{where}.bus",
            mend="put the microcontroller on a bus of its own, and state the pack's channel",
        )
