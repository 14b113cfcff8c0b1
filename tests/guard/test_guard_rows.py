"""Each limit row: a value that trips it, one just below that does not, one that clears it, one that does not.

The rows come from the catalogue; for each quantity a driver makes snapshots in which a real guard measures
the wanted value. A row whose quantity has no driver fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import pytest
from guarded import Guarded, make_card, make_pack, rules
from snapshots import blind_snapshot

from edgebms.cellcard import load_card
from edgebms.guard.leak import Leak
from edgebms.guard.limits import LimitRow, load_limits
from edgebms.guard.quantities import QUANTITIES
from edgebms.vocabulary import Contactor, Level, Reason

CATALOGUE = resources.files("edgebms") / "catalogue"
FILES = sorted(entry.name[:-5] for entry in (CATALOGUE / "limits").iterdir() if entry.name.endswith(".toml"))
CARDS = sorted(entry.name[:-5] for entry in (CATALOGUE / "cards").iterdir() if entry.name.endswith(".toml"))
ROWS = [(file, row) for file in FILES for row in load_limits(file, make_card(), make_pack(16, 16))]

PLACE = 5
Watch = Callable[[], None]


@dataclass
class Run:
    """A guard with sixteen cells and a probe on each, and which findings of one row were seen."""

    guarded: Guarded
    row: LimitRow

    def show(self, **values: object) -> bool:
        return self.row.name in rules(self.guarded.show(**values))

    def hold(self, seconds: float, **values: object) -> list[bool]:
        return [self.show(**values) for _ in range(max(1, round(seconds / self.guarded.period_s)))]

    @property
    def patience_s(self) -> float:
        """Long enough to trip: the debounce, the delay, and a few samples for the spike filters."""
        return self.row.delay_s + (self.row.debounce + 5) * self.guarded.period_s


def one(base: float, value: float, count: int = 16) -> np.ndarray:
    values = np.full(count, base)
    values[PLACE] = value
    return values


def flow(row: LimitRow) -> float:
    """A current that fits the row's ``when``: half of one C."""
    return {"always": 0.0, "charging": 25.0, "discharging": -25.0}[row.when]


# ---- quantities of one sample: shown as they are. Each returns the keyword arguments of a snapshot.


def cell_voltage(_row: LimitRow, value: float) -> dict[str, object]:
    return {"voltage_v": one(3.7, value)}


def cell_deviation(_row: LimitRow, value: float) -> dict[str, object]:
    return {"voltage_v": one(3.7, 3.7 + value)}


def sense_fault(_row: LimitRow, value: float) -> dict[str, object]:
    """Two neighbours to opposite sides. Under plausibility.WIRE_V nothing is disbelieved."""
    voltages = one(3.7, 3.7 + value)
    voltages[PLACE + 1] = 3.7 - value
    return {"voltage_v": voltages}


def temperature(row: LimitRow, value: float) -> dict[str, object]:
    return {"temperature_c": value, "current_a": flow(row)}


def temperature_deviation(_row: LimitRow, value: float) -> dict[str, object]:
    return {"temperature_c": one(25.0, 25.0 + value)}


def charge_current(_row: LimitRow, value: float) -> dict[str, object]:
    return {"current_a": value}


def discharge_current(_row: LimitRow, value: float) -> dict[str, object]:
    return {"current_a": -value}


def pack_voltage(_row: LimitRow, value: float) -> dict[str, object]:
    return {"pack_voltage_v": value}


def insulation(_row: LimitRow, value: float) -> dict[str, object]:
    return {"insulation_ohm": value * 16 * 3.7}


def gas(_row: LimitRow, value: float) -> dict[str, object]:
    return {"gas": value}


def open_contactor_current(_row: LimitRow, value: float) -> dict[str, object]:
    return {"current_a": -value, "contactors": Contactor.OPEN}


SHOWN = {
    "cell_voltage_v": cell_voltage,
    "cell_deviation_v": cell_deviation,
    "sense_fault_v": sense_fault,
    "temperature_c": temperature,
    "temperature_deviation_k": temperature_deviation,
    "charge_current_a": charge_current,
    "discharge_current_a": discharge_current,
    "pack_voltage_v": pack_voltage,
    "insulation_ohm_per_v": insulation,
    "gas": gas,
    "open_contactor_current_a": open_contactor_current,
}


def outward(row: LimitRow, value: float, by: float) -> float:
    return value + by if row.side == "above" else value - by


SMALL = 1e-4


@pytest.mark.parametrize(("file", "row"), [(f, r) for f, r in ROWS if r.quantity in SHOWN], ids=lambda x: getattr(x, "name", x))
class TestShownRows:
    def start(self, file: str, row: LimitRow, value: float) -> Run:
        run = Run(Guarded(16, 16, limits=file), row)
        # half way to the edge, so that the step to it is no spike
        run.hold(5, **SHOWN[row.quantity](row, outward(row, value, -2 * SMALL)))
        return run

    def test_trips_at_its_limit(self, file: str, row: LimitRow) -> None:
        value = outward(row, max(row.limit, 0.2) if row.quantity == "sense_fault_v" else row.limit, SMALL)
        run = self.start(file, row, row.limit)
        seen = run.hold(run.patience_s, **SHOWN[row.quantity](row, value))
        assert seen[-1]
        assert not any(seen[: row.debounce - 1]), "debounce"
        assert not any(seen[: int(row.delay_s)]), "delay"

    def test_stays_quiet_just_below(self, file: str, row: LimitRow) -> None:
        run = self.start(file, row, row.limit)
        assert not any(run.hold(3 * run.patience_s, **SHOWN[row.quantity](row, outward(row, row.limit, -SMALL))))

    def test_flips_once_in_a_sweep_past_the_edge(self, file: str, row: LimitRow) -> None:
        if row.quantity == "sense_fault_v":
            return  # its edge is plausibility.WIRE_V, see test_guard_plausibility.py
        run = self.start(file, row, row.limit)
        step = max(abs(row.limit) * 1e-3, 1e-3)
        for k in range(-6, 7):
            value = outward(row, row.limit, (k + 0.5) * step)
            seen = run.hold(run.patience_s, **SHOWN[row.quantity](row, value))
            assert seen[-1] == (k >= 0), value

    def test_clears_inside_its_recovery_and_not_before(self, file: str, row: LimitRow) -> None:
        run = self.start(file, row, row.limit)
        shown = SHOWN[row.quantity]
        assert run.hold(
            run.patience_s + 5, **shown(row, outward(row, max(row.limit, 0.2) if row.quantity == "sense_fault_v" else row.limit, SMALL))
        )[-1]
        if row.quantity != "sense_fault_v" and row.limit != row.recovery:
            between = outward(row, row.recovery, SMALL)
            assert all(run.hold(row.recovery_s + run.patience_s, **shown(row, between)))
        inside = shown(row, outward(row, row.recovery, -SMALL))
        seen = run.hold(row.recovery_s + 5, **inside)
        assert all(seen[: int(row.recovery_s)]), "recovery time"
        if row.latch:
            assert seen[-1]
            assert run.guarded.guard.acknowledge(row.name, round(run.guarded.time_s * 1e9))
            assert not run.show(**inside)
        else:
            assert not seen[-1]

    def test_is_not_cleared_by_loss_of_data(self, file: str, row: LimitRow) -> None:
        run = self.start(file, row, row.limit)
        value = outward(row, max(row.limit, 0.2) if row.quantity == "sense_fault_v" else row.limit, SMALL)
        assert run.hold(run.patience_s + 5, **SHOWN[row.quantity](row, value))[-1]
        guarded = run.guarded
        for _ in range(round(row.recovery_s) + 20):
            guarded.time_s += 1
            findings = guarded.give(blind_snapshot(16, 16, time_s=guarded.time_s))
            assert row.name in rules(findings)


@pytest.mark.parametrize(("file", "row"), [(f, r) for f, r in ROWS if r.when != "always"], ids=lambda x: getattr(x, "name", x))
class TestGatedRows:
    def test_is_quiet_while_its_current_does_not_flow(self, file: str, row: LimitRow) -> None:
        run = Run(Guarded(16, 16, limits=file), row)
        values = SHOWN[row.quantity](row, outward(row, row.limit, SMALL))
        opposite = -float(values["current_a"])  # type: ignore[arg-type]
        for current in (0.0, opposite, np.nan):
            assert not any(run.hold(run.patience_s + 5, **values | {"current_a": current}))


# ---- quantities that take time: a run that ends at ``value``; returns whether the row was seen


@cache
def quiet_pack(rows: tuple[LimitRow, ...], seconds: float) -> Guarded:
    guarded = Guarded(16, 16, rows=rows, period_s=10.0)
    guarded.run(seconds)
    return guarded


def after_quiet(run: Run, seconds: float) -> None:
    """The run goes on with a guard that saw a healthy pack for so long, every ten seconds."""
    run.guarded = copy.deepcopy(quiet_pack(run.guarded.rows, seconds))


def cell_fall(run: Run, value: float) -> bool:
    after_quiet(run, 14400)
    return any(run.hold(400, voltage_v=one(3.7, 3.7 - value)))


def cell_leak(run: Run, value: float) -> bool:
    after_quiet(run, 14400)
    volts = 3.7
    for _ in range(50):
        # the slope is the card's at the fallen cell's voltage; nothing is drawn
        volts = 3.7 - value * np.interp(volts, LEAK.ocv_v, LEAK.slope_v)
    return any(run.hold(400, voltage_v=one(3.7, volts)))


def unwatched_fall(run: Run, value: float) -> bool:
    after_quiet(run, 14400)
    return any(run.hold(400, voltage_v=one(3.7, 3.7 - value), temperature_c=one(25.0, np.nan)))


def rest_fall(run: Run, value: float) -> bool:
    run.guarded.period_s = 10.0
    seen = False
    for k in range(420):
        seen |= run.show(voltage_v=one(3.7, 3.7 - value * k / 360))
    return seen


def falling_cell_warming(run: Run, value: float) -> bool:
    after_quiet(run, 7200)
    run.guarded.period_s = 1.0
    seen = False
    for k in range(100):
        seen |= run.show(voltage_v=one(3.7, 3.62), temperature_c=one(25.0, 25.0 + value * min(1.0, k / 30)))
    return seen


def temperature_rate(run: Run, value: float) -> bool:
    run.hold(130)
    return any(run.show(temperature_c=one(25.0, 25.0 + value * k / 60)) for k in range(400))


def fast_rise(run: Run, value: float) -> bool:
    run.guarded.period_s = 0.1
    run.hold(3)
    seen = False
    for k in range(1, round(value * 10) + 51):
        seen |= run.show(temperature_c=one(25.0, 25.0 + min(0.2 * k, 2 * value)))
    return seen


def cell_runaway(run: Run, value: float) -> bool:
    run.hold(3, temperature_c=one(25.0, 78.0))
    seen = False
    for k in range(1, 30):
        seen |= run.show(temperature_c=one(25.0, 78.0 + value * k))
    return seen


def probe_runaway(run: Run, value: float) -> bool:
    run.guarded = Guarded(16, 4)
    temperature_c = np.full(4, 25.0)
    temperature_c[1] = 78.0
    run.hold(3, temperature_c=temperature_c)
    seen = []
    for _ in range(30):
        temperature_c[1] += value
        seen.append(run.show(temperature_c=temperature_c))
    return any(seen)


def saturated(run: Run, value: float) -> bool:
    run.guarded.period_s = 0.1
    run.hold(2)
    reason = np.zeros(16, dtype=np.uint8)
    reason[PLACE] = Reason.SATURATED
    return any(run.hold(value + 0.1, temperature_c=one(25.0, np.nan), temperature_reason=reason))


def pressure_rise(run: Run, value: float) -> bool:
    run.guarded.period_s = 0.01
    run.hold(1, pressure_pa=1e5)
    return any(run.hold(0.2, pressure_pa=1e5 + value))


def lost(**values: object) -> Callable[[Run, float], bool]:
    def drive(run: Run, seconds: float) -> bool:
        run.guarded.period_s = 0.1
        run.hold(2)
        # a debounce of n samples takes n - 1 more than its first
        return any(run.hold(seconds + 0.1 * (run.row.debounce - 1), **values))

    return drive


def startup_wait(run: Run, value: float) -> bool:
    run.guarded.period_s = 0.1
    return any(run.hold(value + 0.1, voltage_v=np.nan, complete=False))


def blind_in_alert(run: Run, value: float) -> bool:
    run.hold(60)
    run.hold(60, temperature_c=65.0)
    run.guarded.period_s = 0.1
    return any(run.hold(value + 0.2, voltage_v=np.nan, temperature_c=65.0))


LEAK = Leak(make_card())
NO_CELL = one(3.7, np.nan)
OVER_TIME = {
    # quantity: (driver, how close it comes to the edge as a fraction of the limit)
    "cell_fall_v": (cell_fall, 0.1),
    "cell_leak": (cell_leak, 0.1),
    "unwatched_fall_v": (unwatched_fall, 0.1),
    "rest_fall_v_per_h": (rest_fall, 0.01),
    "falling_cell_warming_k": (falling_cell_warming, 0.05),
    "temperature_rate_k_per_min": (temperature_rate, 0.01),
    "fast_rise_s": (fast_rise, 0.07),
    "cell_runaway_k_per_s": (cell_runaway, 0.01),
    "probe_runaway_k_per_s": (probe_runaway, 0.01),
    "saturated_s": (saturated, 0.15),
    "pressure_rise_pa": (pressure_rise, 0.01),
    "cell_lost_s": (lost(voltage_v=NO_CELL), 0.02),
    "cell_inconsistent_s": (
        lost(voltage_v=NO_CELL, cell_reason=[Reason.FROZEN if i == PLACE else 0 for i in range(16)]),
        0.02,
    ),
    "probe_lost_s": (lost(temperature_c=one(25.0, np.nan)), 0.01),
    "heat_blind_s": (lost(temperature_c=np.nan), 0.01),
    "current_lost_s": (lost(current_a=np.nan), 0.02),
    "blind_s": (lost(voltage_v=np.nan), 0.02),
    "startup_wait_s": (startup_wait, 0.01),
    "blind_in_alert_s": (blind_in_alert, 0.02),
}


@pytest.mark.parametrize(("file", "row"), [(f, r) for f, r in ROWS if r.quantity not in SHOWN], ids=lambda x: getattr(x, "name", x))
class TestRowsOverTime:
    def test_trips_at_its_limit(self, file: str, row: LimitRow) -> None:
        drive, close = OVER_TIME[row.quantity]
        assert drive(Run(Guarded(16, 16, limits=file), row), row.limit * (1 + close))

    def test_stays_quiet_just_below(self, file: str, row: LimitRow) -> None:
        drive, close = OVER_TIME[row.quantity]
        assert not drive(Run(Guarded(16, 16, limits=file), row), row.limit * (1 - close))

    def test_its_exit_is_reached(self, file: str, row: LimitRow) -> None:
        drive, close = OVER_TIME[row.quantity]
        run = Run(Guarded(16, 16, limits=file), row)
        assert drive(run, row.limit * (1 + 5 * close))
        run.guarded.period_s = 10.0
        if row.latch:
            assert all(run.hold(max(2 * row.recovery_s, 600), pressure_pa=1e5)), "a latch opens by itself"
        late_s = run.guarded.time_s + max(2 * row.recovery_s, 6000)
        while run.show(pressure_pa=1e5):
            assert run.guarded.time_s < late_s
            if row.latch and run.guarded.guard.acknowledge(row.name, round(run.guarded.time_s * 1e9)):
                break
        assert not any(run.hold(200))


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_has_a_driver(quantity: str) -> None:
    assert (quantity in SHOWN) != (quantity in OVER_TIME)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("card", CARDS)
def test_the_rows_fit_every_card(file: str, card: str) -> None:
    rows = load_limits(file, load_card(card), make_pack())
    voltage = [row for row in rows if row.quantity == "cell_voltage_v"]
    limits = load_card(card).limits
    assert all(limits.voltage_max_v <= row.limit <= limits.voltage_max_v + 0.15 for row in voltage if row.side == "above")
    assert all(0.7 * limits.voltage_min_v <= row.limit <= limits.voltage_min_v for row in voltage if row.side == "below")


@pytest.mark.parametrize("row", [row for _, row in ROWS], ids=lambda row: row.name)
def test_every_row_states_its_exit(row: LimitRow) -> None:
    assert f"{row.recovery:g}" in row.exit
    assert ("acknowledges" in row.exit) == row.latch
    assert row.level > Level.NONE
