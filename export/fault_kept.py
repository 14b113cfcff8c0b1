"""What a long evaluation has done so far: one line a file, so that it may be broken off and resumed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edgebms.errors import EdgebmsError, LogError
from export.fault_score import ROW

Outcome = tuple[str, list[dict[str, Any]]]


KEPT = ".ndjson"
DIGITS = 16
"""Of a file's SHA-256: recordings are drawn again to the same bytes, on any machine."""


def outcomes(path: Path) -> list[Outcome]:
    """What a run has kept in ``path`` so far, of each log once. Raises LogError."""
    try:
        told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = list({line["file"]: (line["card"], line["rows"]) for line in told}.values())
        if not all(row.keys() >= set(ROW) for _, rows in kept for row in rows):
            raise LogError("is of an older version", where=str(path), mend="evaluate the recordings again")
        return kept
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LogError(f"holds no outcomes: {error}", where=str(path), mend="name a file that --resume has written") from None


class Kept:
    """Outcomes by file. A line counts only for the same file (name and contents, wherever it lies), methods and period; one
    that was broken off counts for nothing. path: None = nothing is kept. Raises LogError."""

    def __init__(self, path: Path | None, methods: list[str], period_s: float) -> None:
        self._path = path
        self._how = [methods, period_s]
        self._done: dict[str, Outcome] = {}
        if path is None or not path.exists():
            return
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise LogError(f"cannot be read: {error}", where=str(path), mend="name another file to resume from") from None
        for line in lines:
            try:
                told = json.loads(line)
                if told["how"] == self._how and all(row.keys() >= set(ROW) for row in told["rows"]):
                    self._done[told["file"]] = (told["card"], told["rows"])
            except (ValueError, KeyError, TypeError):
                continue
        if lines:
            # a line that was broken off must not swallow the next one
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def outcome(self, file: Path) -> Outcome | None:
        return self._done.get(self._name(file)) if self._path is not None else None

    def add(self, file: Path, outcome: Outcome | EdgebmsError) -> None:
        if self._path is None or isinstance(outcome, EdgebmsError):
            return
        line = {"file": self._name(file), "how": self._how, "card": outcome[0], "rows": outcome[1]}
        try:
            with self._path.open("a", encoding="utf-8") as kept:
                kept.write(json.dumps(line) + "\n")
        except OSError as error:
            raise LogError(f"cannot be written: {error.strerror}", where=str(self._path), mend="name a file that can be written") from None

    @staticmethod
    def _name(file: Path) -> str:
        with file.open("rb") as contents:
            return f"{file.name} {hashlib.file_digest(contents, 'sha256').hexdigest()[:DIGITS]}"
