"""From the relative numbers of an answer to weights over a student's words: each number as the mix of its two neighbouring bins.

Bins lie in asinh of the number: half at quantiles of what training saw, half evenly between its ends.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import NUMBERS, QUERIES
from edgebms.evidence.reach import Reach
from edgebms.reasoner.language import BEGIN, BINS, FIRST_QUERY, ID, TOKENS, bin_token, reach_tokens, size_token

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

LEAST_GAP = 1e-3
TAIL = 0.005


class Quantiser:
    """centres: (len(QUERIES), 4, 16), rising, in asinh of the relative numbers. Raises ValueError on others."""

    def __init__(self, centres: Floats) -> None:
        if centres.shape != (len(QUERIES), NUMBERS, BINS):
            raise ValueError(f"bins of shape {centres.shape} where {(len(QUERIES), NUMBERS, BINS)} is needed")
        if not np.isfinite(centres).all() or not (np.diff(centres, axis=-1) > 0).all():
            raise ValueError("the bins' centres do not rise")
        self.centres = centres
        self._lists: list[list[list[float]]] = centres.tolist()  # a search in a list of 16 costs less than numpy's call

    def soft(self, query: int, relatives: Floats) -> list[tuple[int, int, float]]:
        """(number, bin, weight) of an answer: two bins a number that sum to 1, or bin BINS (unknown) with weight 1."""
        out: list[tuple[int, int, float]] = []
        for number, relative in enumerate(relatives.tolist()):
            value = math.asinh(relative)
            if value != value:
                out.append((number, BINS, 1.0))
                continue
            centres = self._lists[query][number]
            right = bisect_left(centres, value)
            if right in (0, BINS):
                out.append((number, min(right, BINS - 1), 1.0))
                continue
            share = (value - centres[right - 1]) / (centres[right] - centres[right - 1])
            out += [(number, right - 1, 1.0 - share), (number, right, share)]
        return out

    def mix(self, query: int, relatives: Floats) -> Singles:
        """The student's input after a question: weights over TOKENS."""
        mix = np.zeros(len(TOKENS), dtype=np.float32)
        mix[FIRST_QUERY + query] = 1.0
        for number, place, weight in self.soft(query, relatives):
            mix[bin_token(number, place)] = weight
        return mix

    def weights(self, query: int, relatives: Floats) -> Singles:
        """As ``soft`` for many answers at once: relatives (n, 4) -> (n, 4, BINS + 1)."""
        values = np.arcsinh(relatives)
        out = np.zeros((*values.shape, BINS + 1), dtype=np.float32)
        for number in range(NUMBERS):
            centres, column = self.centres[query, number], values[:, number]
            known = np.isfinite(column)
            inside = np.clip(column, centres[0], centres[-1])
            right = np.clip(np.searchsorted(centres, inside), 1, BINS - 1)
            share = (inside - centres[right - 1]) / (centres[right] - centres[right - 1])
            rows = np.flatnonzero(known)
            out[rows, number, right[rows] - 1] = 1.0 - share[rows]
            out[rows, number, right[rows]] += share[rows]
            out[~known, number, BINS] = 1.0
        return out


def prompt(chemistry: str, cells: int, reach: Reach) -> Singles:
    """The student's first input: what the pack is, and how far back it is known."""
    mix = np.zeros(len(TOKENS), dtype=np.float32)
    mix[[BEGIN, ID[f"chemistry:{chemistry}"], size_token(cells), *reach_tokens(*reach)]] = 1.0
    return mix


def fit_bins(samples: Floats) -> Floats:
    """Centres (16,) for one number from what training saw of it (n,), NaN left out; without any, around 0."""
    known = np.arcsinh(samples[np.isfinite(samples)])
    if known.size < BINS:
        known = np.arcsinh(np.linspace(-30.0, 30.0, 64))
    half = BINS // 2
    shares = (np.arange(half) + 0.5) / half
    low, high = (float(np.quantile(known, share)) for share in (TAIL, 1.0 - TAIL))
    centres: Floats = np.sort(np.concatenate((np.quantile(known, shares), np.linspace(low, high, half))))
    for place in range(1, BINS):
        centres[place] = max(centres[place], centres[place - 1] + LEAST_GAP)
    return centres
