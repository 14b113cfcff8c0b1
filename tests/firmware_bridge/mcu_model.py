"""A microcontroller by protocol.md, in Python: ``Mcu`` without clock and I/O, ``Line`` runs one on a pseudo-terminal.

The reference firmware is the real thing (firmware_bridge/c); this one lets the Python side be tested where no ARM emulator is,
and can be made to lie.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import threading
import time
import tty
from collections import Counter

from firmware_bridge import advice as advising
from firmware_bridge import codec
from firmware_bridge.codec import Ack, Counters, Deframer, Heartbeat, Hello, Message, PackState, Page, TimeReply
from firmware_bridge.codes import Action, Contactor, FaultBit, McuState, Mode, Role, Type, Verdict

WRAP = 1 << 32


class Mcu:
    """hear bytes, tick: bytes. store: what survives a reset. accepted: (when, Advice), judged: (verdict, Advice)."""

    def __init__(self, keys, *, gateway_id=7, mcu_id=9, cells=16, probes=4, start_ms=0, profile=0, version=1, sweep_ms=100, store=None):
        self.keys, self.gateway_id, self.mcu_id, self.profile, self.version = dict(keys), gateway_id, mcu_id, profile, version
        self.cell_count, self.probe_count, self.start_ms, self.sweep_ms = cells, probes, start_ms, sweep_ms
        self.store = store if store is not None else {"resets": 0, "freshness": {}, "open": False}
        self.volts, self.degrees, self.current_a, self.faults = [3.7] * cells, [25.0] * probes, -5.0, 0
        self.accepted, self.judged, self.messages, self.payloads = [], [], [], []
        self.ages = {}
        """id of the advice -> how old it was when it was accepted, in ms."""
        self.gateway_session = None
        self.muted = False
        self.reset(0)

    def reset(self, now_ms):
        self.store["resets"] += 1
        self.session = self.store["resets"]
        self.booted_ms = now_ms
        self.deframer = Deframer(codec.FROM_GATEWAY)
        self.counts = Counter()
        self.linked = False
        self.beat_ms = None
        self.advice = None
        self.lowering_ms = None
        self.contactor = Contactor.OPEN if self.store["open"] else Contactor.CLOSED
        self.sequence = 40_000
        self.sweep = 0
        self.due_ms = dict.fromkeys(("hello", "beat", "sweep", "counters"), now_ms)
        self.out = bytearray(b"\0")

    def time_ms(self, now_ms):
        return (now_ms - self.booted_ms + self.start_ms) % WRAP

    @property
    def state(self):
        if self.store["open"]:
            return McuState.OPEN_ON_ADVICE
        if self.lowering_ms is not None:
            return McuState.LOWERING
        return McuState.ADVISED if self.advice is not None else McuState.ALONE

    def say(self, kind, payload):
        self.sequence = (self.sequence + 1) % 65536
        if not self.muted:
            self.out += codec.frame(Message(kind, 0, self.sequence, payload))

    def hear(self, data, now_ms):
        refused = self.deframer.counts.copy()
        for message in self.deframer.feed(data):
            self.messages.append((now_ms, message))
            verdict = self.take(message, now_ms)
            self.counts[verdict] += 1
            if message.ack_wanted:
                self.say(Type.ACK, codec.pack_ack(Ack(message.sequence, message.type, verdict)))
        self.counts.update(self.deframer.counts - refused)

    def take(self, message, now_ms):
        kind, payload = message.type, message.payload
        if kind == Type.HELLO:
            hello = codec.read_hello(payload)
            if hello.role != Role.GATEWAY:
                return Verdict.BAD_VALUE
            if hello.device_id != self.gateway_id:
                return Verdict.OTHER_GATEWAY
            if self.gateway_session != hello.session:
                self.advice = None
            self.gateway_session, self.linked, self.beat_ms = hello.session, True, now_ms
            self.say_hello(now_ms)
        elif kind == Type.HEARTBEAT:
            beat = codec.read_heartbeat(payload)
            if self.linked and beat.session == self.gateway_session and beat.state == 1:
                self.beat_ms = now_ms
        elif kind == Type.TIME_SYNC:
            self.say(Type.TIME_REPLY, codec.pack_time_reply(TimeReply(codec.read_time_sync(payload).gateway_ms, self.time_ms(now_ms))))
        elif kind == Type.ADVICE:
            self.payloads.append(payload)
            advice = codec.read_advice(payload)
            verdict = self.judge(advice, now_ms)
            self.judged.append((verdict, advice))
            return verdict
        return Verdict.ACCEPTED

    def judge(self, advice, now_ms):
        if advice.mcu_id != self.mcu_id:
            return Verdict.OTHER_MCU
        if advice.gateway_id != self.gateway_id:
            return Verdict.OTHER_GATEWAY
        if advice.key_id not in self.keys:
            return Verdict.UNKNOWN_KEY
        if not advising.is_genuine(advice, self.keys[advice.key_id]):
            return Verdict.FORGED
        if advice.freshness <= self.store["freshness"].get(advice.key_id, 0):
            return Verdict.REPLAYED
        if advice.session != self.session:
            return Verdict.STALE
        if not 1 <= advice.expiry_ms <= 60_000:
            return Verdict.BAD_EXPIRY
        if self.age_ms(advice, now_ms) >= advice.expiry_ms:
            return Verdict.STALE
        if not self.linked:
            return Verdict.NOT_LINKED
        self.store["freshness"][advice.key_id] = advice.freshness
        self.accepted.append((now_ms, advice))
        self.ages[id(advice)] = self.age_ms(advice, now_ms)
        self.advice = advice
        if advice.mode == Mode.COMMAND:
            if advice.action == Action.OPEN_CONTACTORS and not self.store["open"]:
                self.lowering_ms = self.lowering_ms if self.lowering_ms is not None else now_ms
            elif advice.action != Action.OPEN_CONTACTORS:
                self.store["open"], self.lowering_ms, self.contactor = False, None, Contactor.CLOSED
        return Verdict.ACCEPTED

    def age_ms(self, advice, now_ms):
        age = (self.time_ms(now_ms) - advice.issued_ms) % WRAP
        return 0 if age >= WRAP - 500 else age

    def say_hello(self, now_ms):
        self.due_ms["hello"] = now_ms + 1000
        key = max(self.keys)
        last = self.store["freshness"].get(key, 0)
        hello = Hello(
            Role.MCU, self.mcu_id, self.version, self.version, 2, 1, 0, self.profile, self.session, self.cell_count, self.probe_count, 8, last, key
        )  # fmt: skip
        self.say(Type.HELLO, codec.pack_hello(hello))

    def tick(self, now_ms):
        """Bytes to send."""
        if self.beat_ms is None or now_ms - self.beat_ms > 1000:
            self.linked, self.advice = False, None
        if self.advice is not None and self.age_ms(self.advice, now_ms) >= self.advice.expiry_ms:
            self.advice = None
        if self.lowering_ms is not None:
            self.current_a = 0.0
            if now_ms - self.lowering_ms > 300:
                self.store["open"], self.lowering_ms, self.contactor = True, None, Contactor.OPEN
        if not self.linked and now_ms >= self.due_ms["hello"]:
            self.say_hello(now_ms)
        if now_ms >= self.due_ms["beat"]:
            self.due_ms["beat"] = now_ms + 200
            self.say(Type.HEARTBEAT, codec.pack_heartbeat(Heartbeat(self.time_ms(now_ms), self.session, self.state, int(self.linked))))
        if now_ms >= self.due_ms["counters"]:
            self.due_ms["counters"] = now_ms + 1000
            self.say(
                Type.COUNTERS, codec.pack_counters(Counters(self.time_ms(now_ms), self.session, tuple(self.counts[v] for v in Verdict)))
            )
        if now_ms >= self.due_ms["sweep"]:
            self.due_ms["sweep"] = max(self.due_ms["sweep"] + self.sweep_ms, now_ms)
            self.say_sweep(now_ms)
        sent, self.out = bytes(self.out), bytearray()
        return sent

    def say_sweep(self, now_ms):
        time_ms, self.sweep = self.time_ms(now_ms), (self.sweep + 1) % 65536
        # a little noise, or a healthy gateway calls the values frozen
        cells = [round(10_000 * volts) + (self.sweep + at) % 3 for at, volts in enumerate(self.volts)]
        probes = [round(10 * degrees) + (self.sweep + at) % 2 for at, degrees in enumerate(self.degrees)]
        for first in range(0, len(cells), 110):
            self.say(Type.CELLS, codec.pack_cells(Page(time_ms, self.sweep, first, tuple(cells[first : first + 110]))))
        for first in range(0, len(probes), 110):
            self.say(Type.PROBES, codec.pack_probes(Page(time_ms, self.sweep, first, tuple(probes[first : first + 110]))))
        left = max(0, self.advice.expiry_ms - self.age_ms(self.advice, now_ms)) if self.advice is not None else 0
        voltage_mv = round(sum(cells) / 10)
        pack = PackState(
            time_ms, self.sweep, round(1000 * self.current_a), voltage_mv, self.contactor, self.state, self.faults, len(cells), len(probes), 0, 0, left
        )  # fmt: skip
        self.say(Type.PACK, codec.pack_state(pack))

    def protect(self, *bits: FaultBit):
        self.faults = sum(1 << bit for bit in bits)


class Line:
    """``mcu`` at the end of a pseudo-terminal called ``path``. rate: bytes a second each way, None = as fast as it goes.

    spoil: that share of frames gets a wrong byte, both ways.
    """

    def __init__(self, path, mcu, *, rate=None, spoil=0.0, seed=1):
        self.path, self.mcu, self.rate, self.spoil = path, mcu, rate, spoil
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.up = self.down = self.queued = 0
        """Bytes."""
        self.left = []
        """(sweep, when its last byte left, ns)"""
        self.plug_in()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def plug_in(self):
        with self.lock:
            self.master, slave = os.openpty()
            os.set_blocking(self.master, False)
            tty.setraw(slave)
            name = os.ttyname(slave)
            os.close(slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(name)
        self.pending = b""

    def vanish(self):
        with self.lock:
            os.close(self.master)
            self.master = -1
        self.path.unlink(missing_ok=True)

    def now_ms(self):
        return time.monotonic_ns() // 1_000_000

    def inject(self, *frames):
        """Bytes from somebody else on the wire, towards the microcontroller."""
        with self.lock:
            for frame in frames:
                self.mcu.hear(b"\0" + frame, self.now_ms())

    def write(self, data):
        """Bytes towards the gateway."""
        with self.lock:
            self.pending += data

    def spoiled(self, data):
        if not self.spoil:
            return data
        frames = data.split(b"\0")
        for i, frame in enumerate(frames):
            if frame and self.chance.random() < self.spoil:
                at = self.chance.randrange(len(frame))
                frames[i] = frame[:at] + bytes((frame[at] ^ (1 << self.chance.randrange(8)) or 0x55,)) + frame[at + 1 :]
        return b"\0".join(frames)

    def _run(self):
        at_s = time.monotonic()
        room_up = room_down = 64.0
        marks = []
        while not self._stop.wait(0.002):
            now_s = time.monotonic()
            if self.rate:
                room_up = min(room_up + self.rate * (now_s - at_s), 256.0)
                room_down = min(room_down + self.rate * (now_s - at_s), 256.0)
            at_s = now_s
            with self.lock:
                if self.master < 0:
                    self.mcu.tick(self.now_ms())
                    continue
                with contextlib.suppress(OSError):
                    if select.select([self.master], [], [], 0)[0]:
                        got = os.read(self.master, int(room_down) if self.rate else 4096) if not self.rate or room_down >= 1 else b""
                        self.down += len(got)
                        room_down -= len(got)
                        self.mcu.hear(self.spoiled(got), self.now_ms())
                sweep = self.mcu.sweep
                said = self.spoiled(self.mcu.tick(self.now_ms()))
                self.pending += said
                self.queued += len(said)
                if self.mcu.sweep != sweep:
                    marks.append((self.queued, self.mcu.sweep))
                part = self.pending[: int(room_up)] if self.rate else self.pending
                with contextlib.suppress(OSError):  # nobody has the port open: a UART sends all the same
                    gone = os.write(self.master, part) if part else 0
                    self.up += gone
                    room_up -= gone
                    self.pending = self.pending[gone:]
                    while marks and marks[0][0] <= self.up:
                        self.left.append((marks.pop(0)[1], time.monotonic_ns()))
                if len(self.pending) > 8192:  # nobody reads: it is lost, as on a wire
                    self.queued -= len(self.pending) - 2048
                    self.pending = self.pending[-2048:]
                    marks.clear()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            os.close(self.master)
