"""systemd's notification socket (sd_notify(3)) in a few lines, and what the journal makes of a line's level."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping

WARNING, NOTICE, INFO = 4, 5, 6


class Notify:
    """Speaks to the service manager where there is one, else to nobody."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if self._address else None
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environment.get("WATCHDOG_USEC", "") if watched else ""
        self.watchdog_s = int(usec) / 1e6 if usec.isdigit() else 0.0
        """Within this time the manager wants to hear WATCHDOG=1; 0 = it does not."""

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            self._socket.sendto("\n".join(lines).encode(), socket.MSG_NOSIGNAL, address)
        except OSError as error:
            print(f"edgebms: warning: NOTIFY_SOCKET: {error.strerror}", file=sys.stderr)

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def rig(self, barrier: int, decisions: int) -> None:
        """To the rig that holds the clock: all that came before its ``barrier``-th time frame is done (``rigclock.py``)."""
        self._send(f"X_EDGEBMS_BARRIER={barrier}", f"X_EDGEBMS_DECISIONS={decisions}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")


def say(text: str, level: int = INFO) -> None:
    """One line on standard error; in the journal with its level (sd-daemon(3))."""
    prefix = f"<{level}>" if "JOURNAL_STREAM" in os.environ else ""
    print(f"{prefix}edgebms: {text}", file=sys.stderr, flush=True)
