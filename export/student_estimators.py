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
from edgebms.estimator.tuning import TUNED, Tuning
from edgebms.model_store import open_model
from export.state_batch import Answer, Batch, Pair, batches

Floats = NDArray[np.float64]

MOST_HELD_S = 120
"""A gap longer than this is no sampling: the plain GRU is not stepped through it."""


class Student:
    """Filter and state student ``model``, many runs beside each other."""

    def __init__(self, card: CellCard, model: str, tuning: Tuning = TUNED) -> None:
        self._card, self._tuning = card, tuning
        self._student = load_student(model)
        self._leads = self._student.knows(card)

    def run(self, pairs: list[Pair]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for batch in batches(pairs):
            answers |= dict(batch.answers(*self._batch(batch)))
        return [answers[i] for i in range(len(pairs))]

    def _batch(self, batch: Batch) -> Answer:
        student, cells, shape = self._student, len(batch.pairs), batch.dt_s.shape
        kalman, hidden = Kalman(self._card, cells, self._tuning), student.start(cells)
        soc, sigma = np.empty(shape), np.empty(shape)
        correction, spread = np.zeros(cells), np.full(cells, np.nan)
        since_s = np.full(cells, 0.5 * student.period_s)  # as the estimator, whose first turn is half a period away
        for row in range(shape[0]):
            kalman.step_many(batch.dt_s[row], batch.current_a[row], batch.voltage_v[row], batch.temperature_c[row])
            since_s += batch.dt_s[row]
            turn = (since_s >= 0.999 * student.period_s) & self._leads
            if turn.any():
                answer = ask(student, kalman, batch.current_a[row], hidden)
                correction, spread = np.where(turn, answer[0], correction), np.where(turn, answer[1], spread)
                hidden = np.where(turn[:, None], answer[2], hidden)
                since_s[turn] = 0.0
            led = np.isfinite(spread)
            soc[row] = np.where(led, within(kalman.soc + correction), kalman.soc)
            sigma[row] = np.where(led, spread, kalman.soc_sigma)
        return soc, sigma


def ask(
    student: StateStudent, kalman: Kalman, current_a: Floats, hidden: NDArray[np.float32]
) -> tuple[Floats, Floats, NDArray[np.float32]]:
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

    def run(self, pairs: list[Pair]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for batch in batches(pairs):
            answers |= dict(batch.answers(*self._batch(batch)))
        return [answers[i] for i in range(len(pairs))]

    def _batch(self, batch: Batch) -> Answer:
        shape = batch.dt_s.shape
        soc, sigma = np.empty(shape), np.empty(shape)
        hidden = np.zeros((shape[1], self._hidden), dtype=np.float32)
        said, spread = np.full(shape[1], np.nan), np.full(shape[1], np.nan)
        seconds = np.maximum(np.round(batch.dt_s), 1).astype(int)
        seconds[seconds > MOST_HELD_S] = 1
        x = np.stack((batch.voltage_v, batch.current_a, batch.temperature_c), axis=2)
        x = ((x - self._centre) / self._scale).astype(np.float32)
        for row in range(shape[0]):
            known = np.isfinite(x[row]).all(axis=1)
            seen = np.where(known[:, None], x[row], np.float32(0.0))
            for second in range(int(seconds[row].max())):
                mine = known & (seconds[row] > second)
                y, after = self._session.run(("y", "h_next"), {"x": seen, "h": hidden})
                hidden = np.where(mine[:, None], after, hidden)
                said = np.where(mine, y[:, 0], said)
                spread = np.where(mine, np.exp(np.clip(y[:, 1], -6.0, 0.0)), spread)
            soc[row], sigma[row] = said, spread
        return soc, sigma
