"""Writes firmware_bridge/vectors.json: messages with their bytes, which Python and C are both tested against.

Run by ``make golden``. The bytes of a few are worked out by hand in test_codec.py and test_vectors.py.
"""

import json
import zlib
from pathlib import Path

from cobs import cobs

from firmware_bridge import advice as advising
from firmware_bridge import codec
from firmware_bridge.codec import Ack, Advice, Counters, Heartbeat, Hello, Message, PackState, Page, TimeReply, TimeSync
from firmware_bridge.codes import Type

TARGET = Path(__file__).resolve().parent.parent.parent / "firmware_bridge" / "vectors.json"
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
OTHER_KEY = bytes(range(16))

ADVICE = Advice(0x1234, 0x5678, 1, 0x010203040506, 5, 0, 0, 0, 1200, 4032, 2880, 7, 1_000_000, 2000, bytes(8))

PACKERS = {
    Hello: (Type.HELLO, codec.pack_hello),
    Heartbeat: (Type.HEARTBEAT, codec.pack_heartbeat),
    Ack: (Type.ACK, codec.pack_ack),
    TimeSync: (Type.TIME_SYNC, codec.pack_time_sync),
    TimeReply: (Type.TIME_REPLY, codec.pack_time_reply),
    Advice: (Type.ADVICE, codec.pack_advice),
    PackState: (Type.PACK, codec.pack_state),
    Counters: (Type.COUNTERS, codec.pack_counters),
}


def message(name, body, sequence=0, flags=0, kind=None, pack=None):
    if kind is None:
        kind, pack = PACKERS[type(body)]
    payload = pack(body)
    fields = {key: value.hex() if isinstance(value, bytes) else value for key, value in body._asdict().items()}
    sent = codec.frame(Message(kind, flags, sequence, payload))
    return {
        "name": name,
        "type": kind.name,
        "flags": flags,
        "sequence": sequence,
        "fields": fields,
        "payload": payload.hex(),
        "frame": sent.hex(),
    }


def messages():
    yield message("hello of a gateway", Hello(0, 0x1234, 1, 1, 0, 1, 0, 0xCAFE0001, 9, 16, 4, 8, 0, 1), sequence=1)
    yield message("hello of an MCU", Hello(1, 0x5678, 1, 1, 2, 3, 4, 0xCAFE0001, 7, 16, 4, 8, 0xFFFFFFFFFFFF, 1), sequence=65535)
    yield message("heartbeat", Heartbeat(0xFFFFFFFF, 7, 2, 1), sequence=2)
    yield message("heartbeat of zeros", Heartbeat(0, 0, 0, 0))
    yield message("ack", Ack(513, 0x11, 0), sequence=3)
    yield message("nack", Ack(65535, 0x11, 13), sequence=3)
    yield message("time sync", TimeSync(12345, 1_795_536_000_123, 1), sequence=4, flags=1)
    yield message("time sync without a clock", TimeSync(0, 0xFFFFFFFFFFFFFFFF, 0), sequence=4)
    yield message("time reply", TimeReply(12345, 54321), sequence=5)
    for name, body, key in (
        ("advice: stop charge", ADVICE, KEY),
        ("advice: open contactors", ADVICE._replace(action=7, freshness=1, expiry_ms=60_000, issued_ms=0xFFFFFFFF), KEY),
        ("advice: nothing but limits not stated", ADVICE._replace(action=0, mode=1, cool=1, charge_da=0xFFFF, discharge_da=0xFFFF), KEY),
        ("advice: another key", ADVICE._replace(key_id=2, freshness=0xFFFFFFFFFFFF), OTHER_KEY),
    ):
        yield message(name, advising.sign(body, key), sequence=6, flags=1)
    yield message("pack", PackState(5000, 77, -41_000, 352_100, 3, 2, 0, 96, 24, 800, 1200, 1900), sequence=7)
    yield message("pack: nothing known", PackState(0, 0, -(1 << 31), 0xFFFFFFFF, 0, 0, 0x1FF, 0, 0, 0, 0, 0), sequence=7)
    cells = Page(5000, 77, 0, (*(36_000 + 10 * i for i in range(94)), 0xFFFF, 0xFFFE))
    yield message("cells of a page", cells, 8, kind=Type.CELLS, pack=codec.pack_cells)
    most = Page(5000, 77, 110, tuple(36_000 + i for i in range(110)))
    yield message("cells: the longest page", most, 9, kind=Type.CELLS, pack=codec.pack_cells)
    yield message("probes", Page(5000, 77, 3, (250, -400, 0x7FFF, 0x7FFE)), 10, kind=Type.PROBES, pack=codec.pack_probes)
    yield message("counters", Counters(6000, 7, tuple(range(17))), sequence=11)


def refused():
    good = codec.encode(Message(Type.HEARTBEAT, 0, 2, codec.pack_heartbeat(Heartbeat(1, 7, 2, 1))))

    def entry(name, verdict, body):
        return {"name": name, "verdict": verdict, "frame": (cobs.encode(body) + b"\0").hex()}

    def with_crc(body):
        return body + zlib.crc32(body).to_bytes(4, "little")

    yield {"name": "a COBS code that points past the end", "verdict": "BAD_COBS", "frame": "0501020300"}
    yield entry("eight bytes", "BAD_FRAME_LENGTH", good[:8])
    yield entry("one bit of the payload", "BAD_CRC", good[:6] + bytes((good[6] ^ 4,)) + good[7:])
    yield entry("one bit of the CRC", "BAD_CRC", good[:-1] + bytes((good[-1] ^ 0x80,)))
    yield entry("version 2", "BAD_VERSION", with_crc(b"\x02" + good[1:-4]))
    yield entry("type 0x7f", "UNKNOWN_TYPE", with_crc(good[:1] + b"\x7f" + good[2:-4]))
    yield entry("a flag that is none", "BAD_VALUE", with_crc(good[:2] + b"\x02" + good[3:-4]))
    yield entry("a payload of nine bytes", "BAD_LENGTH", with_crc(good[:-5]))


def can():
    signed = advising.sign(ADVICE, KEY)
    return {
        "payload": codec.pack_advice(signed).hex(),
        "classic": [data.hex() for data in advising.to_can(signed, fd=False, number=9)],
        "fd": [data.hex() for data in advising.to_can(signed, fd=True, number=9)],
    }


def main():
    found = {
        "keys": {"1": KEY.hex(), "2": OTHER_KEY.hex()},
        "messages": list(messages()),
        "refused_by_either": list(refused()),
        "can": can(),
    }
    TARGET.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")
    print(f"{TARGET.name}: {len(found['messages'])} messages")


if __name__ == "__main__":
    main()
