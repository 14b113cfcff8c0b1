"""The classical baseline: a cell that falls away is told by its sum and its number; thresholds leave the stated share of healthy packs above them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from edgebms.history.history import CELLS, CURRENT, INSULATION
from edgebms.reasoner.language import CAUSES
from edgebms.vocabulary import Cause
from export.reason.corpus import ROW, weights
from export.reason.cusum import CHANNELS, Cusum, statistics

COUNT, PROBES, CELL = 12, 4, 7


def summed(fall_v_per_h: float) -> tuple[np.ndarray, np.ndarray]:
    """(sums, cells) at ten minutes and at the hour's end, of a pack one of whose cells falls away."""
    rng = np.random.default_rng(5)
    time_s = np.arange(3600.0)
    rows = np.zeros((len(time_s), CELLS + COUNT + PROBES), dtype=np.float32)
    rows[:, CURRENT], rows[:, INSULATION] = 1.0, 5e6
    rows[:, CELLS : CELLS + COUNT] = 3.7 + 1e-3 * rng.standard_normal((len(time_s), COUNT))
    rows[:, CELLS + CELL] -= fall_v_per_h * time_s / 3600.0
    rows[:, CELLS + COUNT :] = 25.0 + 0.1 * rng.standard_normal((len(time_s), PROBES))
    episode = cast(Any, SimpleNamespace(card="lg_hg2", capacity_ah=3.0))
    recording = cast(Any, SimpleNamespace(time_s=time_s, rows=rows, cells=COUNT))
    return statistics(episode, recording, np.array([600.0, 3599.0]))


def test_a_cell_that_falls_away_is_told_and_a_sound_pack_is_not() -> None:
    sound, _ = summed(0.0)
    falling, cells = summed(0.02)
    assert sound[:, :4].max() < 5.0
    assert falling[1, 0] > 100.0 and falling[1, 0] > falling[0, 0]
    assert cells[1, 0] == CELL
    assert falling[1, 1:4].max() < 20.0


def test_thresholds_are_set_on_healthy_packs_and_the_furthest_channel_names_the_cause() -> None:
    rng = np.random.default_rng(6)
    rows = np.zeros(400, dtype=ROW)
    rows["cusum"] = rng.exponential(1.0, (400, len(CHANNELS)))
    rows["cusum"][300:350, 0] = 50.0
    rows["cusum"][350:, 5] = 50.0
    rows["cause"][300:350] = CAUSES.index(Cause.INTERNAL_SHORT)
    rows["cause"][350:] = CAUSES.index(Cause.INSULATION)
    cause, _ = Cusum.set_on(rows, weights(rows)).say(rows)
    assert (cause[300:] == rows["cause"][300:]).all()
    assert (cause[:300] != CAUSES.index(Cause.HEALTHY)).mean() < 0.1
