"""What the never-seen rows need: for each set the filter's constants, cards and student of one who never saw it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgebms.estimator.tuning import TUNED, Tuning

FOLDER = Path(__file__).parent


def tuning_of(left_out: str) -> Tuning:
    """The filter's constants of one who never saw the set ``left_out``; those in force where none is left out."""
    if not left_out:
        return TUNED
    found = msgspec.json.decode((FOLDER / "tuning.json").read_bytes(), type=dict[str, Tuning])
    return found[left_out]
