"""The classical baseline: cumulative sums (Page 1954) of what departs from the pack, each with a threshold set on validation packs.

Of minute means: each cell against the median cell and each probe against the median probe, less what they were in the first five minutes,
in standard deviations of those; what a limit bounds is told by its peak. The one that is furthest above its threshold names the cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.history.history import CELLS, CURRENT, INSULATION
from edgebms.reasoner.language import CAUSES
from edgebms.vocabulary import Cause
from export.reason.extract import Recording, card_of, means_of
from hil.plant.episodes import Episode

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

CHANNELS = (
    ("cell falls", Cause.INTERNAL_SHORT), ("cell rises", Cause.VOLTAGE_SENSOR), ("probe warms", Cause.THERMAL_RUNAWAY),
    ("probe cools", Cause.TEMPERATURE_SENSOR), ("current", Cause.OVER_CURRENT), ("insulation", Cause.INSULATION),
    ("above the limit", Cause.OVERCHARGE), ("below the limit", Cause.OVER_DISCHARGE),
)  # fmt: skip
"""What is watched, and the cause that it is taken for."""
MINUTE_S = 60.0
LEARNT = 5
"""Minutes from which a pack's own level and noise are taken."""
SLACK = 1.0
"""Standard deviations that a sum forgives at each minute."""
SENSOR_V, SENSOR_K = 0.001, 0.15
SHARES = (0.05, 0.02, 0.01, 0.005, 0.002)
"""Of the healthy validation instants, beyond each threshold: the share is chosen by accuracy."""


def statistics(episode: Episode, recording: Recording, tick_s: Floats) -> tuple[Singles, NDArray[np.int16]]:
    """(peak of each channel up to each instant (k, channels), the cell that stands highest then or -1)."""
    at_s, means, _ = means_of(recording.time_s, recording.rows, MINUTE_S)
    values, cells = means.astype(float), recording.cells
    volts, probes = values[:, CELLS : CELLS + cells], values[:, CELLS + cells :]
    out = np.zeros((len(CHANNELS), len(at_s)))
    who = np.full((len(CHANNELS), len(at_s)), -1, dtype=np.int16)
    for place, (column, floor) in enumerate(((volts, SENSOR_V), (probes, SENSOR_K))):
        z = departures(column, floor)
        for side, sign in enumerate((-1.0, 1.0) if place == 0 else (1.0, -1.0)):
            sums = cumulative(sign * z)
            out[2 * place + side] = sums.max(axis=1)
            if place == 0:
                who[side] = sums.argmax(axis=1)
    limits = card_of(episode.card).limits
    rate = np.nan_to_num(values[:, CURRENT] / episode.capacity_ah)
    ohm = values[:, INSULATION]
    out[4] = np.where(rate > 0, rate / limits.charge_c_rate, -rate / limits.discharge_c_rate)
    out[5] = np.nan_to_num(np.log10(1e6 / np.where(ohm > 0, ohm, np.nan)), nan=-9.0)
    out[6] = np.nan_to_num(np.fmax.reduce(volts, axis=1) - limits.voltage_max_v, nan=-9.0)
    out[7] = np.nan_to_num(limits.voltage_min_v - np.fmin.reduce(volts, axis=1), nan=-9.0)
    peaks = np.maximum.accumulate(out, axis=1)
    last = np.maximum(np.searchsorted(at_s, tick_s, side="right") - 1, 0)
    return peaks[:, last].T.astype(np.float32), who[:, last].T


def departures(values: Floats, floor: float) -> Floats:
    """(t, n): distance from the median of the n, less the first minutes' mean, over their noise; unknown = 0."""
    with np.errstate(all="ignore"):
        apart = values - np.nanmedian(values, axis=1, keepdims=True)
        first = apart[:LEARNT]
        apart = apart - np.nanmean(first, axis=0)
        sigma = np.hypot(np.nanstd(first, axis=0), floor)
        return np.asarray(np.nan_to_num(apart / sigma))


def cumulative(z: Floats) -> Floats:
    """S(t) = max(0, S(t-1) + z(t) - SLACK), per column.

    >>> cumulative(np.array([[0.5], [3.0], [3.0], [0.0]])).ravel()
    array([0., 2., 4., 3.])
    """
    out = np.zeros_like(z)
    before = np.zeros(z.shape[1])
    for t, row in enumerate(z):
        before = np.maximum(before + row - SLACK, 0.0)
        out[t] = before
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Cusum:
    """thresholds (channels,)."""

    thresholds: Floats

    @classmethod
    def set_on(cls, rows: NDArray[np.void], weight: Floats) -> Cusum:
        """Each threshold leaves the same share of healthy rows above it; the share is the one of SHARES that is right most often."""
        healthy = rows["cusum"][rows["cause"] == CAUSES.index(Cause.HEALTHY)].astype(float)
        tries = [cls(np.maximum(np.quantile(healthy, 1.0 - share, axis=0), 1e-3)) for share in SHARES]
        return max(tries, key=lambda one: float(np.average(one.say(rows)[0] == rows["cause"], weights=weight)))

    def say(self, rows: NDArray[np.void]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(cause, cell), each (n,)."""
        beyond = rows["cusum"].astype(float) / self.thresholds
        channel = beyond.argmax(axis=1)
        alarm = beyond.max(axis=1) > 1.0
        causes = np.array([CAUSES.index(cause) for _, cause in CHANNELS], dtype=np.intp)
        cell = rows["cusum_cell"][np.arange(len(rows)), channel].astype(np.intp)
        return np.where(alarm, causes[channel], CAUSES.index(Cause.HEALTHY)), np.where(alarm, cell, -1)
