"""What a scenario asks of the machine under the daemon: a disk that is soon full, a wall clock that steps."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hil.errors import Missing
from hil.scenario import Scenario

DISK_MB = 8


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A tmpfs of a few MB at ``folder``. Raises RigError where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "edgebms-rig", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"no tmpfs: {done.stderr.strip()}", where=str(folder), mend="run as root, or leave the disk scenarios out")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def environment(scenario: Scenario, folder: Path) -> dict[str, str]:
    """More of it for the daemon: libfaketime where its wall clock is to step."""
    if not any(fault.kind == "clock_step" for fault in scenario.gateway):
        return {}
    found = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if found is None:
        raise Missing("libfaketime is missing", where="clock_step", mend="apt install faketime", installable=True)
    (folder / "faketime").write_text("+0\n")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "faketime"),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
