"""Frozen signals, the sum of the cells, and the runaway view: on made-up values and on recorded cars."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from shared_data import needed, shared

from edgebms.telemetry.quality import AllFrozenWatch, FrozenWatch, SumCheck
from edgebms.telemetry.runaway_view import detection_s, worst_s

S = 1_000_000_000


def drive(cells: int, seconds: int, step_v: float, seed: int = 1) -> np.ndarray:
    """(seconds, cells): cells under a changing load, rounded to step_v."""
    random = np.random.default_rng(seed)
    load = np.cumsum(random.normal(0, 0.01, seconds))
    volts = 3.7 + load[:, None] - load.mean() + random.normal(0, 0.004, cells)
    return np.round(volts / step_v) * step_v


@pytest.mark.parametrize("step_v", [0.0001, 0.001, 0.01])
def test_a_cell_that_stands_while_the_others_move_is_frozen_and_the_others_are_not(step_v: float) -> None:
    volts = drive(16, 600, step_v)
    volts[200:500, 5] = volts[200, 5]
    watch = FrozenWatch(16, 60, 0.03, 1.0)
    seen = np.zeros((600, 16), dtype=bool)
    for second, row in enumerate(volts):
        watch.step(row, second * S)
        seen[second] = watch.frozen
    assert not seen[:260].any()
    assert seen[350:500, 5].all()
    assert not seen[501:, 5].any()
    assert not np.delete(seen, 5, axis=1).any()


@pytest.mark.parametrize("step_v", [0.001, 0.01])
def test_a_pack_at_rest_is_not_frozen(step_v: float) -> None:
    random = np.random.default_rng(2)
    watch = FrozenWatch(16, 60, 0.03, 1.0)
    base = 3.7 + random.normal(0, 0.02, 16)
    for second in range(3600):
        watch.step(np.round(base / step_v) * step_v, second * S)
        assert not watch.any


def held_charge(cells: int, seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """LFP near full: (seconds, cells) volts and (seconds,) A of a charger that holds cell 3 and takes its current back, then rest."""
    time_s = np.arange(seconds)
    current_a = np.where(time_s < 100, 20.0, np.maximum(20.0 * np.exp(-(time_s - 100) / 60.0), 0.1))
    volts = 3.38 + 0.004 * current_a[:, None] + np.linspace(0, 0.004, cells) + np.minimum(time_s, 100)[:, None] * 1e-4
    volts[:, 3] = np.minimum(3.5 + 0.001 * time_s, 3.6)
    return np.round(volts, 3), current_a


def test_the_cell_that_a_charger_holds_stands_and_is_not_frozen() -> None:
    volts, current_a = held_charge(16, 900)
    watch, unasked = FrozenWatch(16, 60, 0.03, 1.0), FrozenWatch(16, 60, 0.03, 1.0)
    for second, row in enumerate(volts):
        watch.step(row, second * S, float(current_a[second]))
        assert not watch.any, second
        unasked.step(row, second * S)
        if second == 400:
            assert unasked.frozen[3], "without the current it looks frozen"


@pytest.mark.parametrize("turn", ["discharge", "passed", "steady"])
def test_a_held_cell_that_stands_on_is_found(turn: str) -> None:
    """When the load turns, when another cell passes it, and where the current does not ease."""
    volts, current_a = held_charge(16, 900)
    after = np.arange(900) >= 500
    if turn == "discharge":
        current_a[after] = -20.0
        volts[after] -= 0.1
    elif turn == "passed":
        volts[after] -= 0.1
        volts[after, 5] = 3.65
    else:
        current_a[:] = 20.0
    volts[after, 3] = 3.6
    watch = FrozenWatch(16, 60, 0.03, 1.0)
    found = []
    for second, row in enumerate(np.round(volts, 3)):
        watch.step(row, second * S, float(current_a[second]))
        found.append(bool(watch.frozen[3]))
    assert any(found) and (turn == "steady" or 500 < found.index(True) <= 570)


@pytest.mark.parametrize("stuck", [False, True])
def test_a_load_that_steps_within_a_sweep_makes_no_cell_frozen_and_hides_none(stuck: bool) -> None:
    """A site's charger holds the pack: the cell read behind the step is of it, the median of most cells read before it, once. Then a cell may
    stand bit for bit for minutes; one whose value is stuck is found once the load goes elsewhere."""
    random = np.random.default_rng(4)
    watch = FrozenWatch(16, 60, 0.03, 10.0)
    found = []
    for sweep in range(60):
        held = 10 <= sweep < 40
        volts = (3.53 if held else 3.40 + 0.02 * np.sin(sweep) - 0.1 * (sweep >= 40)) + random.choice([0.0, 0.0015], 16)
        if sweep == 10:
            volts[:10] = 3.40
        if held or (stuck and sweep >= 40):
            volts[12] = 3.534
        watch.step(volts, sweep * 10 * S, 0.8 if held else -5.0)
        found.append(np.flatnonzero(watch.frozen).tolist())
    assert not any(found[:41])
    assert ([12] in found[41:50]) == stuck


def test_a_pack_without_probes_or_with_nothing_known_has_nothing_frozen() -> None:
    for volts in (np.zeros(0), np.full(16, np.nan)):
        watch = FrozenWatch(volts.size, 60, 0.03, 1.0)
        for second in range(200):
            watch.step(volts, second * S, 5.0)
            assert not watch.any


def test_unknown_cells_are_not_frozen() -> None:
    volts = drive(16, 400, 0.001)
    volts[:, 3] = np.nan
    watch = FrozenWatch(16, 60, 0.03, 1.0)
    for second, row in enumerate(volts):
        watch.step(row, second * S)
        assert not watch.frozen[3]


def test_a_pack_that_repeats_itself_while_the_current_moves_is_frozen() -> None:
    watch = AllFrozenWatch(60, 50)
    volts = np.full(16, 3.7)
    assert not any(watch.step(volts, 0.0, second * S) for second in range(300))  # at rest
    assert not any(watch.step(volts, 40.0, second * S) for second in range(300, 350))
    assert watch.step(volts, -20.0, 350 * S)
    assert not watch.step(volts + 0.001, -20.0, 351 * S)
    assert not any(watch.step(volts, -20.0, second * S) for second in range(352, 400))


def test_a_sum_must_be_off_for_its_hold_time() -> None:
    check = SumCheck(1.0, 0.02, 10, 0.1)
    volts, reason = np.full(16, 3.7), np.zeros(16, dtype=np.uint8)
    limit = 59.2 / 0.98 + 1.0 / 0.98
    assert not any(check.step(volts, reason, limit - 0.01, second * S) for second in range(30))
    assert [check.step(volts, reason, limit + 0.01, second * S) for second in range(30, 42)] == [False] * 10 + [True] * 2
    assert not check.step(volts, reason, float("nan"), 43 * S)
    assert not check.step(volts, reason, limit + 0.01, 44 * S)
    slow = SumCheck(1.0, 0.02, 10, 30)
    assert [slow.step(volts, reason, limit + 0.01, second * S) for second in range(0, 120, 30)] == [False, False, False, True]


def sweeps(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(time_s, cells, probes, pack voltage) of a recorded day."""
    parquet = needed("pyarrow.parquet")
    table = parquet.read_table(path)

    def columns(pattern: str) -> np.ndarray:
        names = sorted(name for name in table.column_names if re.fullmatch(pattern, name))
        return np.round(np.column_stack([table[name].to_numpy(zero_copy_only=False) for name in names]).astype(float), 5)

    time_s, voltage_v = (table[name].to_numpy(zero_copy_only=False).astype(float) for name in ("test_time_second", "voltage_volt"))
    return time_s, columns(r"cell_voltage_\d{3}"), columns(r"temperature_\d{3}"), voltage_v


@pytest.mark.parametrize(("day", "period_s"), [("car1_2021-05-05", 1.0), ("car3_2019-04-29", 10.0), ("car3_2019-05-08", 10.0)])
def test_recorded_cars_are_neither_frozen_nor_off_their_sum(day: str, period_s: float) -> None:
    """The settings of catalogue/profiles/edgebms.toml on days of the train split, on which they were chosen."""
    time_s, cells, probes, voltage_v = sweeps(shared(f"data/fault/train/baticm_ev/{day}.parquet"))
    cell_watch = FrozenWatch(cells.shape[1], 60, 0.03, period_s)
    probe_watch = FrozenWatch(probes.shape[1], 300, 6, period_s)
    check = SumCheck(1.0, 0.02, 10, period_s)
    checked = 0
    for row, at in enumerate(time_s):
        now_ns = int(at * 1e9)
        cell_watch.step(cells[row], now_ns)
        probe_watch.step(probes[row], now_ns)
        unknown = np.isnan(cells[row]).astype(np.uint8)
        assert not cell_watch.any, (day, row)
        assert not probe_watch.any, (day, row)
        assert not check.step(cells[row], unknown, float(voltage_v[row]), now_ns), (day, row)
        checked += not unknown.any()
    medians = np.nanmedian(cells, axis=1)
    rows = round(60 / period_s)
    assert np.count_nonzero(np.abs(medians[rows:] - medians[:-rows]) > 0.03) > 50  # loads that would show a frozen cell
    assert checked > 0.9 * len(time_s)


@pytest.mark.parametrize("day", ["car1_2021-05-05", "car3_2019-04-29"])
def test_a_cell_frozen_into_a_recorded_drive_is_found(day: str) -> None:
    period_s = 1.0 if day.startswith("car1") else 10.0
    _, cells, _, _ = sweeps(shared(f"data/fault/train/baticm_ev/{day}.parquet"))
    medians = np.nanmedian(cells, axis=1)
    rows = round(60 / period_s)
    start = int(np.argmax(np.abs(medians[rows:] - medians[:-rows]) > 0.05))  # a drive
    frozen = cells[start : start + 600].copy()
    frozen[:, 7] = frozen[0, 7]
    watch = FrozenWatch(cells.shape[1], 60, 0.03, period_s)
    found = []
    for row, values in enumerate(frozen):
        watch.step(values, int(row * period_s * 1e9))
        found.append(bool(watch.frozen[7]))
        assert not np.delete(watch.frozen, 7).any()
    assert any(found)
    assert found.index(True) * period_s <= 300


def test_runaway_view_formula() -> None:
    # a sample every 0.1 s: the first that can show the rise, 31 more for over 3 s, and the snapshot's own period
    assert detection_s(0.1, 0.1) == pytest.approx(0.1 * 32 + 0.1)
    assert detection_s(1.0, 1.0) == pytest.approx(1 + 4 + 1)
    assert detection_s(6.0, 0.1) == pytest.approx(6 + 6 + 0.1)
    # foxBMS 2: the sweep alone takes 12.1 s, the broadcast maximum sees the hottest after 3.3 s
    assert worst_s(6.0, 0.1, 0.0, 0.1) == pytest.approx(3.3)
    assert worst_s(6.0, 0.1, 5.0, 0.1) == pytest.approx(8.3)
    assert worst_s(6.0, 0.1, 40.0, 0.1) == pytest.approx(12.1)
    assert worst_s(6.0, float("inf"), float("nan"), 0.1) == pytest.approx(12.1)
    assert worst_s(float("inf"), float("inf"), float("nan"), 0.1) == float("inf")


@pytest.mark.parametrize("sample_s", [0.1, 0.5, 1.0, 2.0, 6.0])
def test_runaway_view_bounds_what_a_simulated_rise_shows(sample_s: float) -> None:
    """Worst case over all phases of the sampling, by brute force."""
    worst = 0.0
    for phase in np.linspace(0.001, sample_s, 50):
        at = phase + sample_s * np.arange(100)
        rising = at  # samples after the onset at 0; the first of them starts the run
        held = rising[rising - rising[0] > 3.0 + 1e-9]
        worst = max(worst, float(held[0]))
    assert worst <= detection_s(sample_s, 0.0) + 1e-6
    assert worst > detection_s(sample_s, 0.0) - sample_s * 1.05
