"""Real vehicle days as CAN frames and straight from parquet: the same values, the same alerts, the same commands."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from shared_data import needed, shared

from edgebms.assembly import build_lines
from edgebms.clock import LogClock
from edgebms.config import Config, PackConfig, Site, Students
from edgebms.decision.types import Decision, decode, encode, schema
from edgebms.inlet.logfile import LogFile
from edgebms.loop import Loop, PackLine, replay, replay_snapshots
from edgebms.telemetry import bdf
from edgebms.telemetry.snapshot import Snapshot
from edgebms.vocabulary import Reason, SiteKind
from edgebms.worker import ask_inline
from hil import candump
from hil.encode_bdf import frames

pq = needed("pyarrow.parquet")

PERIOD_S = {"car1": 1.0, "car2": 30.0, "car3": 10.0}
PARALLEL = 40
"""The cars' capacities are not stated; a car of this size has some 120 Ah."""
CELL_LSB_V, PROBE_LSB_C, CURRENT_LSB_A, PACK_LSB_V = 0.0001, 0.1, 0.001, 0.001
ROUNDING = 1e-5
"""float32 of the files."""


@dataclass
class Run:
    """What one way through the house gave."""

    snapshots: list[Snapshot] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def complete(self) -> list[tuple[Snapshot, Decision]]:
        return [(snapshot, decision) for snapshot, decision in zip(self.snapshots, self.decisions, strict=True) if snapshot.complete]


class Tap:
    """The real pipeline, and what went into it."""

    def __init__(self, pipeline, run: Run) -> None:
        self._pipeline, self._run = pipeline, run

    def step(self, snapshot, *rest):
        self._run.snapshots.append(snapshot)
        return self._pipeline.step(snapshot, *rest)


def through(path: Path, config: Config, log: Path | None) -> Run:
    """``path`` straight, or by way of the candump file ``log``."""
    run = Run()
    line = build_lines(config, ask_inline)["car"]
    line = PackLine(line.card, line.assembler, Tap(line.pipeline, run))
    clock = LogClock()
    loop = Loop([line], clock, run.decisions.append, lambda: 0)
    if log is None:
        replay_snapshots(bdf.snapshots(path, config.pack[0]), line, loop, clock)
    else:
        replay(LogFile(log), loop, clock)
    return run


def compare(path: Path, folder: Path) -> tuple[int, int]:
    """Replay ``path`` both ways and hold them against each other and the file. (sweeps, alerts seen)."""
    cells, probes = bdf.shape(path)
    car = PackConfig(
        name="car", profile="edgebms", card="generic_nmc", cells=cells, probes=probes, parallel=PARALLEL, period_s=PERIOD_S[path.name[:4]]
    )
    config = Config(pack=(car,), site=Site(kind=SiteKind.GRID_TIED), students=Students(state=""))
    log = folder / f"{path.stem}.log"
    candump.write(log, frames(path))
    by_can, straight = through(path, config, log), through(path, config, None)

    table = pq.read_table(path)
    file_cells = np.column_stack([table[f"cell_voltage_{i:03d}"].to_numpy() for i in range(1, cells + 1)]).astype(float)
    file_probes = np.column_stack([table[f"temperature_{i:03d}"].to_numpy() for i in range(1, probes + 1)]).astype(float)
    file_current, file_voltage = (table[name].to_numpy().astype(float) for name in ("current_ampere", "voltage_volt"))
    sweeps = by_can.complete()
    assert len(sweeps) == table.num_rows

    validator = jsonschema.Draft202012Validator(schema())
    alerts = 0
    for row, ((sweep, decision), (other, other_decision)) in enumerate(zip(sweeps, straight.complete(), strict=True)):
        where = f"{path.name} row {row}"
        known = sweep.cell_reason == Reason.VALID
        assert np.array_equal(sweep.cell_reason, other.cell_reason), where
        assert np.array_equal(sweep.temperature_reason, other.temperature_reason), where
        unbelieved = np.isin(sweep.cell_reason, (Reason.FROZEN, Reason.SUM_MISMATCH))
        assert np.array_equal(known | unbelieved, np.isfinite(file_cells[row])), where
        assert np.abs(sweep.cell_voltage_v - file_cells[row])[known].max(initial=0) <= CELL_LSB_V + ROUNDING, where
        warm = sweep.temperature_reason == Reason.VALID
        assert np.abs(sweep.temperature_c - file_probes[row])[warm].max(initial=0) <= PROBE_LSB_C + ROUNDING, where
        assert not np.isfinite(file_probes[row])[~warm & (sweep.temperature_reason != Reason.FROZEN)].any(), where
        for reading, value, lsb in ((sweep.current_a, file_current[row], CURRENT_LSB_A), (sweep.voltage_v, file_voltage[row], PACK_LSB_V)):
            assert reading.valid == np.isfinite(value), where
            assert not reading.valid or abs(reading.value - value) <= lsb + 5 * ROUNDING, where
        assert said(decision) == said(other_decision), where
        alerts += len(decision.alerts)
        line = encode(decision)
        assert json.loads(encode(decode(line))) == json.loads(line), where  # the strict types are the schema's source
        if row % 97 == 0:
            validator.validate(json.loads(line))
    for run in (by_can, straight):
        assert all(a.seq + 1 == b.seq for a, b in pairwise(run.snapshots))
        for decision in run.decisions:
            assert decode(encode(decision)).pack == "car"
    return len(sweeps), alerts


def said(decision: Decision) -> tuple:
    """Alerts and command of a decision, without their numbers."""
    alerts = sorted((str(alert.hazard), alert.cell or 0, alert.probe or 0, alert.level) for alert in decision.alerts)
    return alerts, decision.command.action, decision.command.mode


@pytest.mark.parametrize(("day", "first", "rows"), [("car1_2021-05-05", 0, 600), ("car3_2019-04-16", 0, 500)])
def test_part_of_a_day_of_each_car(tmp_path: Path, day: str, first: int, rows: int):
    part = tmp_path / f"{day}.parquet"
    pq.write_table(pq.read_table(shared(f"data/fault/train/baticm_ev/{day}.parquet")).slice(first, rows), part)
    assert compare(part, tmp_path)[0] == rows


DAYS = (
    *(f"car1_2021-05-{day:02d}" for day in (5, 6)),
    *(f"car3_2019-04-{day:02d}" for day in range(15, 31)),
    *(f"car3_2019-05-{day:02d}" for day in range(3, 13)),
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("day", DAYS)
def test_every_day_in_train(tmp_path: Path, day: str):
    path = shared(f"data/fault/train/baticm_ev/{day}.parquet")
    assert sorted(DAYS) == sorted(other.stem for other in path.parent.glob("*.parquet"))
    sweeps, alerts = compare(path, tmp_path)
    print(f"{day}: {sweeps} sweeps, {alerts} alerts standing, the same both ways", flush=True)
    (tmp_path / f"{day}.log").unlink()
