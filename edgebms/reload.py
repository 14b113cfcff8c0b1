"""What a pack's new line takes over from its old one: latches, alerts, filter, counters."""

from __future__ import annotations

from edgebms.errors import StateError
from edgebms.loop import PackLine
from edgebms.record import image


def carry_over(old: PackLine, new: PackLine, *, whole: bool) -> str:
    """Put ``old``'s moving state into ``new``; says in a word how much went over.

    whole: the pack's settings are the same, so everything should fit. Where it does not (another limits
    file or card), what stands in the guard goes over, and the filter's state where the cells are the same.
    """
    if whole:
        try:
            image.put(image.take(old), new)
            return "all"
        except StateError:
            pass
    new.pipeline.guard.restore(old.pipeline.guard.state())
    return "latches"
