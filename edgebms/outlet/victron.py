"""A battery in the words of Victron's CAN-bus BMS protocol (LV, 500 kbit/s, 11-bit). docs/outlets.md has the table."""

from __future__ import annotations

from edgebms import __version__
from edgebms.outlet.battery import Alarm, Battery
from edgebms.outlet.can_fields import U16, kelvin, little, nearest, text
from edgebms.outlet.inverter_frames import Payload, limits, measured, state
from edgebms.vocabulary import Level

IDS = (0x351, 0x355, 0x356, 0x35A, 0x35E, 0x35F, 0x370, 0x371, 0x372, 0x373, 0x374, 0x375, 0x376, 0x377, 0x379)
ACTIVE, FINE = 0b01, 0b10
SAID = tuple(alarm for alarm in Alarm if alarm is not Alarm.CONTACTOR)
"""The contactor's own field stays 00, "not supported": no rule of ours judges a contactor."""


def frames(battery: Battery, name: str) -> list[Payload]:
    """One cycle, in the order in which it is sent. name: what the inverter shows, at most 16 characters."""
    return [
        limits(battery),
        *state(battery),
        *measured(battery),
        alarms(battery),
        (0x35E, text(name)),
        (0x35F, little(0, version(), nearest(battery.online_ah, 1.0, U16))),
        (0x370, text(name[:8])),
        (0x371, text(name[8:])),
        (0x372, little(battery.online, battery.blocking_charge, battery.blocking_discharge, battery.offline)),
        *extremes(battery),
        (0x379, little(nearest(battery.capacity_ah, 1.0, U16))),
    ]


def alarms(battery: Battery) -> Payload:
    """0x35A: two bits each, alarms in bytes 0 to 3, warnings in bytes 4 to 7. A watch is not shown."""
    alarm = warning = 0
    for field in SAID:
        level = battery.alarms.get(field, Level.NONE)
        alarm |= (ACTIVE if level is Level.CRITICAL else FINE) << 2 * field
        warning |= (ACTIVE if level >= Level.WARNING else FINE) << 2 * field
    return 0x35A, alarm.to_bytes(4, "little") + warning.to_bytes(4, "little")


def extremes(battery: Battery) -> list[Payload]:
    """0x373: lowest and highest cell in mV, coldest and hottest probe in K; 0x374 to 0x377: where they are. Four bytes while
    no temperature is known."""
    found: list[Payload] = []
    cells, probes = (battery.cell_min_v, battery.cell_max_v), (battery.temperature_min_c, battery.temperature_max_c)
    millivolts = [nearest(cell.value, 0.001, U16) for cell in cells if cell is not None]
    kelvins = [kelvin(probe.value) for probe in probes if probe is not None]
    if len(millivolts) == 2:
        found.append((0x373, little(*millivolts, *(kelvins if len(kelvins) == 2 else ()))))
    for identifier, outermost in zip((0x374, 0x375, 0x376, 0x377), (*cells, *probes), strict=True):
        if outermost is not None:
            found.append((identifier, text(outermost.where)))
    return found


def version() -> int:
    """The runtime's, major in the high byte."""
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return min(major, 255) << 8 | min(minor, 255)
