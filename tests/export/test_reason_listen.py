"""What is kept of a recording is what the runtime's own decisions say over it; alarms are set on it and stand in the card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import test_evaluate_fault as logs

from edgebms.clock import LogClock
from edgebms.decision.types import Decision
from edgebms.loop import Loop, replay_snapshots
from edgebms.reasoner.language import CAUSES
from edgebms.telemetry import bdf
from export.__main__ import main
from export.fault_logs import read_fault_log
from export.fault_methods import METHODS
from export.reason.listen import listen_to_all


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of twenty minutes: one of a cell that falls away from the tenth on."""
    folder = tmp_path_factory.mktemp("recordings")
    time_s = np.arange(0.0, 1200.0, 2.0)
    for name, falls_v in (("calm", 0.0), ("falls", 0.4)):
        added = np.zeros((len(time_s), logs.CELLS))
        added[:, 11] -= falls_v * np.clip((time_s - 600.0) / 300.0, 0.0, 1.0)
        logs.write(folder / f"{name}.parquet", logs.car(time_s, added))
    logs.tests_csv(
        folder,
        {"test": "calm", "cause": "healthy", "detectable": ""},
        {"test": "falls", "cause": "internal_short", "cell": 12, "onset_second": 600, "detectable": 1},
    )
    return folder


def test_what_is_kept_is_what_the_decisions_say(folder: Path, tmp_path: Path) -> None:
    listen_to_all("reasoner", folder, tmp_path / "said")
    heard = np.load(tmp_path / "said" / "falls.npy")
    log = read_fault_log(folder / "falls.parquet", 1.0)
    told: list[Decision] = []
    clock = LogClock()
    line = METHODS["student_int8"](log.pack)
    replay_snapshots(bdf.snapshots(log.path, log.pack), line, Loop([line], clock, told.append, lambda: 0), clock)
    spoken = [decision.reasoning for decision in told if decision.reasoning is not None]
    assert [CAUSES[cause] for cause in heard["cause"]] == [reasoning.cause for reasoning in spoken]
    assert [cell + 1 if cell >= 0 else None for cell in heard["cell"]] == [reasoning.cell for reasoning in spoken]
    assert heard["queries"].tolist() == [len(reasoning.trace) for reasoning in spoken]
    assert heard["time_s"][0] >= 0
    assert (np.diff(heard["time_s"]) >= 2.0 - 1e-6).all()


def test_a_recording_is_played_once(folder: Path, tmp_path: Path) -> None:
    listen_to_all("reasoner", folder, tmp_path / "said", jobs=2)
    (tmp_path / "said" / "calm.npy").unlink()
    before = (tmp_path / "said" / "falls.npy").stat().st_mtime_ns
    listen_to_all("reasoner", folder, tmp_path / "said")
    assert (tmp_path / "said" / "falls.npy").stat().st_mtime_ns == before
    assert (tmp_path / "said" / "calm.npy").is_file()


def test_alarms_are_set_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in (".onnx", ".json"):
        shutil.copy(Path("models") / f"reasoner{suffix}", tmp_path / f"reasoner{suffix}")
    model, said = str(tmp_path / "reasoner.onnx"), str(tmp_path / "said")
    assert main(["reason", "alarms", str(folder), "--model", model, "--kept", said]) != 0
    assert "was not listened to" in capsys.readouterr().err
    assert main(["reason", "listen", str(folder), "--model", model, "--kept", said]) == 0
    assert main(["reason", "alarms", str(folder), "--model", model, "--kept", said]) == 0
    assert "2 recordings" in capsys.readouterr().out
    card = json.loads((tmp_path / "reasoner.json").read_text())
    assert set(card["hold_s"]) == set(card["warning"]) == {"", *(cause.value for cause in CAUSES[2:])}
