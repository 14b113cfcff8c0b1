"""The bus that an outlet sends on."""

from __future__ import annotations

from edgebms.config import BusConfig, Config
from edgebms.errors import ConfigError


def sending_bus(config: Config, name: str, where: str) -> BusConfig:
    """The bus ``name`` of ``config``, which must transmit. where: the outlet's section. Raises ConfigError."""
    buses = {bus.name: bus for bus in config.bus}
    bus = buses.get(name)
    if bus is None:
        raise ConfigError(
            f"no bus is called {name!r}", where=f"{where}.bus", mend=f"name one of: {', '.join(buses) or 'none yet, add a [[bus]]'}"
        )
    if not bus.transmit:
        raise ConfigError(f"bus {bus.name} only listens", where=f"{where}.bus", mend="set transmit = true in that [[bus]]")
    return bus
