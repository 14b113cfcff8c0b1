"""Faults around an inverter: its keep-alive, another node with our ids, a loop that hangs, a pack that is lost, a bus that takes nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import termios
import threading
import time
from itertools import pairwise
from pathlib import Path

from adapter import Process, faults, seen, slcan_config
from links import clean_lost
from scene import Row, Scene, hot, stop_and_go

HOLD_S, FADE_S = 1.0, 5.0
OUT = f"""[site]
loss_hold_s = {HOLD_S}
loss_fade_s = {FADE_S}
[[outlet.can]]
bus = "can0"
"""
LINE = re.compile(rb"t([0-9A-F]{3})[0-8]([0-9A-F]*)\r")
HANG_S = 12.0
HANGS = f"""import signal, sys, time
if "run" in sys.argv:
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep({HANG_S}))
"""
"""As sitecustomize: the main thread, and with it the loop, stands still at SIGUSR1; all other threads go on."""


class Inverter:
    """What it hears on the scene's adapter, with times; sends its keep-alive while ``alive``."""

    def __init__(self, scene, *, alive=True):
        self.scene, self.alive = scene, alive
        self.heard = []
        self._hear, self._rest = scene.adapter.hear, b""
        scene.adapter.hear = lambda: None  # this thread alone reads
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        self.scene.adapter.hear = self._hear

    def _run(self):
        due_s = 0.0
        while not self._stop.wait(0.02):
            if self.alive and time.monotonic() >= due_s:
                due_s = time.monotonic() + 1.0
                self.scene.adapter.write(b"t30580000000000000000\r")
            adapter = self.scene.adapter
            self._hear()
            said, adapter.said = self._rest + adapter.said, b""
            end = said.rfind(b"\r") + 1
            self._rest = said[end:]
            at_s = time.monotonic()
            self.heard += [(at_s, int(i, 16), bytes.fromhex(d.decode())) for i, d in LINE.findall(said[:end])]

    def limits(self, since_s=0.0):
        """[(time, discharge limit in A)]"""
        return [(at_s, int.from_bytes(data[4:6], "little") / 10) for at_s, i, data in list(self.heard) if i == 0x351 and at_s >= since_s]

    def wait(self, predicate, timeout_s=40.0):
        end_s = time.monotonic() + timeout_s
        while not predicate():
            assert time.monotonic() < end_s, f"heard last: {self.heard[-3:]}"
            time.sleep(0.02)

    def quiet_for(self, seconds):
        return bool(self.heard) and time.monotonic() - self.heard[-1][0] > seconds


def inverter_scene(**more):
    return Scene(bus="transmit = true", more=OUT, **more)


def settled(scene, inverter):
    """Until the alert stands, the limits have risen and the inverter hears them."""
    scene.settle()
    inverter.wait(lambda: inverter.limits() and inverter.limits()[-1][1] > 10)
    return scene


def steps(told):
    return " ".join(f"{amperes:.0f}" for _, amperes in told) + " A"


def keep_alive_lost():
    with inverter_scene() as scene, Inverter(scene) as inverter:
        settled(scene, inverter).begin()
        inverter.alive = False
        scene.wait(lambda entry: "inverter_silent.can0" in faults(entry), 30)
        inverter.alive = True
        scene.wait(lambda entry: "inverter_silent.can0" not in faults(entry))
        scene.end()
        row = scene.row("the inverter's keep-alive stops", "no 0x305 until it is missed, then again")
        row.frames_lost = clean_lost(scene)
        row.wrong += "" if inverter.limits() else " no limits were sent"
        return row


def foreign_ids():
    with inverter_scene() as scene, Inverter(scene) as inverter:
        settled(scene, inverter).begin()
        scene.adapter.write(b"t35180000000000000000\r")
        began_s = time.monotonic()
        scene.wait(lambda entry: "address_conflict.can0" in faults(entry))
        time.sleep(3.0)
        late = [at_s for at_s, _, _ in inverter.heard if at_s > began_s + 0.5]
        scene.end()
        row = scene.row("another node sends our ids", "one 0x351 from elsewhere", more=f"{len(late)} frames of ours after 0.5 s")
        row.frames_lost = clean_lost(scene)
        row.wrong += " went on sending" if late else ""
        return row


def loop_hangs():
    folder = Path(tempfile.mkdtemp(prefix="edgebms-hang-"))
    (folder / "sitecustomize.py").write_text(HANGS)
    before, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH", ""), f"{folder}:{os.environ.get('PYTHONPATH', '')}"
    try:
        held = inverter_scene()
    finally:
        os.environ["PYTHONPATH"] = before
    with held as scene, Inverter(scene) as inverter:
        settled(scene, inverter).begin()
        shutil.rmtree(folder)
        scene.daemon.signal(signal.SIGUSR1)
        began_s = time.monotonic()
        inverter.wait(lambda: time.monotonic() - began_s > HANG_S - 0.5)
        told = inverter.limits(began_s)
        ended_s = max(at_s for at_s, _ in told) - began_s
        scene.wait(hot, 30)
        scene.end()
        inverter.wait(lambda: inverter.limits(began_s + HANG_S))
        row = scene.row(
            "the loop hangs, the process lives",
            f"the main thread stands still for {HANG_S:g} s",
            more=f"sent {steps(told)}, silent {ended_s:.1f} s after",
        )
        falling = [amperes for _, amperes in told]
        if falling != sorted(falling, reverse=True) or len(set(falling)) < 3 or ended_s > 2.0 + HOLD_S + FADE_S + 0.5:
            row.wrong += f" no fade: {falling}"
        return row


def pack_lost():
    with inverter_scene() as scene, Inverter(scene) as inverter:
        settled(scene, inverter).begin()
        scene.pack.pause()
        began_s = time.monotonic()
        inverter.wait(lambda: inverter.quiet_for(2.5))
        told = inverter.limits(began_s)
        warned = [data for at_s, i, data in inverter.heard if i == 0x35A][-1][6] >> 6 & 0b11
        scene.pack.resume()
        scene.end()
        inverter.wait(lambda: inverter.limits(told[-1][0] + 1.0))
        first = inverter.limits(told[-1][0] + 1.0)[0][1]
        row = scene.row(
            "a pack is lost",
            "no frame of it until the inverter hears nothing more",
            more=f"sent {steps(told)}, then nothing; back with {first:.0f} A",
        )
        row.frames_lost = clean_lost(scene)
        falling = [amperes for _, amperes in told]
        if falling != sorted(falling, reverse=True) or len(set(falling)) < 3 or warned != 0b01 or first < 1:
            row.wrong += f" no fade: {falling}, warned {warned}, back with {first}"
        return row


def bus_takes_nothing():
    with inverter_scene(plugged=False) as scene:
        scene.adapter.plug_in()
        port = os.open(scene.adapter.path, os.O_RDWR | os.O_NOCTTY)  # before the daemon takes it for itself alone
        with Inverter(scene) as inverter:
            settled(scene, inverter).begin()
            before = len(scene.daemon.decisions)
            termios.tcflow(port, termios.TCOOFF)
            scene.wait(lambda entry: "outlet_down.can-can0" in faults(entry), 60)
            decided = [later - earlier for earlier, later in pairwise(scene.daemon.times_s[before:])]
            termios.tcflow(port, termios.TCOON)
            scene.wait(lambda entry: "outlet_down.can-can0" not in faults(entry))
            scene.end()
            row = scene.row(
                "a bus that takes nothing",
                "flow control stops all that is sent, then lets it go",
                more=f"longest pause between decisions {max(decided):.2f} s",
            )
            os.close(port)
            row.wrong += " the loop waited" if max(decided) > 1.0 else ""
            return row


def killed_while_sending():
    with inverter_scene() as scene, Inverter(scene) as inverter:
        settled(scene, inverter).begin()
        scene.daemon.process.kill()
        scene.daemon.process.wait()
        killed_s = time.monotonic()
        time.sleep(3.0)
        late = [at_s for at_s, _, _ in inverter.heard if at_s > killed_s + 0.2]
        scene.pack.pause()
        (scene.folder / "notify").unlink()
        old, scene.daemon = scene.daemon, Process(scene.folder, slcan_config(scene.adapter.path, bus="transmit = true", more=OUT))
        scene.daemon.manager.wait("READY=1", 30)
        silent = not inverter.limits(killed_s + 0.5)
        scene.pack.resume()
        began_s = time.monotonic()
        _, at_s = scene.daemon.wait(seen, 30)
        inverter.wait(lambda: inverter.limits(killed_s + 0.5))
        first_s = inverter.limits(killed_s + 0.5)[0][0] - began_s
        code = scene.daemon.stop()
        old.__exit__()
        did = f"{len(late)} frames after 0.2 s; started again: silent until its pack was known, first limits {first_s:.1f} s after the pack's first frame"
        wrong = "" if not late and silent and code == 0 else f"late {len(late)}, silent {silent}, exit code {code}"
        return Row("killed while it sends to an inverter", "kill -9", did, at_s - began_s, None, 0, wrong)


def stands_still():
    with inverter_scene() as scene, Inverter(scene) as inverter:
        settled(scene, inverter).begin()
        began_s = time.monotonic()
        stop_and_go(scene.daemon.process, 10.0)
        resumed_s = time.monotonic()
        scene.end()
        inverter.wait(lambda: inverter.limits(resumed_s))
        during = [at_s for at_s, _ in inverter.limits(began_s + 0.2) if at_s < resumed_s]
        first = inverter.limits(resumed_s)[0]
        row = scene.row(
            "the whole process stands still",
            "SIGSTOP for 10 s",
            more=f"{len(during)} frames meanwhile; first {first[1]:.0f} A, {first[0] - resumed_s:.1f} s after",
        )
        row.wrong += " sent while stopped" if during else ""
        return row


def adapter_back():
    with inverter_scene() as scene, Inverter(scene) as inverter:
        settled(scene, inverter).begin()
        scene.adapter.vanish()
        scene.wait(lambda entry: "link_down.can0" in faults(entry))
        scene.adapter.plug_in()
        back_s = time.monotonic()
        scene.end()
        inverter.wait(lambda: inverter.limits(back_s))
        after_s = inverter.limits(back_s)[0][0] - back_s
        return scene.row(
            "the adapter vanishes while it sends", "unplugged until it is missed", more=f"limits again {after_s:.1f} s after its return"
        )


FAULTS = [keep_alive_lost, foreign_ids, loop_hangs, pack_lost, bus_takes_nothing, killed_while_sending, stands_still, adapter_back]
SHORT = [keep_alive_lost, foreign_ids, loop_hangs, pack_lost]
