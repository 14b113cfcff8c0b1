"""``edgebms run`` at the line of the reference firmware under QEMU: real code at both ends."""

import time

import pytest
from adapter import Process, faults, seen
from emulated import GATEWAY_ID, KEY, KEY_ID, MCU_ID, PROFILE, Emulated, image

from firmware_bridge.codes import McuState
from firmware_bridge.freshness import begin_counter
from firmware_bridge.keys import read_key


def text_of(folder, port):
    return f"""
[[pack]]
name = "rack-1"
profile = "edgebms_fd"
card = "lg_hg2"
cells = 16
probes = 8
parallel = 10
[site]
kind = "grid_tied"
[[bus]]
name = "bms"
interface = "edgebms_mcu"
channel = "{port}"
transmit = true
[students]
state = ""
[[outlet.mcu]]
bus = "bms"
gateway_id = {GATEWAY_ID}
mcu_id = {MCU_ID}
profile = {PROFILE}
firmware = "1.0.0"
key_file = "{folder / "mcu.key"}"
counter_file = "{folder / "mcu.counter"}"
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    return image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def bench(elf, tmp_path):
    """(board, a function that starts the daemon)."""
    key = tmp_path / "mcu.key"
    key.touch(0o600)
    key.write_text(f'schema = "edgebms.mcu_key/1"\nnumber = {KEY_ID}\nkey = "{KEY.hex()}"\n')
    begin_counter(tmp_path / "mcu.counter", read_key(key).fingerprint)
    with Emulated(elf, tmp_path) as board:
        board.volts[:] = [3.7] * 16

        def start():
            (tmp_path / "notify").unlink(missing_ok=True)
            return Process(tmp_path, text_of(tmp_path, board.port))

        yield board, start


def until(holds, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def in_state(board, state):
    return lambda: board.drive is not None and board.drive.state == state


def test_telemetry_up_advice_down_and_what_a_killed_daemon_leaves(bench):
    board, start = bench
    board.volts[4] = 3.65
    with start() as daemon:
        decision, _ = daemon.wait(lambda entry: seen(entry) and entry["measured"]["contactors"] == "closed", timeout_s=30)
        assert decision["measured"]["cell_voltage_v"]["min_cell"] == 5
        assert decision["measured"]["cell_voltage_v"]["min"] == pytest.approx(3.65, abs=0.0002)
        until(in_state(board, McuState.ADVISED))

        def told():
            """The limit in force is the stricter of the firmware's own and what one of the last decisions says: it rises."""
            said = [entry["command"]["limits"]["charge_a"] for entry in daemon.decisions[-40:]]
            return board.drive.charge_da in {min(800, int(10 * charge_a + 1e-6)) for charge_a in said if charge_a > 0}

        until(told)
        daemon.process.kill()
        killed = time.monotonic()
        until(in_state(board, McuState.ALONE))
        assert time.monotonic() - killed < 5
        assert board.drive.closed
    with start() as daemon:
        until(in_state(board, McuState.ADVISED))  # with a freshness above the last: none was used twice
        daemon.wait(lambda entry: seen(entry) and not faults(entry), timeout_s=30)
        board.reset()
        until(in_state(board, McuState.STARTING))
        until(in_state(board, McuState.ADVISED))
        assert daemon.stop() == 0
    until(in_state(board, McuState.ALONE))
    assert board.drive.closed


@pytest.mark.slow
def test_a_runaway_seen_by_the_gateway_opens_before_the_firmwares_own_limit_and_stays_open(bench):
    board, start = bench
    board.wanted_a, board.volts[:] = -20.0, [3.9] * 16
    with start() as daemon:
        until(in_state(board, McuState.ADVISED))
        daemon.wait(seen, timeout_s=30)
        time.sleep(2)  # the gateway learns what this pack's voltages are
        board.volts[6:8] = [2.85, 2.85]  # 27 % down: the event rule; the firmware's own limit is 2.80 V
        while board.drive.closed:  # 2 K/s from 25 degC: the firmware's own limit is 60
            assert board.degrees[3] < 58
            board.degrees[3] += 0.2
            time.sleep(0.1)
        until(in_state(board, McuState.OPEN_ON_ADVICE))
        assert board.drive.faults == 0  # its own protection saw nothing, and no current flowed
        daemon.wait(lambda entry: entry["measured"]["contactors"] == "open", timeout_s=20)
        daemon.process.kill()
        ended = time.monotonic() + 3
        while time.monotonic() < ended:
            assert board.drive.state == McuState.OPEN_ON_ADVICE
            time.sleep(0.05)
