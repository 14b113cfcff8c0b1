"""A drive-like load of our own: random phases of pull, cruise, coast, brake and stand still."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PHASES = (
    # share, C-rate from, to, seconds from, to
    (0.26, -2.2, -1.0, 4, 14),  # pull
    (0.34, -0.8, -0.3, 15, 60),  # cruise
    (0.14, -0.1, 0.0, 5, 20),  # coast
    (0.16, 0.3, 1.0, 3, 9),  # brake
    (0.10, -0.03, -0.03, 10, 30),  # stand still, auxiliaries on
)
SMOOTH_S = 1.5
"""A drive train follows the pedal within a second or two."""


def drive_c_rate(seconds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The load at each second as a C-rate, positive while charging; shape (seconds,). About -0.45 C in the mean."""
    target = np.zeros(seconds)
    shares = [phase[0] for phase in PHASES]
    at = 0
    while at < seconds:
        _, low, high, shortest, longest = PHASES[rng.choice(len(PHASES), p=shares)]
        length = int(rng.integers(shortest, longest + 1))
        target[at : at + length] = rng.uniform(low, high)
        at += length
    load = np.zeros(seconds)
    level = 0.0
    gain = -np.expm1(-1 / SMOOTH_S)
    for i in range(seconds):
        level += (target[i] - level) * gain
        load[i] = level
    return load * (1 + 0.03 * rng.standard_normal(seconds))
