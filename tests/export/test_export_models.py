"""What ships in models/: complete, small, of named sources, as its manifest says."""

import hashlib
import json

import pytest

from edgebms.model_store import model_folder
from export.features import HELD_OUT
from export.model_card import write, write_manifest

NAMES = ("gru", "state", "state_float")


def card(name):
    return json.loads((model_folder() / f"{name}.json").read_text())


def test_the_manifest_lists_every_model_with_its_hash():
    manifest = json.loads((model_folder() / "manifest.json").read_text())
    assert sorted(manifest) == sorted(path.stem for path in model_folder().glob("*.onnx")) == sorted((*NAMES, "reasoner"))
    for name, entry in manifest.items():
        model = (model_folder() / f"{name}.onnx").read_bytes()
        assert entry == {"kind": card(name)["kind"], "bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()}


def test_all_models_together_are_small():
    assert sum(path.stat().st_size for path in model_folder().iterdir() if path.is_file()) < 10e6


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_data_licences_seeds_and_what_was_held_out(name):
    told = card(name)
    notice = (model_folder() / "NOTICE").read_text()
    assert told["sha256"] == hashlib.sha256((model_folder() / f"{name}.onnx").read_bytes()).hexdigest()
    assert told["data"] and told["seed"] in told["seeds"]
    for source, entry in told["data"].items():
        assert source in notice and entry["licence"] and entry["source"].split()[-1] in notice
    lg = [log for log in told["held_out"] if log.startswith("lg_hg2/") or "/" not in log]
    assert lg and all(log.endswith(HELD_OUT) for log in lg)
    assert all(log.endswith("5") for log in told["held_out"] if log.startswith("dmegc_randomwalk/")), "even random walks train"
    assert {row["seed"] for row in told["held_out_table"] if "seed" in row} == set(told["seeds"])


def test_the_reasoners_card_names_its_only_source():
    told = card("reasoner")
    assert list(told["data"]) == ["plant_circuit"] and "plant_circuit" in (model_folder() / "NOTICE").read_text()
    assert told["seed"] == told["recipe"]["seed"] and set(told["corpus"]["seeds"]) >= {"train", "validation", "held_out"}
    assert told["form"].startswith("int8")


def test_the_float_form_is_the_int8_forms_twin():
    for key in ("features", "centre", "scale", "domain_low", "domain_high", "hidden", "seed", "filter"):
        assert card("state")[key] == card("state_float")[key]


def test_writing_a_model_brings_the_manifest_up_to_date(tmp_path):
    write(tmp_path, "a", b"one", {"kind": "soc"})
    write(tmp_path, "b", b"two", {"kind": "state"})
    (tmp_path / "a.onnx").write_bytes(b"three")
    write_manifest(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest) == ["a", "b"] and manifest["a"]["bytes"] == 5
