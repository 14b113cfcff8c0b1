"""A virtual machine under qemu, from the outside: started, watched through a shared folder, ended in time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from image import Image

MEMORY_MB = 1536
LOOK_S = 0.2
SILENT_S = 8.0
"""Where the processor's virtualisation works a kernel says its version within a second; some machines lend a /dev/kvm that
runs none but their own."""


class NoKernel(Exception):
    """Nothing was heard of the kernel: kvm cannot run it here."""


def kvm() -> bool:
    """Does this machine let us use its processor's virtualisation?"""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError:
        return False
    return True


class Machine:
    """Runs until its checks are done, it stops by itself, or ``limit_s`` is over. accel: kvm or tcg."""

    def __init__(self, image: Image, shares: dict[str, Path], accel: str) -> None:
        self._out, self._accel = shares["out"], accel
        self.console = self._out / "console.log"
        command = [
            "qemu-system-x86_64", "-accel", accel, "-cpu", "host,arch-capabilities=off" if accel == "kvm" else "max", "-smp", "2", "-m", str(MEMORY_MB),
            "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{self.console}",
            "-kernel", str(image.kernel), "-initrd", str(image.initrd),
            "-append", "console=ttyS0 rw panic=-1 audit=0 earlyprintk=ttyS0 systemd.show_status=0 net.ifnames=0 mitigations=off",
            "-drive", f"file={image.disk},if=virtio,format=raw,snapshot=on,cache=unsafe", "-device", "virtio-rng-pci",
        ]  # fmt: skip
        for name, folder in shares.items():
            readonly = "" if name == "out" else ",readonly=on"
            command += ["-virtfs", f"local,path={folder},mount_tag={name},security_model=none,multidevs=remap{readonly}"]
        self._command = command

    def run(self, limit_s: float, told: Callable[[dict], None]) -> tuple[bool, float]:
        """(it came to its end, seconds). told: called with each row as it comes. Raises NoKernel."""
        rows = self._out / "rows.ndjson"
        began_s = time.monotonic()
        taken = 0
        with (self._out / "qemu.log").open("wb") as log:
            process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while True:
                ended = process.poll() is not None
                with contextlib.suppress(FileNotFoundError):
                    whole = rows.read_text().split("\n")[:-1]
                    for line in whole[taken:]:
                        told(json.loads(line) | {"came_s": time.monotonic() - began_s})
                    taken = len(whole)
                if self._accel == "kvm" and time.monotonic() - began_s > SILENT_S and "Linux version" not in self.said():
                    raise NoKernel
                if ended or time.monotonic() - began_s > limit_s:
                    return ended and (self._out / "done").exists(), time.monotonic() - began_s
                time.sleep(LOOK_S)
        finally:
            process.kill()
            process.wait()

    def said(self) -> str:
        """The console's text."""
        try:
            return self.console.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def last_words(self) -> str:
        """The end of what the console and qemu said."""
        with contextlib.suppress(FileNotFoundError):
            return (self._out / "qemu.log").read_text(errors="replace")[-2000:] + self.said()[-3000:]
        return self.said()[-3000:]
