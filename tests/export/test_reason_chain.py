"""The reasoner's recipe from a batch of packs to files that the runtime opens, in small; and what of it must not hang on chance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
pytest.importorskip("torch", reason="needs the export extra")
pytest.importorskip("transformers", reason="needs the export extra")
pytest.importorskip("sklearn", reason="needs the export extra")

from edgebms.reasoner.language import TOKENS  # noqa: E402
from edgebms.reasoner.student import load_reasoner  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.reason import corpus  # noqa: E402


def test_long_recipe_from_packs_to_a_model_that_the_runtime_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packs, runs, models = tmp_path / "corpus", tmp_path / "runs", tmp_path / "models"
    here = ["--corpus", str(packs), "--runs", str(runs)]
    assert main(["reason", "corpus", "--split", "train", "--packs", "96", *here]) == 0
    first = sorted((packs / "train").glob("batch_*.npy"))
    kept = first[0].read_bytes()
    # broken off and begun again: the batch that is missing is made, the same bytes
    first[0].unlink()
    first[0].with_suffix(".part").write_bytes(b"half")
    assert main(["reason", "corpus", "--split", "train", "--packs", "96", *here]) == 0
    assert first[0].read_bytes() == kept
    rows = corpus.load(packs, "train")
    assert rows["last"].sum() == len(rows) // corpus.INSTANTS
    # the same packs stand for the other splits: this is about the line, not about figures
    for split in ("validation", "held_out"):
        shutil.copytree(packs / "train", packs / split)
    assert main(["reason", "oracle", *here]) != 0  # it is not told what to believe yet
    assert main(["reason", "beliefs", *here]) == 0
    assert main(["reason", "oracle", "--steps", "250", *here]) == 0
    assert main(["reason", "fixed", *here]) == 0
    assert len(set(json.loads((runs / "fixed.json").read_text()))) == 8
    assert main(["reason", "transformer", "--steps", "2", *here]) == 0
    assert main(["reason", "student", "--steps", "100", "--models", str(models), "--checkpoints", str(tmp_path / "stock"), *here]) == 0
    student = load_reasoner(str(models / "reasoner.onnx"))
    assert np.isfinite(student.begin(np.zeros(len(TOKENS), dtype=np.float32))).all()
    assert student.card.warning["internal_short"] >= 0.6
    capsys.readouterr()
    told = [
        "evaluate",
        "reason",
        "--model",
        str(models / "reasoner.onnx"),
        "--sets",
        "held_out",
        "--methods",
        "student_int8",
        "oracle",
        "transformer",
        "trees",
    ]
    assert main([*told, "--json", *here]) == 0
    found = json.loads(capsys.readouterr().out)
    by_method = {row["method"]: row for row in found["summary"]}
    assert by_method["oracle"]["accuracy"] > 60  # it was trained on them
    assert by_method["student_int8"]["queries"] <= 8
    assert found["provenance"]["left_out"] == ["method trees: its files are missing"]
