"""The plant: published figures, conservation laws, and what a fault looks like from outside."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.vocabulary import Chemistry
from hil.plant.cell import Body, plain_circuit
from hil.plant.check import CEILING, OVEN, oven, short_ceiling
from hil.plant.kinetics import ANODE, CATHODE, ELECTROLYTE, SEI, Kinetics
from hil.plant.load import drive_c_rate
from hil.plant.pack import InternalShort, Pack, Spread
from hil.plant.sensors import Sensors, SensorSpec

EVEN = Spread(0, 0, 0)


def pack(cells: int = 4, **settings) -> Pack:
    return Pack(plain_circuit(), cells, np.random.default_rng(1), **{"spread": EVEN, **settings})


@pytest.mark.parametrize(("oven_c", "known_s", "known_c"), OVEN)
def test_oven_test_of_the_kinetics(oven_c, known_s, known_c):
    seconds, at_c = oven(oven_c)
    if known_s is None:
        assert seconds is None
    else:
        assert seconds == pytest.approx(known_s, rel=0.05)
        assert at_c == pytest.approx(known_c, abs=5)


@pytest.mark.parametrize(("ohm", "known_s", "known_warm_s"), CEILING)
def test_internal_short_ceiling(ohm, known_s, known_warm_s):
    seconds, warm_s = short_ceiling(ohm, 4000.0)
    if known_s is None:
        assert seconds is None
    else:
        assert seconds == pytest.approx(known_s, rel=0.06)
    assert warm_s == pytest.approx(known_warm_s, rel=0.06, abs=3)


@pytest.mark.parametrize("chemistry", list(Chemistry))
@pytest.mark.parametrize("step_s", [0.01, 1.0, 1000.0])
def test_reactions_give_off_all_their_heat_and_no_more_whatever_the_step(chemistry, step_s):
    kinetics = Kinetics(chemistry, 1)
    temperature = np.array([600.0])
    given_j_per_m3 = sum(float(kinetics.advance(temperature, step_s)[0]) * step_s for _ in range(400))
    start = 0.04 if chemistry is not Chemistry.LFP else 0.0
    most = (
        SEI.heat_j_per_m3 * 0.15 + ANODE.heat_j_per_m3 * 0.75 + ELECTROLYTE.heat_j_per_m3 + CATHODE[chemistry].heat_j_per_m3 * (1 - start)
    )
    assert given_j_per_m3 <= most * 1.000001
    if step_s == 1000.0:
        assert given_j_per_m3 == pytest.approx(most, rel=1e-3)


def test_charge_taken_is_charge_lost():
    it = pack()
    for _ in range(1800):
        it.step(1.0, -3.0)
    assert it.soc == pytest.approx(1.0 - 3.0 * 0.5 / 3.0)
    assert (it.temperature_c > 26).all()


def test_heat_at_rest_goes_to_the_neighbours_and_the_air_alone():
    """Heat sent from cell to cell adds up to nothing: what the pack loses is what the air takes."""
    it = pack()
    it.temperature_c = np.array([40.0, 25.0, 30.0, 45.0])
    body = Body.of_18650s(3.0)
    before = it.temperature_c.sum()
    taken_k = ((it.temperature_c - 25.0) * body.cooling_w_per_k).sum() / body.heat_capacity_j_per_k
    it.step(1.0, 0.0)
    assert before - it.temperature_c.sum() == pytest.approx(taken_k, rel=1e-9)
    assert it.temperature_c[1] > 25.0


def test_a_shorted_cell_falls_behind_and_warms_at_rest_and_its_neighbours_do_not_fall():
    it = pack(shorts=(InternalShort(2, 60.0, 10.0),))
    it.step(60.0, 0.0)
    assert np.ptp(it.voltage_v) == 0.0
    for _ in range(600):
        it.step(1.0, 0.0)
    others = np.delete(it.voltage_v, 2)
    assert np.ptp(others) == 0.0
    assert others.mean() - it.voltage_v[2] > 0.010
    assert it.short_w[2] == pytest.approx(it.voltage_v[2] ** 2 / 10.0)
    assert it.temperature_c.argmax() == 2
    # The charge through the short is what the cell has lost against its neighbours.
    assert (it.soc[0] - it.soc[2]) * 3.0 * 3600 == pytest.approx(600 * 4.16 / 10.0, rel=0.02)


def test_a_developing_short_ends_in_runaway_and_the_cell_voltage_is_gone():
    it = pack(shorts=(InternalShort(1, 0.0, 4.0, decay_s=120.0, floor_ohm=0.5),), separator_fails_c=150.0)
    for _ in range(900):
        it.step(1.0, -1.0)
    assert it.temperature_c[1] > 200
    assert it.voltage_v[1] < 0.75 * it.voltage_v[0]
    assert np.isfinite(it.temperature_c).all()
    # No more heat than the cells held: reactions and charge.
    held_k = (
        SEI.heat_j_per_m3 * 0.15 + ANODE.heat_j_per_m3 * 0.75 + ELECTROLYTE.heat_j_per_m3 + CATHODE[Chemistry.LCO].heat_j_per_m3
    ) / 2.14e6
    charge_k = 3.0 * 3600 * 4.18 / Body.of_18650s(3.0).heat_capacity_j_per_k
    assert it.temperature_c.mean() - 25 < held_k + charge_k


def test_same_seed_same_pack():
    runs = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        it = Pack(plain_circuit(), 16, rng)
        sensors = Sensors(SensorSpec(), 16, (0, 5, 15), 25.0, rng)
        load = drive_c_rate(120, rng) * 3.0
        samples = []
        for current in load:
            it.step(1.0, float(current))
            samples.append(sensors.measure(it, float(current)).cell_voltage_v)
        runs.append(np.array(samples))
    assert np.array_equal(*runs)
    assert len(np.unique(runs[0][:, 3])) > 20


def test_sensors_lag_and_quantise():
    it = pack()
    sensors = Sensors(
        SensorSpec(temperature_offset_c=0, temperature_noise_c=0, temperature_lag_s=5.0), 4, (1,), 25.0, np.random.default_rng(0)
    )
    it.temperature_c = np.full(4, 35.0)
    it.time_s = 5.0
    sample = sensors.measure(it, 0.0)
    assert sample.temperature_c[0] == pytest.approx(25 + 10 * (1 - np.exp(-1)), abs=0.05)
    assert np.allclose(sample.cell_voltage_v * 1000, np.round(sample.cell_voltage_v * 1000), atol=1e-9)


def test_the_load_is_a_drive():
    load = drive_c_rate(3600, np.random.default_rng(3))
    assert -0.9 < load.mean() < -0.2
    assert load.min() < -1.5
    assert load.max() > 0.4
    assert (np.abs(load) < 0.1).mean() > 0.05
