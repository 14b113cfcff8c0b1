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

from edgebms.cellcard import CellCard, load_card
from edgebms.estimator.cell_model import ERROR, EXCHANGE, GAS_OVER_FARADAY, HYSTERESIS, KELVIN, PAIRS, R0, RATE, RC, CellModel
from edgebms.estimator.kalman import Kalman
from edgebms.estimator.student import FEATURES, features
from edgebms.estimator.tuning import TUNED, Tuning
from export.state_logs import read_state_log

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

PERIOD_S = 1.0
STEPS_S = (1, 1, 1, 2, 5, 10)
"""Sampling of the sequences, s; most logs of vehicles and gateways come every second."""
MOST_STEPS = 2800
LEAST_S = 900.0
FULL_START = 0.2
"""Share of the sequences that begin where their log does, full and rested."""
OFFSETS = ((0.4, 0.0), (0.3, 0.02), (0.3, 0.08))
"""Share of the sequences, standard deviation of the current sensor's offset, A per Ah."""
SHIFT_K = (-20.0, 15.0)
"""A virtual cell is so much colder or warmer than the log whose load it carries."""
LEAST_ERROR, MOST_ERROR = 0.6, 3.5
OWN_SIGN = 0.5
"""Share of the sequences in which the card's own error comes as it is; in the others with either sign."""
MOST_RESISTANCE = 1.8
"""Stated error of the resistances over the card's, at most."""
"""Stated errors of the cards that are drawn, over those of the card that was fitted: generic cards err by so much."""
SLOW_SHARE = 0.1
"""A relaxation that the card does not know, over the card's resistance."""
WRONG_CURVE_V = 0.03
"""Standard deviation of the worst distortion of an open-circuit curve."""
HELD_OUT = "Mixed2"
"""This cycle of each temperature is kept from training: sizes, epochs and seeds are chosen on it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A set that trains: its card, the patterns of its logs in soc/train (drives, and other kinds of load: of one kind
    alone a correction is learned that is not one for every load), its share of the wrong cards, how many logs each card sees."""

    set: str
    card: str
    patterns: tuple[str, ...]
    share: float
    logs: int


SOURCES = (
    Source("lg_hg2", "lg_hg2", ("*.parquet", "characterisation/*_HPPC.parquet", "characterisation/*_Cap_1C.parquet"), 0.4, 24),
    Source("panasonic_18650pf", "panasonic_18650pf", ("*.parquet",), 0.2, 12),
    Source("dmegc_randomwalk", "dmegc_inr18650", ("R*__rw_*[02468].parquet", "R*__pulse_*.parquet", "R*__discharge_*.parquet"), 0.25, 48),
)
"""Sets with a stated licence whose labels can be trusted."""
VIRTUAL = ("generic_nmc", "generic_nca", "generic_lco", "generic_lfp", "dmegc_inr18650", "panasonic_18650pf")
"""Cards of the cells that never were, which carry the loads of those that are."""
OF_SET = {
    "lg_hg2": ("generic_nmc", "generic_nca", "generic_lco", "generic_lfp"),
    "dmegc_randomwalk": ("generic_nmc", "dmegc_inr18650"),
    "panasonic_18650pf": ("generic_nca", "panasonic_18650pf"),
}
"""Cards that hold curves of a set: a student that must not have seen it does not see them either."""


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
    """A BDF parquet file of one cell with ``soc_reference``, up to its last reference, in even steps; rows without a
    reference keep NaN. Raises LogError."""
    log = read_state_log(path)
    keep = np.isfinite(log.voltage_v) & np.isfinite(log.current_a) & np.isfinite(log.temperature_c)
    keep[np.flatnonzero(np.isfinite(log.soc))[-1] + 1 :] = False
    columns = [column[keep] for column in (log.time_s, log.voltage_v, log.current_a, log.temperature_c, log.soc)]
    if np.median(np.diff(columns[0])) < 0.5 * PERIOD_S:  # a pulse test: tenths of a second, and ten at rest
        columns = evenly(*columns)
    return Log(path.stem, *columns, np.full(columns[0].size, np.nan))


def evenly(time_s: Floats, voltage_v: Floats, current_a: Floats, temperature_c: Floats, soc: Floats) -> list[Floats]:
    """The same once in PERIOD_S: mean current since the row before, by its charge, all else as it is at that moment."""
    at = np.arange(time_s[0], time_s[-1], PERIOD_S)
    charge = np.cumsum(current_a * np.diff(time_s, prepend=time_s[0]))
    mean_a = np.diff(np.interp(at, time_s, charge), prepend=0.0) / PERIOD_S
    mean_a[0] = current_a[0]
    return [at, np.interp(at, time_s, voltage_v), mean_a, np.interp(at, time_s, temperature_c), np.interp(at, time_s, soc)]


def training_logs(shared: Path, held_out: bool) -> list[Log]:
    """The Mixed cycles of ``lg_hg2`` train: those held out, or all the others."""
    paths = sorted((shared / "data/soc/train/lg_hg2").glob("*.parquet"))
    return [read_log(path) for path in paths if path.stem.endswith(HELD_OUT) is held_out]


def source_paths(shared: Path, source: Source) -> list[Path]:
    """The logs of ``source`` that train: what is held out is not among them."""
    paths = [path for pattern in source.patterns for path in sorted((shared / "data/soc/train" / source.set).glob(pattern))]
    return [path for path in paths if not path.stem.endswith(HELD_OUT)]


def expect(card: CellCard, logs: list[Log]) -> list[Log]:
    """``logs`` with the card's voltage at the reference SOC: what is left to the measured one is the card's error."""
    steps = max(log.time_s.size for log in logs)
    current, temperature, soc, time = (grid(logs, name, steps) for name in ("current_a", "temperature_c", "soc", "time_s"))
    dt = np.diff(time, axis=0, prepend=time[:1])
    model, flowing = CellModel(card, len(logs)), np.zeros((PAIRS, len(logs)))
    branch = np.ones(len(logs))  # logs begin at a full charge
    out = np.empty(current.shape)
    soc = np.nan_to_num(soc, nan=0.5)
    for k in range(steps):
        model.look(soc[k], temperature[k])
        table = model.map
        keep = np.exp(-table[RATE : RATE + PAIRS] * dt[k])
        flowing = keep * flowing + (1.0 - keep) * current[k]
        thermal = 2.0 * GAS_OVER_FARADAY * (temperature[k] + KELVIN)
        drop = table[R0] * current[k] + thermal * np.arcsinh(0.5 * current[k] / table[EXCHANGE])
        fade = np.exp(np.abs(current[k]) * dt[k] / (-3600.0 * card.capacity_ah * card.ocv.hysteresis_swing))
        branch = fade * branch + (1.0 - fade) * np.sign(current[k])
        out[k] = model.ocv_v(soc[k], temperature[k]) + branch * table[HYSTERESIS] + drop + (table[RC : RC + PAIRS] * flowing).sum(axis=0)
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
    step_s = max(step_s // max(round(float(np.median(np.diff(log.time_s)))), 1), 1)
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
    sign = 1.0 if rng.uniform() < OWN_SIGN else rng.choice((-1.0, 1.0))
    own = sign * rng.uniform(0.7, 1.3) * min(error, 1.0)
    curve = np.abs(rng.normal()) * smooth(rng, soc) * np.minimum(wider(error) * model.map[ERROR], WRONG_CURVE_V)
    factor = np.clip(np.exp(rng.normal() * wider(resistance) * card.accuracy.resistance), 0.6, 1.6)
    slow_s = 100.0 * 20.0 ** rng.uniform()
    slow_ohm = rng.normal() * SLOW_SHARE * wider(resistance) * (model.map[R0] + model.map[RC : RC + PAIRS].sum(axis=0))
    voltage = ocv + curve + factor * (log.expected_v - ocv) + own * (log.voltage_v - log.expected_v)
    voltage += slow_ohm * low_pass(log.current_a, log.time_s, slow_s)
    voltage += rng.normal() * 0.002 + rng.normal(scale=0.0005, size=soc.size)
    offset = card.capacity_ah * rng.normal() * rng.choice([width for _, width in OFFSETS], p=[share for share, _ in OFFSETS])
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


def run_filter(card: CellCard, logs: list[Log], tuning: Tuning = TUNED) -> Sequences:
    """The runtime's filter over ``logs`` beside each other, and what a student sees of it."""
    cells, steps = len(logs), max(log.time_s.size for log in logs)
    kalman = Kalman(card, cells, tuning)
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


def virtual(card: CellCard, own: CellCard, logs: list[Log], rng: np.random.Generator) -> list[Log]:
    """Cells of ``card`` under the loads of ``logs``, colder or warmer by some kelvin, with the errors that ``own``, the
    card of those logs, left over (scaled by the resistances' ratio: most of them is under load)."""
    ratio = card.capacity_ah / own.capacity_ah
    shift = rng.uniform(*SHIFT_K)
    moved = [replace(log, current_a=log.current_a * ratio, temperature_c=np.clip(log.temperature_c + shift, -25.0, 50.0)) for log in logs]
    out = expect(card, moved)
    return [replace(new, voltage_v=new.expected_v + (log.voltage_v - log.expected_v)) for new, log in zip(out, logs, strict=True)]


def training_sequences(shared: Path, seed: int, variants: int, leave_out: str, tuning: Tuning, most_logs: int | None = None) -> Sequences:
    """``variants`` wrong cards, each with joins of a part of the logs of one set.

    Many cards: with few, a network tells them apart by their stated errors and learns which way each one's capacity errs.
    A fifth of the cards are virtual cells of other chemistries and temperatures.
    """
    rng = np.random.default_rng(seed)
    sources = [source for source in SOURCES if source.set != leave_out]
    cards = [load_card(source.card) for source in sources]
    logs = [
        expect(card, [read_log(path) for path in source_paths(shared, source)[:most_logs]])
        for card, source in zip(cards, sources, strict=True)
    ]
    others = [load_card(name) for name in VIRTUAL if name not in OF_SET.get(leave_out, ())]
    share = np.array([source.share for source in sources]) / sum(source.share for source in sources)
    parts = []
    for variant in range(variants):
        which = int(rng.choice(len(sources), p=share))
        card, mine = cards[which], logs[which]
        mine = [mine[i] for i in rng.permutation(len(mine))[: sources[which].logs]]
        if variant % 5 == 4 and others:
            other = others[int(rng.integers(len(others)))]
            card, mine = other, virtual(other, card, mine, rng)
        error = LEAST_ERROR * (MOST_ERROR / LEAST_ERROR) ** (rng.uniform() ** 2)
        if card.quality != "fitted":
            error = min(error, 1.5)
        resistance, capacity = 1.0 + (MOST_RESISTANCE - 1.0) * rng.uniform() ** 2, rng.normal(1.0, 0.015)
        joined = []
        for log in mine:
            last = int(np.searchsorted(log.time_s, log.time_s[-1] - LEAST_S))
            start = 0 if rng.uniform() < FULL_START or last < 1 else int(rng.integers(0, last))
            joined.append(distort(sample(log, start, int(rng.choice(STEPS_S))), card, error, resistance, rng))
        parts.append(run_filter(wrong_card(card, error, resistance, capacity), joined, tuning))
    return join(parts)


def held_out_sequences(card: CellCard, logs: list[Log], tuning: Tuning, joins: int = 6) -> Sequences:
    """Joins of logs at evenly spread rows, every other one with a current offset, nothing else distorted."""
    joined = []
    for log in logs:
        last = int(np.searchsorted(log.time_s, log.time_s[-1] - LEAST_S))
        for i, start in enumerate(np.linspace(0, max(last, 0), joins)):
            part = sample(log, int(start), 1)
            offset = (0.0, 0.1, 0.0, -0.1)[i % 4] * card.capacity_ah
            joined.append(replace(part, current_a=part.current_a + offset))
    return run_filter(card, joined, tuning)
