"""From an episode of the plant to what a student could have read of it: all bundles at a few instants, with the truth.

The numbers come from ``edgebms.evidence`` itself; only the means are taken from whole arrays in place of rings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard, load_card
from edgebms.evidence.baseline import Baseline
from edgebms.evidence.measure import measure
from edgebms.evidence.past import LEAST_SHARE, Past, Scale
from edgebms.evidence.queries import ABOUT_SUSPECT, HOUR_S, NUMBERS, OUTLIERS, QUERIES
from edgebms.evidence.views import profile_of
from edgebms.history.history import CELLS, CURRENT, GAS, INSULATION, MEANS, SHORT_MEANS, VOLTAGE, Window, cut
from edgebms.vocabulary import Cause, Level, Whom
from export.fault_logs import WATCHED
from hil.plant.episodes import Episode

Singles = NDArray[np.float32]

ROWS = dict((SHORT_MEANS, *MEANS))
CRITICAL_S = 900.0


@dataclass(frozen=True, slots=True, eq=False)
class Extracted:
    """k instants of one episode; Q queries, O outlier queries, S queries about a suspect, 4 numbers (relatives; NaN = unknown).

    longest, weeks (k,): how far back the pack is known, see ``reach.Reach``. numbers (k, Q, 4): those about a suspect are NaN in here. named (k, Q): 0-based cell that each answer is about, -1 = none.
    of_suspect (k, O, S, 4): answers about the cell that outlier query OUTLIERS[o] named.
    cause, severity: words' places; cell: 0-based, -1 = pack; probe: 0-based; to_critical_s: from the instant to the runaway event, inf = none;
    since_onset_s: negative = before the fault; detectable: the episode's fault has departed far enough from its twin by then.
    """

    number: int
    kind: str
    tick_s: NDArray[np.float64]
    longest: NDArray[np.int8]
    weeks: NDArray[np.bool_]
    numbers: Singles
    named: NDArray[np.int16]
    of_suspect: Singles
    cause: tuple[Cause, ...]
    cell: NDArray[np.int16]
    probe: NDArray[np.int16]
    severity: tuple[Level, ...]
    to_critical_s: NDArray[np.float64]
    since_onset_s: NDArray[np.float64]
    detectable: NDArray[np.bool_]


@lru_cache(maxsize=64)
def card_of(name: str) -> CellCard:
    """A card by its name in the catalogue, or of a PyBaMM pack by its file's name."""
    if name.endswith(".toml"):
        from hil.plant_pybamm.characterise import CARDS

        return load_card(str(CARDS / name))
    return load_card(name)


def scale_of(episode: Episode) -> Scale:
    cells, probes = episode.cell_voltage_v.shape[1], episode.temperature_c.shape[1]
    watched = np.arange(cells, dtype=np.intp) * probes // cells
    return Scale.watched_by(card_of(episode.card), watched, probes, episode.parallel)


class Recording:
    """An episode as ``History`` would hold it: ``at(i)`` is the past as it stands right after snapshot ``i``."""

    def __init__(self, episode: Episode, baseline: Baseline | None = None) -> None:
        """baseline: what the gateway has learnt of the pack before, None = it never saw it."""
        cells = episode.cell_voltage_v.shape[1]
        self.cells = cells
        self.scale = scale_of(episode)
        self.baseline = Baseline(cells, self.scale.probes) if baseline is None else baseline
        self._learned_s = HOUR_S
        # to the nanosecond, as a snapshot's time is
        self.time_s = np.rint(episode.time_s * 1e9).astype(np.int64) * 1e-9
        rows = np.full((len(self.time_s), CELLS + cells + episode.temperature_c.shape[1]), np.nan, dtype=np.float32)
        rows[:, CURRENT], rows[:, VOLTAGE] = episode.current_a, episode.voltage_v
        rows[:, INSULATION], rows[:, GAS] = episode.insulation_ohm, episode.gas
        rows[:, CELLS : CELLS + cells] = episode.cell_voltage_v
        rows[:, CELLS + cells :] = episode.temperature_c
        self.rows = rows
        self._means: dict[float, tuple[NDArray[np.float64], Singles, NDArray[np.int64]]] = {}

    def at(self, snapshot: int) -> Past:
        def means(seconds: float, period_s: float) -> Window:
            now_s = self.time_s[snapshot]
            if now_s - self.time_s[0] < LEAST_SHARE * seconds:
                return cut(self.time_s[:0], self.rows[:0], self.cells, period_s)  # too little for any answer: no need for means
            time_s, values, slots = self._of(period_s)
            end = int(np.searchsorted(slots, int(now_s // period_s)))  # a mean is there once its time is over
            first = max(int(np.searchsorted(time_s, now_s - seconds)), end - ROWS[period_s], 0)
            return cut(time_s[first:end], values[first:end], self.cells, period_s)

        return Past(self.scale, means, self.baseline.weeks)

    def learn(self, snapshot: int) -> None:
        """What ``Baseline`` takes in once an hour, up to snapshot ``snapshot``; ask for them in their order."""
        while self._learned_s <= self.time_s[snapshot]:
            at = int(np.searchsorted(self.time_s, self._learned_s))
            self.baseline.learn(self.at(at), float(self.time_s[at]))
            self._learned_s += HOUR_S

    def remember(self) -> Baseline:
        """A whole stretch as one hour of the baseline, which goes on to the next one."""
        self.baseline.learn(self.at(len(self.time_s) - 1), float(self.time_s[-1]))
        self.baseline.pause()
        return self.baseline

    def _of(self, period_s: float) -> tuple[NDArray[np.float64], Singles, NDArray[np.int64]]:
        if period_s not in self._means:
            self._means[period_s] = means_of(self.time_s, self.rows, period_s)
        return self._means[period_s]


def means_of(time_s: NDArray[np.float64], rows: Singles, period_s: float) -> tuple[NDArray[np.float64], Singles, NDArray[np.int64]]:
    """(times, means, slots) of rows (t, columns) as ``History`` takes them: over the known values of each slot."""
    slot = (time_s // period_s).astype(np.int64)
    starts = np.append(0, np.flatnonzero(np.diff(slot)) + 1)
    counts = np.diff(np.append(starts, len(slot)))
    if (counts == 1).all():
        return time_s, rows, slot
    missing = np.isnan(rows)
    columns = missing.any(axis=0)
    sums = np.add.reduceat(np.where(missing, np.float32(0), rows), starts, axis=0, dtype=np.float64)
    known = np.repeat(counts[:, None].astype(float), rows.shape[1], axis=1)
    if columns.any():
        known[:, columns] = np.add.reduceat(~missing[:, columns], starts, axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        means = (sums / np.where(known > 0, known, np.nan)).astype(np.float32)
    return np.add.reduceat(time_s, starts) / counts, means, slot[starts]


def extract(episode: Episode, tick_s: NDArray[np.float64], recording: Recording | None = None) -> Extracted:
    """All bundles of ``episode`` at the snapshots that stand at ``tick_s`` (k,), the last at or before each."""
    recording = Recording(episode) if recording is None else recording
    snapshots = np.maximum(np.searchsorted(recording.time_s, tick_s, side="right") - 1, 0)
    count = len(snapshots)
    numbers = np.full((count, len(QUERIES), NUMBERS), np.nan, dtype=np.float32)
    named = np.full((count, len(QUERIES)), -1, dtype=np.int16)
    about = np.full((count, len(OUTLIERS), len(ABOUT_SUSPECT), NUMBERS), np.nan, dtype=np.float32)
    longest, weeks = np.zeros(count, dtype=np.int8), np.zeros(count, dtype=bool)
    for k in np.argsort(snapshots, kind="stable").tolist():
        recording.learn(int(snapshots[k]))
        past = recording.at(int(snapshots[k]))
        longest[k], weeks[k] = past.reach
        for place, query in enumerate(QUERIES):
            if query.whom in (Whom.PACK, Whom.OUTLIER):
                bundle = measure(query, past)
                numbers[k, place] = bundle.relatives
                named[k, place] = bundle.cell
        about[k] = of_suspects(past, named[k, list(OUTLIERS)].astype(np.intp))
    truth = truth_at(episode, recording.time_s[snapshots])
    return Extracted(
        number=episode.number,
        kind=episode.kind,
        tick_s=recording.time_s[snapshots],
        longest=longest,
        weeks=weeks,
        numbers=numbers,
        named=named,
        of_suspect=about,
        **truth,
    )


def of_suspects(past: Past, suspects: NDArray[np.intp]) -> Singles:
    """What each query about a suspect answers (relatives) for each of n suspects, -1 = none: (n, S, 4)."""
    out = np.full((len(suspects), len(ABOUT_SUSPECT), NUMBERS), np.nan, dtype=np.float32)
    for at, place in enumerate(ABOUT_SUSPECT):
        query = QUERIES[place]
        profile = profile_of(past, query.family, query.window_s)
        if profile is None:
            continue
        rows = suspects if profile.cells else np.where(suspects >= 0, past.scale.probe_of_cell[suspects], -1)
        there = rows >= 0
        relatives = profile.relatives
        if query.whom is Whom.SUSPECT:
            out[there, at] = relatives[:, rows[there]].T
            continue
        last = relatives.shape[1] - 1
        if last < 1:
            continue
        left, right = np.maximum(rows - 1, 0), np.minimum(rows + 1, last)
        left, right = np.where(rows == 0, right, left), np.where(rows == last, left, right)
        out[there, at] = (0.5 * (relatives[:, left[there]] + relatives[:, right[there]])).T
    return out


def truth_at(episode: Episode, tick_s: NDArray[np.float64]) -> dict[str, Any]:
    """The labels of ``Extracted`` at each instant. Before its onset a fault is not there, and the pack healthy."""
    fault, count = episode.fault, len(tick_s)
    since_s = tick_s - fault.onset_s if fault is not None else np.full(count, -math.inf)
    begun = since_s >= 0 if fault is not None else np.zeros(count, dtype=bool)
    event_s = episode.event_s if math.isfinite(episode.event_s) else math.inf
    to_critical_s = np.where(begun, np.maximum(event_s - tick_s, 0.0), math.inf)
    cause = tuple(episode.cause if there else Cause.HEALTHY for there in begun)
    faulty = np.array([of is not Cause.HEALTHY for of in cause])
    return {
        "cause": cause,
        "cell": np.where(faulty, fault.cell if fault is not None else -1, -1).astype(np.int16),
        "probe": np.where(faulty, fault.probe if fault is not None else -1, -1).astype(np.int16),
        "severity": tuple(severity(of, float(left_s)) for of, left_s in zip(cause, to_critical_s, strict=True)),
        "to_critical_s": to_critical_s,
        "since_onset_s": since_s,
        "detectable": begun & episode.detectable & (tick_s >= episode.detectable_s - 1e-6),  # ticks are rounded
    }


def severity(cause: Cause, to_critical_s: float) -> Level:
    """How grave it is by what is known of the future: runaway within a quarter of an hour, a fault that harms, or one that misleads."""
    if cause is Cause.HEALTHY:
        return Level.NONE
    if to_critical_s <= CRITICAL_S or cause in (Cause.THERMAL_RUNAWAY, Cause.EXTERNAL_SHORT):
        return Level.CRITICAL
    return Level.WATCH if cause in WATCHED else Level.WARNING
