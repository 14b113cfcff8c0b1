"""What a run of the machine found, as lines and as docs/results-vm.md."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path

HEAD = """# SocketCAN for real

Written by `make test-vm`: a Debian machine under qemu, with Debian's kernel, systemd as process 1, vcan0 made by systemd-networkd,
the package installed by dpkg and run by its own unit, and the rig beside it on the same bus.

"""
NOT_SHOWN = """
Two ways of the rig: *as fast as it goes*, the rig starts the installed package's daemon itself and holds its clock; *under
systemd*, the daemon is the package's own unit, hardened as it ships, and all is on the machine's clock. Both over vcan0.

## What a virtual bus does not show

- A controller. vcan has no bit timing, no acknowledge, no arbitration, no error counters: it cannot go bus-off, and
  `RestartSec`, `ListenOnly` and bitrates have no effect. `bus_off` and `error_passive` come from a raw socket that sends the error
  frames that `linux/can/error.h` says a driver would send: how edgebms takes them is shown, not that a driver sends them.
- A full transmit queue (`ENOBUFS`): vcan takes what it is given. The test of the inlet uses a socket pair for that.
- Load at the bus's own pace: a vcan frame takes no time. What is shown is the kernel's receive buffer running over.
- Wires, USB adapters, an MCP2515 over SPI: a bench has to (docs/hil.md, a physical pack emulator).
- Speed: an emulated processor is some twenty times slower than a real one. Times are here to show that nothing waits for ever.
"""


@dataclass
class Run:
    """accel: what ran the processor. made_s: what it took to make the machine. rows: one a check, as ``guest.py`` tells them."""

    kernel: str
    release: str
    made_s: float
    accel: str = ""
    machine_s: float = 0.0
    rows: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def line(row: dict) -> str:
    return f"{'pass' if row['ok'] else 'FAIL'}  {row['check']:<24} {row['seconds']:6.1f} s  {row['asked']}: {row['found']}"


def write(path: Path, run: Run) -> None:
    """The table, what went wrong included."""
    text = HEAD + "| what | here |\n|---|---|\n"
    accel = {"kvm": "kvm", "tcg": "tcg (software emulation)"}[run.accel]
    facts = {
        "kernel": run.kernel,
        "qemu's accelerator": "; ".join([accel, *run.notes]),
        "host": f"{platform.machine()}, Python {platform.python_version()}",
        "time to make the machine": f"{run.made_s:.0f} s",
        "time until the checks began": f"{run.rows[0]['came_s']:.0f} s",
        "time in the machine": f"{run.machine_s:.0f} s",
    }
    text += "".join(f"| {what} | {value} |\n" for what, value in facts.items())
    text += "\n| Check | Asked | | Found | s |\n|---|---|---|---|---|\n"
    text += "".join(
        f"| `{row['check']}` | {row['asked']} | {'pass' if row['ok'] else '**FAIL**'} | {cell(row['found'])} | {row['seconds']:.0f} |\n"
        for row in run.rows
    )
    path.write_text(text + NOT_SHOWN)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
