"""The real daemon and the real firmware code, joined by a serial line: telemetry up, advice down, contactors asserted."""

import time

import pytest
from adapter import Process
from emulated import CELLS, GATEWAY_ID, KEY, KEY_ID, MCU_ID, PROBES, PROFILE, Emulated, image

from firmware_bridge.codes import FaultBit, McuState
from firmware_bridge.freshness import begin_counter
from firmware_bridge.keys import Key


def rules(decision):
    return {evidence["rule"] for alert in decision["alerts"] for evidence in alert["evidence"]}


class Bench:
    """The daemon at the emulated board's line."""

    def __init__(self, board, folder, more=""):
        self.board, self.folder = board, folder
        key = folder / "mcu.key"
        key.write_text(f'schema = "edgebms.mcu_key/1"\nnumber = {KEY_ID}\nkey = "{KEY.hex()}"\n')
        key.chmod(0o600)
        begin_counter(folder / "mcu.counter", Key(KEY_ID, KEY).fingerprint)
        self.text = f"""
[[pack]]
name = "rack-1"
profile = "edgebms_fd"
card = "lg_hg2"
cells = {CELLS}
probes = {PROBES}
parallel = 10
period_s = 0.2
{more}
[site]
kind = "grid_tied"
[[bus]]
name = "bms"
interface = "edgebms_mcu"
channel = "{board.port}"
transmit = true
[students]
state = ""
[[outlet.mcu]]
bus = "bms"
gateway_id = {GATEWAY_ID}
mcu_id = {MCU_ID}
profile = {PROFILE}
key_file = "{key}"
counter_file = "{folder / "mcu.counter"}"
"""
        self.daemon = Process(folder, self.text).__enter__()

    def close(self):
        self.daemon.__exit__()

    def restart(self):
        self.daemon.process.kill()
        self.daemon.__exit__()
        (self.folder / "notify").unlink()
        self.daemon = Process(self.folder, self.text).__enter__()

    def until(self, holds, timeout_s=30.0):
        start_s = time.monotonic()
        while not holds():
            assert time.monotonic() < start_s + timeout_s, (self.board.drive, self.daemon.decisions[-1:], self.daemon.stderr())
            time.sleep(0.02)
        return time.monotonic() - start_s

    def in_state(self, state):
        return self.board.drive is not None and self.board.drive.state == state


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    return image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def board(elf, tmp_path):
    with Emulated(elf, tmp_path) as emulated:
        yield emulated


def test_the_daemon_advises_and_is_missed_and_comes_back(board, tmp_path):
    bench = Bench(board, tmp_path)
    try:
        board.volts[4], board.wanted_a = 3.65, -5.0
        decision, _ = bench.daemon.wait(lambda entry: entry["measured"]["cell_voltage_v"]["min_cell"] == 5, timeout_s=30)
        assert decision["quality"]["valid_cells"] == CELLS
        assert decision["measured"]["cell_voltage_v"]["min"] == pytest.approx(3.65, abs=0.0002)
        bench.until(lambda: bench.in_state(McuState.ADVISED) and board.drive.closed)
        bench.until(lambda: board.drive.discharge_da > 0)

        # killed: the board stands on its own limits within little more than the heartbeat's second, its contactors stay
        bench.daemon.process.kill()
        assert bench_lost(bench) < 3
        assert board.drive.closed
        assert (board.drive.charge_da, board.drive.discharge_da) == (800, 1200)

        # started again: the numbers go on, so it is obeyed at once
        bench.restart()
        bench.until(lambda: bench.in_state(McuState.ADVISED))

        # the board's reset button: its store keeps the last number, the gateway greets it anew
        board.reset()
        bench.until(lambda: bench.in_state(McuState.ALONE) or bench.in_state(McuState.STARTING))
        bench.until(lambda: bench.in_state(McuState.ADVISED) and board.drive.closed)
        assert not any("mcu_refuses.bms" in rules(entry) for entry in bench.daemon.decisions)
        assert "Traceback" not in bench.daemon.stderr()
    finally:
        bench.close()


def bench_lost(bench):
    start_s = time.monotonic()
    while not bench.in_state(McuState.ALONE):
        assert time.monotonic() < start_s + 10, bench.board.drive
        time.sleep(0.01)
    return time.monotonic() - start_s


def test_the_guard_opens_the_contactors_after_the_current_went_and_they_stay_open_without_it(board, tmp_path):
    # below the board's own 4.25 V, so that it is the gateway that asks
    bench = Bench(board, tmp_path, more="[pack.thresholds]\ncell_over_voltage = 4.18\ncell_over_voltage_critical = 4.2\n")
    try:
        board.wanted_a = 20.0
        bench.until(lambda: bench.in_state(McuState.ADVISED) and board.drive.closed)
        board.volts[:] = [4.22] * CELLS
        bench.until(lambda: board.drive is not None and not board.drive.closed)
        assert bench.in_state(McuState.OPEN_ON_ADVICE)
        last = [drive for _, drive in list(board.drives) if drive.closed][-1]
        assert last.charge_da == 0, "the charging current went first"
        assert not board.drive.faults >> FaultBit.OPENED_UNDER_LOAD & 1
        bench.daemon.process.kill()
        time.sleep(2.5)
        assert not board.drive.closed
        assert board.drive.state == McuState.OPEN_ON_ADVICE
    finally:
        bench.close()
