"""The reference firmware under QEMU, for a test that plays its front end and has the gateway's line to itself."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from shared_data import missing

from hil.errors import Missing
from hil.rig import mcu_board
from hil.rig.mcu_board import CELLS, GATEWAY_ID, KEY, KEY_ID, MCU_ID, PROBES, PROFILE, QemuBoard
from hil.rig.mcu_front_end import Drive, FrontEnd

__all__ = ["CELLS", "GATEWAY_ID", "KEY", "KEY_ID", "MCU_ID", "PROBES", "PROFILE", "Drive", "Emulated", "image"]


def image(folder: Path) -> Path:
    """Builds firmware.elf in ``folder``; skips where a tool is missing, in CI fails."""
    try:
        mcu_board.needed("qemu-system-arm", "qemu-system-arm")
        return mcu_board.image(folder)
    except Missing as error:
        missing(str(error))
        raise


class Emulated(FrontEnd):
    """port: the path of the gateway's line. Set volts, degrees, current_a, reset_pressed, follows; read drives."""

    def __init__(self, elf: Path, folder: Path) -> None:
        self._board = QemuBoard(elf, folder)
        self.port, self.reset = self._board.port, self._board.reset
        super().__init__(self._board.front_end, [3.7] * CELLS, [25.0] * PROBES)

    def __enter__(self) -> Emulated:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        self._board.close()
