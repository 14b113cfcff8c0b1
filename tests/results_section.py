"""A page of results that several commands write, a section each."""

from __future__ import annotations

from pathlib import Path


def get(page: Path, heading: str) -> str:
    """The section under ``## heading``, "" where there is none."""
    sections = page.read_text(encoding="utf-8").split("\n## ")[1:] if page.exists() else []
    return next((body for head, _, body in (section.partition("\n") for section in sections) if head == heading), "")


def put(page: Path, heading: str, body: str) -> None:
    """Replaces the section under ``## heading`` of ``page``, or adds it at the end."""
    head, *sections = page.read_text(encoding="utf-8").split("\n## ") if page.exists() else ["# Results"]
    new = f"{heading}\n\n{body.strip()}\n"
    kept = [section for section in sections if section.split("\n", 1)[0] != heading]
    at = next((i for i, section in enumerate(sections) if section.split("\n", 1)[0] == heading), len(kept))
    kept.insert(at, new)
    page.write_text("\n## ".join([head.rstrip() + "\n", *(section.rstrip() + "\n" for section in kept)]), encoding="utf-8")
