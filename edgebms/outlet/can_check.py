"""What can never work in ``[[outlet.can]]``, said before anything starts."""

from __future__ import annotations

from edgebms.cellcard import load_card
from edgebms.config import CanOutlet, Config, PackConfig
from edgebms.errors import ConfigError
from edgebms.outlet.can_out import PROTOCOLS
from edgebms.outlet.inverter_frames import MAX_V
from edgebms.outlet.sending_bus import sending_bus
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.shunt import Shunt


def summed(settings: CanOutlet, config: Config) -> tuple[PackConfig, ...]:
    """The packs that ``settings`` sums, in their order there; all where it names none."""
    by_name = {pack.name: pack for pack in config.pack}
    return tuple(by_name[name] for name in settings.packs) if settings.packs else config.pack


def check(config: Config, where: str = "config") -> None:
    """Every ``[[outlet.can]]`` of ``config``. Raises ConfigError, ProfileError, CardError."""
    for i, settings in enumerate(config.outlet.can):
        here = f"{where}: outlet.can[{i}]"
        bus = sending_bus(config, settings.bus, here)
        if [other.bus for other in config.outlet.can].count(settings.bus) > 1:
            raise ConfigError(
                f"two inverters on bus {bus.name}", where=f"{here}.bus", mend="give each a bus of its own: they use the same ids"
            )
        for name in settings.packs:
            if name not in [pack.name for pack in config.pack]:
                raise ConfigError(f"no pack is called {name!r}", where=f"{here}.packs", mend="name packs of this file")
            if settings.packs.count(name) > 1:
                raise ConfigError(f"pack {name} stands there twice", where=f"{here}.packs", mend="name each pack once")
        for pack in summed(settings, config):
            check_voltage(pack, f"{here}.packs")
        for pack in config.pack:
            check_ids(pack, settings, here)


def check_voltage(pack: PackConfig, where: str) -> None:
    full_v = pack.cells * load_card(pack.card).limits.voltage_max_v
    if full_v > MAX_V:
        raise ConfigError(
            f"pack {pack.name} reaches {full_v:.0f} V, these protocols end at {MAX_V} V",
            where=where,
            mend="leave it out: Victron's and Pylontech's LV protocols are for packs below that",
        )


def check_ids(pack: PackConfig, settings: CanOutlet, where: str) -> None:
    """A pack whose own frames have the ids that we would send, on the same bus."""
    accepted: set[tuple[int, bool]] = set()
    if pack.channel in (None, settings.bus):
        accepted |= Assembler(load_profile(pack.profile, pack), pack).accepts()
    if pack.shunt is not None and pack.shunt.channel in (None, settings.bus):
        accepted |= Shunt(pack.shunt, pack).accepts()
    both = sorted(identifier for identifier in PROTOCOLS[settings.protocol].IDS if (identifier, False) in accepted)
    if both:
        raise ConfigError(
            f"pack {pack.name} is read from ids that the {settings.protocol} frames have: {', '.join(map(hex, both))}",
            where=f"{where}.bus",
            mend="put the inverter on a bus of its own, and state the pack's channel",
        )
