"""``edgebms run`` with a microcontroller on a pseudo-terminal: telemetry up, advice down, and all that can go wrong on the way."""

import itertools
import signal
import time

import pytest
from adapter import Process, faults, seen
from mcu_model import Line, Mcu

from edgebms.cli.main import main
from firmware_bridge import advice as advising
from firmware_bridge import codec
from firmware_bridge.codec import Message
from firmware_bridge.codes import Contactor, FaultBit, McuState, Type, Verdict
from firmware_bridge.freshness import begin_counter
from firmware_bridge.keys import new_key


class Bench:
    """Key, counter, line, microcontroller and daemon in one folder."""

    def __init__(self, folder, *, line=None, bus="", outlet="", **mcu):
        self.folder = folder
        self.key = new_key(folder / "mcu.key")
        begin_counter(folder / "mcu.counter", self.key.fingerprint)
        self.mcu = Mcu({1: self.key.secret}, **mcu)
        self.line = Line(folder / "ttyACM0", self.mcu, **(line or {}))
        self.text = f"""
[[pack]]
name = "rack-1"
profile = "edgebms_fd"
card = "lg_hg2"
cells = 16
probes = 4
parallel = 10
[site]
kind = "grid_tied"
[[bus]]
name = "bms"
interface = "edgebms_mcu"
channel = "{folder / "ttyACM0"}"
transmit = true
{bus}
[students]
state = ""
[[outlet.mcu]]
bus = "bms"
gateway_id = 7
mcu_id = 9
key_file = "{folder / "mcu.key"}"
counter_file = "{folder / "mcu.counter"}"
{outlet}
"""

    def __enter__(self):
        self.line.__enter__()
        self.daemon = Process(self.folder, self.text).__enter__()
        return self

    def __exit__(self, *error):
        self.daemon.__exit__()
        self.line.__exit__()

    def restart(self):
        self.daemon.__exit__()
        (self.folder / "notify").unlink()
        self.daemon = Process(self.folder, self.text).__enter__()

    def until(self, holds, timeout_s=15.0):
        end_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end_s, (self.mcu.counts, self.mcu.state, self.daemon.decisions[-1:], self.daemon.stderr())
            time.sleep(0.01)

    def advised(self, more=1):
        count = len(self.mcu.accepted)
        self.until(lambda: len(self.mcu.accepted) >= count + more)


def tenths(value):
    return int(10 * value + 1e-6)


def test_a_day_at_the_line(tmp_path):
    """One daemon through what a line and its ends go through; freshness only ever rises."""
    with Bench(tmp_path) as bench:
        mcu, daemon = bench.mcu, bench.daemon
        # telemetry up, limits down
        mcu.volts[4] = 3.65
        decision, _ = daemon.wait(lambda entry: seen(entry) and entry["measured"]["cell_voltage_v"]["min_cell"] == 5)
        assert decision["measured"]["cell_voltage_v"]["min"] == pytest.approx(3.65, abs=0.001)
        assert decision["measured"]["current_a"] == pytest.approx(-5.0)
        assert decision["measured"]["contactors"] == "closed"
        bench.advised(3)
        _, advice = mcu.accepted[-1]
        said = {(tenths(e["command"]["limits"]["charge_a"]), tenths(e["command"]["limits"]["discharge_a"])) for e in daemon.decisions}
        assert (advice.charge_da, advice.discharge_da) in said
        assert 0 < advice.expiry_ms <= 60_000
        assert mcu.state is McuState.ADVISED
        daemon.wait(lambda entry: seen(entry) and not faults(entry), since=len(daemon.decisions))

        # what others put on the wire is refused and changes nothing
        last = mcu.payloads[-1]
        forged = codec.pack_advice(codec.read_advice(last)._replace(action=7, freshness=codec.read_advice(last).freshness + 9))
        bench.line.inject(
            codec.frame(Message(Type.ADVICE, 1, 1, last)),
            codec.frame(Message(Type.ADVICE, 1, 2, forged)),
            codec.frame(Message(Type.ADVICE, 1, 3, codec.pack_advice(codec.read_advice(last)._replace(gateway_id=8)))),
        )
        verdicts = [verdict for verdict, _ in mcu.judged if verdict is not Verdict.ACCEPTED]
        assert verdicts == [Verdict.REPLAYED, Verdict.FORGED, Verdict.OTHER_GATEWAY]
        assert mcu.contactor is Contactor.CLOSED

        # the microcontroller resets
        with bench.line.lock:
            mcu.reset(bench.line.now_ms())
        began = time.monotonic()
        bench.advised()
        assert time.monotonic() - began < 3
        assert mcu.accepted[-1][1].session == 2

        # the cable is pulled and put back
        bench.line.vanish()
        daemon.wait(lambda entry: "link_down.bms" in faults(entry), since=len(daemon.decisions), timeout_s=20)
        assert mcu.advice is None
        assert mcu.state is McuState.ALONE
        bench.line.plug_in()
        bench.advised()

        # its own protection is told
        mcu.protect(FaultBit.OVER_TEMPERATURE)
        decision, _ = daemon.wait(lambda entry: "mcu_protection.bms" in faults(entry), since=len(daemon.decisions))
        assert faults(decision)["mcu_protection.bms"] == 1 << FaultBit.OVER_TEMPERATURE
        mcu.protect()

        # a loop that hangs: the advice ends within the heartbeat's second, and nothing old is accepted afterwards
        daemon.signal(signal.SIGSTOP)
        bench.until(lambda: mcu.advice is None, 5)
        held = len(mcu.judged)
        time.sleep(2.5)
        assert len(mcu.judged) == held
        daemon.signal(signal.SIGCONT)
        bench.advised()

        # killed and started again
        before = mcu.accepted[-1][1].freshness
        daemon.process.kill()
        bench.until(lambda: mcu.advice is None, 5)
        bench.restart()
        bench.advised()
        assert mcu.accepted[-1][1].freshness > before
        values = [advice.freshness for _, advice in mcu.accepted]
        assert values == sorted(set(values))

        # a reload with other settings of the outlet: the new one takes over the counter
        daemon = bench.daemon
        daemon.config.write_text(bench.text + "every_s = 0.3\n")
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait("RELOADING=1")
        daemon.manager.wait("READY=1")
        bench.advised(4)
        values = [advice.freshness for _, advice in mcu.accepted]
        assert values == sorted(set(values))

        # stopped in good order
        assert daemon.stop() == 0
        bench.until(lambda: mcu.advice is None, 5)
        assert "Traceback" not in daemon.stderr()


def test_check_live_listens_to_the_line(tmp_path, capsys):
    bench = Bench(tmp_path)
    (tmp_path / "gateway.toml").write_text(bench.text)
    with bench.line:
        assert main(["check", "-c", str(tmp_path / "gateway.toml"), "--live", "--seconds", "2"]) == 0, capsys.readouterr().out
    told = capsys.readouterr().out
    assert "16 of 16 cells valid" in told
    assert "ids that no pack maps" not in told


def test_an_over_voltage_opens_the_contactors_and_they_stay_open_when_the_gateway_dies(tmp_path):
    with Bench(tmp_path) as bench:
        mcu = bench.mcu
        bench.advised()
        mcu.current_a = 0.0
        mcu.volts[:] = [4.6] * 16
        bench.until(lambda: mcu.contactor is Contactor.OPEN, 30)
        bench.daemon.wait(lambda entry: entry["measured"]["contactors"] == "open")
        bench.daemon.process.kill()
        bench.until(lambda: mcu.advice is None, 5)
        assert mcu.contactor is Contactor.OPEN


def test_one_frame_in_ten_is_bad_and_no_command_is_false_nor_late(tmp_path):
    with Bench(tmp_path, line={"spoil": 0.1}) as bench:
        mcu, daemon = bench.mcu, bench.daemon
        bench.advised()
        start = len(mcu.accepted)
        time.sleep(5)
        end_s = time.monotonic() + 30
        while sum(mcu.counts[verdict] for verdict in (Verdict.BAD_CRC, Verdict.BAD_COBS, Verdict.BAD_FRAME_LENGTH)) <= 2:
            assert time.monotonic() < end_s, "no frame was bad"
            time.sleep(0.1)
        times = [at for at, _ in mcu.accepted[start - 1 :]]
        assert max(b - a for a, b in itertools.pairwise(times)) < 1000
        assert all(advising.is_genuine(advice, bench.key.secret) and advice.action != 7 for _, advice in mcu.accepted)
        assert {verdict for verdict, _ in mcu.judged} <= {Verdict.ACCEPTED, Verdict.NOT_LINKED, Verdict.STALE}
        assert all(entry["quality"]["valid_cells"] in (0, 16) for entry in daemon.decisions)
        assert sum(map(seen, daemon.decisions)) > 25
        assert all(e["alerts"] == [] or set(faults(e)) for e in daemon.decisions[20:])


@pytest.mark.parametrize(
    ("settings", "rule", "words"),
    [
        ({"cells": 15}, "mcu_cells.bms", "15 cells, not 16"),
        ({"mcu_id": 10}, "mcu_other_mcu.bms", "microcontroller 10, not 9"),
    ],
)
def test_another_microcontroller_gets_no_advice_and_people_are_told(tmp_path, settings, rule, words):
    with Bench(tmp_path, **settings) as bench:
        bench.daemon.wait(lambda entry: rule in faults(entry))
        assert words in bench.daemon.stderr()
        assert not bench.mcu.judged


def test_a_key_that_it_does_not_know_is_told_by_its_refusals(tmp_path):
    with Bench(tmp_path) as bench:
        bench.advised()
        bench.mcu.keys = {1: bytes(range(16))}
        decision, _ = bench.daemon.wait(lambda entry: "mcu_refuses.bms" in faults(entry))
        assert faults(decision)["mcu_refuses.bms"] == Verdict.FORGED


def test_bytes_without_a_message_are_called_a_wrong_baud_rate_and_silence_is_told(tmp_path):
    with Bench(tmp_path) as bench:
        bench.advised()
        bench.mcu.muted = True
        bench.daemon.wait(lambda entry: "mcu_silent.bms" in faults(entry), timeout_s=20)
        end_s = time.monotonic() + 20
        while "same baud rate (115200)" not in bench.daemon.stderr():
            assert time.monotonic() < end_s
            bench.line.write(bytes(range(0x80, 0xFF)) * 2)
            time.sleep(0.1)
        bench.mcu.muted = False
        bench.advised()
