"""The C library's objects for a test: an authority, a link, what they sent."""

from __future__ import annotations

from firmware_bridge.advice import sign
from firmware_bridge.codec import FROM_MCU, Advice, Deframer, Message, frame, pack_advice
from firmware_bridge.codes import LIMIT_UNSTATED, Verdict

KEYS = {1: bytes(range(16)), 2: bytes(range(16, 32))}
GATEWAY_ID, MCU_ID, SESSION = 0x1234, 0x5678, 7


def slots(c, *entries):
    """(key_id, freshness_last) each; None: a free slot."""
    made = c.ffi.new("ebms_key_slot[2]")
    for slot, entry in zip(made, entries, strict=False):
        if entry is not None:
            slot.used, slot.key_id, slot.freshness_last = True, entry[0], entry[1]
            slot.key = list(KEYS[entry[0]])
    return made


class Authority:
    """linked: it has been greeted at now_ms."""

    def __init__(self, c, *entries, linked=True, now_ms=0):
        self.c, self.state = c, c.ffi.new("ebms_authority *")
        c.lib.shim_store_works, c.lib.shim_stores = True, 0
        c.ffi.buffer(c.lib.shim_stored)[:] = bytes(c.ffi.sizeof(c.lib.shim_stored))
        made = slots(c, *(entries or ((1, 0),)))
        c.ffi.memmove(self.state, b"\1" * c.ffi.sizeof("ebms_authority"), c.ffi.sizeof("ebms_authority"))  # memory as it may be found
        self.context = c.ffi.new("char *")
        c.lib.ebms_authority_init(self.state, MCU_ID, GATEWAY_ID, SESSION, made, c.lib.shim_store, self.context)
        if linked:
            c.lib.ebms_authority_heard(self.state, True, now_ms)

    def judge(self, advice, now_ms=0):
        return Verdict(self.c.lib.ebms_authority_judge(self.state, pack_advice(advice), now_ms))

    def tick(self, now_ms):
        self.c.lib.ebms_authority_tick(self.state, now_ms)

    def heard(self, now_ms, greets=False):
        self.c.lib.ebms_authority_heard(self.state, greets, now_ms)

    def advice(self, now_ms):
        found = self.c.lib.ebms_authority_advice(self.state, now_ms)
        return None if found == self.c.ffi.NULL else found

    def left_ms(self, now_ms):
        return self.c.lib.ebms_authority_left_ms(self.state, now_ms)


def advice(freshness=1, *, key=None, **changes):
    """Signed. Harmless, without limits, issued at 0 for two seconds."""
    plain = Advice(GATEWAY_ID, MCU_ID, 1, freshness, 0, 0, 0, *[LIMIT_UNSTATED] * 4, SESSION, 0, 2000, bytes(8))._replace(**changes)
    return sign(plain, KEYS.get(plain.key_id, KEYS[1]) if key is None else key)


class Link:
    def __init__(self, c, *, now_ms=0, greeted=True, **identity):
        self.c, self.state = c, c.ffi.new("ebms_link *")
        self.authority = Authority(c, linked=False)
        made = c.ffi.new("ebms_identity *", identity)
        c.lib.ebms_link_init(self.state, made[0], self.authority.state, c.lib.shim_send, c.ffi.NULL, now_ms)
        c.lib.shim_sent_count = 0

    def hear(self, data, now_ms=0):
        for byte in data:
            self.c.lib.ebms_link_byte(self.state, byte, now_ms)
        return self.said()

    def message(self, kind, payload, now_ms=0, *, flags=0, sequence=1):
        return self.hear(frame(Message(kind, flags, sequence, payload)), now_ms)

    def tick(self, now_ms):
        self.c.lib.ebms_link_tick(self.state, now_ms)
        return self.said()

    def raw(self):
        data = bytes(self.c.ffi.buffer(self.c.lib.shim_sent, self.c.lib.shim_sent_count))
        self.c.lib.shim_sent_count = 0
        return data

    def said(self):
        deframer = Deframer(FROM_MCU)
        found = deframer.feed(self.raw())
        assert not deframer.counts
        return found

    def counts(self):
        return {Verdict(code): count for code, count in enumerate(self.state.counters) if count}
