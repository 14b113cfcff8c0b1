"""A current sensor on a link of its own, in place of the current that the BMS reports."""

from __future__ import annotations

import dataclasses
import math

import msgspec

from edgebms.config import PackConfig, ShuntConfig
from edgebms.errors import ProfileError
from edgebms.inlet.frame import Frame
from edgebms.telemetry.assembler import NEVER_NS, Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.telemetry.snapshot import Reading, Snapshot
from edgebms.vocabulary import Reason

STALE_PERIODS, STALE_LEAST_S = 5.0, 1.0
"""Older than so many of its periods, and than this, the sensor's current is UNKNOWN. The BMS's does not step in: where a
shunt was fitted, that one was not good enough."""


class Shunt:
    """``push`` its frames, then ``over(snapshot)``. Raises ProfileError where the profile has no current."""

    def __init__(self, settings: ShuntConfig, pack: PackConfig) -> None:
        own = msgspec.structs.replace(
            pack, profile=settings.profile, channel=settings.channel, id_offset=settings.id_offset, period_s=None, firmware=None
        )
        profile = load_profile(settings.profile, own)
        if "current" not in profile.scalars:
            raise ProfileError("maps no current", where=settings.profile, mend="name a profile with a [current]")
        self._assembler = Assembler(profile, own)
        self._sign = -1.0 if settings.invert else 1.0
        self._stale_s = max(STALE_LEAST_S, STALE_PERIODS * profile.period_s)
        # plain values, as a checkpoint and a black box keep them
        self._time_ns = NEVER_NS
        self._value_a = math.nan
        self._age_s = math.inf
        self._reason = int(Reason.NEVER_RECEIVED)

    def accepts(self) -> frozenset[tuple[int, bool]]:
        return self._assembler.accepts()

    def push(self, frame: Frame) -> None:
        snapshot = self._assembler.push(frame)
        if snapshot is not None:
            current = snapshot.current_a
            self._time_ns = snapshot.time_ns
            self._value_a, self._age_s, self._reason = current.value, current.age_s, int(current.reason)

    def over(self, snapshot: Snapshot) -> Snapshot:
        """``snapshot`` with the sensor's current in place of the pack's, NaN and STALE where it is too old."""
        age_s = self._age_s + max(snapshot.time_ns - self._time_ns, 0) / 1e9 if self._time_ns != NEVER_NS else math.inf
        reason = Reason(self._reason)
        if reason is Reason.VALID and age_s > self._stale_s:
            reason = Reason.STALE
        value_a = self._sign * self._value_a if reason is Reason.VALID else math.nan
        return dataclasses.replace(snapshot, current_a=Reading(value_a, age_s, reason))
