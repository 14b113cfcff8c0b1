"""/usr/share/doc/edgebms/copyright: our licence, then the full licence texts of each wheel that travels with us."""

from __future__ import annotations

from email.parser import Parser
from pathlib import Path

NAMES = ("licen", "copying", "notice", "thirdpartynotices")
GIVEN = Path(__file__).resolve().parent.parent / "licences"
"""Texts of wheels that carry none: NAME.txt."""


def write_copyright(site: Path, target: Path, root: Path) -> None:
    """site: unpacked wheels with their dist-info. Raises FileNotFoundError for a wheel without any licence text."""
    notice = (root / "NOTICE").read_text(encoding="utf-8")
    parts = [f"{notice}\nThe Apache License's text: /usr/share/common-licenses/Apache-2.0\n\nInside /usr/lib/edgebms travel:\n"]
    texts = []
    for info in sorted(site.glob("*.dist-info")):
        name = info.name.partition("-")[0]
        if name == "edgebms":
            continue
        meta = Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"), headersonly=True)
        found = licence_files(site, info)
        licence = meta["License-Expression"] or next(
            (line for line in meta.get_all("Classifier", []) if line.startswith("License ::")), "see its text"
        )
        parts.append(f"  {meta['Name']} {meta['Version']}: {licence.rpartition(' :: ')[2]}\n")
        for path in found:
            head = f"{meta['Name']} {meta['Version']}, {path.name}"
            texts.append(f"\n{'=' * 78}\n{head}\n{'=' * 78}\n\n{path.read_text(encoding='utf-8', errors='replace').strip()}\n")
    target.write_text("".join(parts + texts), encoding="utf-8")


def licence_files(site: Path, info: Path) -> list[Path]:
    """The licence texts of the wheel, those deeper inside it too."""
    name = info.name.partition("-")[0]
    own = [*info.rglob("*"), *(site / name).rglob("*"), *GIVEN.glob(f"{name}.txt")]
    found = [
        path for path in own if path.is_file() and (path.parent == GIVEN or path.name.lower().startswith(NAMES)) and path.suffix != ".py"
    ]
    if not found:
        raise FileNotFoundError(f"{info.name} carries no licence text: put it into packaging/licences/{name}.txt")
    return sorted(found)
