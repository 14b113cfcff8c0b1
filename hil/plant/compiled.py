"""How the loops of ``loops`` are compiled: by numba, once for a machine, kept beside the sources (or in the user's cache).

Without numba, or with its own switch NUMBA_DISABLE_JIT=1, the same loops run as plain Python: the same figures, quick enough for a pack
or two on the rig, a hundred times too slow for a corpus.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

Loop = TypeVar("Loop", bound=Callable[..., Any])


def plain(loop: Loop) -> Loop:
    return loop


def compilers() -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """(for any loop; for loops that only look for extremes, whose order does not matter)"""
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":  # spares its import too, which takes longer than a short run
        return plain, plain
    try:
        from numba import njit
    except ImportError:
        return plain, plain
    ordered = njit(cache=True, error_model="numpy")
    return ordered, njit(cache=True, error_model="numpy", fastmath={"nnan", "nsz", "reassoc"})


compiled, compiled_extremes = compilers()
