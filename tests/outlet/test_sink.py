"""The queue before an outlet: never waits, drops the oldest of many, never a decision that says something new."""

import threading
import time

import msgspec
from lines import Run, frames

from edgebms.decision.types import encode
from edgebms.outlet.sink import Sink
from edgebms.outlets import Opened, outlet_faults
from edgebms.vocabulary import Action, Mode


def decisions(count):
    """A healthy pack's; the sequence numbers rise."""
    (first,) = Run(frames(seconds=0.1)).decisions
    return [msgspec.structs.replace(first, seq=number) for number in range(count)]


def acting(decision, action):
    return msgspec.structs.replace(decision, command=msgspec.structs.replace(decision.command, action=action, mode=Mode.COMMAND))


class Slow:
    """An outlet that hangs until it is released."""

    def __init__(self):
        self.written, self.entered, self.release = [], threading.Event(), threading.Event()

    def write(self, decision, line):
        self.entered.set()
        self.release.wait(30)
        self.written.append(decision.seq)


def offer(sink, source):
    for decision in source:
        sink.offer(decision, encode(decision))


def test_what_is_offered_is_written_in_order_and_closing_waits_for_it():
    written, closed = [], []
    sink = Sink("test", lambda decision, line: written.append((decision.seq, line)), lambda: closed.append(True))
    source = decisions(50)
    offer(sink, source)
    sink.close()
    assert written == [(decision.seq, encode(decision)) for decision in source]
    assert closed == [True]


def test_a_hanging_outlet_costs_the_oldest_cyclic_decisions_and_no_change():
    slow, now_ns = Slow(), [0]
    sink = Sink("test", slow.write, limit=10, now_ns=lambda: now_ns[0])
    source = decisions(100)
    source[40] = acting(source[40], Action.STOP_CHARGE)  # and back at 41
    offer(sink, source[:1])
    assert slow.entered.wait(5)
    before_s = time.perf_counter()
    offer(sink, source[1:])
    assert time.perf_counter() - before_s < 1.0, "nobody waits"
    assert {fault.rule for fault in sink.faults(0)} == {"outlet_lost.test"}
    now_ns[0] = 6 * 10**9
    assert {fault.rule for fault in sink.faults(now_ns[0])} == {"outlet_lost.test", "outlet_stuck.test"}
    slow.release.set()
    sink.close()
    assert slow.written == [0, 40, 41, *range(90, 100)]
    assert sink.dropped == 87 and sink.lost_changes == 0
    assert sink.faults(now_ns[0] + 61 * 10**9) == (), "told for a minute after the last loss"


def test_on_a_rigs_clock_a_write_that_goes_on_is_not_stuck_and_one_that_hangs_is(monkeypatch):
    slow = Slow()
    sink = Sink("test", slow.write)
    opened = {"test": Opened(None, sink)}
    offer(sink, decisions(1))
    assert slow.entered.wait(5)
    a_year_ns = 365 * 86_400 * 10**9
    assert outlet_faults(opened, a_year_ns, on_rig=True) == []
    monkeypatch.setattr("edgebms.outlet.sink.STUCK_S", 0.05)
    time.sleep(0.1)
    (fault,) = outlet_faults(opened, a_year_ns, on_rig=True)
    assert fault.rule == "outlet_stuck.test" and 0.05 < fault.value < 60.0
    assert a_year_ns - 60 * 10**9 < fault.since_ns < a_year_ns, "told on the packs' clock"
    slow.release.set()
    sink.close()


def test_an_outlet_that_raises_is_told_and_tried_again(capsys):
    written = []

    def write(decision, line):
        if decision.seq < 3:
            raise ConnectionRefusedError("nobody listens")
        written.append(decision.seq)

    sink = Sink("test", write)
    offer(sink, decisions(5))
    sink.close()
    assert written == [3, 4] and sink.failed == 3
    assert capsys.readouterr().err.count("nobody listens") == 1, "said once, not at each decision"


def test_closing_does_not_wait_for_an_outlet_that_hangs(monkeypatch, capsys):
    monkeypatch.setattr("edgebms.outlet.sink.CLOSE_S", 0.2)
    slow = Slow()
    sink = Sink("test", slow.write)
    offer(sink, decisions(3))
    assert slow.entered.wait(5)
    before_s = time.perf_counter()
    sink.close()
    assert time.perf_counter() - before_s < 2.0
    assert "2 not written at the end" in capsys.readouterr().err
    slow.release.set()
