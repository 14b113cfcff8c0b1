"""What the state student sees, made by the runtime's own filter over training logs with cards and signals distorted.

Each sequence is one log joined at a random row, sampled every 1 to 10 s, seen through a card that is wrong in the
way cards are: the open-circuit curve by some millivolts over SOC, the resistance by a factor, the capacity by some
per cent, the sensors by an offset. The distortions are drawn as wide as the card then says (``accuracy``), so that
"error over the card's stated error" keeps its meaning. Distorting the measured voltage is the same to the filter as
distorting the card, and lets many sequences run beside each other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import CellCard
from edgebms.estimator.cell_model import ERROR, EXCHANGE, GAS_OVER_FARADAY, KELVIN, PAIRS, R0, RATE, RC, CellModel
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.student import FEATURES, features
from export.state_logs import read_state_log

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

PERIOD_S = 1.0
STEPS_S = (1, 1, 1, 2, 5, 10)
"""Sampling of the sequences, s; most logs of vehicles and gateways come every second."""
MOST_STEPS = 4000
LEAST_ROWS = 900
LEAST_ERROR, MOST_ERROR = 0.5, 6.0
"""Stated errors of the cards that are drawn, over those of the card that was fitted: generic cards err by so much."""
SLOW_SHARE = 0.1
"""A relaxation that the card does not know, over the card's resistance."""
WRONG_CURVE_V = 0.03
"""Standard deviation of the worst distortion of an open-circuit curve."""
HELD_OUT = "Mixed2"
"""This cycle of each temperature is kept from training: sizes, epochs and seeds are chosen on it."""


@dataclass(frozen=True, slots=True)
class Log:
    """One log, (rows,) each: time, voltage, current, temperature, reference SOC; the voltage that the card expects
    where the SOC is known (``expect``)."""

    name: str
    time_s: Floats
    voltage_v: Floats
    current_a: Floats
    temperature_c: Floats
    soc: Floats
    expected_v: Floats


@dataclass(frozen=True, slots=True)
class Sequences:
    """x (steps, sequences, features) float32; soc and filter, sigma (steps, sequences): the reference, the filter's
    estimate and its standard deviation; valid (steps, sequences): rows that exist and have a reference; raw
    (steps, sequences, 3): voltage, current, temperature as the sensors gave them; step_s (sequences,)."""

    x: Singles
    soc: Singles
    filter: Singles
    sigma: Singles
    valid: NDArray[np.bool_]
    raw: Singles
    step_s: Singles

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{name: getattr(self, name) for name in self.__slots__})


def load(path: Path) -> Sequences:
    with np.load(path) as arrays:
        return Sequences(**{name: arrays[name] for name in Sequences.__slots__})


def read_log(path: Path) -> Log:
    """A BDF parquet file of one cell with ``soc_reference``; rows without a reference keep NaN. Raises LogError."""
    log = read_state_log(path)
    keep = np.isfinite(log.voltage_v) & np.isfinite(log.current_a) & np.isfinite(log.temperature_c)
    return Log(
        path.stem,
        *(column[keep] for column in (log.time_s, log.voltage_v, log.current_a, log.temperature_c, log.soc)),
        np.full(np.count_nonzero(keep), np.nan),
    )


def training_logs(shared: Path, held_out: bool) -> list[Log]:
    """The Mixed cycles of ``lg_hg2`` train: those held out, or all the others."""
    paths = sorted((shared / "data/soc/train/lg_hg2").glob("*.parquet"))
    return [read_log(path) for path in paths if path.stem.endswith(HELD_OUT) is held_out]


def expect(card: CellCard, logs: list[Log]) -> list[Log]:
    """``logs`` with the card's voltage at the reference SOC: what is left to the measured one is the card's error."""
    steps = max(log.time_s.size for log in logs)
    current, temperature, soc, time = (grid(logs, name, steps) for name in ("current_a", "temperature_c", "soc", "time_s"))
    dt = np.diff(time, axis=0, prepend=time[:1])
    model, flowing = CellModel(card, len(logs)), np.zeros((PAIRS, len(logs)))
    out = np.empty(current.shape)
    soc = np.nan_to_num(soc, nan=0.5)
    for k in range(steps):
        model.look(soc[k], temperature[k])
        table = model.map
        keep = np.exp(-table[RATE : RATE + PAIRS] * dt[k])
        flowing = keep * flowing + (1.0 - keep) * current[k]
        thermal = 2.0 * GAS_OVER_FARADAY * (temperature[k] + KELVIN)
        drop = table[R0] * current[k] + thermal * np.arcsinh(0.5 * current[k] / table[EXCHANGE])
        out[k] = model.ocv_v(soc[k], temperature[k]) + drop + (table[RC : RC + PAIRS] * flowing).sum(axis=0)
    return [replace(log, expected_v=out[: log.time_s.size, i]) for i, log in enumerate(logs)]


def grid(logs: list[Log], name: str, steps: int) -> Floats:
    """(steps, logs); past a log's end its last row stands."""
    out = np.empty((steps, len(logs)))
    for i, log in enumerate(logs):
        values = getattr(log, name)
        out[: values.size, i], out[values.size :, i] = values, values[-1]
    return out


def sample(log: Log, start: int, step_s: int) -> Log:
    """``log`` from row ``start`` on, every ``step_s`` rows: the last value of each, the mean current."""
    rows = min((log.time_s.size - start) // step_s, MOST_STEPS) * step_s
    blocks = {f.name: getattr(log, f.name)[start : start + rows].reshape(-1, step_s) for f in fields(log) if f.name != "name"}
    last = {name: block[:, -1] for name, block in blocks.items()}
    return Log(log.name, **last | {"current_a": blocks["current_a"].mean(axis=1)})


def wrong_card(card: CellCard, error: float, resistance: float, capacity: float) -> CellCard:
    """``card`` with its capacity off by the factor ``capacity`` and its stated errors wider by ``error`` and ``resistance``."""
    accuracy = card.accuracy
    voltage = msgspec.structs.replace(
        accuracy.voltage_v, value=tuple(tuple(min(v * error, 1.0) for v in row) for row in accuracy.voltage_v.value)
    )
    wider = msgspec.structs.replace(accuracy, voltage_v=voltage, resistance=min(accuracy.resistance * resistance, 2.0))
    return msgspec.structs.replace(card, accuracy=wider, capacity_ah=card.capacity_ah * capacity)


def smooth(rng: np.random.Generator, soc: Floats) -> Floats:
    """A random curve over SOC of about unit variance, the same law for every sequence; soc (rows,)."""
    waves = np.arange(1, 5)
    weight = rng.normal(size=4) / waves**0.5
    phase = rng.uniform(0.0, 2.0 * np.pi, size=4)
    curve: Floats = (weight * np.sin(np.pi * waves * soc[:, None] + phase)).sum(axis=1)
    return curve


def distort(log: Log, card: CellCard, error: float, resistance: float, rng: np.random.Generator) -> Log:
    """``log`` as sensors of their own error would have seen a cell that departs from ``card`` so far.

    What this cell's card gets wrong comes with either sign and another size: how errors go over time and load can be
    learned, which way this one card errs cannot, for the next one errs another way.
    """
    model = CellModel(card, log.time_s.size)
    soc = np.nan_to_num(log.soc, nan=0.5)
    ocv = model.ocv_v(soc, log.temperature_c)
    model.look(soc, log.temperature_c)
    own = rng.choice((-1.0, 1.0)) * rng.uniform(0.7, 1.3) * min(error, 1.0)
    curve = np.abs(rng.normal()) * smooth(rng, soc) * np.minimum(wider(error) * model.map[ERROR], WRONG_CURVE_V)
    factor = np.clip(np.exp(rng.normal() * wider(resistance) * card.accuracy.resistance), 0.6, 1.6)
    slow_s = 100.0 * 20.0 ** rng.uniform()
    slow_ohm = rng.normal() * SLOW_SHARE * wider(resistance) * (model.map[R0] + model.map[RC : RC + PAIRS].sum(axis=0))
    voltage = ocv + curve + factor * (log.expected_v - ocv) + own * (log.voltage_v - log.expected_v)
    voltage += slow_ohm * low_pass(log.current_a, log.time_s, slow_s)
    voltage += rng.normal() * 0.002 + rng.normal(scale=0.0005, size=soc.size)
    offset = card.capacity_ah * rng.choice((0.0, 1.0)) * rng.normal() * 0.02
    return replace(log, voltage_v=voltage, current_a=log.current_a + offset, temperature_c=log.temperature_c + rng.normal() * 0.7)


def low_pass(current_a: Floats, time_s: Floats, tau_s: float) -> Floats:
    """The current through the resistor of an RC pair that the card does not know; (rows,)."""
    from scipy.signal import lfilter

    keep = float(np.exp(-np.median(np.diff(time_s)) / tau_s))
    out: Floats = lfilter([1.0 - keep], [1.0, -keep], current_a)
    return out


def wider(factor: float) -> float:
    """Standard deviation to add to one that is 1 so that it becomes ``factor``."""
    return float(np.sqrt(max(factor**2 - 1.0, 0.0)))


def run_filter(card: CellCard, logs: list[Log]) -> Sequences:
    """The runtime's filter over ``logs`` beside each other, and what a student sees of it."""
    cells, steps = len(logs), max(log.time_s.size for log in logs)
    kalman = Kalman(card, cells)

    names = ("voltage_v", "current_a", "temperature_c", "soc", "time_s")
    voltage, current, temperature, soc, time = (grid(logs, name, steps) for name in names)
    step_s = np.array([np.median(np.diff(log.time_s)) for log in logs])
    dt = np.diff(time, axis=0, prepend=time[:1])
    rows = np.array([log.time_s.size for log in logs])
    shape = (steps, cells)
    out = Sequences(
        x=np.empty((*shape, len(FEATURES)), dtype=np.float32),
        soc=soc.astype(np.float32),
        filter=np.empty(shape, dtype=np.float32),
        sigma=np.empty(shape, dtype=np.float32),
        valid=(np.arange(steps)[:, None] < rows) & np.isfinite(soc),
        raw=np.stack((voltage, current, temperature), axis=2).astype(np.float32),
        step_s=step_s.astype(np.float32),
    )
    for k in range(steps):
        kalman.step_many(np.minimum(dt[k], 60.0), current[k], voltage[k], temperature[k])
        out.x[k] = features(kalman, current[k], PERIOD_S)
        out.filter[k] = kalman.soc
        out.sigma[k] = kalman.soc_sigma
    return out


def join(parts: list[Sequences]) -> Sequences:
    """All sequences beside each other, padded to the longest."""
    steps = max(part.x.shape[0] for part in parts)

    def stack(name: str) -> NDArray[np.generic]:
        arrays = [getattr(part, name) for part in parts]
        if name == "step_s":
            return np.concatenate(arrays)
        padded = [np.pad(a, [(0, steps - a.shape[0])] + [(0, 0)] * (a.ndim - 1)) for a in arrays]
        return np.concatenate(padded, axis=1)

    return Sequences(**{name: stack(name) for name in Sequences.__slots__})


def training_sequences(card: CellCard, logs: list[Log], seed: int, variants: int) -> Sequences:
    """``variants`` wrong cards, each with a join of every other log.

    Many cards: with few, a network tells them apart by their stated errors and learns which way each one's capacity errs.
    """
    rng = np.random.default_rng(seed)
    parts, logs = [], expect(card, logs)
    for variant in range(variants):
        error = LEAST_ERROR * (MOST_ERROR / LEAST_ERROR) ** rng.uniform()
        resistance, capacity = rng.uniform(1.0, 2.5), rng.normal(1.0, 0.02)
        joined = []
        for log in logs[variant % 2 :: 2]:
            start = 0 if rng.uniform() < 0.1 else int(rng.integers(0, log.time_s.size - LEAST_ROWS))
            joined.append(distort(sample(log, start, int(rng.choice(STEPS_S))), card, error, resistance, rng))
        parts.append(run_filter(wrong_card(card, error, resistance, capacity), joined))
    return join(parts)


def held_out_sequences(card: CellCard, logs: list[Log], joins: int = 6) -> Sequences:
    """Joins of logs at evenly spread rows, nothing distorted."""
    joined = []
    for log in logs:
        step_s = max(round(float(np.median(np.diff(log.time_s)))), 1)
        last = log.time_s.size - LEAST_ROWS // step_s
        joined += [sample(log, int(start), 1) for start in np.linspace(0, max(last, 0), joins)]
    return run_filter(card, joined)
