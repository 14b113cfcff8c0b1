"""Decisions for outlets, made by a real arbiter on the machine's own clock."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "decision"))

from decided import PACK, Decider, finding

from edgebms.decision.types import encode


class Teller:
    """``tell(outlet, *findings)`` makes a decision of now and offers it."""

    def __init__(self, pack="rack-1", **settings):
        self.decider = Decider(pack=msgspec.structs.replace(PACK, name=pack), **settings)

    def decide(self, *findings, **telemetry):
        return self.decider.at(time.monotonic_ns() / 1e9, *findings, **telemetry)

    def tell(self, outlet, *findings, **telemetry):
        decision = self.decide(*findings, **telemetry)
        outlet.offer(decision, encode(decision))
        return decision


__all__ = ["Teller", "finding"]
