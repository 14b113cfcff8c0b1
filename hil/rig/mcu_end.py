"""The rig's end of a line to a microcontroller: the board in the loop, between the plant and the daemon.

The plant's sensors go to the board's front end, its telemetry over the serial line to the daemon, the daemon's advice back, and
what the firmware then does with contactors and limits to the plant.
"""

from __future__ import annotations

import json
import os
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgebms.errors import ConfigError
from edgebms.inlet.frame import Frame
from firmware_bridge.codes import FRESHNESS_MAX, Contactor, FaultBit, McuState, Verdict
from firmware_bridge.freshness import SCHEMA as COUNTER
from firmware_bridge.keys import Key, KeyProblem, read_key
from hil.errors import Missing, RigError
from hil.plant.interface import Measured
from hil.rig import mcu_faults
from hil.rig.hardware import Emulator
from hil.rig.mcu_board import (
    CELLS,
    FIRMWARE_BUILD,
    GATEWAY_ID,
    KEY,
    KEY_ID,
    MCU_ID,
    PATIENT,
    PROBES,
    PROFILE,
    Board,
    PortBoard,
    QemuBoard,
    image,
)
from hil.rig.mcu_front_end import Drive, FrontEnd
from hil.rig.mcu_line import Line, Told
from hil.rig.run_log import McuTold
from hil.scenario import McuFault, Scenario

STARTS_S = 20.0


@dataclass(frozen=True, slots=True)
class BoardChoice:
    """port: of a real board, None = the emulated one. front_end: the port of its emulated front end, None = it measures by itself.
    elf: an image for QEMU in the place of the reference firmware's. key: the board's key file, None = the reference's, published."""

    port: str | None = None
    front_end: str | None = None
    elf: Path | None = None
    key: Path | None = None


class McuEnd:
    """An ``End`` (``link.py``), and a ``Host`` for ``mcu_faults.py``. emulator: what shows the cells to a board without an emulated
    front end. Raises RigError, ConfigError."""

    renews = False
    gateway_id = GATEWAY_ID

    def __init__(self, scenario: Scenario, folder: Path, at_start: tuple[list[float], list[float]], choice: BoardChoice) -> None:
        if (scenario.pack.cells, scenario.pack.probes) != (CELLS, PROBES) or scenario.pack.profile != "edgebms_fd":
            pack = f"{{profile: edgebms_fd, cells: {CELLS}, probes: {PROBES}}}"
            raise ConfigError("the reference firmware is made for another pack", where="pack", mend=f"use {pack}")
        if not scenario.realtime or scenario.bus:
            raise ConfigError("a microcontroller has a clock and a line of its own", where="link", mend="realtime: true, and mcu for bus")
        near_end = any(fault.kind == "counter_near_end" for fault in scenario.mcu)
        if near_end and choice.port is not None:
            raise Missing("would use up a real board's key", where="mcu: counter_near_end", mend="run this scenario under QEMU")
        self._folder = folder
        self._follows = scenario.site.obeys == "all"
        self._told = 0
        self.emulator: Emulator | None = None
        key = Key(KEY_ID, KEY) if choice.key is None else key_of(choice.key)
        self.key = key.secret
        self.board: Board = qemu(folder, choice.elf) if choice.port is None else PortBoard(choice.port, choice.front_end)
        self._master, slave = os.openpty()
        self._slave = slave
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path = folder / "tty-mcu"
        self.path.symlink_to(os.ttyname(slave))
        self.line = Line(self._master, self.board.gateway)
        self._front_end: FrontEnd | None = None
        if self.board.front_end >= 0:
            self._front_end = FrontEnd(self.board.front_end, *at_start)
            self._front_end.follows = self._follows
        self._write_keys(key, FRESHNESS_MAX - mcu_faults.NEAR_END if near_end else self._greeted() + 1)
        if self._front_end is not None:
            self._until(self._closed, "its contactors do not close")

    def _greeted(self) -> int:
        """The number that the board accepted last: a bench's counter goes on behind it. A gateway's never does (protocol.md)."""
        self._until(lambda: self.line.hello is not None, "it says nothing")
        assert self.line.hello is not None
        return self.line.hello.freshness_last

    def _closed(self) -> bool:
        drive = self.drive
        if self._front_end is not None and drive is not None and drive.state in (McuState.OPEN_ON_ADVICE, McuState.OPEN_ON_FAULT):
            self._front_end.reset_pressed = True  # an earlier run left a real board open
        return drive is not None and bool(drive.closed)

    def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        end_s = time.monotonic() + STARTS_S
        while not holds():
            if time.monotonic() > end_s:
                otherwise += f" ({self.drive})" if self.drive is not None else ""
                self.close()
                raise RigError(
                    f"the board does not start: {otherwise}", where="link", mend="see its own protection, its wiring and firmware"
                )
            time.sleep(0.02)

    def _write_keys(self, key: Key, first: int) -> None:
        file = self._folder / "mcu.key"
        file.touch(0o600)
        file.write_text(f'schema = "edgebms.mcu_key/1"\nnumber = {key.number}\nkey = "{key.secret.hex()}"\n')
        (self._folder / "mcu.counter").write_text(json.dumps({"schema": COUNTER, "key": key.fingerprint, "reserved": first}))

    # ---- the plant's side

    def show(self, seen: Measured) -> None:
        """What the plant's sensors say now."""
        if self._front_end is not None:
            self._front_end.show(seen.cell_voltage_v.tolist(), seen.temperature_c.tolist(), seen.current_a)
        if self.emulator is not None:
            self.emulator.contactors(self.drive is not None and bool(self.drive.closed))
            self.emulator.show(seen.cell_voltage_v, seen.temperature_c, seen.current_a)

    def told(self, start_ns: int) -> list[McuTold]:
        """What the firmware has said of itself since the last call. start_ns: the scenario's start on the monotonic clock."""
        new = self.line.told[self._told :]
        self._told += len(new)
        return [in_words(told, told.at_s - start_ns / 1e9) for told in new]

    def openings(self, start_ns: int) -> list[tuple[float, float]]:
        """When the firmware has opened contactors so far, and what they carried then, A."""
        found = self._front_end.openings if self._front_end is not None else []
        return [(at_s - start_ns / 1e9, current_a) for at_s, current_a in found]

    def begin(self, spec: McuFault) -> Callable[[], None]:
        """Begin a fault; what ends it. Raises ConfigError for a kind that there is not."""
        kind = mcu_faults.KINDS.get(spec.kind)
        if kind is None:
            raise ConfigError(f"no fault is called {spec.kind!r}", where="mcu", mend=f"known: {', '.join(sorted(mcu_faults.KINDS))}")
        fault = kind()
        fault.begin(self, spec)
        return partial(fault.end, self)

    @property
    def drive(self) -> Drive | None:
        """What the firmware does with contactors and limits; None while it says nothing."""
        if self._front_end is not None:
            return self._front_end.drive
        if not self.line.told:
            return None
        pack = self.line.told[-1].pack
        return Drive(int(pack.contactor == Contactor.CLOSED), pack.state, pack.faults, pack.charge_da, pack.discharge_da)

    # ---- the daemon's side

    def bus(self, name: str, transmit: bool) -> str:
        del transmit  # a microcontroller is always spoken to
        return f"""[[bus]]
name = "{name}"
interface = "edgebms_mcu"
channel = "{self.path}"
transmit = true
[[outlet.mcu]]
bus = "{name}"
gateway_id = {GATEWAY_ID}
mcu_id = {MCU_ID}
profile = {PROFILE}
firmware = "1.0.0"
key_file = "{self._folder / "mcu.key"}"
counter_file = "{self._folder / "mcu.counter"}"
"""

    def send(self, frames: list[Frame]) -> None:
        """The firmware sends its telemetry itself."""

    def send_raw(self, data: bytes) -> None:
        del data
        raise RigError("raw bytes have no place on a microcontroller's line", where="bus", mend="use mcu")

    def receive(self) -> list[Frame]:
        return []

    def unplug(self) -> None: ...

    def plug_in(self) -> None: ...

    def close(self) -> None:
        if self._front_end is not None:
            self._front_end.close()
        self.line.close()
        self.board.close()
        for end in (self._master, self._slave):
            os.close(end)


def in_words(told: Told, time_s: float) -> McuTold:
    pack = told.pack
    faults = frozenset(bit.name.lower() for bit in FaultBit if pack.faults & 1 << bit)
    counts = {verdict.name.lower(): told.counts[verdict] for verdict in Verdict if verdict and verdict < len(told.counts)}
    closed = pack.contactor == Contactor.CLOSED
    state = McuState(pack.state).name.lower()
    return McuTold(time_s, state, closed, faults, pack.charge_da / 10, pack.discharge_da / 10, told.session, counts, told.lapse_s)


def key_of(file: Path) -> Key:
    try:
        return read_key(file)
    except KeyProblem as problem:
        raise ConfigError(problem.what, where=problem.where, mend=problem.mend) from None


def qemu(folder: Path, elf: Path | None) -> QemuBoard:
    board = QemuBoard(elf if elf is not None else image(FIRMWARE_BUILD, PATIENT), folder)
    board.connect()
    return board
