"""What is asked of a cell or a pack against its own past: each kind of change shows in its own number, and nothing moved is nothing said."""

from __future__ import annotations

import numpy as np
import pytest
from snapshots import make_snapshot

from edgebms.cellcard import load_card
from edgebms.config import PackConfig
from edgebms.evidence.measure import Bundle, measure
from edgebms.evidence.past import Past, Scale
from edgebms.evidence.queries import BY_WORD
from edgebms.history.history import History

CELLS, PROBES, SECONDS, CELL, PROBE = 16, 4, 3600, 9, 2
PACK = PackConfig(name="pack", profile="edgebms", card="lg_hg2", cells=CELLS, probes=PROBES)
SCALE = Scale.of(load_card(PACK.card), PACK)
TIME_S = np.arange(SECONDS, dtype=float)
LATE = TIME_S >= SECONDS / 2
SWING_A = 3.0 * np.sign(np.sin(TIME_S / 25.0))


def past_of(current_a: np.ndarray, volts: np.ndarray, warm: np.ndarray | None = None) -> Past:
    """volts (t, cells) and warm (t, probes) beyond a sound pack's."""
    rng = np.random.default_rng(3)
    history = History(CELLS, PROBES)
    ohm = SCALE.resistance_ohm * (1 + 0.03 * rng.standard_normal(CELLS))
    for i, at_s in enumerate(TIME_S):
        cells = 3.7 + ohm * current_a[i] + 3e-4 * rng.standard_normal(CELLS) + volts[i]
        probes = 25.0 + 0.03 * rng.standard_normal(PROBES) + (0.0 if warm is None else warm[i])
        history.push(
            make_snapshot(CELLS, PROBES, seq=i, time_s=float(at_s), voltage_v=cells, temperature_c=probes, current_a=float(current_a[i]))
        )
    return Past.of(history, SCALE)


def of_cell(volts: np.ndarray) -> np.ndarray:
    return volts[:, None] * np.eye(CELLS)[CELL]


def asked(past: Past, word: str) -> Bundle:
    return measure(BY_WORD[word], past)


def test_a_joint_that_loosens_is_a_change_of_resistance_and_no_step() -> None:
    found = asked(past_of(SWING_A, of_cell(0.004 * SWING_A * LATE)), "own_change.outlier.3600s")
    assert found.cell == CELL
    assert found.values[0] == pytest.approx(0.004, rel=0.1)
    assert found.relatives[0] > max(20.0, 3 * abs(found.relatives[1]))


def test_a_cell_of_more_resistance_all_along_is_no_change_even_where_the_current_comes_to_rest() -> None:
    current = np.where(LATE, 0.0, SWING_A)
    found = measure(BY_WORD["own_change.suspect.3600s"], past_of(current, of_cell(0.4 * SCALE.resistance_ohm * current)), CELL)
    assert abs(found.relatives[0]) < 3


def test_a_sense_tap_that_slips_is_a_step() -> None:
    found = asked(past_of(SWING_A, of_cell(0.01 * LATE)), "own_change.outlier.3600s")
    assert found.cell == CELL
    assert found.relatives[1] > max(10.0, 3 * abs(found.relatives[0]))


def test_what_goes_with_the_charge_is_no_drift() -> None:
    moved = np.cumsum(SWING_A + 1.0) / 3600.0 / SCALE.capacity_ah
    along_charge = measure(BY_WORD["own_change.suspect.3600s"], past_of(SWING_A + 1.0, of_cell(0.03 * moved)), CELL)
    along_time = measure(BY_WORD["own_change.suspect.3600s"], past_of(SWING_A, of_cell(0.03 * TIME_S / SECONDS)), CELL)
    assert 0.015 < along_time.values[2] < 0.03  # a ridge shrinks it
    assert abs(along_charge.values[2]) < 0.5 * along_time.values[2]


def test_dips_are_one_sided_and_counted() -> None:
    dips = -0.04 * (TIME_S % 60 < 2)
    past = past_of(SWING_A, of_cell(dips))
    found = asked(past, "voltage_dips.outlier.300s")
    assert found.cell == CELL
    assert found.values[0] == pytest.approx(0.04, rel=0.2)
    assert found.values[1] > 0.5
    assert found.values[2] == pytest.approx(2 / 60, abs=0.01)
    assert asked(past_of(SWING_A, of_cell(-dips)), "voltage_dips.outlier.300s").values[2] == 0.0


def test_a_current_that_changes_within_a_sweep_is_no_dip() -> None:
    """Cells are read one after the other: those before the change stand against those behind it. A dip of one cell is told as before."""
    rng = np.random.default_rng(8)
    steps = np.repeat(rng.choice([-3.0, -1.0, 1.0, 3.0], SECONDS // 7 + 1), 7)[:SECONDS]
    change = np.append(0.0, np.diff(steps))
    before = np.arange(CELLS) < rng.integers(2, CELLS - 1, SECONDS)[:, None]  # two at least on either side: of one alone nobody can tell
    swept_v = np.where(before, -2.0 * SCALE.resistance_ohm * change[:, None], 0.0)
    dips = np.where((TIME_S % 190 > 5) & (TIME_S % 190 < 9), -0.08, 0.0)
    swept = asked(past_of(steps, swept_v), "voltage_dips.outlier.300s")
    dipped = asked(past_of(steps, swept_v + of_cell(dips)), "voltage_dips.outlier.300s")
    assert swept.values[2] == 0.0
    assert abs(swept.relatives[0]) < 4
    assert dipped.cell == CELL
    assert dipped.relatives[0] > 8
    assert asked(past_of(steps, swept_v), "voltage_steps.outlier.300s").relatives[:3] == pytest.approx(0.0, abs=6)


def test_a_peak_that_is_over_is_remembered() -> None:
    warm = 40.0 * np.exp(-(((TIME_S - 1500.0) / 120.0) ** 2))
    found = asked(past_of(SWING_A, np.zeros((SECONDS, CELLS)), warm[:, None] * np.eye(PROBES)[PROBE]), "thermal_peak.outlier.3600s")
    assert SCALE.probe_of_cell[found.cell] == PROBE
    assert found.values[0] == pytest.approx(65.0, abs=1.0)
    assert found.values[2] == pytest.approx(60 * 40.0 / 120.0 * np.sqrt(2 / np.e), rel=0.1)


def test_a_pack_that_lost_its_cooling_bends_upwards() -> None:
    sound = 6.0 * (1 - np.exp(-TIME_S / 1200.0))
    lost = np.where(LATE, sound[SECONDS // 2] + 8.0 * (TIME_S - SECONDS / 2) / 1800.0, sound)
    bends = [
        asked(past_of(SWING_A, np.zeros((SECONDS, CELLS)), np.repeat(warm[:, None], PROBES, axis=1)), "heat_balance.pack.3600s").values
        for warm in (sound, lost)
    ]
    assert bends[0][2] < 0 < bends[1][2]
    assert 13.0 < bends[1][1] < 16.0  # a ridge shrinks it


def test_an_offset_shows_where_the_current_should_rest_at_zero() -> None:
    rests = np.where(TIME_S % 600 < 200, 0.0, SWING_A)
    flat = np.zeros((SECONDS, CELLS))
    sound = asked(past_of(rests, flat), "current_at_rest.pack.3600s")
    off = asked(past_of(rests + 0.1 * LATE, flat), "current_at_rest.pack.3600s")
    assert np.abs(sound.values[:3]).max() < 1e-6
    assert off.values[0] == pytest.approx(0.0, abs=1e-6)
    assert off.values[1:3] == pytest.approx(0.1 / SCALE.capacity_ah, rel=1e-3)
    assert np.isnan(asked(past_of(SWING_A + TIME_S * 0.01, flat), "current_at_rest.pack.3600s").values[0])
