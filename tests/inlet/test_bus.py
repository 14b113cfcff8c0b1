"""The receive loop over real links: a pseudo-terminal, UDP multicast on loopback, a socket pair with SocketCAN's frames."""

import os
import socket
import struct
import time

import can
import pytest
from adapter import Adapter, free_port, slcan_line

from edgebms.clock import MonotonicClock
from edgebms.config import BusConfig
from edgebms.inlet import bus as bus_module
from edgebms.inlet.bus import Bus
from edgebms.inlet.frame import Frame
from edgebms.inlet.inbox import Inbox
from edgebms.inlet.link import LinkError
from edgebms.inlet.socketcan import CLASSIC, ERROR, FD, REMOTE, SocketCan
from edgebms.vocabulary import Level

UDP = {"interface": "udp_multicast", "channel": "239.74.163.77", "options": {"port": free_port()}}


class Live:
    """A started bus; ``take`` waits for so many frames."""

    def __init__(self, opener=None, **settings):
        self.inbox, self.said = Inbox(), []
        more = {"opener": opener} if opener else {}
        self.bus = Bus(BusConfig(**({"name": "can0"} | settings)), MonotonicClock(), self.inbox, say=self.said.append, **more)
        self.bus.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bus.close()

    def take(self, count, timeout_s=10.0):
        end_s, frames = time.monotonic() + timeout_s, []
        while len(frames) < count:
            assert time.monotonic() < end_s, f"{len(frames)} of {count} frames; {self.said} {self.bus.counts.as_dict()}"
            frame = self.inbox.get(0.1)
            if frame is not None:
                frames.append(frame)
        return frames

    def until(self, predicate, timeout_s=10.0):
        end_s = time.monotonic() + timeout_s
        while not predicate():
            assert time.monotonic() < end_s, f"{self.said} {self.bus.counts.as_dict()}"
            time.sleep(0.01)

    def faults(self):
        return {fault.rule: fault for fault in self.bus.faults(time.monotonic_ns())}


@pytest.fixture
def adapter(tmp_path):
    return Adapter(tmp_path / "ttyUSB0")


def slcan(adapter, **settings):
    return Live(interface="slcan", channel=str(adapter.path), **settings)


def frame(number, data=b"\x01\x02", extended=False):
    return Frame(0, number, data, extended)


def test_slcan_frames_arrive_as_they_were_sent_stamped_on_the_loops_clock(adapter):
    sent = [frame(0x123), frame(0x7FF, bytes(8)), frame(0x1ABCDE, b"\xff", True), frame(0x10, b"")]
    with slcan(adapter, bitrate=250_000) as live:
        assert adapter.wait_open() == b"\rC\rS5\rZ0\rL\r"
        before_ns = time.monotonic_ns()
        adapter.write(b"".join(map(slcan_line, sent)))
        got = live.take(4)
        assert [entry[1:4] for entry in got] == [entry[1:4] for entry in sent]
        assert all(before_ns <= entry.time_ns <= time.monotonic_ns() and entry.channel == "can0" for entry in got)


def test_a_bus_that_may_transmit_opens_normally_and_sends(adapter):
    with slcan(adapter, transmit=True) as live:
        assert adapter.wait_open().endswith(b"O\r")
        live.until(lambda: live.bus.up)
        assert live.bus.send(frame(0x351, b"\x01\x02"))
        live.until(lambda: adapter.hear() or b"t35120102\r" in adapter.said)


def test_listen_only_sends_nothing(adapter):
    with slcan(adapter) as live:
        adapter.wait_open()
        live.until(lambda: live.bus.up)
        assert not live.bus.send(frame(0x351))
        time.sleep(0.05)
        adapter.hear()
        assert adapter.said == b""


@pytest.mark.parametrize(
    ("noise", "kind", "count"),
    [
        (b"t12g2AABB\r", "bad_lines", 1),
        (b"t1238AABBCC\r", "truncated", 1),
        (b"t1232AABBCC\r", "bad_lines", 1),
        (b"\xff\xfe\x00\r", "bad_lines", 1),
        (b"t123\rt9992AABB\rT999999992AABB\r", "bad_lines", 3),
        (b"t1239AABBCCDDEEFF001122\r", "bad_lines", 1),
        (b"x" * 100 + b"\r", "bad_lines", 1),
        (b"r1232\rR000001238\r", "remote_frames", 2),
        (b"\r\a\rF00\rV1013\rNABCD\rz\rZ\r", "bad_lines", 0),
    ],
)
def test_a_corrupt_slcan_line_costs_itself_alone(adapter, noise, kind, count):
    with slcan(adapter) as live:
        adapter.wait_open()
        adapter.write(slcan_line(frame(1)) + noise + slcan_line(frame(2)))
        assert [entry.arbitration_id for entry in live.take(2)] == [1, 2]
        assert getattr(live.bus.counts, kind) == count
        assert live.bus.counts.reconnects == 0


def test_a_line_that_comes_in_pieces_is_one_line(adapter):
    with slcan(adapter) as live:
        adapter.wait_open()
        line = slcan_line(frame(0x123, bytes(range(8))))
        for at in range(len(line)):
            adapter.write(line[at : at + 1])
            time.sleep(0.002)
        assert live.take(1)[0].data == bytes(range(8))


def test_a_vanished_adapter_is_told_and_taken_up_again_when_it_is_back(adapter):
    with slcan(adapter) as live:
        adapter.wait_open()
        adapter.write(slcan_line(frame(1)))
        live.take(1)
        adapter.vanish()
        live.until(lambda: "link_down.can0" in live.faults())
        assert live.faults()["link_down.can0"].level is Level.WARNING
        adapter.plug_in()
        adapter.wait_open()
        adapter.write(slcan_line(frame(2)))
        assert live.take(1)[0].arbitration_id == 2
        assert "link_down.can0" in live.faults(), "it stands for a while after its end"
        assert live.bus.problem == ""
        assert len([text for text in live.said if "down" in text]) <= 3, "said once, not at each attempt"


def test_an_adapter_that_was_reset_is_opened_again(adapter):
    with slcan(adapter, silent_s=1.0):
        adapter.wait_open()
        assert adapter.wait_open(timeout_s=3.0).endswith(b"L\r"), "nothing came for a second: opened anew"


def test_many_lost_frames_are_an_alert_and_few_are_a_line_in_the_warnings(adapter):
    with slcan(adapter) as live:
        adapter.wait_open()
        adapter.write(b"t1238AA\r" * 2)
        live.until(lambda: live.bus.counts.truncated == 2)
        assert live.faults()["frames_lost.can0"].level is Level.NONE
        adapter.write(b"t1238AA\r" * 20)
        live.until(lambda: live.bus.counts.truncated == 22)
        fault = live.faults()["frames_lost.can0"]
        assert (fault.level, fault.value, fault.count) == (Level.WATCH, 22, 22)
        assert live.bus.faults(time.monotonic_ns() + 61 * 10**9) == () or "frames_lost.can0" not in {
            entry.rule for entry in live.bus.faults(time.monotonic_ns() + 61 * 10**9)
        }


def test_a_loop_that_does_not_keep_up_loses_the_oldest_and_they_are_counted(adapter):
    inbox = Inbox(limit=10)
    dropped = inbox.put([frame(number) for number in range(25)])
    assert dropped == 15 and len(inbox) == 10
    assert [inbox.get(0).arbitration_id for _ in range(10)] == list(range(15, 25))
    inbox.wake()
    assert inbox.get(5) is None, "woken"


@pytest.fixture
def sender():
    with can.Bus(interface="udp_multicast", channel=UDP["channel"], port=UDP["options"]["port"], ignore_config=True) as bus:
        yield bus


def message(number, data=b"\x01", **settings):
    return can.Message(arbitration_id=number, data=data, is_extended_id=False, **settings)


def test_udp_multicast_survives_garbage_error_frames_and_short_frames(sender):
    with Live(**UDP) as live:
        live.until(lambda: live.bus.up)
        raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.send(message(1))
        for noise in (b"", b"\x00", os.urandom(64), b"\x81\xa4datb\xc4\x00"):
            raw.sendto(noise, (UDP["channel"], UDP["options"]["port"]))
        sender.send(message(0x220, is_error_frame=True))
        sender.send(message(0x221, data=b"", is_remote_frame=True))
        sender.send(message(2, b"\xaa" * 8))
        assert [entry.arbitration_id for entry in live.take(2)] == [1, 2], "an error frame that reads 0x220 is nobody's state"
        counts = live.bus.counts
        assert (counts.bad_lines, counts.error_frames, counts.remote_frames, counts.reconnects) == (4, 1, 1, 0)


def test_a_link_that_only_fails_is_opened_again_with_pauses_not_in_a_spin():
    calls = []

    def opener(settings, counts, now_ns):
        calls.append(time.monotonic())
        raise LinkError("no such device")

    with Live(opener=opener) as live:
        time.sleep(1.6)
        assert 3 <= len(calls) <= 6, "0.1, 0.2, 0.4, 0.8 s"
        assert len(live.said) == 1
        assert "link_down.can0" in live.faults()


def test_a_driver_that_raises_something_else_does_not_end_the_thread():
    class Broken:
        echoes = False

        def read(self, timeout_s):
            raise KeyError("a bug in a driver")

        def close(self):
            raise RuntimeError("and another")

    with Live(opener=lambda settings, counts, now_ns: Broken()) as live:
        live.until(lambda: live.bus.counts.reconnects >= 2)


def test_our_own_id_from_another_node_stops_sending(sender):
    with Live(**UDP, transmit=True) as live:
        live.until(lambda: live.bus.up)
        live.bus.claim({(0x351, False)})
        assert live.bus.send(frame(0x351, b"ours"))
        live.until(lambda: live.bus.counts.frames)
        sender.send(message(0x100, b"telemetry"[:8]))
        (telemetry,) = live.take(1)
        assert telemetry.arbitration_id == 0x100, "our own frame comes back on this kind of bus, and is no telemetry"
        assert not live.bus.conflict
        sender.send(message(0x351, b"theirs"))
        live.until(lambda: live.bus.conflict)
        assert not live.bus.send(frame(0x351, b"ours"))
        assert live.faults()["address_conflict.can0"].level is Level.WARNING


def test_a_watched_id_tells_when_it_last_came(sender):
    with Live(**UDP) as live:
        live.until(lambda: live.bus.up)
        assert live.bus.watch((0x305, False)) is None
        before_ns = time.monotonic_ns()
        sender.send(message(0x305, bytes(8)))
        live.until(lambda: live.bus.watch((0x305, False)))
        assert live.bus.watch((0x305, False)) >= before_ns
        assert live.bus.watch((0x306, False)) is None


def test_a_claim_ends_with_its_owner_and_not_with_another(sender):
    with Live(**UDP, transmit=True) as live:
        live.until(lambda: live.bus.up)
        first, second = object(), object()
        live.bus.claim({(0x351, False)}, first)
        live.bus.claim({(0x351, False)}, second)
        live.bus.claim({(0x3F0, False)}, object())
        live.bus.release(first)
        sender.send(message(0x351, b"theirs"))
        live.until(lambda: live.bus.conflict)
        live.bus.release(second)
        sender.send(message(0x351, b"theirs"))
        assert live.take(1)[0].data == b"theirs"


def test_an_interface_that_does_not_exist_is_a_link_that_is_down_and_says_why():
    with Live(interface="nosuch") as live:
        live.until(lambda: live.said)
        assert "nosuch" in live.said[0]


class Raw:
    """SocketCAN's frames over a socket pair: this kernel may have no CAN."""

    def __init__(self):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.counts = bus_module.Counts()
        self.link = SocketCan(BusConfig(name="can0"), self.counts, time.monotonic_ns, sock=theirs)

    def close(self):
        self.ours.close()
        self.link.close()


@pytest.fixture
def raw():
    pair = Raw()
    yield pair
    pair.close()


def test_socketcan_frames_of_every_kind(raw):
    raw.ours.send(CLASSIC.pack(0x123, 3, b"abc"))
    raw.ours.send(CLASSIC.pack(0x80000000 | 0x1ABCDEF, 8, bytes(range(8))))
    raw.ours.send(FD.pack(0x7FF, 12, 0, b"twelve bytes"))
    raw.ours.send(CLASSIC.pack(REMOTE | 0x123, 0, b""))
    raw.ours.send(CLASSIC.pack(0x124, 9, b""))
    raw.ours.send(b"half a fram")
    frames = raw.link.read(1.0)
    assert [(entry.arbitration_id, entry.extended, entry.data) for entry in frames] == [
        (0x123, False, b"abc"),
        (0x1ABCDEF, True, bytes(range(8))),
        (0x7FF, False, b"twelve bytes"),
    ]
    assert (raw.counts.remote_frames, raw.counts.truncated) == (1, 2)
    assert raw.link.read(0.01) == []


def test_socketcan_error_frames_are_dropped_before_their_id_is_read_and_bus_off_is_counted(raw):
    raw.ours.send(CLASSIC.pack(ERROR | 0x220, 8, bytes(8)))
    raw.ours.send(CLASSIC.pack(ERROR | 0x040, 8, bytes(8)))
    raw.ours.send(CLASSIC.pack(ERROR | 0x004, 8, b"\x00\x01" + bytes(6)))
    assert raw.link.read(1.0) == []
    assert (raw.counts.error_frames, raw.counts.bus_off, raw.counts.controller_overflow) == (3, 1, 1)


def test_the_kernels_drop_count_is_taken_over_and_wraps(raw):
    def told(total):
        raw.link._count_dropped([(socket.SOL_SOCKET, 40, struct.pack("=I", total))])

    told(5)
    told(5)
    told(0xFFFFFFFF)
    told(3)
    assert raw.counts.kernel_dropped == 0xFFFFFFFF + 4


def test_a_socket_that_is_gone_is_a_link_that_is_down(raw):
    raw.ours.close()
    with pytest.raises(LinkError):
        raw.link.read(1.0)


def test_a_socketcan_interface_that_is_not_there_is_a_link_that_is_down():
    with pytest.raises(LinkError):
        SocketCan(BusConfig(name="can0", channel="nosuch0"), bus_module.Counts(), time.monotonic_ns)


class Server:
    """As much of a socketcand server as a reader needs."""

    def __init__(self, port=0):
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]

    def accept(self):
        self.socket.settimeout(10)
        self.client, _ = self.socket.accept()
        self.client.settimeout(5)
        self.client.sendall(b"< hi >")
        for word in (b"open", b"rawmode"):
            said = b""
            while word not in said:
                said += self.client.recv(1024)
            self.client.sendall(b"< ok >")

    def close(self):
        self.client.close()
        self.socket.close()


def test_socketcand_and_a_server_that_goes_away_and_comes_back():
    server = Server()
    options = {"host": "127.0.0.1", "port": server.port}
    with Live(interface="socketcand", channel="can0", options=options) as live:
        server.accept()
        server.client.sendall(b"< frame 123 1.0 0102 >< frame 1ABCDE0 1.1 FF >")
        assert [entry[1:4] for entry in live.take(2)] == [(0x123, b"\x01\x02", False), (0x1ABCDE0, b"\xff", True)]
        server.close()
        live.until(lambda: live.bus.problem and not live.bus.up)
        server = Server(options["port"])
        server.accept()
        server.client.sendall(b"< frame 124 1.0 03 >")
        assert live.take(1)[0].arbitration_id == 0x124
        server.close()
