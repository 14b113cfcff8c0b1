"""What filter and student of a pack cost a step, on the core that this runs on."""

from __future__ import annotations

import time

import numpy as np

from edgebms.cellcard import CellCard
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.student import StateStudent


def step_cost_ms(card: CellCard, student: StateStudent, cells: int = 96, steps: int = 1500) -> float:
    """Median time of one step of ``cells`` cells in milliseconds: filter, features, network."""
    rng = np.random.default_rng(0)
    kalman, hidden = Kalman(card, cells), student.start(cells)
    voltage, temperature = np.full(cells, 3.7) + rng.normal(scale=0.01, size=cells), np.full(cells, 25.0)
    took = []
    for k in range(steps):
        current = card.capacity_ah * float(rng.uniform(-1.5, 0.5))
        began = time.perf_counter_ns()
        kalman.step(float(k), current, voltage, temperature)
        _, _, hidden = student.run(student.features(kalman, current), hidden)
        took.append(time.perf_counter_ns() - began)
    return float(np.median(took)) / 1e6
