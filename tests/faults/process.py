"""Faults of the process itself: killed, started again, started twice, a disk that cannot be written."""

from __future__ import annotations

import signal
import time

from adapter import Process, faults, seen, slcan_config
from links import clean_lost
from scene import Row, Scene


def recorded(scene_folder, port):
    return slcan_config(port, more=f'[record]\nfolder = "{scene_folder}/record"\ncheckpoint_s = 1\n')


def killed():
    """kill -9 while a latched alert stands whose cause is over: only a checkpoint can know it."""
    with Scene() as scene:
        text = recorded(scene.folder, scene.adapter.path)
        scene.daemon.config.write_text(text)
        scene.settle()
        scene.daemon.signal(signal.SIGHUP)
        scene.daemon.manager.wait("RELOADING=1")
        scene.daemon.manager.wait("READY=1")
        scene.pack.current_a = -2000.0
        scene.wait(lambda entry: any(alert["latched"] for alert in entry["alerts"]))
        scene.pack.current_a = -5.0
        time.sleep(2.5)
        (latched,) = [alert for alert in scene.daemon.decisions[-1]["alerts"] if alert["latched"]]
        before = scene.daemon
        before.process.kill()
        before.process.wait()
        began_s = time.monotonic()
        (scene.folder / "notify").unlink()
        scene.daemon = Process(scene.folder, text)
        scene.daemon.manager.wait("READY=1")
        ready_s = time.monotonic() - began_s
        _, at_s = scene.daemon.wait(seen)
        kept = latched["id"] in [alert["id"] for entry in scene.daemon.decisions for alert in entry["alerts"] if alert["latched"]]
        every = all(
            latched["hazard"] in [alert["hazard"] for alert in entry["alerts"] if alert["latched"]] for entry in scene.daemon.decisions
        )
        time.sleep(0.5)
        wrong = "" if scene.daemon.stop() == 0 else "did not stop"
        before.__exit__()
        did = (
            f"started again, ready after {ready_s:.1f} s; the latched alert stands from the first decision, id {'kept' if kept else 'NEW'}"
        )
        return Row("killed", "kill -9 while a latched alert stands, cause gone", did, at_s - began_s, None, 0 if every else 1, wrong)


def unwritable():
    with Scene() as scene:
        (scene.folder / "record").write_text("a file where the folder should be")
        scene.daemon.config.write_text(recorded(scene.folder, scene.adapter.path))
        scene.settle().begin()
        scene.daemon.signal(signal.SIGHUP)
        scene.wait(lambda entry: any(rule.startswith("not_recorded") for rule in faults(entry)))
        (scene.folder / "record").unlink()
        scene.wait(lambda entry: not faults(entry), 30)
        scene.end()
        return scene.row("a record that cannot be written", "a file where record.folder should be, then mended")


def unread():
    """Standard output stays open, but nobody reads: the pipe fills up within seconds."""
    with Scene() as scene:
        scene.settle().begin()
        before = scene.daemon.decisions[-1]["seq"]
        scene.daemon.hold()
        time.sleep(45.0)
        scene.daemon.release()
        scene.wait(lambda entry: "outlet_lost.ndjson" in faults(entry))
        scene.end()
        row = scene.row("standard output is not read", "the reader stops for 45 s, then goes on")
        row.frames_lost = clean_lost(scene)
        decided = scene.daemon.decisions[-1]["seq"] - before
        written = sum(entry["seq"] > before for entry in scene.daemon.decisions)
        row.did += f"; {decided} decisions in {45 + row.recover_s:.0f} s, the oldest {decided - written} cyclic ones dropped"
        return row


FAULTS = [killed, unwritable, unread]
SHORT = [killed]
