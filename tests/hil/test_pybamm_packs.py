"""PyBaMM's packs: what composing a pack from a library of simulated cells keeps, without PyBaMM; with it in the slow form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shared_data import missing

from edgebms.errors import ConfigError, LogError, MissingExtra
from hil.plant.episodes import Mix, Plan
from hil.plant_pybamm.compose import Fault, compose, draw_recipe, mixed
from hil.plant_pybamm.days import DAY_S, HIGH, LOW, STEP_S, draw_day
from hil.plant_pybamm.episodes import before, episode, episodes
from hil.plant_pybamm.library import LibraryDay, days_of, path_of, read_day
from hil.plant_pybamm.sets import SETS

ROWS = 720


def library_day(cells: int = 4) -> LibraryDay:
    """Two hours in which ``cells`` cells go up and down together, each a little off."""
    rng = np.random.default_rng(3)
    time_s = STEP_S * np.arange(ROWS)
    wave = np.sin(time_s / 900.0)
    return LibraryDay(
        cell_set=SETS["chen2020"],
        kind="errands",
        time_s=time_s,
        current_a=wave,
        ambient_c=np.full(ROWS, 20.0),
        voltage_v=3.7 + 0.05 * wave[:, None] + 0.004 * rng.standard_normal(cells),
        temperature_c=22.0 + wave[:, None] + 0.5 * rng.standard_normal(cells),
        soc=0.6,
        draws=np.array([[1.0, 1.0, 1.0, 0.0, 0.0]] * cells),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    day = library_day()
    for number in range(2):
        np.savez_compressed(
            path_of(tmp_path, number, 1),
            cell_set="chen2020", kind=day.kind, soc=day.soc, time_s=day.time_s, current_a=day.current_a, ambient_c=day.ambient_c,
            voltage_v=day.voltage_v, temperature_c=day.temperature_c, draws=day.draws,
        )  # fmt: skip
    return tmp_path


def test_mixes_spread_as_widely_as_the_cells_do():
    day = library_day(40)
    recipe = draw_recipe(day, np.random.default_rng(1), 4000, 2)
    spread = mixed(day.voltage_v, recipe).std(axis=1)
    assert spread == pytest.approx(day.voltage_v.std(axis=1), rel=0.1)


def test_a_pack_and_its_twin_differ_by_the_fault_alone():
    day = library_day()
    recipe = draw_recipe(day, np.random.default_rng(2), 16, 4)
    from edgebms.vocabulary import Cause

    fault = Fault("voltage_drift", Cause.VOLTAGE_SENSOR, 5, -1, 3600.0, 0.020)
    twin, faulty = compose(day, recipe), compose(day, recipe, fault)
    apart = faulty.cell_voltage_v - twin.cell_voltage_v
    after = day.time_s >= 3600.0
    assert not apart[~after].any() and not np.delete(apart, 5, axis=1).any()
    assert apart[after, 5] == pytest.approx(0.020, abs=0.0011)
    assert np.array_equal(twin.temperature_c, faulty.temperature_c) and np.array_equal(twin.current_a, faulty.current_a)
    assert twin.voltage_v == pytest.approx(twin.cell_voltage_v.sum(axis=1), abs=0.1)
    assert twin.current_a == pytest.approx(day.current_a * SETS["chen2020"].parallel, abs=0.6)


def test_the_same_seed_gives_the_same_packs(folder: Path):
    plan = Plan(seed=11, hours=24.0, mix=Mix(ordinary=0.5, look_alikes=0.0, kinds=("voltage_drift", "probe_drift", "current_offset")))
    one, two = ([pack for pack, _ in zip(episodes(plan, folder), range(6), strict=False)] for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.cell_voltage_v, b.cell_voltage_v) and a.fault == b.fault
        assert a.sigmas == pytest.approx(b.sigmas, nan_ok=True)
    assert {pack.kind == "ordinary" for pack in one} == {True, False}
    assert all(np.isfinite(pack.sigmas) == (pack.kind != "ordinary") for pack in one)
    assert len({pack.cell_voltage_v.tobytes() for pack in one}) == 6


def test_a_pack_s_day_before_is_the_same_pack_s(folder: Path):
    """Its cells mix as on the day, behind the same sensors, and nothing is wrong with it; an older library has none."""
    plan = Plan(seed=11, hours=24.0, mix=Mix(ordinary=0.0, look_alikes=0.0, kinds=("voltage_drift",)))
    day = library_day()
    assert before(plan, read_day(days_of(folder)[0]), 4) is None
    earlier = before(plan, replace(day, before=replace(day, kind="sun", current_a=-day.current_a)), 4)
    now = episode(plan, day, 4)
    assert earlier is not None
    assert (earlier.number, earlier.load, earlier.fault, now.kind) == (4, "sun", None, "voltage_drift")
    calm = now.time_s < now.fault.onset_s if now.fault is not None else None
    assert earlier.cell_voltage_v[calm] == pytest.approx(now.cell_voltage_v[calm], abs=1e-6)
    assert earlier.current_a == pytest.approx(-now.current_a, abs=2.0)


def test_a_corpus_of_them_is_read_by_the_evaluation(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from export.__main__ import main
    from hil.plant.corpus import first, write
    from hil.plant_pybamm.characterise import copy_cards

    out = tmp_path / "corpus"
    copy_cards(out)
    write(first(episodes(Plan(seed=3, hours=24.0, mix=Mix(ordinary=1.0, look_alikes=0.0)), folder), 1), out, "plant_pybamm", print)
    capsys.readouterr()
    assert main(["evaluate", "fault", str(out), "--methods", "guard", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (row,) = result["rows"]
    assert (row["set"], row["cause_true"], row["false_alarms"]) == ("plant_pybamm", "healthy", 0)
    assert row["exposure_days"] == pytest.approx((ROWS - 1) * STEP_S / DAY_S)


def test_days_are_ordinary():
    kinds = set()
    for seed in range(60):
        day = draw_day(np.random.default_rng(seed))
        kinds.add(day.kind)
        soc = day.soc + np.cumsum(day.c_rate) * STEP_S / 3600.0
        assert soc.min() >= LOW - 0.01 and soc.max() <= HIGH + 0.01
        assert day.ambient_c.min() >= 3.0 and day.c_rate.max() <= 0.65 and day.c_rate.min() >= -1.7
    assert len(kinds) == 6


def test_bad_input_says_how_to_mend(tmp_path: Path, folder: Path):
    with pytest.raises(LogError, match="pybamm-library"):
        days_of(tmp_path / "none")
    with pytest.raises(ConfigError, match="24"):
        next(episodes(Plan(seed=1, hours=2.0), folder))
    broken = path_of(folder, 0, 1)
    broken.write_bytes(b"not an archive")
    with pytest.raises(LogError, match="cannot be read"):
        read_day(broken)


@pytest.fixture
def pybamm():
    from hil.plant_pybamm.sets import library

    try:
        return library()
    except MissingExtra as error:
        missing(str(error))


@pytest.mark.slow
def test_the_solver_sees_a_pulse_after_a_long_rest(pybamm):
    from hil.plant_pybamm.simulate import simulate

    time_s = 10.0 * np.arange(2000)
    current_a = np.zeros(2000)
    current_a[1500:1503] = -5.0
    run = simulate(SETS["marquis2019"], time_s, current_a * 0.136, np.full(2000, 25.0), 0.8)
    assert run.voltage_v[1502] < run.voltage_v[1400] - 0.02


@pytest.mark.slow
def test_a_short_heats_by_its_power_and_drains_the_cell(pybamm):
    from hil.plant_pybamm.sets import HEAT_S, values
    from hil.plant_pybamm.simulate import Deed, Draw, heat_capacity_j_per_k, simulate

    cell_set = SETS["chen2020"]
    time_s = 10.0 * np.arange(721)
    rest_a, air_c = np.zeros(721), np.full(721, 25.0)
    run = simulate(cell_set, time_s, rest_a, air_c, 0.7, Draw(), Deed(600.0, short_ohm=20.0))
    healthy = simulate(cell_set, time_s, rest_a, air_c, 0.7)
    power_w = run.voltage_v[-1] ** 2 / 20.0
    expected_k = power_w * HEAT_S / heat_capacity_j_per_k(values(cell_set)) * -np.expm1(-(7200.0 - 600.0) / HEAT_S)
    assert run.temperature_c[-1] - 25.0 == pytest.approx(expected_k, rel=0.1)
    assert np.abs(run.voltage_v - healthy.voltage_v)[time_s < 600].max() < 1e-3
    assert run.voltage_v[-1] < healthy.voltage_v[-1] - 0.01


@pytest.mark.slow
def test_a_hot_cell_ends_the_run_and_a_worse_joint_shows_under_load(pybamm):
    from hil.plant_pybamm.simulate import ENDS_C, Deed, Draw, simulate

    cell_set = SETS["chen2020"]
    time_s = 10.0 * np.arange(361)
    air_c = np.full(361, 25.0)
    hot = simulate(cell_set, time_s, np.zeros(361), air_c, 0.9, Draw(), Deed(300.0, short_ohm=0.5))
    assert not hot.whole and hot.temperature_c.max() < ENDS_C and hot.time_s[-1] < 900
    load_a = np.full(361, -2.5)
    load_a[0] = 0.0
    plain, joint = (simulate(cell_set, time_s, load_a, air_c, 0.9, Draw(), deed) for deed in (None, Deed(1800.0, joint=10.0)))
    assert (plain.voltage_v - joint.voltage_v)[200:].mean() == pytest.approx(2.5 * 9 * 0.002, rel=0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_library_resumes_and_the_same_seed_gives_the_same_cells(pybamm, tmp_path: Path):
    from hil.plant_pybamm.library import make

    make(tmp_path, 1, 1, seed=5)
    first = path_of(tmp_path, 0, 5)
    stamp = first.stat().st_mtime_ns
    make(tmp_path, 2, 1, seed=5)
    assert first.stat().st_mtime_ns == stamp and len(days_of(tmp_path)) == 2
    once = read_day(first)
    first.unlink()
    make(tmp_path, 1, 1, seed=5)
    again = read_day(first)
    assert np.array_equal(once.voltage_v, again.voltage_v)
    assert once.before is not None and again.before is not None
    assert np.array_equal(once.before.voltage_v, again.before.voltage_v)
    assert not np.array_equal(once.before.current_a, once.current_a)
    assert once.before.ambient_c.mean() == pytest.approx(once.ambient_c.mean(), abs=6.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_circuit_follows_pybamm_on_a_drive(pybamm):
    """With a card fitted to other loads; the reach is that of the table in the docs, with room."""
    from hil.plant_pybamm.check import lines

    for line in list(lines(ambient_c=(25.0,)))[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert float(cells[4]) < 20.0 and float(cells[6]) < 3.0, line
