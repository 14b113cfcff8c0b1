"""The frames that Victron and Pylontech have in common: limits, state, measurements. What is not known is left out, the
frame or its last bytes, never filled."""

from __future__ import annotations

from edgebms.outlet.battery import Battery
from edgebms.outlet.can_fields import S16, U16, above, below, charge_voltage, fine_percent, little, nearest, percent

MAX_V = 327.67
"""What 0x356 can say: s16, 0.01 V."""

Payload = tuple[int, bytes]
"""(arbitration id, data); all ids are 11-bit."""


def limits(battery: Battery) -> Payload:
    """0x351: charge voltage, charge and discharge current, discharge voltage. Rounded to the safe side."""
    return 0x351, little(
        charge_voltage(battery.charge_v, battery.float_v, 0.1),
        below(battery.charge_a, 0.1, (0, S16[1])),
        below(battery.discharge_a, 0.1, (0, S16[1])),
        above(battery.discharge_v, 0.1, U16),
    )


def state(battery: Battery) -> list[Payload]:
    """0x355: state of charge, of health, state of charge in 0.01 %. Two bytes while the state of health is not known."""
    if battery.soc is None:
        return []
    if battery.soh is None:
        return [(0x355, little(percent(battery.soc)))]
    return [(0x355, little(percent(battery.soc), percent(battery.soh), fine_percent(battery.soc)))]


def measured(battery: Battery) -> list[Payload]:
    """0x356: voltage, current (positive while charging), the hottest probe. Four bytes while no temperature is known."""
    if battery.voltage_v is None or battery.current_a is None:
        return []
    numbers = [nearest(battery.voltage_v, 0.01, S16), nearest(battery.current_a, 0.1, S16)]
    if battery.temperature_max_c is not None:
        numbers.append(nearest(battery.temperature_max_c.value, 0.1, S16))
    return [(0x356, little(*numbers))]
