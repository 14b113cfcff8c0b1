"""A preallocated ring of rows whose newest part is always one contiguous view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Ring:
    """``rows`` rows of ``columns`` float32 values and a float64 time each.

    Every row is written twice, ``rows`` apart, so that the last n rows are a plain slice: reading a
    window copies nothing, and a push costs the same every time (no memmove at the wrap).
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._rows = rows
        self._values = np.zeros((2 * rows, columns), dtype=np.float32)
        self._time_s = np.zeros(2 * rows, dtype=np.float64)
        self._next = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, time_s: float, row: NDArray[np.floating]) -> None:
        for at in (self._next, self._next + self._rows):
            self._values[at] = row
            self._time_s[at] = time_s
        self._next = (self._next + 1) % self._rows
        self._count = min(self._count + 1, self._rows)

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Times of all rows held, oldest first: a view, shape (len,)."""
        end = self._next + self._rows
        return self._time_s[end - self._count : end]

    @property
    def values(self) -> NDArray[np.float32]:
        """All rows held, oldest first: a view, shape (len, columns)."""
        end = self._next + self._rows
        return self._values[end - self._count : end]

    @property
    def full(self) -> bool:
        return self._count == self._rows

    @property
    def nbytes(self) -> int:
        return self._values.nbytes + self._time_s.nbytes

    def since(self, time_s: float) -> int:
        """Index of the first row held that is not older than ``time_s``."""
        return int(np.searchsorted(self.time_s, time_s, side="left"))
