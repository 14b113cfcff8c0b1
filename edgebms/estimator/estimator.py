"""From a snapshot to the state of every cell: filter, student on top of it, slow states, limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig, probe_of_cell
from edgebms.estimator.anchor import rested_soc
from edgebms.estimator.cell_model import CellModel
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.power import Power
from edgebms.estimator.soh import Soh
from edgebms.estimator.state import CellState
from edgebms.estimator.student import StateStudent
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import ReasonerStatus, Source
from edgebms.worker import Ask

Floats = NDArray[np.float64]

HORIZON_S = 10.0
"""The limits keep a cell inside its voltages for this long."""
LOADED_C = 0.1
"""Above this current (1/h) the resistance scale says something."""
ANCHOR_EVERY_S = 60.0
BALANCE_SPREAD = 0.02
"""A cell this far above the lowest, by SOC, is proposed for balancing."""
GAP_S = 120.0


class Estimator:
    """One pack's estimator. ``step`` at every snapshot; no clock, no I/O.

    ``student`` None = the filter alone. ``ask`` runs the student, inline or bounded by the deadline.
    """

    def __init__(self, card: CellCard, pack: PackConfig, student: StateStudent | None, ask: Ask) -> None:
        self._card, self._pack, self._student, self._ask = card, pack, student, ask
        self.kalman = Kalman(card, pack.cells)
        self._model = CellModel(card, pack.cells)
        self.soh = Soh(card, pack.cells)
        self.power = Power(card, pack)
        self._probe = np.array(probe_of_cell(pack), dtype=np.intp)
        self._probed = self._probe >= 0
        self._time_s = float("nan")
        self._anchor_s = -np.inf
        self._student_s = -np.inf
        self._hidden = student.start(pack.cells) if student is not None else None
        self._correction = np.zeros(pack.cells)
        self._sigma = np.full(pack.cells, np.nan)
        self._status = ReasonerStatus.ABSENT if student is None else ReasonerStatus.SKIPPED

    def step(self, snapshot: Snapshot, now_ns: int) -> CellState:
        """The state after ``snapshot``. UNKNOWN inputs make wider sigmas, never invented values."""
        kalman, soh = self.kalman, self.soh
        current_a = snapshot.current_a.value / self._pack.parallel
        temperature_c = self._temperatures(snapshot)
        time_s = snapshot.time_ns / 1e9
        dt_s = max(time_s - self._time_s, 0.0) if self._time_s == self._time_s else 0.0
        self._time_s = time_s
        kalman.step(time_s, current_a, snapshot.cell_voltage_v, temperature_c)
        soh.count(dt_s, current_a if dt_s <= GAP_S else float("nan"))
        if abs(current_a) > LOADED_C * self._card.capacity_ah:
            soh.resist(min(dt_s, GAP_S), kalman.resistance_scale, kalman.resistance_scale_sigma)
        self._anchor(snapshot.cell_voltage_v, temperature_c, time_s)
        if self._student is not None and time_s - self._student_s >= 0.999 * self._student.period_s:
            self._student_s = time_s
            self._ask_student(self._student, current_a, snapshot.time_ns)
        led = np.isfinite(self._sigma)
        soc = np.where(led, kalman.soc + self._correction, kalman.soc)
        limits = self.power.step(
            now_ns, snapshot.cell_voltage_v, current_a, temperature_c, soc, self._resistance_ohm(current_a, temperature_c), soh.resistance
        )
        if led.any():
            source = Source.STUDENT
        else:
            source = Source(int(kalman.source.max()))
        parallel = self._pack.parallel
        return CellState(
            soc=soc,
            soc_sigma=np.where(led, self._sigma, kalman.soc_sigma),
            soh_capacity=soh.capacity.copy(),
            soh_capacity_sigma=soh.capacity_sigma.copy(),
            soh_resistance=soh.resistance.copy(),
            soh_resistance_sigma=soh.resistance_sigma.copy(),
            source=source,
            since_anchor_s=kalman.since_anchor_s.copy(),
            innovation_v=kalman.innovation_v,
            current_offset_a=kalman.current_offset_a * parallel,
            current_offset_sigma_a=kalman.current_offset_sigma_a * parallel,
            limits=limits,
            balance=self._balance(soc),
            student=self._status,
        )

    def _temperatures(self, snapshot: Snapshot) -> Floats:
        """Each cell's temperature by the probe that watches it; NaN where there is none."""
        if not self._probed.any():
            return np.full(self._pack.cells, np.nan)
        return np.where(self._probed, snapshot.temperature_c[self._probe], np.nan)

    def _resistance_ohm(self, current_a: float, temperature_c: Floats) -> Floats:
        """What each cell's voltage moves per ampere within the horizon, by card and measured scale."""
        kalman = self.kalman
        known = np.isfinite(kalman.soc) & np.isfinite(temperature_c)
        if not known.any():
            return np.full(self._pack.cells, np.nan)
        resistance = self._model.resistance_ohm(
            np.where(known, kalman.soc, 0.5), np.where(known, temperature_c, 25.0), current_a if np.isfinite(current_a) else 0.0, HORIZON_S
        )
        return np.where(known, resistance * kalman.resistance_scale, np.nan)

    def _anchor(self, voltage_v: Floats, temperature_c: Floats, time_s: float) -> None:
        """Rested cells tell their SOC without counting: once a minute of rest that is a capacity anchor."""
        kalman = self.kalman
        if time_s - self._anchor_s < ANCHOR_EVERY_S:
            return
        told = kalman.anchored & np.isfinite(voltage_v) & np.isfinite(temperature_c)
        if not told.any():
            return
        self._anchor_s = time_s
        soc, sigma = rested_soc(self._model, np.where(told, voltage_v, 3.5), np.where(told, temperature_c, 25.0))
        self.soh.anchor(np.where(told, soc, np.nan), sigma, max(kalman.current_offset_sigma_a, 0.0))

    def _ask_student(self, student: StateStudent, current_a: float, since_ns: int) -> None:
        x = student.features(self.kalman, current_a)
        inside = student.inside(x)
        if not inside.any():
            self._status = ReasonerStatus.OUT_OF_DOMAIN
            self._sigma.fill(np.nan)
            self._hidden = student.start(self._pack.cells)
            return
        hidden = self._hidden
        status, answer = self._ask(lambda: student.run(np.where(inside[:, None], x, np.float32(0.0)), hidden), since_ns)
        if answer is None:
            self._status = status
            self._sigma.fill(np.nan)  # no answer: the filter stands, not an old correction
            return
        correction, sigma, hidden = answer
        finite = np.isfinite(correction) & np.isfinite(sigma) & (sigma > 0.0) & np.isfinite(hidden).all(axis=1)
        good = finite & inside
        self._hidden = np.where(good[:, None], hidden, student.start(self._pack.cells))
        self._correction = np.where(good, correction, 0.0)
        self._sigma = np.where(good, sigma, np.nan)
        self._status = ReasonerStatus.OK if good.all() else ReasonerStatus.OUT_OF_DOMAIN if finite.all() else ReasonerStatus.REFUSED

    def _balance(self, soc: Floats) -> tuple[int, ...]:
        """Cells to bleed: well above the lowest cell, told at a rest (a plateau tells nothing)."""
        told = self.kalman.anchored & np.isfinite(soc)
        if not told.all() or told.size < 2:
            return ()
        return tuple(int(cell) for cell in np.flatnonzero(soc - soc.min() > BALANCE_SPREAD))
