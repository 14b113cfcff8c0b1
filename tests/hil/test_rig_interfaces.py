"""Scenarios that share SocketCAN interfaces: each has one of its own, or waits for it."""

import threading

from hil.rig.link import hold


def test_two_scenarios_are_never_on_one_interface(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, held = hold(["vcan0", "vcan1"])
    second, held_too = hold(["vcan0", "vcan1"])
    assert (first, second) == ("vcan0", "vcan1")

    third = []
    waiting = threading.Thread(target=lambda: third.append(hold(["vcan0", "vcan1"])), daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert not third, "both are in use"
    held_too.close()
    waiting.join(30)
    assert third[0][0] == "vcan1"
    held.close()
    third[0][1].close()
