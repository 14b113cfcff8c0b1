"""Values as whole numbers on the bus: rounded, and held at the field's end in place of wrapping. Little-endian ("Intel")."""

from __future__ import annotations

import math

U16 = (0, 0xFFFF)
S16 = (-0x8000, 0x7FFF)
KELVIN = 273.15


def nearest(value: float, unit: float, span: tuple[int, int]) -> int:
    """``value`` in ``unit``s, halves away from zero.

    >>> nearest(-0.25, 0.1, S16), nearest(40000.0, 1.0, S16)
    (-3, 32767)
    """
    whole = math.floor(abs(round(value / unit, 6)) + 0.5)
    return min(max(whole if value >= 0 else -whole, span[0]), span[1])


def below(value: float, unit: float, span: tuple[int, int]) -> int:
    """``value`` in ``unit``s, never more than it is: for what must not be exceeded.

    >>> below(57.69, 0.1, U16), below(57.6, 0.1, U16)
    (576, 576)
    """
    return min(max(math.floor(round(value / unit, 6)), span[0]), span[1])


def above(value: float, unit: float, span: tuple[int, int]) -> int:
    """``value`` in ``unit``s, never less than it is.

    >>> above(43.21, 0.1, U16)
    433
    """
    return min(max(math.ceil(round(value / unit, 6)), span[0]), span[1])


def charge_voltage(charge_v: float, float_v: float, unit: float) -> int:
    """Not above the limit, but never below float, which goes first where no step of the field lies between them.

    >>> charge_voltage(57.69, 54.0, 0.1), charge_voltage(53.93, 53.92, 0.1)
    (576, 540)
    """
    return max(below(charge_v, unit, U16), above(float_v, unit, U16))


def percent(fraction: float) -> int:
    """0 to 100; neither end before it is reached: an inverter acts on both.

    >>> [percent(soc) for soc in (-0.02, 0.001, 0.554, 0.555, 0.999, 1.0, 1.03)]
    [0, 1, 55, 56, 99, 100, 100]
    """
    if 0.0 < fraction < 1.0:
        return min(max(nearest(fraction, 0.01, U16), 1), 99)
    return 0 if fraction <= 0.0 else 100


def fine_percent(fraction: float) -> int:
    """0.01 %: 0 to 10000.

    >>> fine_percent(0.55512), fine_percent(1.03)
    (5551, 10000)
    """
    return min(nearest(fraction, 0.0001, U16), 10_000)


def kelvin(degrees_c: float) -> int:
    """Whole kelvin.

    >>> kelvin(25.0), kelvin(-20.0), kelvin(0.4)
    (298, 253, 274)
    """
    return nearest(degrees_c + KELVIN, 1.0, U16)


def little(*numbers: int) -> bytes:
    """16-bit numbers, signed or not, low byte first.

    >>> little(500, -2).hex()
    'f401feff'
    """
    return b"".join((number & 0xFFFF).to_bytes(2, "little") for number in numbers)


def text(words: str, length: int = 8) -> bytes:
    """ASCII, cut or filled with spaces to ``length``."""
    return words.encode("ascii", "replace")[:length].ljust(length)
