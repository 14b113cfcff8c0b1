"""Which kinds of links there are: each is opened and checked by what a bus's ``interface`` says."""

from __future__ import annotations

from collections.abc import Callable

from edgebms.config import BusConfig
from edgebms.errors import ConfigError, MissingExtra
from edgebms.inlet.link import Counts, Link


def open_link(bus: BusConfig, counts: Counts, now_ns: Callable[[], int]) -> Link:
    """Open ``bus``. now_ns stamps each frame. Raises LinkError."""
    if bus.interface == "slcan":
        from edgebms.inlet.slcan import Slcan

        return Slcan(bus, counts, now_ns)
    if bus.interface == "socketcan":
        from edgebms.inlet.socketcan import SocketCan

        return SocketCan(bus, counts, now_ns)
    if bus.interface == "edgebms_mcu":
        from edgebms.inlet.mcu import McuLine

        return McuLine(bus, counts, now_ns)
    from edgebms.inlet.pythoncan import PythonCan

    return PythonCan(bus, counts, now_ns)


OWN = ("socketcan", "slcan", "edgebms_mcu")


def check_bus(bus: BusConfig, where: str) -> None:
    """Refuse what can never work. Whether the device is there is the receive loop's business. Raises ConfigError."""
    if bus.interface == "slcan":
        from edgebms.inlet.slcan import SPEEDS

        if not bus.channel:
            raise ConfigError("an slcan bus needs its serial port", where=f"{where}.channel", mend="state it, e.g. /dev/ttyACM0")
        if bus.bitrate is not None and bus.bitrate not in SPEEDS:
            raise ConfigError(
                f"{bus.bitrate} bit/s is none of SLCAN's", where=f"{where}.bitrate", mend=f"state one of {', '.join(map(str, SPEEDS))}"
            )
    if bus.interface == "edgebms_mcu":
        from importlib.util import find_spec

        if not bus.channel:
            raise ConfigError(
                "the line to a microcontroller needs its serial port", where=f"{where}.channel", mend="state it, e.g. /dev/ttyACM0"
            )
        if find_spec("cobs") is None or find_spec("cryptography") is None:
            raise MissingExtra("edgebms_mcu needs cobs and cryptography", where=f"{where}.interface", mend="pip install 'edgebms[mcu]'")
    if bus.interface in OWN:
        return
    from can.interfaces import BACKENDS

    if bus.interface not in BACKENDS:
        raise ConfigError(
            f"no interface is called {bus.interface!r}",
            where=f"{where}.interface",
            mend=f"name one of: {', '.join(sorted({*OWN, *BACKENDS}))}",
        )
    if bus.interface == "udp_multicast":
        from importlib.util import find_spec

        if find_spec("msgpack") is None:
            raise MissingExtra("udp_multicast needs msgpack", where=f"{where}.interface", mend="pip install 'edgebms[udp]'")
