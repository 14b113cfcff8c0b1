"""A real mosquitto for the scenarios in which the broker goes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from hil.errors import Missing, RigError

START_S = 20.0
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Broker:
    """On a port of its own on loopback; a context in which it runs."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("mosquitto", path=PATH)
        if found is None:
            raise Missing("mosquitto is missing", where="broker", mend="apt install mosquitto", installable=True)
        self._command, self._folder = found, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def start(self) -> None:
        config = self._folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(f"{user}listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([self._command, "-c", str(config)], stdout=log, stderr=log)
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RigError("mosquitto does not answer", where="broker", mend=f"see its log: {(self._folder / 'mosquitto.log').read_text()}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()
