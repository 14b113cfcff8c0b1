"""The reasoner's corpus: episodes of the circuit plant, read at a few instants each, as one array a batch of packs.

``FOLDER/SPLIT/batch_NNNNN.npy`` is a structured array (``ROW``), one row an instant, opened with ``np.load(mmap_mode="r")``. A batch
that is there is not made again; the same seed gives the same bytes. Splits differ in their seed, so no pack is in two of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import LogError
from edgebms.evidence.baseline import Baseline
from edgebms.evidence.queries import ABOUT_SUSPECT, NUMBERS, OUTLIERS, QUERIES
from edgebms.reasoner.language import CAUSES
from edgebms.vocabulary import Cause
from export.reason.cusum import CHANNELS, statistics
from export.reason.extract import Extracted, Recording, card_of, extract
from export.reason.splits import plan_of
from hil.plant.earlier import stretch
from hil.plant.episodes import Episode, Plan, play, troupe

FOLDER = Path("build") / "reason-corpus"
PYBAMM_PACKS = 8
"""Of a batch; PyBaMM simulates each faulty cell anew, in seconds."""
STRETCHES = (0, 0, 3, 4, 5, 6)
"""Stretches of ordinary use (``hil.plant.earlier``) that a gateway has seen of a pack before: of a third of the packs it knows nothing."""
INSTANTS = 5
FIRST_S = 300.0
PACKS_A_BATCH = 1000
"""More than a batch ever holds: a pack's number is unique in its split."""

ROW = np.dtype(
    [
        ("number", "i4"),
        ("kind", "U20"),
        ("card", "U20"),
        ("chemistry", "U8"),
        ("cells", "i2"),
        ("probes", "i2"),
        ("last", "?"),
        ("tick_s", "f4"),
        ("longest", "i1"),
        ("weeks", "?"),
        ("cause", "i1"),
        ("severity", "i1"),
        ("cell", "i2"),
        ("probe", "i2"),
        ("to_critical_s", "f4"),
        ("since_onset_s", "f4"),
        ("detectable", "?"),
        ("sigmas", "f4"),
        ("named", "i2", (len(QUERIES),)),
        ("numbers", "f2", (len(QUERIES), NUMBERS)),
        ("of_suspect", "f2", (len(OUTLIERS), len(ABOUT_SUSPECT), NUMBERS)),
        ("cusum", "f4", (len(CHANNELS),)),
        ("cusum_cell", "i2", (len(CHANNELS),)),
    ]
)
"""numbers, of_suspect: as in ``extract.Extracted``, asinh of the relatives. cause: place in ``CAUSES``. last: the recording's end.
longest, weeks: as ``reach.Reach``. sigmas: the episode's largest departure from its healthy twin, NaN = no fault, or none was played (train). detectable: by the instant it has come
to four. cusum, cusum_cell: of each of ``cusum.CHANNELS`` the peak up to the instant, for the classical baseline."""


def instants(rng: np.random.Generator, episode: Episode) -> NDArray[np.float64]:
    """(INSTANTS,) from the episode's start: its end; one anywhere; of a fault two at any age and one young (log-uniform)."""
    end_s = float(episode.time_s[-1])
    onset_s = episode.fault.onset_s if episode.fault is not None else 0.0
    first_s = max(onset_s + 5.0, FIRST_S)
    young_s = np.exp(rng.uniform(np.log(10.0), np.log(max(end_s - onset_s, 20.0)))) + onset_s
    drawn = [rng.uniform(FIRST_S, end_s), *rng.uniform(first_s, end_s, 2), max(young_s, FIRST_S)]
    return np.clip([end_s, *drawn], None, end_s)


def rows_of(episode: Episode, tick_s: NDArray[np.float64], baseline: Baseline | None = None) -> NDArray[np.void]:
    recording = Recording(episode, baseline)
    found: Extracted = extract(episode, tick_s, recording)
    rows = np.zeros(len(found.tick_s), dtype=ROW)
    rows["number"], rows["kind"], rows["card"] = found.number, found.kind, episode.card
    rows["chemistry"] = card_of(episode.card).chemistry.value
    rows["cells"], rows["probes"] = episode.cell_voltage_v.shape[1], episode.temperature_c.shape[1]
    rows["last"][0] = True
    for name in ("tick_s", "longest", "weeks", "cell", "probe", "to_critical_s", "since_onset_s", "detectable", "named"):
        rows[name] = getattr(found, name)
    rows["sigmas"] = episode.sigmas
    rows["cause"] = [CAUSES.index(cause) for cause in found.cause]
    rows["severity"] = [int(level) for level in found.severity]
    rows["numbers"], rows["of_suspect"] = np.arcsinh(found.numbers), np.arcsinh(found.of_suspect)
    rows["cusum"], rows["cusum_cell"] = statistics(episode, recording, found.tick_s)
    return rows


def make_batch(split: str, batch: int) -> NDArray[np.void]:
    plan = plan_of(split, batch)
    found = []
    for episode, baseline in pybamm_batch(plan, batch) if split == "pybamm" else circuit_batch(plan, batch):
        rng = np.random.default_rng([plan.seed, episode.number, 0x1D])
        found.append(rows_of(episode, instants(rng, episode), baseline))
    return np.concatenate(found)


Known = tuple[Episode, Baseline | None]
"""An episode, and what a gateway has learnt of its pack before."""


def circuit_batch(plan: Plan, batch: int, most: int | None = None) -> Iterator[Known]:
    """Each pack (the first ``most``) after as many stretches of ordinary use as were drawn for it."""
    first = batch * PACKS_A_BATCH
    curves, shared, cast = troupe(plan, batch)
    cast = cast[:most]
    known = np.random.default_rng([plan.seed, batch, 0xEA]).choice(STRETCHES, len(cast))
    learnt: dict[int, Baseline] = {}
    for number in range(max(STRETCHES)):
        order = np.flatnonzero(known > number)  # places in the cast of those that have been known for longer
        there = [cast[place] for place in order]
        if not there:
            break
        for place, episode in zip(order, stretch(plan, curves, shared, there, first, batch, number), strict=True):
            learnt[int(place)] = Recording(episode, learnt.get(int(place))).remember()
    for place, episode in enumerate(play(plan, curves, shared, cast, first)):
        yield episode, learnt.get(place)


def pybamm_batch(plan: Plan, batch: int) -> Iterator[Known]:
    """Packs of day ``batch`` of PyBaMM's library and those behind it, each after the day before where the library has one. Raises LogError where
    there is no library."""
    from hil.plant_pybamm.episodes import before, episode
    from hil.plant_pybamm.library import FOLDER as LIBRARY
    from hil.plant_pybamm.library import days_of, read_day

    days = days_of(LIBRARY)
    for place in range(PYBAMM_PACKS):
        at = batch * PYBAMM_PACKS + place
        day = read_day(days[at % len(days)])
        earlier = before(plan, day, at)
        yield episode(plan, day, at), learnt_of(earlier) if earlier is not None else None


def learnt_of(earlier: Episode) -> Baseline:
    """What a day has taught of its pack, hour by hour."""
    recording = Recording(earlier)
    recording.learn(len(recording.time_s) - 1)
    recording.baseline.pause()
    return recording.baseline


def make(folder: Path, split: str, packs: int) -> int:
    """Make what is missing until ``split`` holds at least ``packs``; returns how many it holds. Raises LogError."""
    try:
        (folder / split).mkdir(parents=True, exist_ok=True)
        held = 0
        for batch in count():
            if held >= packs:
                return held
            path = folder / split / f"batch_{batch:05d}.npy"
            if not path.is_file():
                started_s = time.monotonic()
                rows = make_batch(split, batch)
                partial = path.with_suffix(".part")
                with partial.open("wb") as file:
                    np.save(file, rows)
                partial.replace(path)
                seconds = time.monotonic() - started_s
                print(f"{split}: {held + len(rows) // INSTANTS} packs, batch {batch} in {seconds:.0f} s", file=sys.stderr, flush=True)
            held += len(np.load(path, mmap_mode="r")) // INSTANTS
    except OSError as error:
        raise LogError(f"cannot be written: {error.strerror}", where=str(folder), mend="name a folder that can be written") from None
    raise AssertionError("unreachable")


def load(folder: Path, split: str, packs: int | None = None) -> NDArray[np.void]:
    """All rows of ``split`` (the first ``packs`` packs). Raises LogError where there are none."""
    paths = sorted((folder / split).glob("batch_*.npy"))
    found, held = [], 0
    for path in paths:
        rows = np.load(path)
        if packs is not None and held + len(rows) // INSTANTS > packs:
            rows = rows[: (packs - held) * INSTANTS]
        found.append(rows)
        held += len(rows) // INSTANTS
        if packs is not None and held >= packs:
            break
    if not found:
        raise LogError(f"holds no {split} packs", where=str(folder), mend="make them: python -m export reason corpus")
    return np.concatenate(found)


LEAST_ANSWERED = 0.001


def training(folder: Path, packs: int | None = None) -> NDArray[np.void]:
    """What networks and trees learn from: ``train`` (its first ``packs`` packs), and behind it ``slow`` where there is any. The slow packs'
    numbers stand behind the others'. Raises LogError."""
    rows = load(folder, "train", packs)
    if not any((folder / "slow").glob("batch_*.npy")):
        return rows
    slow = load(folder, "slow", packs)
    slow["number"] += int(rows["number"].max()) + 1
    return np.concatenate((rows, slow))


def answered(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """(queries,): which questions LEAST_ANSWERED of the rows answer. Who learnt from hours alone must not ask a pack that has run for days about them."""
    out = np.isfinite(rows["numbers"]).any(axis=2).mean(axis=0) >= LEAST_ANSWERED
    some = rows["of_suspect"][:: max(len(rows) // 4000, 1)]
    out[list(ABOUT_SUSPECT)] = np.isfinite(some).any(axis=(1, 3)).mean(axis=0) >= LEAST_ANSWERED
    return np.asarray(out, dtype=bool)


def weights(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """(n,) of mean 1: three tenths healthy, every other cause that is there alike."""
    return weights_of(rows["cause"].astype(np.intp))


def weights_of(cause: NDArray[np.intp]) -> NDArray[np.float64]:
    """As ``weights``, of causes (n,) by their place in CAUSES."""
    counts = np.bincount(cause, minlength=len(CAUSES)).astype(float)
    there = counts > 0
    healthy = CAUSES.index(Cause.HEALTHY)
    share = np.where(there, 0.7 / max(int(there.sum()) - int(there[healthy]), 1), 0.0)
    share[healthy] = 0.3 * there[healthy]
    return (share / np.maximum(counts, 1.0))[cause] * len(cause) / share.sum()
