"""Capacity from the middle of a charge: the ampere-hours between voltages of 30 to 80 % of the voltage window.

One charge gives the charge that went in between neighbouring voltage marks, over the rated capacity. A Gaussian process
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, ch. 2) learned from other cells of the model turns
that into a capacity with its standard deviation; the median over the last charges is what is reported, as a capacity
does not jump. Marks, kernel and noise were chosen on CALCE's train cells, each judged by the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import AgedCharge

Floats = NDArray[np.float64]

LENGTH = 6.0
"""Of the kernel, in standard deviations of the inputs."""
NOISE = 0.1
"""Variance of a label and of what the inputs do not tell, over the kernel's."""
CHARGES = 9
POINTS = 24
"""In a card: 16 are a little worse, more no better (train cells by each other)."""
"""The median goes over so many."""


@dataclass(frozen=True, slots=True, eq=False)
class Charges:
    """Charges of one cell in order: number (n,) of the cycle, filled (n, marks - 1): charge between marks over the rated
    capacity, soh (n,): the reference; parts: time, voltage and current of each charge as measured."""

    cell: str
    number: Floats
    filled: Floats
    soh: Floats
    parts: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)


def between_marks(time_s: Floats, voltage_v: Floats, current_a: Floats, marks_v: Floats, rated_ah: float) -> Floats | None:
    """Charge between neighbouring marks over ``rated_ah``, (marks - 1,); None where a charge does not pass all of them
    from below the first. The arrays begin with the charge."""
    reached = voltage_v >= marks_v[-1]
    if not reached.any() or voltage_v[0] >= marks_v[0]:
        return None
    end = int(np.argmax(reached)) + 1
    if np.any(current_a[:end] <= 0):
        return None
    ah = np.concatenate([[0.0], np.cumsum(current_a[1:end] * np.diff(time_s[:end]))]) / 3600.0
    filled: Floats = np.diff(np.interp(marks_v, np.maximum.accumulate(voltage_v[:end]), ah)) / rated_ah
    return filled


class WindowCapacity:
    """Learned from ``charges`` of cells whose capacity is known; then ``estimate``."""

    def __init__(self, charges: list[Charges]) -> None:
        x, y = np.concatenate([c.filled for c in charges]), np.concatenate([c.soh for c in charges])
        self._centre, self._scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
        self._x = (x - self._centre) / self._scale
        self._mean, self._variance = float(y.mean()), float(y.var())
        cover = kernel(self._x, self._x) + NOISE * np.eye(len(y))
        self._inverse = np.linalg.inv(cover)
        self._weights = self._inverse @ (y - self._mean)
        left = self._weights / np.diag(self._inverse)  # leave-one-out residuals, ibid. eq. 5.12
        self._noise = float(np.sqrt(np.mean(left**2)))

    def estimate(self, filled: Floats) -> tuple[Floats, Floats]:
        """State of health after each charge of one cell in order, and its standard deviation, (n,) each."""
        z = (filled - self._centre) / self._scale
        cover = kernel(z, self._x)
        single = cover @ self._weights + self._mean
        known = np.maximum(1.0 - np.einsum("ij,jk,ik->i", cover, self._inverse, cover, optimize=True), 0.0)
        sigma = np.sqrt(self._noise**2 + self._variance * known)
        smooth = np.array([np.median(single[max(0, i - CHARGES + 1) : i + 1]) for i in range(single.size)])
        return smooth, sigma


def aged_charge(charges: list[Charges], marks_v: Floats, current_c: float, source: str) -> AgedCharge:
    """The same as a card's section, on the few charges that say most of the others (pivoted Cholesky)."""
    x, y = np.concatenate([c.filled for c in charges]), np.concatenate([c.soh for c in charges])
    scale = np.maximum(x.std(axis=0), 1e-6)
    z, mean = x / scale, float(y.mean())
    left, columns, chosen = np.ones(len(z)), np.zeros((len(z), 0)), []
    for _ in range(POINTS):
        at = int(np.argmax(left))
        column = (kernel(z, z[at : at + 1])[:, 0] - columns @ columns[at]) / np.sqrt(left[at])
        columns, left = np.c_[columns, column], np.maximum(left - column**2, 0.0)
        chosen.append(at)
    points = z[chosen]
    cover, among = kernel(z, points), kernel(points, points)
    weight = np.linalg.solve(cover.T @ cover + NOISE * among + 1e-9 * np.eye(POINTS), cover.T @ (y - mean))
    error = float(np.sqrt(np.mean((cover @ weight + mean - y) ** 2)))
    return AgedCharge(
        source=source,
        method=f"Gaussian process of {len(y)} charges on {POINTS} points",
        current_c=current_c,
        temperature_c=25.0,
        marks_v=tuple(marks_v.tolist()),
        filled=tuple(tuple(row) for row in (points * scale).tolist()),
        weight=tuple(weight.tolist()),
        spread=tuple((LENGTH * scale).tolist()),
        mean=mean,
        error=error,
        width=float(y.std()),
    )


def kernel(a: Floats, b: Floats) -> Floats:
    distance = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
    result: Floats = np.exp(distance / (-2.0 * LENGTH**2))
    return result
