"""What a student says over whole recordings: every interrogation of each, kept, so that what the runtime makes of them can be set and judged at leisure.

``FOLDER/NAME.npy`` is a structured array (``SPOKEN``), one row an interrogation or glance. A recording that is there is not played again.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgebms.cellcard import load_card
from edgebms.evidence.past import Scale
from edgebms.history.history import History
from edgebms.reasoner.decoder import Interrogation
from edgebms.reasoner.language import CAUSES
from edgebms.reasoner.reasoner import Reasoner
from edgebms.reasoner.student import ReasoningStudent, load_reasoner
from edgebms.reasoner.verdict import Verdict
from edgebms.telemetry import bdf
from edgebms.worker import ask_inline
from export.fault_logs import FaultLog, find_logs, read_fault_log, thinned

SPOKEN = np.dtype(
    [("time_s", "f8"), ("cause", "i1"), ("cell", "i2"), ("chance", "f4"), ("healthy", "f4"), ("severity", "i1"), ("queries", "i1")]
)
"""time_s: from the recording's first row. cause: place in CAUSES; chance: of it; healthy: of that; severity: as said, before any threshold."""


class Listening(Reasoner):
    """Keeps what was said."""

    def __init__(self, student: ReasoningStudent, scale: Scale) -> None:
        super().__init__(student, scale, ask_inline)
        self.heard: list[tuple[float, int, int, float, float, int, int]] = []

    def _conclude(self, found: Interrogation, borne_out: bool, time_ns: int) -> Verdict:
        trace, cause = found.trace, CAUSES.index(found.trace.cause)
        said = (
            time_ns * 1e-9,
            cause,
            trace.cell,
            float(found.chances[cause]),
            float(found.chances[0]),
            int(trace.severity),
            len(found.bundles),
        )
        self.heard.append(said)
        return super()._conclude(found, borne_out, time_ns)


def listen(student: ReasoningStudent, log: FaultLog, period_s: float) -> NDArray[np.void]:
    """(interrogations,) of ``SPOKEN``."""
    pack = log.pack
    reasoner = Listening(student, Scale.of(load_card(pack.card), pack))
    history = History(pack.cells, pack.probes)
    with TemporaryDirectory() as folder:
        for snapshot in bdf.snapshots(thinned(log.path, period_s, Path(folder)), pack):
            reasoner.step(history, snapshot.time_ns)
            history.push(snapshot)
    heard = np.array(reasoner.heard, dtype=SPOKEN)
    heard["time_s"] -= log.start_s
    return heard


def listen_to_all(model: str, data: Path, kept: Path, period_s: float = 1.0, jobs: int = 1) -> None:
    """Play what is missing of ``data`` (a folder with tests.csv). jobs: processes."""
    kept.mkdir(parents=True, exist_ok=True)
    tasks = [(model, path, target, period_s) for path in find_logs([data]) if not (target := kept / f"{path.stem}.npy").is_file()]
    began_s = time.monotonic()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) if jobs > 1 and len(tasks) > 1 else nullcontext() as pool:
        for name, count in map(keep, tasks) if pool is None else pool.map(keep, tasks):
            print(f"{name}: {count} interrogations, {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)


def keep(task: tuple[str, Path, Path, float]) -> tuple[str, int]:
    """Play one recording into its file."""
    model, path, target, period_s = task
    heard = listen(load_reasoner(model), read_fault_log(path, period_s), period_s)
    partial = target.with_suffix(".part")
    with partial.open("wb") as file:
        np.save(file, heard)
    partial.replace(target)
    return path.stem, len(heard)
