"""Shared fixtures. ``tests/`` itself is on the path, so that ``from shared_data import shared`` works."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

ALL_SLOW = re.compile(r"^pytestmark = \[?pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """A file of slow tests alone is not imported where none of them runs: several load torch or PyBaMM, each worker anew."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return True if ALL_SLOW.search(collection_path.read_text(encoding="utf-8")) else None
