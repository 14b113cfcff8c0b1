"""What all outlets share that others connect to: the thread between the loop and its clients."""

import asyncio
import threading
import time

import pytest
from lines import Run, frames

from edgebms.decision.types import encode
from edgebms.outlet.served import Served


class Counting:
    """A service without clients that counts how often the loop came round between two decisions."""

    where, failed = "nowhere", 0

    def __init__(self):
        self.turns, self.taken = 0, []
        self.stalled, self.go_on = threading.Event(), threading.Event()

    async def open(self):
        return await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)

    def stands(self):
        return True

    def take(self, decision, line):
        if not self.taken:
            self.stalled.set()
            assert self.go_on.wait(20)
        self.taken.append((line, self.turns))
        asyncio.get_running_loop().call_soon(self.turn)

    def turn(self):
        self.turns += 1

    def tick(self):
        pass

    def shut(self):
        pass

    def faults(self, now_ns):
        return ()


@pytest.mark.parametrize("closed_at_once", [False, True])
def test_after_a_pause_of_ours_clients_are_written_to_between_two_decisions_and_none_is_lost(closed_at_once):
    (decision,) = Run(frames(seconds=0.1)).decisions
    service = Counting()
    served = Served("test", service)
    served.offer(decision, encode(decision))
    assert service.stalled.wait(20)
    lines = [encode(decision)] + [b"%d" % i for i in range(50)]
    for line in lines[1:]:
        served.offer(decision, line)
    service.go_on.set()
    if not closed_at_once:
        end_s = time.monotonic() + 20
        while len(service.taken) < len(lines):
            assert time.monotonic() < end_s
            time.sleep(0.01)
        # the first two: what was offered meanwhile stood in line before the count
        assert [turns for _, turns in service.taken[2:]] == list(range(2, len(lines)))
    served.close()
    assert [line for line, _ in service.taken] == lines
