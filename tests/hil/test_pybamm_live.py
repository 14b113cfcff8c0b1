"""PyBaMM's cells as the rig steps them: what the BMS commands has its effect, and a fault shows where it is."""

from __future__ import annotations

import numpy as np
import pytest

from edgebms.errors import ConfigError
from edgebms.vocabulary import Contactor
from hil.plant.interface import Commands, PlantPack

pytest.importorskip("pybamm")

from hil.plant_pybamm.live import PackSpec, PybammPack, SteppedCell
from hil.plant_pybamm.sets import SETS
from hil.plant_pybamm.simulate import Draw, simulate

SPEC = PackSpec(SETS["chen2020"], 6, 3, seed=1, parallel=2)
pytestmark = pytest.mark.slow


def run(pack: PlantPack, seconds: int, request_a: float) -> None:
    for _ in range(seconds):
        pack.step(1.0, request_a)


def test_contactors_limits_and_the_cells_own_limits_hold_the_current():
    pack = PybammPack(SPEC)
    run(pack, 3, -20.0)
    assert pack.measure().current_a == pytest.approx(-20, abs=0.2) and pack.contactors is Contactor.CLOSED
    pack.command(Commands(discharge_a=5.0, charge_a=0.0))
    run(pack, 2, -20.0)
    assert pack.truth().current_a == -5
    run(pack, 2, 20.0)
    assert pack.truth().current_a == 0
    pack.command(Commands(closed=False))
    run(pack, 2, -20.0)
    assert pack.contactors is Contactor.OPEN and pack.truth().current_a == 0
    pack.command(Commands())
    pack.step(0.2, -20.0)
    assert pack.contactors is Contactor.PRECHARGE and pack.truth().current_a == 0
    run(pack, 2, -20.0)
    assert pack.truth().current_a == -20
    full = PybammPack(PackSpec(SETS["chen2020"], 2, 1, seed=1, soc=1.0))
    run(full, 40, 5.0)
    assert full.truth().current_a == 0 and full.truth().voltage_v.max() < 4.25


def test_a_stepped_cell_goes_where_the_same_cell_solved_in_one_run_goes():
    time_s = np.arange(0.0, 301.0)
    current_a = np.where((time_s // 60) % 2 < 1, -5.0, 2.0)
    # a step's current holds from its start: the solver's is linear between rows, half a second apart from it
    whole = simulate(SPEC.cell_set, time_s, current_a, np.full(len(time_s), 25.0), 0.7, Draw())
    cell = SteppedCell(SPEC.cell_set, Draw(), 0.7, 25.0)
    volts, degrees = [], []
    for amps in current_a[1:]:
        cell.step(1.0, float(amps), 25.0)
        volts.append(cell.voltage_v)
        degrees.append(cell.temperature_c)
    settled = np.abs(np.diff(current_a)) == 0
    assert np.sqrt(np.mean((np.array(volts) - whole.voltage_v[1:])[settled] ** 2)) < 0.002
    assert abs(degrees[-1] - whole.temperature_c[-1]) < 0.1


def test_a_fault_shows_at_its_cell_from_its_onset_on():
    faults = {"short_constant": 0.8, "joint_loose": 0.02, "cooling_blocked": 0.1}
    packs = {kind: PybammPack(SPEC) for kind in faults}
    for kind, size in faults.items():
        packs[kind].inject(kind, onset_s=20, cell=4, size=size)
        run(packs[kind], 20, -20.0)
    before = {kind: pack.truth().voltage_v for kind, pack in packs.items()}
    for pack in packs.values():
        run(pack, 60, -20.0)
    spread_v = np.ptp(np.delete(before["joint_loose"], 4))
    sag_v = {kind: before[kind][4] - pack.truth().voltage_v[4] for kind, pack in packs.items()}
    others_v = {kind: np.median(np.delete(before[kind] - pack.truth().voltage_v, 4)) for kind, pack in packs.items()}
    assert sag_v["joint_loose"] - others_v["joint_loose"] == pytest.approx(20 * 0.02, rel=0.1) and spread_v < 0.1
    assert sag_v["short_constant"] > others_v["short_constant"] + 0.02
    short = packs["short_constant"].truth()
    assert short.temperature_c[4] > np.delete(short.temperature_c, 4).max() + 3
    assert np.isnan(short.event_s).all(), "PyBaMM has no runaway"


def test_sensors_lie_as_told_and_what_cannot_be_is_refused():
    pack = PybammPack(SPEC)
    pack.inject("voltage_drift", onset_s=2, cell=1, size=0.03)
    pack.inject("probe_drift", onset_s=2, cell=2, size=8.0)
    pack.inject("current_offset", onset_s=2, size=1.5)
    run(pack, 5, 0.0)
    seen, true = pack.measure(), pack.truth()
    assert seen.cell_voltage_v[1] - true.voltage_v[1] == pytest.approx(0.03, abs=0.005)
    assert seen.temperature_c[1] - true.temperature_c[2] == pytest.approx(8, abs=1.2)
    assert seen.current_a == pytest.approx(1.5, abs=0.2)
    for kind, more, word in (
        ("runaway", {}, "no fault called"),
        ("joint_loose", {"cell": 2}, "after the first step"),
        ("voltage_drift", {"cell": 9}, "of 6"),
    ):
        with pytest.raises(ConfigError, match=word):
            pack.inject(kind, onset_s=9, **more)
    hot = PybammPack(PackSpec(SETS["chen2020"], 2, 1, seed=1, ambient_c=70.0))
    hot.inject("short_constant", onset_s=0, cell=0, size=0.5)
    with pytest.raises(ConfigError, match="passed 80 degC"):
        run(hot, 200, 0.0)
