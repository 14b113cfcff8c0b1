"""A loop that hung, or is too slow, does not take old frames for new."""

from __future__ import annotations

from edgebms.clock import MonotonicClock
from edgebms.desk import Desk
from edgebms.inlet.frame import Frame
from edgebms.inlet.inbox import Inbox
from edgebms.own_faults import OLD_FRAMES_S, OwnFaults
from edgebms.turns import OLD_S, serve


class Recorded:
    def __init__(self, until):
        self.taken, self.late, self._until = [], 0, until

    def stopping(self):
        return len(self.taken) + self.late >= self._until

    def take(self, frame):
        self.taken.append(frame.arbitration_id)

    def old(self):
        self.late += 1

    def tick(self, now_ns): ...


def test_frames_that_waited_too_long_are_left_out():
    clock, inbox = MonotonicClock(False), Inbox()
    now_ns = clock.now_ns()
    ages_s = (60.0, OLD_S + 1.0, OLD_S - 2.0, 0.0)
    inbox.put([Frame(now_ns - round(age_s * 1e9), number, b"") for number, age_s in enumerate(ages_s)])
    turns = Recorded(len(ages_s))
    serve(turns, inbox, Desk(inbox.wake), clock)
    assert turns.taken == [2, 3]
    assert turns.late == 2


def test_frames_left_out_are_told_for_a_minute():
    clock = MonotonicClock(False)
    faults, now_ns = OwnFaults(clock), clock.now_ns()
    faults.frame_old(now_ns)
    faults.frame_old(now_ns)
    (fault,) = faults.standing()
    assert (fault.rule, fault.value, fault.level.word) == ("frames_old", 2.0, "watch")
    faults.look(now_ns + round((OLD_FRAMES_S - 1) * 1e9))
    assert faults.standing()
    faults.look(now_ns + round((OLD_FRAMES_S + 1) * 1e9))
    assert not faults.standing()
    faults.frame_old(now_ns)
    assert faults.standing()[0].value == 1.0
