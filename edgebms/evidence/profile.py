"""One measure of every cell (or probe) of a pack, and who stands out by it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import NUMBERS

Floats = NDArray[np.float64]


class Profile(NamedTuple):
    """values, relatives: (4, n), the numbers of each cell's bundle, physical and relative; NaN = unknown.
    score (n,): how far each stands out; NaN where nothing is known. cells: False = of probes."""

    values: Floats
    relatives: Floats
    score: Floats
    cells: bool

    def outlier(self) -> int:
        """The one that stands out most, -1 = nothing is known of any."""
        score = np.where(np.isnan(self.score), -np.inf, self.score)
        first = int(score.argmax()) if score.size else -1
        return first if first >= 0 and score[first] > -np.inf else -1


def profile(values: list[Floats], relatives: list[Floats] | Floats, cells: bool, of_score: slice = slice(0, NUMBERS - 1)) -> Profile:
    """Three measures of each with the lead over the next as the fourth. of_score: which relatives count for standing out."""
    score = np.fmax.reduce(np.abs(relatives[of_score]))
    shown, own = np.empty((NUMBERS, len(score))), np.empty((NUMBERS, len(score)))
    for place, (value, relative) in enumerate(zip(values, relatives, strict=True)):
        shown[place], own[place] = value, relative
    shown[-1] = own[-1] = ahead_of_next(score)
    return Profile(shown, own, score, cells)


def ahead_of_next(score: Floats) -> Floats:
    """Of each: its score less the highest of the others; NaN where it or all others are unknown.

    >>> ahead_of_next(np.array([1.0, 5.0, 3.0]))
    array([-4.,  2., -2.])
    """
    known = np.where(score == score, score, -np.inf)  # NaN is not
    if known.size < 2:
        return np.full(score.shape, np.nan)
    first = int(known.argmax())
    top, known[first] = float(known[first]), -np.inf
    second = float(known.max())
    ahead: Floats = score - (top if top > -np.inf else np.nan)
    ahead[first] = score[first] - (second if second > -np.inf else np.nan)
    return ahead
