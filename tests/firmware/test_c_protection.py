"""The reference firmware's own protection: what trips it, after how long, and what does not."""

import pytest

from firmware_bridge.codes import (
    CURRENT_INVALID_MA,
    TEMPERATURE_INVALID_DC,
    TEMPERATURE_SATURATED_DC,
    VOLTAGE_INVALID_100UV,
    VOLTAGE_SATURATED_100UV,
    FaultBit,
)

WRAP = 1 << 32
TRIP_MS, LOST_MS, CELLS, PROBES = 300, 1000, 16, 8
CHARGE_MA, DISCHARGE_MA = 88_000, -132_000
"""A tenth above what profile.h grants."""


class Guarded:
    """A pack that is well but for what a test spoils. start: of its clock."""

    def __init__(self, c, start):
        self.c, self.start, self.state = c, start, c.ffi.new("protection *")
        c.ffi.memmove(self.state, b"\1" * c.ffi.sizeof("protection"), c.ffi.sizeof("protection"))  # memory as it may be found
        c.lib.protection_init(self.state)
        self.seen = c.ffi.new("front_end *")
        self.seen.voltage_100uv, self.seen.temperature_dc = [37_000] * CELLS, [250] * PROBES
        self.seen.seen = True

    def step(self, ms, *, measured_ms=None):
        """The bits that stand at ``ms``; measured then, unless said otherwise."""
        self.seen.at_ms = (self.start + (ms if measured_ms is None else measured_ms)) % WRAP
        bits = self.c.lib.protection_step(self.state, self.seen, (self.start + ms) % WRAP)
        return {bit for bit in FaultBit if bits & 1 << bit}


@pytest.fixture(params=[0, WRAP - 200])
def pack(c, request):
    return Guarded(c, request.param)


def cell(value, at=5):
    return lambda seen: seen.voltage_100uv.__setitem__(at, value)


def probe(value, at=5):
    return lambda seen: seen.temperature_dc.__setitem__(at, value)


def current(value):
    return lambda seen: setattr(seen, "current_ma", value)


BEYOND = [
    (cell(42_501), FaultBit.OVER_VOLTAGE),
    (cell(42_501, 0), FaultBit.OVER_VOLTAGE),
    (cell(42_501, CELLS - 1), FaultBit.OVER_VOLTAGE),
    (cell(VOLTAGE_SATURATED_100UV), FaultBit.OVER_VOLTAGE),
    (cell(27_999), FaultBit.UNDER_VOLTAGE),
    (cell(27_999, CELLS - 1), FaultBit.UNDER_VOLTAGE),
    (cell(0), FaultBit.UNDER_VOLTAGE),
    (cell(VOLTAGE_INVALID_100UV), FaultBit.FRONT_END_LOST),
    (probe(601), FaultBit.OVER_TEMPERATURE),
    (probe(601, 0), FaultBit.OVER_TEMPERATURE),
    (probe(601, PROBES - 1), FaultBit.OVER_TEMPERATURE),
    (probe(TEMPERATURE_SATURATED_DC), FaultBit.OVER_TEMPERATURE),
    (probe(-201), FaultBit.UNDER_TEMPERATURE),
    (probe(-201, PROBES - 1), FaultBit.UNDER_TEMPERATURE),
    (probe(TEMPERATURE_INVALID_DC), FaultBit.FRONT_END_LOST),
    (current(CHARGE_MA + 1), FaultBit.OVER_CURRENT_CHARGE),
    (current(DISCHARGE_MA - 1), FaultBit.OVER_CURRENT_DISCHARGE),
    (current(CURRENT_INVALID_MA), FaultBit.FRONT_END_LOST),
]


@pytest.mark.parametrize(("spoil", "bit"), BEYOND)
def test_what_stands_beyond_a_limit_trips_when_its_time_is_up(pack, spoil, bit):
    assert pack.step(0) == set()
    spoil(pack.seen)
    for ms in (10, 100, 10 + TRIP_MS - 1):
        assert pack.step(ms) == set()
    assert pack.step(10 + TRIP_MS) == {bit}
    assert pack.step(10_000) == {bit}


@pytest.mark.parametrize(
    "set_", [cell(42_500), cell(28_000), probe(600), probe(-200), current(CHARGE_MA), current(DISCHARGE_MA), current(0)]
)  # fmt: skip
def test_what_stands_at_a_limit_does_not(pack, set_):
    set_(pack.seen)
    for ms in range(0, 2000, 100):
        assert pack.step(ms) == set()


@pytest.mark.parametrize(("spoil", "bit"), BEYOND)
def test_a_break_begins_the_time_anew(pack, spoil, bit):
    spoil(pack.seen)
    assert pack.step(0) == set()
    assert pack.step(TRIP_MS - 1) == set()
    for place, value in enumerate([37_000] * CELLS):
        pack.seen.voltage_100uv[place] = value
    pack.seen.temperature_dc, pack.seen.current_ma = [250] * PROBES, 0
    assert pack.step(TRIP_MS + 5) == set()
    spoil(pack.seen)
    assert pack.step(TRIP_MS + 10) == set()
    assert pack.step(2 * TRIP_MS + 9) == set()
    assert pack.step(2 * TRIP_MS + 10) == {bit}


def test_each_limit_has_its_own_time(pack):
    cell(42_501)(pack.seen)
    pack.step(0)
    probe(601)(pack.seen)
    pack.step(200)
    current(CHARGE_MA + 1)(pack.seen)
    assert pack.step(TRIP_MS) == {FaultBit.OVER_VOLTAGE}
    cell(27_999, 2)(pack.seen)
    assert pack.step(200 + TRIP_MS) == {FaultBit.OVER_VOLTAGE, FaultBit.OVER_TEMPERATURE}
    assert pack.step(2 * TRIP_MS) == {FaultBit.OVER_VOLTAGE, FaultBit.OVER_TEMPERATURE, FaultBit.OVER_CURRENT_CHARGE}
    every = {FaultBit.OVER_VOLTAGE, FaultBit.OVER_TEMPERATURE, FaultBit.OVER_CURRENT_CHARGE, FaultBit.UNDER_VOLTAGE}
    assert pack.step(3 * TRIP_MS) == every


def test_a_front_end_that_falls_silent_is_lost_and_its_last_values_trip_nothing_else(pack):
    assert pack.step(0) == set()
    cell(42_501)(pack.seen)
    assert pack.step(LOST_MS - 1, measured_ms=0) == set()
    assert pack.step(LOST_MS, measured_ms=0) == set()
    assert pack.step(LOST_MS + TRIP_MS - 1, measured_ms=0) == set()
    assert pack.step(LOST_MS + TRIP_MS, measured_ms=0) == {FaultBit.FRONT_END_LOST}


def test_a_front_end_that_never_spoke_is_lost(pack):
    pack.seen.seen = False
    assert pack.step(0) == set()
    assert pack.step(TRIP_MS - 1) == set()
    assert pack.step(TRIP_MS) == {FaultBit.FRONT_END_LOST}
