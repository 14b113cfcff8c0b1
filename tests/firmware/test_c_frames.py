"""The C library's CMAC, CRC and frames, against RFC 4493, the libraries of the Python side, and vectors.json."""

import json
import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from c_mcu import GATEWAY_ID, MCU_ID, Authority, Link
from cobs import cobs
from shared_data import ROOT

from firmware_bridge.codec import FRAME_MAX, Message, frame
from firmware_bridge.codes import PAYLOAD_BYTES_MAX, Type, Verdict
from firmware_bridge.mac import cmac

VECTORS = json.loads((ROOT / "firmware_bridge" / "vectors.json").read_text())
RFC_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
RFC_TEXT = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
RFC_MACS = {
    0: "bb1d6929e95937287fa37d129b756746",
    16: "070a16b46b4d4144f79bdd9dd04a287c",
    40: "dfa66747de9ae63030ca32611497c827",
    64: "51f0bebf7e3b9d92fc49741779363cfe",
}


def mac_by_c(c, key, message):
    mac = c.ffi.new("uint8_t[16]")
    c.lib.ebms_cmac(key, message, len(message), mac)
    return bytes(mac)


@pytest.mark.parametrize("length", RFC_MACS)
def test_cmac_has_the_values_of_rfc_4493(c, length):
    assert mac_by_c(c, RFC_KEY, RFC_TEXT[:length]).hex() == RFC_MACS[length]


def test_aes_has_the_value_of_fips_197(c):
    out = c.ffi.new("uint8_t[16]")
    c.lib.ebms_aes128_encrypt(bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff"), out)
    assert bytes(out).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_cmac_agrees_with_the_library_of_the_python_side(c):
    rng = random.Random(4)
    for length in [*range(70), 200]:
        key, message = rng.randbytes(16), rng.randbytes(length)
        assert mac_by_c(c, key, message) == cmac(key, message)


@pytest.mark.parametrize("at", range(8))
def test_one_other_byte_is_another_mac(c, at):
    mac = bytes(range(8))
    other = mac[:at] + bytes((mac[at] ^ 0x80,)) + mac[at + 1 :]
    assert c.lib.ebms_cmac_same(mac, mac, 8)
    assert not c.lib.ebms_cmac_same(mac, other, 8)


def test_the_crc_is_zlibs(c):
    rng = random.Random(5)
    assert c.lib.ebms_crc32(b"123456789", 9) == 0xCBF43926
    for length in (0, 1, 2, 100, 249):
        message = rng.randbytes(length)
        assert c.lib.ebms_crc32(message, length) == zlib.crc32(message)


class Receiver:
    def __init__(self, c):
        self.c, self.state = c, c.ffi.new("ebms_receiver *")
        self.message, self.verdict = c.ffi.new("ebms_message *"), c.ffi.new("uint8_t *")
        c.lib.ebms_receiver_init(self.state)

    def hear(self, data):
        """(a message or a verdict) each."""
        found = []
        for byte in data:
            event = self.c.lib.ebms_receiver_byte(self.state, byte, self.message, self.verdict)
            if event == self.c.lib.EBMS_FRAME_MESSAGE:
                taken = self.message
                payload = bytes(self.c.ffi.buffer(taken.payload, taken.payload_bytes)) if taken.payload_bytes else b""
                found.append(Message(taken.type, taken.flags, taken.sequence, payload))
            elif event == self.c.lib.EBMS_FRAME_REFUSED:
                found.append(Verdict(self.verdict[0]))
        return found


def encoded(c, message):
    out = c.ffi.new(f"uint8_t[{FRAME_MAX + 1}]")
    count = c.lib.ebms_frame_encode(message.type, message.flags, message.sequence, message.payload or c.ffi.NULL, len(message.payload), out)
    return bytes(c.ffi.buffer(out, count))


def test_frames_of_every_length_go_both_ways(c):
    rng, receiver = random.Random(6), Receiver(c)
    for length in range(PAYLOAD_BYTES_MAX + 1):
        for payload in (bytes(length), b"\xff" * length, bytes(rng.choice((0, 1, 255)) for _ in range(length))):
            message = Message(rng.randrange(256), rng.randrange(256), rng.randrange(65536), payload)
            assert encoded(c, message) == frame(message)
            assert receiver.hear(frame(message)) == [message]


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_vectors_are_read_and_written(c, vector):
    message = Message(Type[vector["type"]], vector["flags"], vector["sequence"], bytes.fromhex(vector["payload"]))
    assert Receiver(c).hear(bytes.fromhex(vector["frame"])) == [message]
    assert encoded(c, message).hex() == vector["frame"]


@pytest.mark.parametrize("vector", VECTORS["refused_by_either"], ids=lambda vector: vector["name"])
def test_vectors_that_either_side_refuses(c, vector):
    link = Link(c)
    link.hear(bytes.fromhex(vector["frame"]))
    assert link.counts() == {Verdict[vector["verdict"]]: 1}


def test_advice_of_the_vectors_is_accepted(c):
    for vector in VECTORS["messages"]:
        if vector["type"] != "ADVICE":
            continue
        fields = vector["fields"]
        made = Authority(c, linked=False)
        key = bytes.fromhex(VECTORS["keys"][str(fields["key_id"])])
        made.state.slots[0].key, made.state.slots[0].key_id = list(key), fields["key_id"]
        c.lib.ebms_authority_heard(made.state, True, fields["issued_ms"])
        assert (fields["gateway_id"], fields["mcu_id"]) == (GATEWAY_ID, MCU_ID)
        assert c.lib.ebms_authority_judge(made.state, bytes.fromhex(vector["payload"]), fields["issued_ms"]) == Verdict.ACCEPTED
        taken = made.advice(fields["issued_ms"])
        assert (taken.action, taken.mode, taken.cool) == (fields["action"], fields["mode"], fields["cool"])
        assert all(getattr(taken.limits, name) == fields[name] for name in ("charge_da", "discharge_da", "charge_dv", "discharge_dv"))


def test_the_receiver_finds_its_way_back(c):
    receiver, good = Receiver(c), Message(2, 0, 9, b"\0\1\0")
    line = frame(good)
    assert receiver.hear(b"\0\0" + line) == [good]
    assert receiver.hear(b"\x01" * 251 + b"\0" + line) == [Verdict.BAD_FRAME_LENGTH, good]
    assert receiver.hear(b"\x01" * 5000 + b"\0" + line) == [Verdict.BAD_FRAME_LENGTH, good]
    assert receiver.hear(b"\x01\0" + line) == [Verdict.BAD_FRAME_LENGTH, good]
    assert receiver.hear(b"\xff\0" + line) == [Verdict.BAD_COBS, good]
    assert receiver.hear(line[:-3] + b"\0" + line) == [Verdict.BAD_COBS, good]


def test_any_one_wrong_bit_is_refused(c):
    receiver, line = Receiver(c), frame(Message(0x11, 1, 300, bytes(range(42))))
    for at in range(len(line) - 1):
        for bit in range(8):
            wrong = line[:at] + bytes((line[at] ^ (1 << bit),)) + line[at + 1 :]
            assert all(isinstance(found, Verdict) for found in receiver.hear(wrong + b"\0"))


def test_a_long_run_without_zero_is_read_as_cobs_has_it(c):
    receiver = Receiver(c)
    for length in (248, 249):
        body = bytes(1 + at % 255 for at in range(length))
        assert receiver.hear(cobs.encode(body) + b"\0") == [Verdict.BAD_CRC]


CONTRACTS = [
    "c.lib.ebms_receiver_init(c.ffi.NULL)",
    "c.lib.ebms_frame_encode(1, 0, 0, b'', 241, c.ffi.new('uint8_t[300]'))",
    "c.lib.ebms_frame_encode(1, 0, 0, c.ffi.NULL, 1, c.ffi.new('uint8_t[300]'))",
    "c.lib.ebms_cmac(b'', c.ffi.NULL, 0, c.ffi.new('uint8_t[16]'))",
    "c.lib.ebms_authority_tick(c.ffi.NULL, 0)",
    "c.lib.ebms_link_send_cells(c.ffi.new('ebms_link *'), 0, 0, 0, c.ffi.new('uint16_t[111]'), 111)",
]


@pytest.mark.parametrize("call", CONTRACTS)
def test_a_broken_contract_stops_the_firmware(c, tmp_path, call):
    here = Path(__file__).parent
    script = "import pathlib, sys\nfrom c_library import declarations, opened\n"
    script += f"c = opened(pathlib.Path({str(c.path)!r}), declarations())\n{call}\n"
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 77, done.stderr
    assert "EBMS_REQUIRE" in done.stderr
