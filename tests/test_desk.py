"""Work left for the loop's thread: done there, in order, bounded, and never after whoever asked gave up."""

import threading
import time

import pytest

from edgebms import desk as module
from edgebms.desk import Desk, DeskFull


@pytest.fixture
def desk():
    return Desk(lambda: None)


def asked(desk, work):
    """Ask in a thread; what came of it, once it is there."""
    out = []

    def ask():
        try:
            out.append(desk.ask(work))
        except Exception as error:
            out.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, out


def until_waiting(desk):
    end_s = time.monotonic() + 10
    while not desk:
        assert time.monotonic() < end_s
        time.sleep(0.001)


def test_it_is_done_in_the_thread_that_serves_and_the_answer_comes_back(desk):
    thread, out = asked(desk, threading.get_ident)
    until_waiting(desk)
    desk.serve()
    thread.join()
    assert out == [threading.get_ident()] and not desk


def test_what_the_work_raises_is_raised_where_it_was_asked(desk):
    thread, out = asked(desk, lambda: 1 / 0)
    until_waiting(desk)
    desk.serve()
    thread.join()
    assert isinstance(out[0], ZeroDivisionError)


def test_a_loop_that_hangs_is_told_and_what_was_given_up_is_not_done_later(desk, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    done = []
    with pytest.raises(TimeoutError):
        desk.ask(lambda: done.append(1))
    desk.serve()
    assert done == []


def test_in_order_bounded_and_what_comes_meanwhile_waits_for_the_next_time(desk):
    done = []
    desk.leave(lambda: desk.leave(lambda: done.append("later")))
    for number in range(module.LIMIT - 1):
        desk.leave(lambda number=number: done.append(number))
    with pytest.raises(DeskFull):
        desk.leave(lambda: None)
    desk.serve()
    assert done == list(range(module.LIMIT - 1))
    desk.serve()
    assert done[-1] == "later"
