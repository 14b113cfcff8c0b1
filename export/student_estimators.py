"""The learned estimators as an evaluation sees them, run from their ONNX files: no torch.

The student runs as ``edgebms.estimator.estimator`` runs it: once a second at most, held between, the filter alone
where its inputs leave the domain or its answer is no number (a test compares the two on a log).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.estimator.estimator import within
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.student import StateStudent, load_student, open_session
from edgebms.model_store import open_model
from export.state_logs import Run, StateLog

Floats = NDArray[np.float64]
Answer = tuple[Floats, Floats]

MOST_HELD_S = 120
"""A gap longer than this is no sampling: the plain GRU is not stepped through it."""


class Student:
    """Filter and state student ``model``; runs that see the same current are cells of one pack."""

    def __init__(self, card: CellCard, model: str) -> None:
        self._card = card
        self._student = load_student(model)

    def run(self, log: StateLog, runs: list[Run]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for offset_a in dict.fromkeys(run.offset_a for run in runs):
            mine = [i for i, run in enumerate(runs) if run.offset_a == offset_a]
            soc, sigma = self._pack(log, offset_a, np.array([runs[i].first for i in mine]))
            answers |= {i: (soc[:, j], sigma[:, j]) for j, i in enumerate(mine)}
        return [answers[i] for i in range(len(runs))]

    def _pack(self, log: StateLog, offset_a: float, first: NDArray[np.intp]) -> Answer:
        student, cells, rows = self._student, first.size, log.time_s.size
        kalman, hidden = Kalman(self._card, cells), student.start(cells)
        soc, sigma = np.full((rows, cells), np.nan), np.full((rows, cells), np.nan)
        correction, spread = np.zeros(cells), np.full(cells, np.nan)
        asked_s = log.time_s[first] - 0.5 * student.period_s  # as the estimator, whose first turn is half a period away
        for row in range(int(first.min()), rows):
            awake = first <= row
            current = float(log.current_a[row] + offset_a)
            voltage, temperature = (np.where(awake, column[row], np.nan) for column in (log.voltage_v, log.temperature_c))
            kalman.step(float(log.time_s[row]), current, voltage, temperature)
            turn = log.time_s[row] - asked_s >= 0.999 * student.period_s
            if turn.any():
                answer = ask(student, kalman, current, hidden)
                correction, spread = np.where(turn, answer[0], correction), np.where(turn, answer[1], spread)
                hidden = np.where(turn[:, None], answer[2], hidden)
                asked_s[turn] = log.time_s[row]
            led = np.isfinite(spread)
            soc[row] = np.where(led, within(kalman.soc + correction), kalman.soc)
            sigma[row] = np.where(led, spread, kalman.soc_sigma)
        return soc, sigma


def ask(student: StateStudent, kalman: Kalman, current_a: float, hidden: NDArray[np.float32]) -> tuple[Floats, Floats, NDArray[np.float32]]:
    """Correction (0 where the filter stands alone), sigma (NaN there), next hidden state (new there)."""
    x = student.features(kalman, current_a)
    inside = student.inside(x)
    correction, sigma, after = student.run(np.where(inside[:, None], x, np.float32(0.0)), hidden)
    good = inside & np.isfinite(correction) & (sigma > 0.0) & np.isfinite(sigma) & np.isfinite(after).all(axis=1)
    return np.where(good, correction, 0.0), np.where(good, sigma, np.nan), np.where(good[:, None], after, student.start(good.size))


class PlainGru:
    """The plain GRU: voltage, current and temperature, stepped every second, a slower sampling held."""

    def __init__(self, card: CellCard) -> None:
        del card  # it knows one cell: that is the point of showing it
        store, model = open_model("gru", "soc")
        self._centre, self._scale, self._hidden = np.array(store.centre), np.array(store.scale), store.hidden
        self._session = open_session(model, "gru")

    def run(self, log: StateLog, runs: list[Run]) -> list[Answer]:
        rows, cells = log.time_s.size, len(runs)
        soc, sigma = np.full((rows, cells), np.nan), np.full((rows, cells), np.nan)
        hidden = np.zeros((cells, self._hidden), dtype=np.float32)
        first, offset = np.array([run.first for run in runs]), np.array([run.offset_a for run in runs])
        seconds = np.clip(np.round(np.diff(log.time_s, prepend=log.time_s[0] - 1.0)), 1, MOST_HELD_S).astype(int)
        seconds[np.diff(log.time_s, prepend=log.time_s[0]) > MOST_HELD_S] = 1
        x = np.empty((cells, 3), dtype=np.float32)
        for row in range(int(first.min()), rows):
            awake = first <= row
            x[:] = (np.array((log.voltage_v[row], 0.0, log.temperature_c[row])) - self._centre) / self._scale
            x[:, 1] = (log.current_a[row] + offset - self._centre[1]) / self._scale[1]
            if not np.isfinite(x).all():
                soc[row], sigma[row] = soc[row - 1], sigma[row - 1]
                continue
            for _ in range(seconds[row]):
                y, after = self._session.run(("y", "h_next"), {"x": x, "h": hidden})
                hidden = np.where(awake[:, None], after, hidden)
            soc[row] = np.where(awake, y[:, 0], np.nan)
            sigma[row] = np.where(awake, np.exp(np.clip(y[:, 1], -6.0, 0.0)), np.nan)
        return [(soc[:, i], sigma[:, i]) for i in range(cells)]
