"""What a gateway saw of a pack before its episode: the same cells behind the same sensors, sound, at another time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hil.plant.draws import Ranges
from hil.plant.earlier import STRETCH_S, stretch
from hil.plant.episodes import Cast, Episode, Mix, Plan, play, troupe
from hil.plant.faults import ORDINARY

NOTHING = (1e-9, 2e-9)
ALIKE = Ranges(
    cards=("generic_nmc",), cells=(16,), cells_per_probe=(2,), period_s=(5.0,), sweep=(0.0, 0.0), spread_capacity=NOTHING, spread_resistance=NOTHING,
    spread_soc=NOTHING, spread_cooling=NOTHING, voltage_offset_v=(0.004, 0.005), voltage_noise_v=(0.0001, 0.0002), voltage_lsb_v=(0.0001,),
)  # fmt: skip
"""Cells that differ by their sensors alone."""


def plan_of(*kinds: str, ordinary: float = 0.0) -> Plan:
    return Plan(seed=11, hours=0.5, mix=Mix(ordinary, 0.5 if kinds else 0.0, kinds), ranges=ALIKE, twins=False)


def both(plan: Plan, count: int = 12) -> tuple[list[Cast], list[Episode], list[list[Episode]]]:
    curves, shared, cast = troupe(plan, 0)
    cast = cast[:count]
    before = [list(stretch(plan, curves, shared, cast, 0, 0, number)) for number in range(2)]
    return cast, list(play(plan, curves, shared, cast, 0)), before


def apart(episode: Episode) -> np.ndarray:
    """(cells,): mean distance from the median cell, V."""
    volts = episode.cell_voltage_v.astype(float)
    return np.nanmean(volts - np.nanmedian(volts, axis=1, keepdims=True), axis=0)


@pytest.fixture(scope="module")
def ordinary() -> tuple[list[Cast], list[Episode], list[list[Episode]]]:
    return both(plan_of(ordinary=1.0))


def test_the_sensors_errors_stay(ordinary: tuple[list[Cast], list[Episode], list[list[Episode]]]) -> None:
    _, now, before = ordinary
    for past in before:
        for own, other in zip(past, now, strict=True):
            assert apart(own) == pytest.approx(apart(other), abs=0.002)
            assert np.abs(apart(own)).max() > 0.006


def test_use_weather_charge_and_noise_are_others(ordinary: tuple[list[Cast], list[Episode], list[list[Episode]]]) -> None:
    _, now, (first, second) = ordinary
    for own, other, episode in zip(first, second, now, strict=True):
        assert len(own.time_s) == STRETCH_S / 5
        assert (own.number, own.kind, own.load) == (episode.number, ORDINARY, "use")
        assert abs(own.soc[0] - other.soc[0]) > 1e-6
        assert own.ambient_c != other.ambient_c
        assert abs(own.ambient_c - episode.ambient_c) <= 6.0
        assert not np.array_equal(own.cell_voltage_v, other.cell_voltage_v)


def test_an_episode_is_the_same_whether_anyone_looked_before(ordinary: tuple[list[Cast], list[Episode], list[list[Episode]]]) -> None:
    plan = plan_of(ordinary=1.0)
    curves, shared, cast = troupe(plan, 0)
    for alone, told in zip(play(plan, curves, shared, cast[:12], 0), ordinary[1], strict=True):
        np.testing.assert_array_equal(alone.cell_voltage_v, told.cell_voltage_v)
        np.testing.assert_array_equal(alone.current_a, told.current_a)


def test_a_fault_was_not_there_before_and_a_weak_cell_was() -> None:
    cast, now, before = both(plan_of("voltage_tap", "weak_cell"), 30)
    kinds = {part.kind for part in cast}
    assert kinds == {"voltage_tap", "weak_cell"}
    for part, episode, own in zip(cast, now, before[0], strict=True):
        fault = part.fault
        assert fault is not None
        if part.kind == "voltage_tap":
            assert own.fault is None
            late = replace(episode, cell_voltage_v=episode.cell_voltage_v[episode.time_s > fault.onset_s + 10.0])
            assert apart(late)[fault.cell] - apart(own)[fault.cell] == pytest.approx(fault.size, abs=0.003)
        else:
            assert own.fault is fault


def test_an_imbalance_crept_in_before_in_half_of_the_packs() -> None:
    cast, _, before = both(plan_of("imbalance"), 40)
    imbalanced = [own for part, own in zip(cast, before[0], strict=True) if part.kind == "imbalance"]
    there = sum(own.fault is not None for own in imbalanced)
    assert 0 < there < len(imbalanced)
