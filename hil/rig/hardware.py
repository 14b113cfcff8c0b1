"""A physical pack emulator in place of the plant's frames: the plant is stepped as ever, the emulator shows its cells to a real BMS,
and the BMS speaks to the daemon on a real bus. docs/hil.md has the wiring.

The file that ``--hardware`` names:

    emulator = "my_bench.emulator:Emulator"     # module:class, see ``Emulator``
    [bus]                                       # where the BMS is, as the daemon's own [[bus]]
    interface = "socketcan"
    channel = "can0"
    [options]                                   # keyword arguments for the class
    port = "/dev/ttyUSB1"
"""

from __future__ import annotations

import importlib
import json
import tomllib
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from edgebms.errors import ConfigError
from edgebms.inlet.frame import Frame
from hil.errors import Missing

MEND = "docs/hil.md shows the file"
SWITCH_ON = "switch the bench on, mend the file"


class Emulator(Protocol):
    """Cell and probe outputs of a bench, one pack. Called once a period with what the sensors' wires carry now."""

    def show(self, cell_voltage_v: NDArray[Any], temperature_c: NDArray[Any], current_a: float) -> None:
        """(cells,), (probes,), A. NaN = the wire is off."""
        ...

    def contactors(self, closed: bool) -> None: ...

    def close(self) -> None: ...


class HardwareEnd:
    """The rig's end of the real bus, an ``End``: it hears what the daemon and the BMS send. Frames of the pack come from the BMS."""

    renews = False

    def __init__(self, file: Path) -> None:
        settings = load(file)
        self._bus_settings: dict[str, Any] = settings["bus"]
        options = dict(self._bus_settings)
        self.emulator = emulator_of(settings, file)
        try:
            import can

            self._bus = can.Bus(ignore_config=True, **options)
        except Exception as error:  # a bus that is not there: whatever its driver makes of it
            raise Missing(str(error), where=str(file), mend=SWITCH_ON) from None

    def bus(self, name: str, transmit: bool) -> str:
        known = ("interface", "channel", "bitrate", "fd")
        lines = [f"{key} = {json.dumps(value)}" for key, value in self._bus_settings.items() if key in known]
        rest = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self._bus_settings.items() if key not in known)
        return "\n".join(["[[bus]]", f'name = "{name}"', *lines, f"transmit = {json.dumps(transmit)}", f"options = {{ {rest} }}", ""])

    def send(self, frames: list[Frame]) -> None:
        """The BMS sends them itself."""

    def send_raw(self, data: bytes) -> None:
        del data
        raise Missing("faults of the bus have no place on a bench", where="bus", mend="run this scenario without --hardware")

    def receive(self) -> list[Frame]:
        frames = []
        while (message := self._bus.recv(0)) is not None:
            frames.append(Frame(0, message.arbitration_id, bytes(message.data), message.is_extended_id))
        return frames

    def unplug(self) -> None:
        self.send_raw(b"")

    def plug_in(self) -> None: ...

    def close(self) -> None:
        self.emulator.close()
        self._bus.shutdown()


def emulator_of(settings: dict[str, Any], file: Path) -> Emulator:
    """Raises Missing."""
    module, _, name = settings["emulator"].partition(":")
    try:
        return cast(Emulator, getattr(importlib.import_module(module), name)(**settings.get("options", {})))
    except Exception as error:  # a bench that is not there: whatever its driver makes of it
        raise Missing(str(error), where=str(file), mend=SWITCH_ON) from None


def load(file: Path) -> dict[str, Any]:
    """Raises ConfigError."""
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(file), mend=MEND) from None
    if not isinstance(settings.get("bus"), dict) or ":" not in str(settings.get("emulator", "")):
        raise ConfigError("has no [bus] or no emulator = module:class", where=str(file), mend=MEND)
    return settings
