"""Is the machine's wall clock to be believed? A gateway without a clock battery wakes up in the past."""

from __future__ import annotations

import ctypes
from pathlib import Path

TIMESYNCD = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd makes this file once it has set the clock."""
TIME_ERROR = 5
TIMEX_BYTES = 256
"""struct timex has 208 bytes on 64-bit Linux, fewer on 32-bit."""


def synchronised() -> bool:
    """True once some time service has disciplined the clock; False where that cannot be known."""
    return TIMESYNCD.exists() or kernel_says_so()


def kernel_says_so() -> bool:
    """adjtimex(2) with nothing to set: chrony, ntpd and timesyncd all clear the kernel's "unsynchronised"."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (AttributeError, OSError):
        return False
    return bool(0 <= state < TIME_ERROR)
