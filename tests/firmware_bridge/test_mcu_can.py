"""Advice over CAN: the daemon on an SLCAN adapter, a microcontroller among the frames; and what no configuration may say."""

import re
import time

import pytest
from adapter import PACK, Adapter, Pack, Process, faults, seen, slcan_config, slcan_line

from edgebms.cli.main import main
from edgebms.inlet.frame import Frame
from firmware_bridge import codec
from firmware_bridge.advice import from_segments, is_genuine
from firmware_bridge.codes import CAN_ID_ACK, CAN_ID_ADVICE, CAN_ID_GATEWAY_HEARTBEAT, CAN_ID_MCU_HEARTBEAT, Type, Verdict
from firmware_bridge.freshness import begin_counter
from firmware_bridge.keys import new_key


class CanMcu:
    """Its heartbeat goes out with each sweep of the pack; answers the advice that it hears."""

    def __init__(self, adapter, secret):
        self.adapter, self.secret = adapter, secret
        self.accepted, self.beats, self.segments = [], [], []
        self.verdict, self.quiet = Verdict.ACCEPTED, False

    def write(self, frames):
        time_ms = time.monotonic_ns() // 1_000_000 % (1 << 32)
        beat = time_ms.to_bytes(4, "little") + (3).to_bytes(4, "little")
        own = [] if self.quiet else [Frame(0, CAN_ID_MCU_HEARTBEAT, beat)]
        for identifier, data in re.findall(rb"t([0-9A-F]{3})8([0-9A-F]{16})\r", self.adapter.said):
            data = bytes.fromhex(data.decode())
            if int(identifier, 16) == CAN_ID_GATEWAY_HEARTBEAT:
                self.beats.append(data)
            if int(identifier, 16) == CAN_ID_ADVICE:
                self.segments.append(data)
                if data[0] & 15 == 6:
                    payload = from_segments(self.segments[-7:])
                    advice = codec.read_advice(payload)
                    assert is_genuine(advice, self.secret)
                    self.accepted.append((time_ms, advice))
                    own.append(Frame(0, CAN_ID_ACK, bytes((Type.ADVICE, self.verdict)) + advice.freshness.to_bytes(6, "little")))
        _, _, self.adapter.said = self.adapter.said.rpartition(b"\r")
        self.adapter.write(b"".join(map(slcan_line, [*frames, *own])))


def outlet(folder):
    key = new_key(folder / "mcu.key")
    begin_counter(folder / "mcu.counter", key.fingerprint)
    more = (
        f'[[outlet.mcu]]\nbus = "can0"\ngateway_id = 7\nmcu_id = 9\nkey_file = "{folder}/mcu.key"\ncounter_file = "{folder}/mcu.counter"\n'
    )
    return key, more


def test_advice_over_can_is_signed_answered_and_ends_with_the_microcontroller(tmp_path):
    key, more = outlet(tmp_path)
    adapter = Adapter(tmp_path / "ttyUSB0")
    mcu = CanMcu(adapter, key.secret)
    with Process(tmp_path, slcan_config(adapter.path, more=more, bus="transmit = true")) as daemon, Pack(mcu.write):
        end_s = time.monotonic() + 20
        while len(mcu.accepted) < 3:
            assert time.monotonic() < end_s, daemon.stderr()
            time.sleep(0.02)
        time_ms, advice = mcu.accepted[-1]
        assert (advice.gateway_id, advice.mcu_id, advice.session) == (7, 9, 3)
        assert 0 <= time_ms - advice.issued_ms < advice.expiry_ms
        assert all(beat[4:6] == b"\x07\x00" for beat in mcu.beats)
        assert mcu.beats[-1][6:] == b"\x01\x01"
        daemon.wait(lambda entry: seen(entry) and not faults(entry), since=len(daemon.decisions))
        mcu.verdict = Verdict.UNKNOWN_KEY
        decision, _ = daemon.wait(lambda entry: "mcu_refuses.can0" in faults(entry), since=len(daemon.decisions))
        assert faults(decision)["mcu_refuses.can0"] == Verdict.UNKNOWN_KEY
        mcu.quiet = True
        daemon.wait(lambda entry: "mcu_silent.can0" in faults(entry), since=len(daemon.decisions))
        count = len(mcu.accepted)
        time.sleep(1)
        assert len(mcu.accepted) == count


@pytest.mark.parametrize("identifier", [CAN_ID_ADVICE, CAN_ID_GATEWAY_HEARTBEAT])
def test_another_gateways_advice_on_the_bus_ends_ours(tmp_path, identifier):
    """Of an inverter's frames too, that another outlet sends there: the ids of both are claimed."""
    key, more = outlet(tmp_path)
    adapter = Adapter(tmp_path / "ttyUSB0")
    mcu = CanMcu(adapter, key.secret)
    others = []

    def write(frames):
        mcu.write([*frames, *others])

    more += '[[outlet.can]]\nbus = "can0"\nkeep_alive_s = 0\n'
    with Process(tmp_path, slcan_config(adapter.path, more=more, bus="transmit = true")) as daemon, Pack(write):
        end_s = time.monotonic() + 20
        while not mcu.accepted:
            assert time.monotonic() < end_s, daemon.stderr()
            time.sleep(0.02)
        daemon.wait(lambda entry: seen(entry) and not faults(entry), since=len(daemon.decisions))
        others.append(Frame(0, identifier, bytes(range(8))))
        daemon.wait(lambda entry: "address_conflict.can0" in faults(entry), since=len(daemon.decisions))
        others.clear()
        time.sleep(0.5)  # what was under way has come
        beats, accepted = len(mcu.beats), len(mcu.accepted)
        time.sleep(1)
        assert (len(mcu.beats), len(mcu.accepted)) == (beats, accepted)
        assert f"another node sends our id {identifier:#x}" in daemon.stderr()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("transmit = true", "transmit = false"), "bus can0 only listens"),
        (('bus = "can0"', 'bus = "nosuch"'), "no bus is called 'nosuch'"),
        (("mcu_id = 9", 'mcu_id = 9\npack = "rack-9"'), "no pack is called 'rack-9'"),
        (("mcu_id = 9", "mcu_id = 0"), "mcu_id"),
        (("/mcu.key", "/none.key"), "cannot be read"),
        (("parallel = 10", "parallel = 10\nid_offset = 752"), "ids that advice over CAN has: 0x3f0, 0x3f1, 0x3f2, 0x3f3"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_in_one_sentence(tmp_path, capsys, change, words):
    _, more = outlet(tmp_path)
    path = tmp_path / "gateway.toml"
    path.write_text(slcan_config(tmp_path / "ttyUSB0", more=more, bus="transmit = true").replace(*change))
    assert main(["run", "-c", str(path)]) == 3
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_a_key_that_others_may_read_ends_the_start(tmp_path, capsys):
    _, more = outlet(tmp_path)
    (tmp_path / "mcu.key").chmod(0o644)
    path = tmp_path / "gateway.toml"
    path.write_text(slcan_config(tmp_path / "ttyUSB0", more=more, bus="transmit = true"))
    assert main(["run", "-c", str(path)]) == 3
    assert "others may use it (mode 644)" in capsys.readouterr().err


def test_check_names_key_and_counter(tmp_path, capsys):
    key, more = outlet(tmp_path)
    path = tmp_path / "gateway.toml"
    path.write_text(slcan_config(tmp_path / "ttyUSB0", more=more, bus="transmit = true"))
    assert main(["check", "-c", str(path)]) == 0
    assert f"can0: microcontroller 9, key 1 ({key.fingerprint})" in capsys.readouterr().out
    (tmp_path / "mcu.counter").unlink()
    assert main(["check", "-c", str(path)]) == 3
    assert "the counter is missing" in capsys.readouterr().out


def test_two_microcontrollers_do_not_share_a_key(tmp_path, capsys):
    _, more = outlet(tmp_path)
    second = '[[bus]]\nname = "can1"\ninterface = "slcan"\nchannel = "/dev/null"\ntransmit = true\n'
    text = slcan_config(tmp_path / "ttyUSB0", more=more + more.replace("can0", "can1") + second, bus="transmit = true", pack=PACK)
    (tmp_path / "gateway.toml").write_text(text)
    assert main(["run", "-c", str(tmp_path / "gateway.toml")]) == 3
    assert "share a key" in capsys.readouterr().err


def test_keys_are_made_shown_and_followed(tmp_path, capsys):
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    assert main(["keys", "new", str(old), "--counter", str(tmp_path / "old.counter")]) == 0
    assert main(["keys", "new", str(new), "--counter", str(tmp_path / "new.counter"), "--after", str(old)]) == 0
    assert "key number 2" in capsys.readouterr().out
    assert main(["keys", "show", str(new)]) == 0
    assert "\nkey " not in capsys.readouterr().out
    assert main(["keys", "show", "--secret", str(new)]) == 0
    assert re.search(r"\nkey [0-9a-f]{32}\n", capsys.readouterr().out)
    assert main(["keys", "new", str(new), "--counter", str(tmp_path / "third.counter")]) == 3
    assert main(["keys", "new", str(tmp_path / "third.key"), "--counter", str(tmp_path / "new.counter")]) == 3
    assert not (tmp_path / "third.key").exists()
    assert "exists" in capsys.readouterr().err
