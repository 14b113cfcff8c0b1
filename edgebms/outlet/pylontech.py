"""A battery in the words of Pylontech's LV protocol, the six frames that every inverter of that kind knows. docs/outlets.md has
the table."""

from __future__ import annotations

from edgebms.outlet.battery import Alarm, Battery
from edgebms.outlet.can_fields import S16, below, text
from edgebms.outlet.inverter_frames import Payload, limits, measured, state
from edgebms.vocabulary import Level

IDS = (0x351, 0x355, 0x356, 0x359, 0x35C, 0x35E)

OVER_VOLTAGE, UNDER_VOLTAGE, OVER_TEMPERATURE, UNDER_TEMPERATURE, DISCHARGE_CURRENT = 1, 2, 3, 4, 7
CHARGE_CURRENT, SYSTEM = 8, 11
"""Bits of the first two bytes of 0x359 (protection); the next two (warning) are alike, their SYSTEM bit being "internal
communication"."""

BIT = {
    Alarm.OVER_VOLTAGE: OVER_VOLTAGE,
    Alarm.UNDER_VOLTAGE: UNDER_VOLTAGE,
    Alarm.OVER_TEMPERATURE: OVER_TEMPERATURE,
    Alarm.CHARGE_OVER_TEMPERATURE: OVER_TEMPERATURE,
    Alarm.UNDER_TEMPERATURE: UNDER_TEMPERATURE,
    Alarm.CHARGE_UNDER_TEMPERATURE: UNDER_TEMPERATURE,
    Alarm.DISCHARGE_CURRENT: DISCHARGE_CURRENT,
    Alarm.CHARGE_CURRENT: CHARGE_CURRENT,
}
"""All others have no bit of their own: SYSTEM."""

CHARGE_ENABLED, DISCHARGE_ENABLED = 0x80, 0x40
NAME = "PYLON"
"""Inverters look for it."""


def frames(battery: Battery, name: str) -> list[Payload]:
    """One cycle, in the order in which it is sent. ``name`` has no place here."""
    del name
    return [alarms(battery), limits(battery), *state(battery), *measured(battery), requests(battery), (0x35E, text(NAME))]


def alarms(battery: Battery) -> Payload:
    """0x359: protection, warning, number of modules, "PN". A watch is not shown."""
    protection = warning = 0
    for alarm, level in battery.alarms.items():
        bit = 1 << BIT.get(alarm, SYSTEM)
        protection |= bit if level is Level.CRITICAL else 0
        warning |= bit if level >= Level.WARNING else 0
    modules = min(battery.online, 255)
    return 0x359, protection.to_bytes(2, "little") + warning.to_bytes(2, "little") + bytes((modules,)) + b"PN\0"


def requests(battery: Battery) -> Payload:
    """0x35C: charge and discharge enabled as 0x351 has them. Never a request to charge: that is not ours to ask."""
    charge, discharge = below(battery.charge_a, 0.1, S16) > 0, below(battery.discharge_a, 0.1, S16) > 0
    return 0x35C, bytes((charge * CHARGE_ENABLED | discharge * DISCHARGE_ENABLED, 0))
