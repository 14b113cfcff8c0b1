"""The guard on measured days and abuse tests (train), and on the rig's packs with a short."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet
import pytest
from guarded import LIMITS, Guarded, make_card, make_pack
from shared_data import shared

from edgebms.guard.finding import Finding
from edgebms.telemetry.bdf import snapshots
from edgebms.vocabulary import Cause, Level
from hil.plant import loads
from hil.plant.live import LivePack, PackSpec

CAR = make_card(150.0, msgspec.structs.replace(LIMITS, voltage_min_v=2.8, charge_c_rate=2.0, discharge_c_rate=3.0))


def columns(path: Path, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in pyarrow.parquet.read_schema(path).names)


def findings_of(path: Path) -> set[tuple[str, Cause]]:
    cells, probes = columns(path, r"cell_voltage_\d{3}"), columns(path, r"temperature_\d{3}")
    pack = make_pack(cells, probes, period_s=1.0 if path.stem.startswith("car1") else 10.0)
    guarded = Guarded(card=CAR, pack=pack)
    return {(finding.rule, finding.hazard) for snapshot in snapshots(path, pack) for finding in guarded.give(snapshot)}


def test_a_day_of_a_real_car_is_quiet_but_for_what_is_missing() -> None:
    """Eight probes of this car never say anything, and its log has holes."""
    found = findings_of(shared("data/fault/train/baticm_ev/car3_2019-05-03.parquet"))
    assert ("probe_lost", Cause.LOSS_OF_DATA) in found
    assert {hazard for _, hazard in found} == {Cause.LOSS_OF_DATA}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_days_of_real_cars_are_quiet_but_for_what_is_missing() -> None:
    days = sorted(shared("data/fault/train/baticm_ev").glob("*.parquet")) + sorted(shared("data/fault/train/ev_pack_95s").glob("*.parquet"))
    assert len(days) == 31
    found = {finding for day in days for finding in findings_of(day)}
    assert {hazard for _, hazard in found} == {Cause.LOSS_OF_DATA}


def abuse(path: Path) -> tuple[dict[str, float], float]:
    """Rule -> seconds of its first finding, and of the data's own label 2."""
    pack = make_pack(1, columns(path, r"temperature_t\d_celsius"))
    card = make_card(3.5)
    table = pyarrow.parquet.read_table(path, columns=["test_time_second", "fault_label"])
    time_s, label = table["test_time_second"].to_numpy(), table["fault_label"].to_numpy()
    guarded = Guarded(card=card, pack=pack)
    first: dict[str, float] = {}
    for snapshot, at in zip(snapshots(path, pack), time_s, strict=True):
        for finding in guarded.give(snapshot):
            first.setdefault(finding.rule, float(at))
    return first, float(time_s[label >= 2][0])


def test_a_cell_on_a_heater_is_runaway_before_its_label() -> None:
    first, label_s = abuse(shared("data/fault/train/overheat_18650/overheat_90W_run1.parquet"))
    event_s = min(first.get("thermal_runaway", np.inf), first.get("thermal_runaway_at_probe", np.inf))
    assert event_s <= label_s
    assert first["fast_rise"] < event_s


def drive(short_ohm: float | None, onset_s: float, seconds: int, seed: int) -> tuple[dict[str, tuple[int, Finding]], int | None]:
    """A 16-cell pack in use, once a second: rule -> (second, its first finding), and when it ran away."""
    pack = LivePack(PackSpec("generic_lco", 16, 16, seed=seed, parallel=3.0, soc=0.9, cooled="still"))
    if short_ohm is not None:
        pack.inject("short_constant", onset_s=onset_s, cell=6, size=short_ohm)
    guarded = Guarded(16, 16, card=make_card(pack.capacity_ah))
    first: dict[str, tuple[int, Finding]] = {}
    for second, c_rate in enumerate(loads.drive(np.random.default_rng(seed), seconds)):
        pack.step(1.0, c_rate * pack.capacity_ah)
        seen = pack.measure()
        for finding in guarded.show(
            voltage_v=seen.cell_voltage_v, temperature_c=seen.temperature_c, current_a=seen.current_a, pack_voltage_v=seen.voltage_v
        ):
            first.setdefault(finding.rule, (second, finding))
        if pack.truth().temperature_c.max() > 200:
            return first, second
    return first, None


@pytest.mark.parametrize("resistance_ohm", [1.0, 2.0, 5.0])
def test_a_short_is_a_warning_within_minutes_and_long_before_runaway(resistance_ohm: float) -> None:
    onset = 600
    first, runaway = drive(resistance_ohm, onset, 1300, seed=0)
    second, finding = first["falling_cell_warms"]
    assert onset < second < onset + 120
    assert (finding.level, finding.hazard, finding.where) == (Level.WARNING, Cause.INTERNAL_SHORT, 6)
    critical = min(at for at, each in first.values() if each.level is Level.CRITICAL)
    assert critical < onset + 400
    if runaway is not None:
        assert critical < runaway - 120


def test_a_pack_in_use_without_a_fault_is_quiet() -> None:
    first, runaway = drive(None, 0.0, 3600, seed=1)
    assert first == {}
    assert runaway is None
