"""What a pack's new line takes over from its old one at a reload: latches, alerts, the filter."""

from __future__ import annotations

import dataclasses

from edgebms.config import PackConfig
from edgebms.errors import StateError
from edgebms.loop import PackLine
from edgebms.record import image
from edgebms.record.checkpoint import fingerprint, pack_key


def carry_over(old: PackLine, new: PackLine, was: PackConfig, now: PackConfig, now_ns: int) -> str:
    """Put ``old``'s moving state into ``new``, built anew; says what went over: "all", "state", "latches", "nothing".

    The same settings: everything, so that not even a sequence number is lost. Other settings of the same pack: what
    a checkpoint would have kept. Another card: the latches. Another pack under the old name: nothing.
    """
    if was == now:
        before = image.take(bare(new))
        try:
            image.put(image.take(bare(old)), bare(new))
            return "all"
        except StateError:  # another limits file, another profile: they are files beside the configuration
            image.put(before, bare(new))
    if pack_key(was) != pack_key(now):
        return "nothing"
    new.pipeline.guard.restore(old.pipeline.guard.state())
    new.pipeline.arbiter.restore(old.pipeline.arbiter.state())
    if fingerprint(old.card) != fingerprint(new.card):
        return "latches"
    try:
        new.pipeline.estimator.restore(old.pipeline.estimator.state(), now_ns / 1e9, 0.0)
    except ValueError:
        return "latches"
    return "state"


def bare(line: PackLine) -> PackLine:
    """Without its tape: that is the record's, not the pack's."""
    return dataclasses.replace(line, tape=None)
