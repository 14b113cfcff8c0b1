"""``edgebms run`` as a process: fed over SLCAN on a pseudo-terminal, watched by a service manager."""

import time

import pytest
from adapter import Adapter, Pack, Process, seen, slcan_config, slcan_line


@pytest.fixture
def adapter(tmp_path):
    return Adapter(tmp_path / "ttyUSB0")


def feed(adapter):
    return lambda frames: adapter.write(b"".join(map(slcan_line, frames)))


def test_frames_on_a_serial_adapter_become_decisions_and_sigterm_ends_it_cleanly(tmp_path, adapter):
    with Process(tmp_path, slcan_config(adapter.path)) as daemon:
        said = adapter.wait_open()
        assert said.endswith(b"C\rS6\rZ0\rL\r"), "listen-only, at the bus's speed"
        with Pack(feed(adapter)) as pack:
            decision, _ = daemon.wait(seen)
            assert decision["measured"]["current_a"] == pytest.approx(-5.0)
            assert decision["alerts"] == []
            time.sleep(1.0)
        time.sleep(0.2)
        assert daemon.stop() == 0
        whole = [entry for entry in daemon.decisions if seen(entry)]
        assert len(whole) >= pack.sweeps - 1, "a decision for every sweep"
        assert "STOPPING=1" in daemon.manager.drain()
