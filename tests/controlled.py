"""A daemon with a control socket, and a latch whose cause is over half a second after it ended."""

from __future__ import annotations

import json
import socket
from importlib import resources

from adapter import PACK, Adapter, Pack, Process, slcan_config, slcan_line


def quick_limits(folder):
    """The default limits, but an external short is over after 0.3 s."""
    text = (resources.files("edgebms") / "catalogue" / "limits" / "default.toml").read_text()
    head, row, rest = text.partition('name = "external_short"')
    path = folder / "limits.toml"
    path.write_text(head + row + rest.replace("latch = true", "latch = true\nrecovery_s = 0.3", 1))
    return path


class Controlled:
    """``edgebms run`` fed over SLCAN, its socket at ``path``."""

    def __init__(self, folder, more="", record=True, bus=""):
        self.folder, self.path = folder, folder / "control.sock"
        self.adapter = Adapter(folder / "ttyUSB0")
        pack = PACK + f'limits = "{quick_limits(folder)}"\n'
        more += f'\n[control]\nsocket = "{self.path}"\n'
        if record:
            more += f'[record]\nfolder = "{folder / "state"}"\nbefore_s = 20.0\nafter_s = 20.0\n'
        self.text = slcan_config(self.adapter.path, pack=pack, more=more, bus=bus)
        self.pack = Pack(lambda frames: self.adapter.write(b"".join(map(slcan_line, frames))))
        self.daemon = Process(folder, self.text)

    def __enter__(self):
        self.daemon.__enter__()
        self.pack.__enter__()
        return self

    def __exit__(self, *error):
        self.pack.__exit__()
        self.daemon.__exit__()

    def restart(self):
        (self.folder / "notify").unlink()
        self.daemon = Process(self.folder, self.text)
        self.daemon.__enter__()

    def say(self, data):
        """``data`` to the socket, what comes back; None where the connection is closed without a word."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").read()
        return json.loads(answer) if answer else None


def latched(decision):
    return [alert["hazard"] for alert in decision["alerts"] if alert["latched"]]
