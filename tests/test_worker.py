"""A student that hangs, raises or comes late costs the loop its deadline at most, and only once."""

import threading
import time

from edgebms.clock import MonotonicClock
from edgebms.vocabulary import ReasonerStatus
from edgebms.worker import Worker, ask_inline

CLOCK = MonotonicClock()


def ask_now(worker, work):
    return worker.ask(work, CLOCK.now_ns())


def test_an_answer_in_time_comes_back():
    assert ask_now(Worker(CLOCK, 5.0), lambda: 42) == (ReasonerStatus.OK, 42)


def test_work_runs_off_the_callers_thread():
    status, name = ask_now(Worker(CLOCK, 5.0), lambda: threading.current_thread().name)
    assert status is ReasonerStatus.OK
    assert name != threading.current_thread().name


def test_a_student_that_hangs_costs_one_deadline_then_nothing():
    release = threading.Event()
    worker = Worker(CLOCK, 0.05)
    started = time.monotonic()
    assert ask_now(worker, release.wait) == (ReasonerStatus.DEADLINE_MISSED, None)
    assert 0.04 < time.monotonic() - started < 0.5
    started = time.monotonic()
    assert ask_now(worker, lambda: 1) == (ReasonerStatus.SKIPPED, None)
    assert time.monotonic() - started < 0.02
    release.set()
    time.sleep(0.1)
    assert ask_now(worker, lambda: 7) == (ReasonerStatus.OK, 7)


def test_a_student_that_loops_for_ever_leaves_the_loop_running():
    stop = False

    def spin():
        while not stop:
            pass

    worker = Worker(CLOCK, 0.05)
    started = time.monotonic()
    status, _ = ask_now(worker, spin)
    elapsed = time.monotonic() - started
    stop = True
    assert status is ReasonerStatus.DEADLINE_MISSED
    assert elapsed < 0.5


def test_a_student_that_raises_is_a_status():
    worker = Worker(CLOCK, 5.0)
    assert ask_now(worker, lambda: 1 / 0) == (ReasonerStatus.FAILED, None)
    assert ask_now(worker, lambda: exit(3)) == (ReasonerStatus.FAILED, None)
    assert ask_now(worker, lambda: 1) == (ReasonerStatus.OK, 1)
    assert ask_inline(lambda: 1 / 0, 0) == (ReasonerStatus.FAILED, None)


def test_a_snapshot_that_is_already_late_is_not_asked_about():
    ran = []
    worker = Worker(CLOCK, 0.01)
    assert worker.ask(lambda: ran.append(1), CLOCK.now_ns() - 20_000_000) == (ReasonerStatus.DEADLINE_MISSED, None)
    assert ran == []
