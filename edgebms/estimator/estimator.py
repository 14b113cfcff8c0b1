"""From a snapshot to the state of every cell: filter, student on top of it, slow states, limits."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.config import PackConfig, probe_of_cell
from edgebms.estimator.anchor import rested_soc
from edgebms.estimator.cell_model import CellModel
from edgebms.estimator.charge_window import ChargeWindow
from edgebms.estimator.kalman import SOC_MAX, SOC_MIN, Kalman
from edgebms.estimator.power import Power
from edgebms.estimator.soh import Soh
from edgebms.estimator.state import CellState
from edgebms.estimator.student import StateStudent
from edgebms.estimator.turn import Turn
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import ReasonerStatus, Source
from edgebms.worker import Ask

Floats = NDArray[np.float64]

HORIZON_S = 10.0
"""The limits keep a cell inside its voltages for this long."""
LOADED_C = 0.1
"""Above this current (1/h) the resistance scale says something."""
SLOW_S = 1.0
"""How often the slow states are brought up to date."""
BALANCE_SPREAD = 0.02
"""A cell this far above the lowest, by SOC, is proposed for balancing."""
GAP_S = 120.0


class _Seen(NamedTuple):
    """What ``settle`` needs of the snapshot that was last stepped; current of one cell."""

    time_s: float
    current_a: float
    voltage_v: Floats
    temperature_c: Floats


class Estimator:
    """One pack's estimator. ``step`` at every snapshot; no clock, no I/O.

    ``student`` None, or one that does not know the card = the filter alone. ``ask`` runs the student, inline or bounded by the deadline.
    Filter and limits work at every snapshot. The student is asked once in its period and what moves slowly
    is brought up to date once a second: in turns, and after the decision has left where snapshots come faster
    than that (``settle``), so that a decision never waits for what only the next one needs.
    """

    def __init__(self, card: CellCard, pack: PackConfig, student: StateStudent | None, ask: Ask) -> None:
        self._status = ReasonerStatus.ABSENT if student is None else ReasonerStatus.SKIPPED
        if student is not None and not student.knows(card):
            student, self._status = None, ReasonerStatus.OUT_OF_DOMAIN
        self._card, self._pack, self._student, self._ask = card, pack, student, ask
        self.kalman = Kalman(card, pack.cells)
        self._model = CellModel(card, pack.cells)
        self.soh = Soh(card, pack.cells)
        self._charge = ChargeWindow(self._model)
        self.power = Power(card, pack)
        self._probe = np.array(probe_of_cell(pack), dtype=np.intp)
        self._probed = self._probe >= 0
        self._time_s = math.nan
        self._resistance_turn = Turn(SLOW_S, 0.25)
        self._student_turn = Turn(student.period_s if student is not None else SLOW_S, 0.5)
        self._soh_turn = Turn(SLOW_S, 0.75)
        self._hidden = student.start(pack.cells) if student is not None else np.zeros((pack.cells, 0), dtype=np.float32)
        self._correction = np.zeros(pack.cells)
        self._sigma = np.full(pack.cells, np.nan)
        self._led = self._leads_everywhere = False
        self._resistance_ohm = np.full(pack.cells, np.nan)
        self._offset_a = self._offset_sigma_a = math.nan
        self._balance: tuple[int, ...] = ()
        self._unsettled: _Seen | None = None

    def step(self, snapshot: Snapshot, now_ns: int) -> CellState:
        """The state after ``snapshot``. UNKNOWN inputs make wider sigmas, never invented values."""
        self.settle(now_ns)
        kalman, soh, parallel = self.kalman, self.soh, self._pack.parallel
        current_a = snapshot.current_a.value / parallel
        temperature_c = self._temperatures(snapshot)
        time_s = snapshot.time_ns / 1e9
        dt_s = max(time_s - self._time_s, 0.0) if self._time_s == self._time_s else 0.0
        self._time_s = time_s
        kalman.step(time_s, current_a, snapshot.cell_voltage_v, temperature_c)
        soh.count(dt_s, current_a if dt_s <= GAP_S else math.nan)
        self._unsettled = _Seen(time_s, current_a, snapshot.cell_voltage_v, temperature_c)
        if dt_s >= 0.999 * SLOW_S:
            self.settle(snapshot.time_ns)  # by the next snapshot of so slow a pack it would be old
        soc, soc_sigma = kalman.soc, kalman.soc_sigma
        source = Source.STUDENT
        if self._leads_everywhere:
            soc, soc_sigma = within(soc + self._correction), self._sigma
        elif self._led:
            led = np.isfinite(self._sigma)
            soc = np.where(led, within(soc + self._correction), soc)
            soc_sigma = np.where(led, self._sigma, soc_sigma)
        else:
            source = Source(int(np.maximum.reduce(kalman.source)))
        limits = self.power.step(now_ns, snapshot.cell_voltage_v, current_a, temperature_c, soc, self._resistance_ohm, soh.resistance)
        return CellState(
            soc=soc,
            soc_sigma=soc_sigma,
            # Before a first measurement the card's capacity is an assumption of ours, not the cell's state of health.
            soh_capacity=np.where(soh.measured, soh.capacity, np.nan),
            soh_capacity_sigma=np.where(soh.measured, soh.capacity_sigma, np.nan),
            soh_resistance=soh.resistance.copy(),
            soh_resistance_sigma=soh.resistance_sigma.copy(),
            source=source,
            since_anchor_s=kalman.since_anchor_s,
            innovation_v=kalman.innovation_v,
            current_offset_a=self._offset_a * parallel,
            current_offset_sigma_a=self._offset_sigma_a * parallel,
            limits=limits,
            balance=self._balance,
            student=self._status,
        )

    def _temperatures(self, snapshot: Snapshot) -> Floats:
        """Each cell's temperature by the probe that watches it; NaN where there is none."""
        if not snapshot.temperature_c.size:
            return np.full(self._pack.cells, np.nan)
        return np.where(self._probed, snapshot.temperature_c[self._probe], np.nan)

    def _slow(self, elapsed_s: float, current_a: float, voltage_v: Floats, temperature_c: Floats) -> None:
        """What moves slowly: resistance and capacity SOH, anchors, balancing."""
        kalman, soh = self.kalman, self.soh
        if abs(current_a) > LOADED_C * self._card.capacity_ah:
            soh.resist(elapsed_s, kalman.resistance_scale, kalman.resistance_scale_sigma)
        window = self._charge.take(elapsed_s, current_a, kalman, voltage_v, temperature_c)
        if window is not None:
            soh.window(window.capacity, window.variance)
        told = kalman.anchored & np.isfinite(voltage_v + temperature_c)
        self._balance = ()
        if not told.any():
            return
        soc, sigma = rested_soc(self._model, np.where(told, voltage_v, 3.5), np.where(told, temperature_c, 25.0))
        soh.anchor(np.where(told, soc, np.nan), sigma, max(self._offset_sigma_a, 0.0))
        if told.all() and told.size > 1:
            # Well above the lowest cell, told at a rest: under load or on a plateau a voltage tells nothing.
            self._balance = tuple(int(cell) for cell in np.flatnonzero(kalman.soc - kalman.soc.min() > BALANCE_SPREAD))

    def _resistances(self, current_a: float, temperature_c: Floats) -> Floats:
        """What each cell's voltage moves per ampere within the horizon, by card and measured scale, ohm."""
        kalman = self.kalman
        known = np.isfinite(kalman.soc + temperature_c)
        if not known.any():
            return np.full(self._pack.cells, np.nan)
        level_a = current_a if math.isfinite(current_a) else 0.0
        soc, temperature = (
            (kalman.soc, temperature_c) if known.all() else (np.where(known, kalman.soc, 0.5), np.where(known, temperature_c, 25.0))
        )
        return np.where(known, self._model.resistance_ohm(soc, temperature, level_a, HORIZON_S) * kalman.resistance_scale, np.nan)

    def _ask_student(self, student: StateStudent, current_a: float, since_ns: int) -> None:
        x = student.features(self.kalman, current_a)
        inside = student.inside(x)
        self._led = self._leads_everywhere = False
        everywhere = bool(inside.all())
        if not inside.any():
            self._status = ReasonerStatus.OUT_OF_DOMAIN
            self._sigma = np.full(self._pack.cells, np.nan)
            self._hidden = student.start(self._pack.cells)
            return
        hidden = self._hidden
        seen = x if everywhere else np.where(inside[:, None], x, np.float32(0.0))
        status, answer = self._ask(lambda: student.run(seen, hidden), since_ns)
        if answer is None:
            self._status = status
            self._sigma = np.full(self._pack.cells, np.nan)  # no answer: the filter stands, not an old correction
            return
        correction, sigma, after = answer
        # One sum tells whether any number is none: the pack's healthy case costs no pass over the cells.
        total = float(np.add.reduce(correction) + np.add.reduce(after, axis=None))
        if everywhere and math.isfinite(total) and float(np.minimum.reduce(sigma)) > 0.0 and float(np.maximum.reduce(sigma)) < math.inf:
            self._correction, self._sigma, self._status = correction, sigma, ReasonerStatus.OK
            self._hidden = after
            self._led = self._leads_everywhere = True
            return
        finite = np.isfinite(correction + sigma + np.add.reduce(after, axis=1)) & (sigma > 0.0)
        good = finite & inside
        self._hidden = np.where(good[:, None], after, student.start(self._pack.cells))
        self._correction = np.where(good, correction, 0.0)
        self._sigma = np.where(good, sigma, np.nan)
        self._led = bool(good.any())
        self._status = ReasonerStatus.OUT_OF_DOMAIN if finite.all() else ReasonerStatus.REFUSED

    def settle(self, since_ns: int) -> None:
        """Do what the next decision builds on, best once this one has left: the student's turn and the slow states'.

        since_ns: from when the student's deadline counts. The next ``step`` does it where nobody did.
        """
        seen, self._unsettled = self._unsettled, None
        if seen is None:
            return
        if self._resistance_turn.due(seen.time_s):
            self._resistance_ohm = self._resistances(seen.current_a, seen.temperature_c)
            self._offset_a, self._offset_sigma_a = self.kalman.current_offset_a, self.kalman.current_offset_sigma_a
        if self._soh_turn.due(seen.time_s):
            self._slow(min(self._soh_turn.elapsed_s, GAP_S), seen.current_a, seen.voltage_v, seen.temperature_c)
        if self._student is not None and self._student_turn.due(seen.time_s):
            self._ask_student(self._student, seen.current_a, since_ns)

    def state(self) -> dict[str, Any]:
        """What must survive a restart: the filter's and the slow states, the ramps, the student's memory."""
        self.settle(round(self._time_s * 1e9) if self._time_s == self._time_s else 0)
        return {
            "kalman": self.kalman.state(),
            "soh": self.soh.state(),
            "power": self.power.state(),
            "resistance_ohm": self._resistance_ohm.copy(),
            "model": self._student.digest if self._student is not None else "",
            "hidden": self._hidden.copy(),
        }

    def restore(self, state: dict[str, Any], time_s: float, off_s: float) -> None:
        """Put ``state()`` back. time_s: now, on the clock of the snapshots to come; off_s: how long nothing was seen.

        What flowed meanwhile is not known. After a gap the ramps start at 0 A and the student at its start.
        Raises ValueError when it is another pack's.
        """
        current_a = float(state["kalman"]["clock"][1])
        self.kalman.restore(state["kalman"])
        self.kalman.resume(time_s - off_s, current_a)
        self.soh.restore(state["soh"])
        short = off_s <= GAP_S
        self.soh.count(off_s, current_a if short else math.nan)
        if short:
            self.power.restore(state["power"])
            self._resistance_ohm = state["resistance_ohm"].copy()
            if self._student is not None and state["model"] == self._student.digest:
                self._hidden = state["hidden"].copy()


def within(soc: Floats) -> Floats:
    """A corrected SOC stays in the range that the filter itself keeps to."""
    kept: Floats = np.minimum(np.maximum(soc, SOC_MIN), SOC_MAX)
    return kept
