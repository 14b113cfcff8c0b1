"""Writes a model beside its card, and the list of all that ship. The runtime reads a part of it (``edgebms.model_store``)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

LICENCES = {
    "lg_hg2": {
        "source": "Kollmeyer, Vidal, Naguib, Skells: LG 18650HG2 Li-ion Battery Data, McMaster University, doi 10.17632/cp3473x7xv.3",
        "licence": "CC BY 4.0",
        "changes": "columns renamed, current positive while charging, 1 Hz means, reference SOC added",
    },
    "panasonic_18650pf": {
        "source": "Kollmeyer: Panasonic 18650PF Li-ion Battery Data, University of Wisconsin-Madison, Mendeley Data wykht8y7tg",
        "licence": "CC BY 4.0",
        "changes": "columns renamed, current positive while charging, 1 Hz means, reference SOC added",
    },
    "dmegc_randomwalk": {
        "source": "DMEGC INR18650 electro-thermal data set (CTA-MTL), cells R1 to R3",
        "licence": "MIT",
        "changes": "columns renamed, current positive while charging, reference SOC added",
    },
}


def write(folder: Path, name: str, model: bytes, card: dict[str, Any]) -> None:
    """``name.onnx`` and ``name.json`` in ``folder``; the manifest is brought up to date."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(model)
    whole = {"name": name, "sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)} | card
    (folder / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    write_manifest(folder)


def write_manifest(folder: Path) -> None:
    """manifest.json: name -> kind, size and sha256 of every model in ``folder``."""
    models = {}
    for path in sorted(folder.glob("*.onnx")):
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        data = path.read_bytes()
        models[path.stem] = {"kind": card["kind"], "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(models, indent=1) + "\n", encoding="utf-8")
