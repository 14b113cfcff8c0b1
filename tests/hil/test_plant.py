"""The plant: published figures, conservation laws, one pack the same as among many, and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.cellcard import card_names, load_card
from edgebms.vocabulary import Chemistry
from hil.plant import loads
from hil.plant.check import CEILING, OVEN, ovens, peaks, short_ceilings
from hil.plant.curves import EXCHANGE, R0, from_card
from hil.plant.draws import BatchDraw, Ranges, draw_pack
from hil.plant.kinetics import ANODE, ANODE_0, CATHODE, ELECTROLYTE, SEI, SEI_0, cathode_0, decompose
from hil.plant.packs import Packs
from hil.plant.rows import stack, take
from hil.plant.sense import Schedule, Senses

CELLS = 24
LIQUID = Ranges(cooled=("liquid",))


def packs_of(count: int, *, card: str = "lg_hg2", cells: int = CELLS, seed: int = 0, ranges: Ranges = LIQUID) -> Packs:
    curves = from_card(load_card(card))
    draws = [draw_pack(np.random.default_rng([seed, i]), curves, BatchDraw(card, cells, cells // 2, 1.0), ranges) for i in range(count)]
    return Packs(
        curves,
        stack([draw.build for draw in draws]),
        np.array([draw.soc for draw in draws]),
        np.array([draw.temperature_c for draw in draws]),
        np.array([draw.ambient_c for draw in draws]),
    )


def test_oven_test_of_the_kinetics():
    for (_, known_s, known_c), (seconds, at_c) in zip(OVEN, ovens([row[0] for row in OVEN], 4000.0), strict=True):
        if known_s is None:
            assert seconds is None
        else:
            assert seconds == pytest.approx(known_s, rel=0.05)
            assert at_c == pytest.approx(known_c, abs=5)


def test_internal_short_ceiling():
    for (ohm, known_s, known_warm_s), (seconds, warm_s) in zip(CEILING, short_ceilings([row[0] for row in CEILING], 3500.0), strict=True):
        if known_s is None:
            assert seconds is None
        else:
            # at 4 ohm it only just runs away: here the short takes from the anode what would have reacted
            assert seconds == pytest.approx(known_s, rel=0.06 if ohm < 4 else 0.15)
        assert warm_s == pytest.approx(known_warm_s, rel=0.06, abs=3)


def test_an_iron_phosphate_cell_peaks_far_below_an_oxide_cell():
    [(_, oxide_c)], [(_, iron_c)] = peaks(Chemistry.NMC, 90.0, [0.0]), peaks(Chemistry.LFP, 100.0, [0.5])
    assert oxide_c == pytest.approx(1052, rel=0.1)
    assert iron_c == pytest.approx(534, rel=0.1)


@pytest.mark.parametrize("chemistry", list(Chemistry))
@pytest.mark.parametrize("step_s", [0.01, 1.0, 1000.0])
def test_reactions_give_off_all_their_heat_and_no_more_whatever_the_step(chemistry, step_s):
    parts = [np.array([part]) for part in (SEI_0, ANODE_0, 0.033, cathode_0(chemistry), 1.0)]
    given_j_per_m3 = sum(float(decompose(chemistry, *parts, np.array([600.0]), step_s)[0]) * step_s for _ in range(400))
    most = (
        SEI.heat_j_per_m3 * SEI_0
        + ANODE.heat_j_per_m3 * ANODE_0
        + ELECTROLYTE.heat_j_per_m3
        + CATHODE[chemistry].heat_j_per_m3 * (1 - cathode_0(chemistry))
    )
    assert given_j_per_m3 <= most * 1.000001
    if step_s == 1000.0:
        assert given_j_per_m3 == pytest.approx(most, rel=1e-3)


@pytest.mark.parametrize("name", card_names())
def test_curves_are_the_cards(name):
    card = load_card(name)
    curves = from_card(card)
    table = card.ocv.voltage
    for t, temperature in enumerate(table.temperature_c):
        at, slope = curves.ocv(np.array(table.soc), np.full(len(table.soc), temperature))
        # the grid cuts the corners of the table by little
        used = np.array(table.soc) >= 0
        assert at[used] == pytest.approx(np.array(table.value[t])[used], abs=0.005)
        assert (slope >= 0).all()
    ohmic = card.resistance_ohm
    inside = [t for t, temperature in enumerate(ohmic.temperature_c) if -40 <= temperature <= 80]
    for t in inside:
        looked = curves.look(np.array(ohmic.soc), np.full(len(ohmic.soc), ohmic.temperature_c[t]))
        assert looked[R0] == pytest.approx(ohmic.value[t], rel=0.05)
        # LG's card falls tenfold to its last temperature, which lies between two of the map's
        assert looked[EXCHANGE] == pytest.approx(card.exchange_a.value[t], rel=0.11)


def test_charge_in_is_charge_held_and_leaked():
    packs = packs_of(3)
    packs.effects.short_s[1, 5] = 0.02
    packs.effects.bleed_s[2, :4] = 0.05
    before = packs.state.soc.copy()
    parallel = packs.build.parallel
    came_as = np.zeros_like(before)
    for second in range(900):
        current = np.array([1.0, -2.0, 0.5]) * parallel[:, 0] * np.sin(second / 90.0)
        packs.step(1.0, current)
        came_as += current[:, None] / parallel - packs.state.leak_a
    held_as = (packs.state.soc - before) * packs.build.capacity_as
    assert held_as == pytest.approx(came_as, rel=1e-5, abs=1e-3)
    assert packs.state.leak_a[1, 5] > 0
    assert (packs.state.leak_a[0] == 0).all()


@pytest.mark.parametrize("cooled", ["still", "air", "liquid"])
def test_heat_made_is_heat_held_or_lost(cooled):
    packs = packs_of(4, ranges=Ranges(cooled=(cooled,), chiller_w_per_ah=(0.1, 0.1)))
    packs.effects.chill[:] = 1.0
    packs.effects.short_s[1, 3] = 0.5 * packs.build.parallel[1, 0]
    packs.effects.heater_w[2, 7] = 60.0 * packs.build.parallel[2, 0]
    start_c, start_loop_c = packs.state.temperature_c.copy(), packs.state.loop_c.copy()
    for second in range(1200):
        packs.step(1.0, packs.build.parallel[:, 0] * (3.0 if second % 200 < 100 else -3.0))
    state, build = packs.state, packs.build
    held_j = (build.heat_j_per_k * (state.temperature_c - start_c)).sum(axis=1, keepdims=True)
    held_j += build.loop_j_per_k * (state.loop_c - start_loop_c)
    assert held_j == pytest.approx(state.generated_j - state.lost_j, rel=1e-4, abs=1.0)
    assert state.temperature_c[2, 7] > 300  # it has burnt, and the books still hold
    assert state.generated_j.min() > 0


def test_one_pack_is_the_same_alone_and_among_others():
    """Two of the packs burn meanwhile: the fine steps of one do not change another."""
    among = packs_of(5)
    alone = packs_of(5)
    index = np.array([3])
    single = Packs(
        alone.curves, take(alone.build, index), alone.state.soc[index], alone.state.temperature_c[index], alone.effects.ambient_c[index, 0]
    )
    among.effects.heater_w[1, 2] = 80.0 * among.build.parallel[1, 0]
    among.effects.outside_s[4, 0] = 200.0 * among.build.parallel[4, 0]
    for second in range(600):
        rate = np.sin(second / 40.0)
        among.step(1.0, rate * among.build.parallel[:, 0])
        single.step(1.0, rate * single.build.parallel[:, 0])
    assert among.fine_steps > 0
    assert among.state.voltage_v[3] == pytest.approx(single.state.voltage_v[0], abs=1e-5)
    assert among.state.temperature_c[3] == pytest.approx(single.state.temperature_c[0], abs=1e-4)
    assert among.state.soc[3] == pytest.approx(single.state.soc[0], abs=1e-8)


def test_cells_side_by_side_share_the_current():
    few, many = packs_of(1, ranges=Ranges(parallel=(1.0, 1.0))), packs_of(1, ranges=Ranges(parallel=(1.0, 1.0)))
    many.build.parallel[:] = 40.0
    for _ in range(300):
        few.step(1.0, np.array([-2.0]))
        many.step(1.0, np.array([-80.0]))
    assert many.state.voltage_v == pytest.approx(few.state.voltage_v, abs=1e-5)
    assert many.state.temperature_c == pytest.approx(few.state.temperature_c, abs=1e-5)


def test_hysteresis_separates_the_voltages_after_charge_and_after_discharge():
    """Iron phosphate at the same SOC and long rested: higher when it came there from below."""
    rest_v = []
    for sign in (1.0, -1.0):
        packs = packs_of(1, card="generic_lfp", ranges=Ranges(soc=(0.5, 0.5), spread_soc=(0.0, 0.0), ambient_c=(25.0, 25.0)))
        there_a = sign * packs.curves.capacity_ah * packs.build.parallel[0, 0]
        for current in (there_a, -there_a, there_a):
            # away, back and on again: both end at +-0.2 and come back by the other way
            for _ in range(720):
                packs.step(1.0, np.array([current]))
        for _ in range(720):
            packs.step(1.0, np.array([-there_a]))
        for _ in range(5400):
            packs.step(1.0, np.zeros(1))
        rest_v.append(float(packs.state.voltage_v.mean()))
    assert rest_v[1] - rest_v[0] > 0.005


def test_sensors_are_read_when_the_schedule_says():
    """A ramp of the pack's current: cells read late in the sweep have seen more of it; between two sweeps nothing changes."""
    packs = packs_of(1)
    quiet = draw_pack(
        np.random.default_rng(0), packs.curves, BatchDraw("lg_hg2", CELLS, 12, 5.0),
        Ranges(voltage_offset_v=(0, 0), voltage_noise_v=(0, 0), voltage_lsb_v=(1e-6,), temperature_noise_c=(0, 0), temperature_offset_c=(0, 0)),
    ).sensors  # fmt: skip
    schedule = Schedule.even(5.0, CELLS, 12, 4.6)
    senses = Senses(packs, [quiet], [schedule], [np.random.default_rng(1)], np.zeros(1, np.intp))
    held, truth = [], []
    for second in range(20):
        current = np.array([-0.2 * second * packs.build.parallel[0, 0]])
        packs.step(1.0, current)
        senses.follow(packs, current)
        held.append(senses.sample(packs).cell_voltage_v[0])
        truth.append(packs.state.voltage_v[0].copy())
    first, last = np.array(held)[:, 0], np.array(held)[:, -1]
    assert len(set(last[4:].round(7))) == 4  # once every five seconds
    assert last[9] == pytest.approx(truth[9][-1], abs=1e-5)  # read at 10 s
    assert last[12] == last[9]
    # the first cell is read at 0.4 + 5 s: between the truths of the fifth and the sixth second; at 10 s it has not been read again
    assert min(truth[4][0], truth[5][0]) < first[5] < max(truth[4][0], truth[5][0])
    assert first[9] == first[5] != first[10]


@pytest.mark.parametrize("name", sorted(loads.LOADS))
def test_loads_come_from_their_seed_and_stay_within_reason(name):
    runs = [loads.LOADS[name](np.random.default_rng(5), 7200) for _ in range(2)]
    assert np.array_equal(*runs)
    assert len(runs[0]) == 7200
    assert np.abs(runs[0]).max() < 3.0
    other = loads.LOADS[name](np.random.default_rng(6), 7200)
    assert name == "rest" or not np.array_equal(other, runs[0])


def test_the_drive_is_a_drive_and_the_charge_a_charge():
    load = loads.drive(np.random.default_rng(3), 3600)
    assert -0.9 < load.mean() < -0.2
    assert load.min() < -1.5
    assert load.max() > 0.4
    assert (np.abs(load) < 0.1).mean() > 0.05
    assert (loads.charge(np.random.default_rng(3), 60) > 0).all()
    assert abs(loads.frequency_response(np.random.default_rng(3), 86400).mean()) < 0.05
    assert loads.season_c(210) > loads.season_c(28) + 15


def test_days_have_nights_and_years_have_seasons():
    for seed in range(6):
        used = loads.days(np.random.default_rng(seed), 2 * loads.DAY_S)
        assert len(used) == 2 * loads.DAY_S
        assert used[3 * 3600 : 4 * 3600].mean() > 0 or np.abs(used).max() < 1.6  # a vehicle charges at night
        assert -0.3 < used.mean() < 0.3
    january, july = (loads.ambient(np.random.default_rng(1), 86400, loads.season_c(day), day) for day in (20, 200))
    assert len(july) == 1440
    assert july.mean() > january.mean() + 15
    assert 4 < np.ptp(july) < 15
