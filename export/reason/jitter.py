"""Answers as another pack's sensors and another simulator's cells would have made them: an answer's numbers all a little larger or smaller, and each by itself.

A network that learns from a plant's numbers to the last digit learns the plant. What it learns from is jittered, what it is judged on never.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebms.evidence.queries import NUMBERS, QUERIES

Singles = NDArray[np.float32]

TOGETHER, ALONE = 0.2, 0.15
"""Spread (1 sigma, log) of the factor that an answer's relative numbers share, and of the one that each has to itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Jitter:
    """gains (n, questions, 4) of n interrogations."""

    gains: Singles

    @classmethod
    def drawn(cls, n: int, rng: np.random.Generator) -> Jitter:
        together = TOGETHER * rng.standard_normal((n, len(QUERIES), 1), dtype=np.float32)
        alone = ALONE * rng.standard_normal((n, len(QUERIES), NUMBERS), dtype=np.float32)
        return cls(np.exp(together + alone))

    def of(self, queries: NDArray[np.intp], answers: Singles) -> Singles:
        """answers (n, 4), asinh, to queries (n,); NaN stays NaN, 0 stays 0."""
        gains = self.gains[np.arange(len(queries)), queries]
        out: Singles = np.arcsinh(np.sinh(answers) * gains).astype(np.float32)
        return out
