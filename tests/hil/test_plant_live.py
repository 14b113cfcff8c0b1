"""One pack as the rig steps it: what the BMS commands has its effect."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edgebms.errors import CardError, ConfigError
from edgebms.vocabulary import Contactor
from hil.plant.faults import KINDS
from hil.plant.interface import Commands, PlantPack
from hil.plant.live import LivePack, PackSpec
from hil.plant.sense import Schedule

SPEC = PackSpec("lg_hg2", 16, 8, seed=1, parallel=4.0, soc=0.6)


def run(pack: PlantPack, seconds: int, request_a: float, step_s: float = 1.0) -> None:
    for _ in range(round(seconds / step_s)):
        pack.step(step_s, request_a)


def test_open_contactors_stop_the_current_and_precharge_comes_before_closed():
    pack = LivePack(SPEC)
    run(pack, 5, -20.0)
    assert pack.measure().current_a == pytest.approx(-20, abs=0.5)
    assert pack.contactors is Contactor.CLOSED
    pack.command(Commands(closed=False))
    run(pack, 5, -20.0)
    seen = pack.measure()
    assert seen.contactors is Contactor.OPEN
    assert seen.current_a == pytest.approx(0, abs=0.2)
    pack.command(Commands(closed=True))
    states = []
    for _ in range(30):
        pack.step(0.1, -20.0)
        states.append((pack.contactors, pack.truth().current_a))
    assert states[0] == (Contactor.PRECHARGE, 0.0)
    assert states[-1] == (Contactor.CLOSED, -20.0)


def test_welded_contactors_do_not_open():
    pack = LivePack(SPEC)
    pack.weld()
    pack.command(Commands(closed=False))
    run(pack, 5, -20.0)
    assert pack.truth().current_a == pytest.approx(-20)
    assert pack.contactors is Contactor.CLOSED


def test_limits_bite():
    pack = LivePack(SPEC)
    pack.command(Commands(charge_a=3.0, discharge_a=5.0))
    run(pack, 3, -20.0)
    assert pack.truth().current_a == pytest.approx(-5)
    run(pack, 3, 20.0)
    assert pack.truth().current_a == pytest.approx(3)
    pack.command(Commands(charge_a=0.0))
    run(pack, 3, 20.0)
    assert pack.truth().current_a == 0


def test_charging_ends_at_constant_voltage():
    pack = LivePack(replace(SPEC, soc=0.93))
    run(pack, 3600, 5.0)
    truth = pack.truth()
    assert truth.voltage_v.max() == pytest.approx(4.2, abs=0.02)
    assert 0 <= truth.current_a < 2.5
    assert truth.soc.min() > 0.96


def test_cooling_cools_and_balancing_balances():
    hot = [LivePack(replace(SPEC, cooled="liquid", ambient_c=27.0)) for _ in range(2)]
    hot[0].command(Commands(cool=True, balance=(2, 3)))
    for pack in hot:
        run(pack, 1500, -8.0)
    cooled, left = hot[0].truth(), hot[1].truth()
    assert cooled.temperature_c.mean() < left.temperature_c.mean() - 0.5
    lost = left.soc - cooled.soc
    assert lost[[2, 3]].min() > 0.008
    assert np.abs(np.delete(lost, [2, 3])).max() < 0.002
    assert hot[0].measure().balancing.tolist() == [index in (2, 3) for index in range(16)]
    hot[0].command(Commands())
    assert not hot[0].measure().balancing.any()


def test_a_fault_comes_when_it_is_due_and_the_truth_tells_of_the_event():
    pack = LivePack(SPEC)
    fault = pack.inject("short_decaying", onset_s=60.0, cell=4, size=0.08, tau_s=60.0)
    assert (fault.cell, fault.cause) == (4, KINDS["short_decaying"].cause)
    healthy = LivePack(SPEC)
    for each in (pack, healthy):
        run(each, 59, -4.0)
    assert np.array_equal(pack.truth().voltage_v, healthy.truth().voltage_v)
    run(pack, 1100, -4.0)
    events = pack.truth().event_s
    assert np.nanargmin(events) == 4
    assert 100 < events[4] < 1100
    assert pack.measure().gas > 0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_injected(kind):
    pack = LivePack(SPEC)
    pack.inject(kind, onset_s=2.0)
    run(pack, 30, -4.0)
    assert np.isfinite(pack.truth().temperature_c).all()


def test_same_seed_same_pack_and_a_sweep_as_the_profile_has_it():
    schedule = Schedule(5.4, np.repeat(np.arange(4) * 1.35, 4), np.linspace(0, 5.0, 8))
    runs = []
    for _ in range(2):
        pack = LivePack(replace(SPEC, schedule=schedule))
        rows = []
        for second in range(120):
            pack.step(0.5, -10.0 * np.sin(second / 9.0))
            rows.append(pack.measure().cell_voltage_v)
        runs.append(np.array(rows))
    assert np.array_equal(runs[0], runs[1], equal_nan=True)


def test_what_cannot_be_simulated_is_said():
    with pytest.raises(CardError):
        LivePack(replace(SPEC, card="nothing"))
    with pytest.raises(ConfigError, match="probe"):
        LivePack(replace(SPEC, probes=99))
    with pytest.raises(ConfigError, match="cooling"):
        LivePack(replace(SPEC, cooled="ice"))
    pack = LivePack(SPEC)
    with pytest.raises(ConfigError, match="no fault called"):
        pack.inject("gremlin", onset_s=0.0)
    with pytest.raises(ConfigError, match="cell 41 of 16"):
        pack.inject("short_constant", onset_s=0.0, cell=40)


BURNT = """
from hil.plant.live import LivePack, PackSpec

pack = LivePack(PackSpec("lg_hg2", 6, 3, seed=1, parallel=4.0, soc=0.8))
pack.inject("short_decaying", onset_s=5.0, cell=2, size=0.05, tau_s=20.0)
for _ in range(400):
    pack.step(1.0, -10.0)
truth, measured = pack.truth(), pack.measure()
print([array.tolist() for array in (truth.voltage_v, truth.temperature_c, truth.soc, truth.event_s, measured.cell_voltage_v)])
"""


def test_compiled_and_plain_loops_are_the_same_plant():
    """The virtual machine's rig runs them as plain Python (hil/plant/compiled.py)."""
    told = {}
    for off in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": off}
        done = subprocess.run([sys.executable, "-c", BURNT], env=environment, capture_output=True, text=True, timeout=100, check=True)
        told[off] = done.stdout
    assert told["0"] == told["1"]
    _, temperature_c, _, event_s, _ = eval(told["0"], {"nan": float("nan")})
    assert max(temperature_c) > 300 and event_s[2] > 5, "it has to burn to say much"
