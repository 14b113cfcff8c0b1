"""A cell that is read wrongly is told from one of another charge, once the pack has been through slopes of its curve that differ."""

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

CELLS, CELL, PERIOD_S = 16, 5, 60.0
PACK = PackConfig(name="pack", profile="edgebms", card="generic_lfp", cells=CELLS, probes=4)
SCALE = Scale.of(load_card(PACK.card), PACK)
OFFSET_V, APART_SOC = 0.008, -0.02


def asked(offset_v: float, apart_soc: float, hours: float = 20.0) -> Bundle:
    """A pack that is emptied from 95 % to 20 % and filled again; one cell is read wrongly, or stands apart in charge."""
    rng = np.random.default_rng(2)
    history = History(CELLS, 4)
    steps = int(hours * 3600 / PERIOD_S)
    soc = 0.575 + 0.375 * np.cos(2 * np.pi * np.arange(steps) / steps)
    rate = np.gradient(soc, PERIOD_S) * 3600.0
    ohm = SCALE.resistance_ohm * (1 + 0.03 * rng.standard_normal(CELLS))
    for i in range(steps):
        apart = np.full(CELLS, soc[i])
        apart[CELL] += apart_soc
        cells = np.interp(apart, SCALE.soc, SCALE.ocv_v) + ohm * rate[i] * SCALE.capacity_ah + 5e-4 * rng.standard_normal(CELLS)
        cells[CELL] += offset_v
        history.push(
            make_snapshot(
                CELLS,
                4,
                seq=i,
                time_s=i * PERIOD_S,
                voltage_v=cells,
                temperature_c=np.full(4, 25.0),
                current_a=float(rate[i] * SCALE.capacity_ah),
            )
        )
    return measure(BY_WORD["sense_offset.outlier.86400s"], Past.of(history, SCALE))


def test_a_cell_read_wrongly_is_as_far_off_at_every_charge() -> None:
    found = asked(OFFSET_V, 0.0)
    assert found.cell == CELL
    assert found.values[0] == pytest.approx(OFFSET_V, rel=0.1)
    assert found.relatives[0] > 5
    assert found.relatives[2] > 10


def test_a_cell_of_another_charge_goes_with_the_slope() -> None:
    found = asked(0.0, APART_SOC)
    assert found.cell == CELL
    assert found.values[1] == pytest.approx(APART_SOC, rel=0.5)  # a slope over 4 % of SOC is coarse for an LFP cell's knees
    assert found.relatives[2] < -10


def test_a_sound_pack_explains_nothing_by_either() -> None:
    found = asked(0.0, 0.0)
    assert abs(found.relatives[2]) < 3
    assert abs(found.relatives[0]) < 4


def test_a_day_s_question_waits_for_a_third_of_the_day() -> None:
    assert np.isnan(asked(OFFSET_V, 0.0, hours=6.0).values).all()
