"""The socket that programs on the gateway read: many readers, none of which can hurt another or the loop."""

import json
import os
import signal
import socket
import stat
import threading
import time

import msgspec
import pytest
from adapter import Adapter, Pack, Process, faults, seen, slcan_config, slcan_line
from lines import CELLS, Run, config, frames, pack

from edgebms.config import SocketOutlet
from edgebms.decision.types import encode
from edgebms.outlet.served import Served
from edgebms.outlet.unix_socket import UnixSocket


@pytest.fixture(scope="module")
def decisions():
    return Run(frames(seconds=1.0)).decisions


class Opened:
    """The outlet on a socket of its own, with what it asked of the daemon."""

    def __init__(self, folder, packs=("rack-1",), **settings):
        self.path = folder / "decisions.sock"
        self.asked = []
        self.outlet = Served("socket", UnixSocket(SocketOutlet(path=str(self.path), **settings), packs, self.asked.append))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.outlet.close()

    def offer(self, *decisions):
        for decision in decisions:
            self.outlet.offer(decision, encode(decision))

    def until(self, holds, timeout_s=15.0):
        end_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end_s
            time.sleep(0.01)

    def listening(self):
        self.until(lambda: not self.outlet.problem and self.path.exists())
        return self

    def connect(self):
        return Connection(self.path)


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(15)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def read(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def close(self):
        self.file.close()
        self.socket.close()


def test_a_reader_gets_the_newest_of_each_pack_then_every_line_as_it_is(tmp_path, decisions):
    both = Run([*frames(seconds=0.1)], config(pack("a"), pack("b"))).decisions
    with Opened(tmp_path).listening() as opened:
        opened.offer(*both, msgspec.structs.replace(both[0], seq=7))
        opened.until(lambda: not opened.outlet._queue)
        reader = opened.connect()
        assert {(entry["pack"], entry["seq"]) for entry in (reader.read(), reader.read())} == {
            (both[0].pack, 7),
            (both[1].pack, both[1].seq),
        }
        opened.offer(*decisions)
        for decision in decisions:
            assert reader.file.readline() == encode(decision) + b"\n"


def test_what_expired_is_not_given_to_a_reader_that_comes_late(tmp_path, decisions):
    with Opened(tmp_path).listening() as opened:
        opened.offer(msgspec.structs.replace(decisions[0], expires_ms=1))
        opened.until(lambda: not opened.outlet._queue)
        time.sleep(0.05)
        reader = opened.connect()
        opened.until(lambda: len(opened.outlet._service.readers) == 1)
        opened.offer(decisions[1])
        assert reader.read()["seq"] == decisions[1].seq


def test_cells_are_asked_for_of_every_pack_or_of_one(tmp_path):
    with Opened(tmp_path, ("a", "b")).listening() as opened:
        reader = opened.connect()
        reader.say('{"cells": true}')
        opened.until(lambda: opened.asked == ["a", "b"])
        reader.say('{"cells": true, "pack": "b"}')
        opened.until(lambda: opened.asked == ["a", "b", "b"])
        reader.say('{"cells": false}')
        reader.say('{"cells": true, "pack": "a"}')
        opened.until(lambda: opened.asked == ["a", "b", "b", "a"])


@pytest.mark.parametrize("said", ["GET / HTTP/1.1", '{"cells": true, "more": 1}', "[]", "x" * 2000, '{"cells": false}\n' * 100])
def test_a_reader_that_says_anything_else_is_cut_off(tmp_path, decisions, said):
    with Opened(tmp_path).listening() as opened:
        good, bad = opened.connect(), opened.connect()
        bad.say(said)
        assert bad.read() is None
        opened.until(lambda: opened.outlet.failed == 1)
        opened.offer(decisions[0])
        assert good.read()["seq"] == decisions[0].seq


def test_one_reader_too_many_is_turned_away(tmp_path, decisions):
    with Opened(tmp_path, readers=2).listening() as opened:
        first, second = opened.connect(), opened.connect()
        opened.until(lambda: len(opened.outlet._service.readers) == 2)
        third = opened.connect()
        assert third.read() is None
        opened.offer(decisions[0])
        assert first.read() and second.read()
        first.close()
        opened.until(lambda: len(opened.outlet._service.readers) == 1)
        fourth = opened.connect()
        opened.until(lambda: len(opened.outlet._service.readers) == 2)
        fourth.close()


def test_a_reader_that_hangs_is_cut_and_the_others_get_every_line(tmp_path, decisions):
    with Opened(tmp_path).listening() as opened:
        good, hung = opened.connect(), opened.connect()
        opened.until(lambda: len(opened.outlet._service.readers) == 2)
        got = []
        thread = threading.Thread(target=lambda: got.extend(iter(good.read, None)), daemon=True)
        thread.start()
        sent = 0
        while opened.outlet.failed == 0:
            assert sent < 20_000
            opened.offer(msgspec.structs.replace(decisions[0], seq=sent))
            sent += 1
            opened.until(lambda behind=sent - 50: len(got) >= behind)
        opened.until(lambda: len(got) == sent)
        assert [entry["seq"] for entry in got] == list(range(sent))
        (fault,) = opened.outlet.faults(time.monotonic_ns())
        assert (fault.rule, fault.level, fault.count) == ("reader_cut.socket", 0, 1)
        # it comes again, and has what stands
        again = opened.connect()
        assert again.read()["seq"] == sent - 1
        assert hung is not again


def test_permissions_are_those_of_the_configuration_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with Opened(tmp_path, mode="666").listening() as opened:
            assert stat.S_IMODE(opened.path.stat().st_mode) == 0o666
    finally:
        os.umask(before)
    assert not opened.path.exists(), "taken away at the end"


def test_a_stale_socket_is_replaced_a_live_one_is_not_stolen(tmp_path, decisions):
    path = tmp_path / "decisions.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with Opened(tmp_path).listening() as first:
        first.until(lambda: first.outlet._service.stands())
        kept = first.connect()
        with Opened(tmp_path) as second:
            second.until(lambda: "another process listens" in second.outlet.problem)
            first.offer(decisions[0])
            assert kept.read()["seq"] == decisions[0].seq
            time.sleep(1.1)
            assert [fault.rule for fault in second.outlet.faults(time.monotonic_ns())] == ["outlet_down.socket"]
            first.outlet.close()
            second.until(lambda: not second.outlet.problem)
            assert second.outlet.faults(time.monotonic_ns()) == ()
            second.offer(decisions[1])
            second.until(lambda: not second.outlet._queue)
            assert second.connect().read()["seq"] == decisions[1].seq
            assert path.exists(), "the first one's end does not take the second one's socket"


@pytest.mark.parametrize("what", ["no folder", "a file in the way", "taken away"])
def test_it_comes_back_by_itself(tmp_path, what):
    folder = tmp_path / "run"
    if what != "no folder":
        folder.mkdir()
    if what == "a file in the way":
        (folder / "decisions.sock").write_text("keep me")
    with Opened(folder) as opened:
        if what == "taken away":
            opened.listening().path.unlink()
        else:
            opened.until(lambda: opened.outlet.problem)
        if what == "no folder":
            folder.mkdir()
        elif what == "a file in the way":
            assert opened.path.read_text() == "keep me"
            opened.path.unlink()
        opened.listening()
        reader = opened.connect()
        opened.until(lambda: opened.outlet._service.readers)
        reader.close()


def test_twenty_readers_of_a_daemon_of_which_one_hangs_and_one_is_stopped(tmp_path):
    adapter = Adapter(tmp_path / "ttyUSB0")
    path = tmp_path / "decisions.sock"
    settings = slcan_config(adapter.path, more=f'[outlet.socket]\npath = "{path}"')
    with Process(tmp_path, settings) as daemon, Pack(lambda frames: adapter.write(b"".join(map(slcan_line, frames)))):
        daemon.wait(seen)
        readers = [Connection(path) for _ in range(20)]
        hung = readers.pop()
        got = [[] for _ in readers]
        threads = [
            threading.Thread(target=lambda reader=reader, into=into: into.extend(iter(reader.read, None)), daemon=True)
            for reader, into in zip(readers, got, strict=True)
        ]
        for thread in threads:
            thread.start()
        readers[3].say('{"cells": true}')
        since = len(daemon.decisions)
        answer, _ = daemon.wait(lambda entry: entry["cells"] is not None, since=since)
        assert len(answer["cells"]["voltage_v"]) == CELLS
        daemon.wait(lambda entry: entry["seq"] > answer["seq"] + 40)
        last, _ = daemon.wait(seen, since=len(daemon.decisions))
        assert not faults(last)
        latencies = sorted(entry["provenance"]["latency_us"] for entry in daemon.decisions[since:])
        assert latencies[len(latencies) // 2] < 20_000, "the loop does not feel them"
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        for thread, entries in zip(threads, got, strict=True):
            thread.join(10)
            numbers = [entry["seq"] for entry in entries]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "every line, in order"
            assert numbers[-1] >= last["seq"]
        assert not path.exists()
        hung.close()
