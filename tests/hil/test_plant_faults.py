"""Each fault leaves the signature that is known of it; each look-alike leaves its own and nothing worse.

All kinds run once, side by side with their twins; what is compared is what the sensors measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgebms.cellcard import load_card
from edgebms.vocabulary import Cause
from hil.plant.curves import from_card
from hil.plant.detect import Seen
from hil.plant.draws import BatchDraw
from hil.plant.episodes import Cast, Mix, Plan, perform, stage
from hil.plant.faults import FAULTS, KINDS, LOOK_ALIKES, draw_fault
from hil.plant.live import TYPICAL
from hil.plant.loads import LOADS as MAKERS
from hil.plant.world import World

CARD, CELLS, PROBES, CELL = "lg_hg2", 16, 16, 6
HOURS = 0.6
ONSET_S = 400.0
SIZES = {
    "short_constant": 2.0, "short_decaying": 0.15, "short_probe_lost": 0.15, "short_micro": 0.06, "short_outside_group": 0.02,
    "short_outside_pack": 0.02, "voltage_drift": -0.03, "voltage_tap": 0.02, "probe_drift": 8.0, "current_offset": 0.5, "joint_loose": 0.004,
    "overcharge": 0.3, "over_discharge": 0.6, "cooling_failure": 0.1, "cooling_blocked": 0.1, "plating": 0.2, "imbalance": 0.05,
    "insulation_loss": 1e4, "heater_stopped": 90.0, "over_current": 2.0, "sun_on_one_side": 6.0, "balancing": 0.1, "weak_cell": 0.85, "damp_day": 4e6,
}  # fmt: skip
TAUS = {
    "short_decaying": 60.0,
    "short_probe_lost": 60.0,
    "short_outside_group": 5.0,
    "voltage_drift": 60.0,
    "joint_loose": 1.0,
    "insulation_loss": 1.0,
}
LOADS = {"joint_loose": "heavy", "weak_cell": "heavy", "connector_warm": "heavy", "voltage_stuck": "drive", "short_outside_pack": "rest"}


@dataclass(frozen=True)
class Runs:
    kinds: list[str]
    seen: Seen
    world: World
    of: np.ndarray

    def rows(self, kind: str) -> tuple[int, int]:
        """(the pack with the fault, its healthy twin)"""
        row = self.kinds.index(kind)
        return row, len(self.kinds) + [int(i) for i in self.of[len(self.kinds) :]].index(row)

    def apart(self, kind: str, name: str) -> np.ndarray:
        """What was measured less what the twin measured, (t, ...)."""
        row, twin = self.rows(kind)
        array = getattr(self.seen, name).astype(float)
        return array[:, row] - array[:, twin]

    def after(self, seconds: float) -> int:
        return int(np.searchsorted(self.seen.time_s, ONSET_S + seconds))


@pytest.fixture(scope="module")
def runs() -> Runs:
    plan = Plan(seed=11, hours=HOURS, period_s=1.0)
    ranges = replace(TYPICAL, parallel=(2.0, 2.0), soc=(0.6, 0.6), ambient_c=(22.0, 22.0), cooled=("air",))
    shared = BatchDraw(CARD, CELLS, PROBES, 1.0)
    curves = from_card(load_card(CARD))
    cast = []
    for i, kind in enumerate(KINDS):
        mix = Mix(0.0, 1.0 if kind in LOOK_ALIKES else 0.0, (kind,))
        part = Cast.of(replace(plan, mix=mix, ranges=ranges), curves, shared, 0, i)
        assert part.kind == kind and part.fault is not None
        row = KINDS[kind]
        where = {"cell": CELL} if row.where == "cell" else {}
        part.fault = replace(
            part.fault,
            onset_s=0.0 if row.onset_0 else ONSET_S,
            size=SIZES.get(kind, part.fault.size),
            tau_s=TAUS.get(kind, part.fault.tau_s),
            probe=-1 if row.where == "pack" else CELL,
            seed=4,
            **where,
        )
        if kind in LOADS:
            part.request = (MAKERS[LOADS[kind]](np.random.default_rng(i), len(part.request)) * curves.capacity_ah * 2).astype(np.float32)
        cast.append(part)
    world, of = stage(curves, shared, cast)
    world.control.hot_cut[:] = 1.0
    seen, _ = perform(plan, world, shared, cast, of)
    kinds = [part.kind for part in cast]
    return Runs(kinds, seen, world, of)


def others(values: np.ndarray) -> np.ndarray:
    return np.delete(values, CELL, axis=-1)


def test_before_the_onset_the_twin_is_the_pack(runs):
    for kind in FAULTS:
        if not KINDS[kind].onset_0:
            until = int(ONSET_S) - 1
            assert np.nanmax(np.abs(runs.apart(kind, "cell_voltage_v")[:until])) == 0.0, kind
            assert np.nanmax(np.abs(runs.apart(kind, "temperature_c")[:until])) == 0.0, kind


def test_an_internal_short_falls_behind_and_warms(runs):
    volts, kelvin = runs.apart("short_constant", "cell_voltage_v"), runs.apart("short_constant", "temperature_c")
    end = runs.after(600)
    assert volts[end, CELL] < -0.02
    assert np.abs(others(volts[end])).max() < 0.01
    assert kelvin[end].argmax() == CELL
    assert kelvin[end, CELL] > 5


def test_a_decaying_short_ends_in_runaway(runs):
    row, twin = runs.rows("short_decaying")
    state = runs.world.packs.state
    assert np.isfinite(state.event_s[row, CELL])
    assert np.nanargmin(state.event_s[row]) == CELL
    assert np.isnan(state.event_s[twin]).all()


def test_a_probe_is_lost_in_the_middle_of_the_event(runs):
    row, _ = runs.rows("short_probe_lost")
    probe = runs.seen.temperature_c[:, row, CELL]
    lost = int(np.flatnonzero(np.isnan(probe))[0])
    assert probe[lost - 1] > 50
    assert np.isnan(probe[lost:]).all()
    assert np.isfinite(runs.world.packs.state.event_s[row, CELL])


def test_a_micro_short_dips_and_recovers(runs):
    volts = runs.apart("short_micro", "cell_voltage_v")[runs.after(0) :, CELL]
    assert volts.min() < -0.02
    assert np.median(volts) > -0.01
    assert 0.005 < (volts < -0.015).mean() < 0.2


def test_a_short_outside_a_group_collapses_its_voltage_unseen_by_the_shunt(runs):
    volts = runs.apart("short_outside_group", "cell_voltage_v")
    at = runs.after(3)
    assert volts[at, CELL] < -0.5
    assert np.abs(others(volts[at])).max() < 0.2
    assert np.isnan(runs.seen.current_a).sum() == 0
    assert volts[runs.after(60), CELL] > -0.3  # it has burnt off


def test_a_short_across_the_pack_blows_the_fuse(runs):
    row, _ = runs.rows("short_outside_pack")
    current = runs.seen.current_a[:, row]
    assert current[runs.after(0) : runs.after(3)].min() < -50
    assert np.abs(current[runs.after(10) :]).max() < 0.5
    assert runs.apart("short_outside_pack", "cell_voltage_v")[runs.after(2)].max() < -0.3


@pytest.mark.parametrize(
    "kind", ["voltage_drift", "voltage_tap", "voltage_stuck", "probe_stuck", "probe_drift", "probe_open", "current_offset"]
)
def test_a_sensor_fault_makes_no_heat(runs, kind):
    row, twin = runs.rows(kind)
    assert runs.world.packs.state.temperature_c[row] == pytest.approx(runs.world.packs.state.temperature_c[twin], abs=1e-9)
    assert runs.world.packs.state.soc[row] == pytest.approx(runs.world.packs.state.soc[twin], abs=1e-12)


def test_sensors_go_wrong_as_known(runs):
    end = -1
    assert runs.apart("voltage_drift", "cell_voltage_v")[end, CELL] == pytest.approx(-0.03, abs=0.003)
    tap = runs.apart("voltage_tap", "cell_voltage_v")[end]
    assert tap[CELL] == pytest.approx(0.02, abs=0.003)
    assert tap[CELL + 1] == pytest.approx(-0.02, abs=0.003)
    row, _ = runs.rows("voltage_stuck")
    assert np.ptp(runs.seen.cell_voltage_v[runs.after(2) :, row, CELL]) == 0
    assert np.ptp(runs.seen.cell_voltage_v[runs.after(2) :, row, CELL + 1]) > 0.02
    row, _ = runs.rows("probe_stuck")
    assert np.ptp(runs.seen.temperature_c[runs.after(2) :, row, CELL]) == 0
    assert runs.apart("probe_drift", "temperature_c")[end, CELL] > 2
    row, _ = runs.rows("probe_open")
    assert np.isnan(runs.seen.temperature_c[end, row, CELL])
    assert runs.apart("current_offset", "current_a")[end] == pytest.approx(0.5, abs=0.02)


def test_a_loose_joint_follows_the_current_and_is_gone_at_rest(runs):
    _row, twin = runs.rows("joint_loose")
    volts = runs.apart("joint_loose", "cell_voltage_v")[runs.after(5) :, CELL]
    current = runs.seen.current_a[runs.after(5) :, twin]
    early = slice(0, 400)
    slope = np.polyfit(current[early], volts[early], 1)[0]
    assert slope == pytest.approx(0.004, rel=0.15)
    assert runs.apart("joint_loose", "temperature_c")[-1].argmax() == CELL
    assert runs.apart("joint_loose", "temperature_c")[-1, CELL] > 0.3


def test_charge_and_discharge_go_past_the_limits(runs):
    high, low = runs.world.packs.curves.voltage_max_v, runs.world.packs.curves.voltage_min_v
    for kind, beyond in (("overcharge", lambda v: v.max() - high), ("over_discharge", lambda v: low - v.min())):
        row, twin = runs.rows(kind)
        volts = runs.seen.cell_voltage_v
        assert beyond(volts[:, row]) > 0.05, kind
        assert beyond(volts[:, twin]) < 0.0, kind


def test_a_site_leaves_a_reserve_in_its_cells_that_an_over_discharge_takes(runs):
    row, twin = runs.rows("over_discharge")
    left = runs.world.packs.state.soc
    assert left[row].min() < 0.0 < 0.045 < left[twin].min() < 0.07


def test_lost_cooling_warms_without_moving_the_voltages(runs):
    kelvin = runs.apart("cooling_failure", "temperature_c")[-1]
    assert kelvin.min() > 0.5
    local = runs.apart("cooling_blocked", "temperature_c")[-1]
    assert abs(int(local.argmax()) - CELL) <= 1
    assert local[CELL] > 0.3 > local[CELL - 5]
    before_the_charger_gives_less = slice(1000, 1300)
    apart_v = runs.apart("cooling_failure", "cell_voltage_v")[before_the_charger_gives_less]
    assert np.abs(np.median(apart_v, axis=0)).max() < 0.03
    row, twin = runs.rows("cooling_failure")
    assert 0 < runs.seen.current_a[1600, row] < runs.seen.current_a[1600, twin], "the site charges less where the card's limit is near"


def test_plated_lithium_holds_the_rest_voltage_up(runs):
    volts = runs.apart("plating", "cell_voltage_v")
    rest = slice(int(HOURS * 3600 * 0.75), int(HOURS * 3600 * 0.8))
    assert 0.004 < np.median(volts[rest, CELL]) < 0.03
    assert np.abs(np.median(others(volts[rest]), axis=0)).max() < 0.003


def test_an_imbalance_is_a_constant_charge(runs):
    row, twin = runs.rows("imbalance")
    state = runs.world.packs.state
    assert state.soc[row, CELL] - state.soc[twin, CELL] == pytest.approx(0.05, abs=0.002)
    assert runs.apart("imbalance", "cell_voltage_v")[60, CELL] > 0.01


def test_heat_without_runaway_vents_or_only_warms(runs):
    state = runs.world.packs.state
    row, _ = runs.rows("vent_only")
    assert state.vented[row, CELL]
    assert runs.seen.gas[-1, row] > 0.1
    assert runs.seen.gas[int(ONSET_S), row] == 0
    row, _twin = runs.rows("heater_stopped")
    assert 85 < np.nanmax(runs.seen.temperature_c[:, row]) < 95
    assert np.isnan(state.event_s[row]).all()
    assert not state.vented[row].any()


def test_runaway_under_a_heater_and_its_spread(runs):
    state = runs.world.packs.state
    row, _ = runs.rows("heater_runaway")
    assert np.nanargmin(state.event_s[row]) == CELL
    row, _ = runs.rows("propagation")
    events = state.event_s[row]
    assert np.isfinite(events).sum() >= 3
    # from neighbour to neighbour, later the farther
    assert events[CELL] < events[CELL + 1]
    reached = [cell for cell in range(CELL, CELLS) if np.isfinite(events[cell])]
    assert (np.diff(events[reached]) >= 0).all()


def test_current_and_insulation(runs):
    row, twin = runs.rows("over_current")
    after = runs.after(5)
    assert np.abs(runs.seen.current_a[after : after + 300, row]).max() > 1.5 * np.abs(runs.seen.current_a[after : after + 300, twin]).max()
    assert np.isfinite(runs.world.control.discharge_a[twin, 0]) and np.isinf(runs.world.control.discharge_a[row, 0])
    row, _ = runs.rows("insulation_loss")
    assert runs.seen.insulation_ohm[-1, row] == pytest.approx(1e4, rel=0.05)
    assert runs.seen.insulation_ohm[int(ONSET_S) - 5, row] > 1e6


def test_look_alikes_are_benign_and_show_what_they_mimic(runs):
    state, seen = runs.world.packs.state, runs.seen
    for kind in LOOK_ALIKES:
        row = runs.kinds.index(kind)
        assert KINDS[kind].cause is Cause.HEALTHY and KINDS[kind].mimics in FAULTS
        assert np.isnan(state.event_s[row]).all(), kind
        assert not state.vented[row].any(), kind
        assert np.nanmax(seen.temperature_c[:, row]) < 66, kind
        assert np.nanmax(seen.cell_voltage_v[:, row]) < runs.world.packs.curves.voltage_max_v + 0.03, kind
    balanced = runs.kinds.index("balancing")
    assert 2 <= (state.leak_a[balanced] > 0).sum() <= 5
    sunny = seen.temperature_c[-1, runs.kinds.index("sun_on_one_side")]
    assert sunny[:3].mean() - sunny[-3:].mean() > 1
    cell = seen.cell_voltage_v[:, runs.kinds.index("cell_reconnected"), CELL]
    assert 5 < np.isnan(cell).sum() < 130
    assert np.isfinite(cell[-1])
    damp = seen.insulation_ohm[:, runs.kinds.index("damp_day")]
    assert 5e5 < damp[-1] < 0.8 * damp[int(ONSET_S) - 5]
    weak = seen.cell_voltage_v[:, runs.kinds.index("weak_cell")]
    assert weak.std(axis=0).argmax() == CELL


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_draws_come_from_the_seed_and_stay_in_range(kind):
    row = KINDS[kind]
    probe_of = tuple(cell // 2 for cell in range(32))
    drawn = [draw_fault(np.random.default_rng(seed), kind, 32, probe_of, 1.0, 3600.0) for seed in range(40)]
    again = draw_fault(np.random.default_rng(7), kind, 32, probe_of, 1.0, 3600.0)
    assert again == drawn[7]
    low, high = row.size
    assert all(low * 0.999 <= abs(fault.size) <= high * 1.001 for fault in drawn)
    assert {fault.size > 0 for fault in drawn} == ({True, False} if row.signed else {low > 0})
    assert all(fault.cell >= 0 for fault in drawn) == (row.where == "cell")
    assert all(0 <= fault.onset_s < 3600 for fault in drawn)


def test_the_page_names_every_kind():
    page = (Path(__file__).resolve().parents[2] / "docs" / "plant.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
