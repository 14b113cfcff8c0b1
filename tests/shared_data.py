"""Where the shared battery data lies: EDGEBMS_SHARED, or ../shared beside the checkout."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared(relative: str) -> Path:
    """The path of ``relative`` in the shared data. Skips when it is missing; fails in CI."""
    base = Path(os.environ.get("EDGEBMS_SHARED", ROOT.parent / "shared"))
    path = base / relative
    if not path.exists():
        missing(f"shared data {relative} not found (set EDGEBMS_SHARED to the folder that holds it)")
    return path


def missing(reason: str) -> None:
    """Skip with ``reason`` on a user's machine; in CI a missing part is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def needed(module: str) -> ModuleType:
    """The optional ``module``; where it is not installed the whole file is missing."""
    try:
        return import_module(module)
    except ImportError:
        missing(f"{module} is not installed (pip install 'edgebms[test]')")
        raise
