"""The extractor for training reads from an episode what the runtime reads from the same snapshots."""

from __future__ import annotations

import numpy as np
import pytest
from snapshots import make_snapshot

from edgebms.evidence.measure import measure
from edgebms.evidence.past import Past
from edgebms.evidence.queries import ABOUT_SUSPECT, BY_WORD, OUTLIERS, QUERIES
from edgebms.history.history import History
from edgebms.vocabulary import Cause, Level
from export.reason import corpus
from export.reason.extract import Recording, extract, scale_of
from hil.plant.draws import Ranges
from hil.plant.episodes import Episode, Mix, Plan, run_batch

TICKS_S = np.array([700.0, 1199.0])


def plan(period_s: float, *kinds: str) -> Plan:
    ranges = Ranges(cells=(16,), cells_per_probe=(2,))
    return Plan(seed=7, hours=1 / 3, period_s=period_s, mix=Mix(0.0, 0.5, kinds), ranges=ranges)


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    kinds = ("short_constant", "cell_reconnected", "probe_stuck", "insulation_loss")
    chosen: dict[str, list[Episode]] = {kind: [] for kind in kinds}
    for episode in run_batch(plan(2.0, *kinds), 0, 0):
        if len(chosen[episode.kind]) < 2:
            chosen[episode.kind].append(episode)
    return [episode for some in chosen.values() for episode in some]


def history_until(episode: Episode, until_s: float) -> History:
    history = History(episode.cell_voltage_v.shape[1], episode.temperature_c.shape[1])

    for i in np.flatnonzero(episode.time_s <= until_s):
        history.push(
            make_snapshot(
                history.cells,
                history.probes,
                time_s=float(episode.time_s[i]),
                voltage_v=episode.cell_voltage_v[i].astype(float),
                temperature_c=episode.temperature_c[i].astype(float),
                current_a=float(episode.current_a[i]),
                pack_voltage_v=float(episode.voltage_v[i]),
                insulation_ohm=float(episode.insulation_ohm[i]),
                gas=float(episode.gas[i]),
            )
        )
    return history


def test_it_reads_what_the_runtime_reads(episodes: list[Episode]) -> None:
    answered = 0
    for episode in episodes:
        found = extract(episode, TICKS_S)
        scale = scale_of(episode)
        for k, at_s in enumerate(TICKS_S):
            past = Past.of(history_until(episode, at_s), scale)
            assert (found.longest[k], found.weeks[k]) == past.reach
            for place, query in enumerate(QUERIES):
                if place in ABOUT_SUSPECT:
                    continue
                bundle = measure(query, past)
                np.testing.assert_allclose(found.numbers[k, place], bundle.relatives, rtol=2e-4, atol=2e-4, err_msg=query.word)
                assert found.named[k, place] == bundle.cell, query.word
                answered += bool(np.isfinite(bundle.relatives).any())
            for o, outlier in enumerate(OUTLIERS):
                suspect = int(found.named[k, outlier])
                for s, place in enumerate(ABOUT_SUSPECT):
                    bundle = measure(QUERIES[place], past, suspect)
                    np.testing.assert_allclose(
                        found.of_suspect[k, o, s], bundle.relatives, rtol=2e-4, atol=2e-4, err_msg=QUERIES[place].word
                    )
    assert answered > 20 * len(episodes)


def test_before_its_onset_a_fault_is_not_there(episodes: list[Episode]) -> None:
    faulty = next(episode for episode in episodes if episode.kind == "short_constant")
    assert faulty.fault is not None
    found = extract(faulty, np.array([faulty.fault.onset_s - 10.0, 1199.0]))
    assert found.cause == (Cause.HEALTHY, Cause.INTERNAL_SHORT)
    assert found.severity[0] is Level.NONE
    assert list(found.cell) == [-1, faulty.fault.cell]
    assert not found.detectable[0]


def test_a_look_alike_is_healthy(episodes: list[Episode]) -> None:
    alike = next(episode for episode in episodes if episode.kind == "cell_reconnected")
    assert extract(alike, TICKS_S).cause == (Cause.HEALTHY, Cause.HEALTHY)


def test_a_gateway_has_known_a_pack_for_as_many_stretches_as_were_drawn() -> None:
    """What it learnt is there when the episode begins, and grows with its hours; of a third of the packs it knows nothing."""
    plan = Plan(seed=5, hours=1.05, period_s=10.0, mix=Mix(1.0, 0.0, ()), ranges=Ranges(cells=(400,), cells_per_probe=(6,)), twins=False)
    word = QUERIES.index(BY_WORD["probe_weeks.outlier.3600s"])
    known = []
    for episode, baseline in corpus.circuit_batch(plan, 0, 10):
        before = 0.0 if baseline is None else float(baseline.weeks.probes.hours.max())
        assert before in corpus.STRETCHES
        recording = Recording(episode, baseline)
        found = extract(episode, np.array([1500.0, 3770.0]), recording)
        assert np.isfinite(found.numbers[0, word]).any() == found.weeks[0] == (before >= 3)
        assert recording.baseline.weeks.probes.hours.max() == before + 1
        known.append(before)
    assert len(set(known)) > 2
