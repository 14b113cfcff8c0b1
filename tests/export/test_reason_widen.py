"""A student of before goes on with the same weights when questions are appended: each word keeps its row, and what is new is not asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

pytestmark = pytest.mark.slow
pytest.importorskip("safetensors", reason="needs the export extra")

from edgebms.evidence.queries import BY_WORD, QUERIES  # noqa: E402
from edgebms.reasoner.language import ID, TOKENS  # noqa: E402
from edgebms.reasoner.student import load_reasoner  # noqa: E402
from export.__main__ import main  # noqa: E402

ROOT = Path(__file__).parents[2]
DROPPED = ("ask:heat_view.suspect.86400s", "where:probe_weeks.outlier.3600s")


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The student that ships as it would have been without two of its words."""
    (tmp_path / "models").mkdir()
    for name in ("reasoner.onnx", "reasoner.json"):
        shutil.copyfile(ROOT / "models" / name, tmp_path / "models" / name)
    shutil.copytree(ROOT / "export" / "checkpoints" / "reasoner", tmp_path / "checkpoints" / "reasoner")
    kept = np.array([ID[word] for word in TOKENS if word not in DROPPED])
    model = onnx.load(tmp_path / "models" / "reasoner.onnx")
    for constant in model.graph.initializer:
        if constant.name in ("embedding", "head"):
            matrix = numpy_helper.to_array(constant).take(kept, axis=0 if constant.name == "embedding" else 1)
            constant.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(matrix), constant.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.name in ("mix", "logits"):
            value.type.tensor_type.shape.dim[1].dim_value = len(kept)
    onnx.save(model, tmp_path / "models" / "reasoner.onnx")
    card = json.loads((tmp_path / "models" / "reasoner.json").read_text(encoding="utf-8"))
    del card["bins"][QUERIES.index(BY_WORD["heat_view.suspect.86400s"])]
    card["vocabulary"] = "0" * 64
    card["unasked"] = [word for word in card["unasked"] if word != "heat_view.suspect.86400s"]
    (tmp_path / "models" / "reasoner.json").write_text(json.dumps(card), encoding="utf-8")
    folder = tmp_path / "checkpoints" / "reasoner"
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    told["model"]["vocab"] = {word: place for place, word in enumerate(word for word in TOKENS if word not in DROPPED)}
    (folder / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[key] = np.ascontiguousarray(tensors[key][kept])
    save_file(tensors, folder / "model.safetensors")
    return tmp_path


def widen(folder: Path) -> int:
    return main(["reason", "widen", "--models", str(folder / "models"), "--checkpoints", str(folder / "checkpoints")])


def test_it_says_the_same_and_asks_nothing_new(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert widen(older) == 0
    assert "1 questions are new" in capsys.readouterr().out
    wide, ships = load_reasoner(str(older / "models" / "reasoner.onnx")), load_reasoner(str(ROOT / "models" / "reasoner.onnx"))
    new = [ID[word] for word in DROPPED]
    mix = np.zeros(len(TOKENS), dtype=np.float32)
    mix[[ID["<begin>"], ID["chemistry:LFP"], ID["cells:many"]]] = 1.0
    said, says = wide.begin(mix).copy(), ships.begin(mix).copy()
    assert np.delete(said, new) == pytest.approx(np.delete(says, new), abs=1e-6)
    assert said[new].tolist() == [0.0, 0.0]
    assert not wide.asks[QUERIES.index(BY_WORD["heat_view.suspect.86400s"])]
    manifest = json.loads((older / "models" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["reasoner"]["sha256"] == wide.card.sha256


def test_the_stock_checkpoint_is_widened_too(older: Path) -> None:
    transformers = pytest.importorskip("transformers")
    assert widen(older) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(older / "checkpoints" / "reasoner")
    assert model.config.vocab_size == len(TOKENS)
    tokenizer = json.loads((older / "checkpoints" / "reasoner" / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["model"]["vocab"] == ID


def test_a_word_that_is_gone_is_refused(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = older / "checkpoints" / "reasoner" / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("ask:gas.pack.60s", "ask:smell.pack.60s"), encoding="utf-8")
    assert widen(older) != 0
    assert "'ask:smell.pack.60s', which is no more" in capsys.readouterr().err
