"""Frames to snapshots: the hot path.

A frame costs a look-up, its checks and a copy into its slot; all signals are read at once when the
snapshot is due. A frame that is refused changes nothing but a counter.
"""

from __future__ import annotations

import math
from array import array

import numpy as np
from numpy.typing import NDArray

from edgebms.config import PackConfig, probe_of_cell
from edgebms.inlet.frame import Frame
from edgebms.telemetry.judge import VALID, Judge, blank
from edgebms.telemetry.layout import NO_SLOT, ExtremePlace, Profile, Route
from edgebms.telemetry.runaway_view import worst_s
from edgebms.telemetry.snapshot import MISSING, Codes, Extreme, Extremes, Floats, Reading, RunawayView, Snapshot
from edgebms.telemetry.tables import Raw
from edgebms.vocabulary import Contactor, FrameFault, Reason

Flags = NDArray[np.bool_]

NEVER_NS = -(1 << 60)
"""Far before any clock's zero, near enough that the difference to any time fits 64 bits."""
SILENCE_NS = 1_000_000_000
"""A pack from which no frame comes at all gives a snapshot this often, or each time-out if that is longer."""

REASONS = tuple(Reason)


class Assembler:
    """One pack's frames in, its snapshots out."""

    def __init__(self, profile: Profile, pack: PackConfig) -> None:
        self._profile, self._pack = profile, pack
        self._channel = pack.channel
        self._standard = {identifier: route for (identifier, extended), route in profile.routes.items() if not extended}
        self._extended = {identifier: route for (identifier, extended), route in profile.routes.items() if extended}
        slots = profile.slots
        rule = profile.file.snapshot
        self._by_sweep, self._by_trigger = rule.complete == "sweep", rule.complete == "trigger"
        self._trigger = next((route.number for route in profile.routes.values() if self._by_trigger and route.name == rule.trigger), -1)
        self._buffer = bytearray(profile.buffer_length)
        self._bytes = np.frombuffer(self._buffer, dtype=np.uint8)
        self._starts = [slot.start for slot in slots]
        self._stamps = array("q", [NEVER_NS]) * len(slots)
        self._stamps_ns = np.frombuffer(self._stamps, dtype=np.int64)
        self._lengths: array[int] | None = None
        if any(route.minimum < route.length for route in profile.routes.values()):
            self._lengths = array("q", [0]) * len(slots)
        self._lengths_np = np.frombuffer(self._lengths, dtype=np.int64) if self._lengths is not None else None
        self._stale_ns = np.array([round(rule.stale_periods * slot.period_s * 1e9) for slot in slots], dtype=np.int64)
        self._required = [slot.required for slot in slots]
        self._required_count = sum(self._required)
        self._required_at = np.flatnonzero(self._required)
        self._outside = [slot.outside for slot in slots]
        self._counters = [-1] * len(profile.routes)
        self._heard = [NEVER_NS] * len(profile.routes)
        self._seen = [0] * len(slots)
        self._generation = 1
        self._remaining = self._required_count
        self._sweep = -1
        self._fresh = False
        self._completed = False
        self._latest_ns = NEVER_NS
        self._due_ns: int | None = None
        self._timeout_ns = round(rule.timeout_periods * profile.period_s * 1e9)
        self._silence_ns = max(self._timeout_ns, SILENCE_NS)
        self._beyond_ns = self._restart_ns = int(self._stale_ns.max())
        self._beyond_until_ns = NEVER_NS
        self._outside_touched = False
        self._faults: dict[FrameFault, int] = {}
        self._seq = 0
        self._judge = Judge(profile)
        self._probe_of_cell = np.array(probe_of_cell(pack), dtype=np.intp)
        self._no_probe_of_cell = int(np.count_nonzero(self._probe_of_cell < 0))

    def accepts(self) -> frozenset[tuple[int, bool]]:
        """(arbitration id, extended) of every frame that ``push`` has a use for."""
        return frozenset(self._profile.routes) | self._profile.reserved

    def push(self, frame: Frame) -> Snapshot | None:
        """Take one frame; the snapshot that it completes, if any.

        With a sweep counter, the first frame of the next sweep sends off a sweep that stayed incomplete.
        """
        time_ns, identifier, data, extended, channel, error, remote = frame
        if self._channel is not None and channel != self._channel:
            return None
        route = (self._extended if extended else self._standard).get(identifier)
        if route is None or error or remote:
            self._refuse_unread(frame, route)
            return None
        _, number, length, minimum, check, counter, sweep, mux, slots, slot, beyond_ns = route
        size = len(data)
        if size < minimum:
            self._refuse(FrameFault.TOO_SHORT)
            return None
        if check is not None and not check(data):
            self._refuse(FrameFault.CHECKSUM)
            return None
        if counter is not None:
            count = (data[counter.byte] >> counter.shift) & counter.mask
            if count == self._counters[number]:
                # after a silence it is a sender that starts again, or another log, that happens to stand there
                if time_ns - self._heard[number] <= self._restart_ns:
                    self._heard[number] = time_ns
                    self._refuse(FrameFault.COUNTER)
                    return None
                if time_ns - self._latest_ns > self._restart_ns:
                    self._sweep = -1
            self._counters[number] = count
            self._heard[number] = time_ns
        beside = NO_SLOT
        if mux is not None:
            beside = slot
            found = slots.get((data[mux.byte] >> mux.shift) & mux.mask)
            if found is None:
                if beyond_ns:
                    self._beyond_until_ns = max(self._beyond_until_ns, time_ns + beyond_ns)
                self._refuse(FrameFault.UNKNOWN_MULTIPLEXER)
                return None
            slot = found
        result = None
        if sweep is not None:
            count = (data[sweep.byte] >> sweep.shift) & sweep.mask
            if count != self._sweep:
                if self._fresh and self._completed and self._remaining:
                    result = self._build(self._latest_ns, complete=False)
                self._sweep = count
                self._generation += 1
                self._remaining = self._required_count
        # logs put together from pieces may go back in time; what was received last is not older for that
        if time_ns < self._latest_ns:
            time_ns = self._latest_ns
        self._latest_ns = time_ns
        done = beside != NO_SLOT and self._store(beside, data, time_ns)
        if slot != NO_SLOT:
            if size > length:
                data = data[:length]
                size = length
            start = self._starts[slot]
            self._buffer[start : start + size] = data
            self._stamps[slot] = time_ns
            if self._lengths is not None:
                self._lengths[slot] = size
            self._fresh = True
            if self._seen[slot] != self._generation:
                self._seen[slot] = self._generation
                if self._required[slot]:
                    self._remaining -= 1
                    done = done or not self._remaining
                elif self._outside[slot]:
                    self._outside_touched = True
        if done and not self._by_trigger:
            return self._build(self._latest_ns, complete=True)
        if number == self._trigger:
            return self._triggered()
        return result

    def poll(self, now_ns: int) -> Snapshot | None:
        """Let time pass: an incomplete snapshot when the sweep's time is over."""
        if self._due_ns is None:
            self._due_ns = now_ns + self._silence_ns
            return None
        if now_ns < self._due_ns:
            return None
        return self._build(max(now_ns, self._latest_ns), complete=False)

    def _store(self, slot: int, data: bytes, time_ns: int) -> bool:
        """Take the signals beside a multiplexer, which each frame of the message has; whether it was the
        last required slot. ``push`` does the same in line for all else."""
        size = min(len(data), self._profile.slots[slot].length)
        start = self._starts[slot]
        self._buffer[start : start + size] = data[:size]
        self._stamps[slot] = time_ns
        if self._lengths is not None:
            self._lengths[slot] = size
        self._fresh = True
        if self._seen[slot] == self._generation:
            return False
        self._seen[slot] = self._generation
        self._remaining -= self._required[slot]
        return self._required[slot] and not self._remaining

    def _triggered(self) -> Snapshot | None:
        """The trigger came: complete when no required message is missing or stale.

        Until that was so once, the first snapshot is waited for; ``poll`` bounds the wait.
        """
        stamps = self._stamps_ns[self._required_at]
        complete = bool(((stamps != NEVER_NS) & (self._latest_ns - stamps <= self._stale_ns[self._required_at])).all())
        if complete or self._completed:
            return self._build(self._latest_ns, complete=complete)
        return None

    def _refuse(self, fault: FrameFault) -> None:
        self._faults[fault] = self._faults.get(fault, 0) + 1

    def _refuse_unread(self, frame: Frame, route: Route | None) -> None:
        if frame.error:
            self._refuse(FrameFault.ERROR_FRAME)
        elif frame.remote:
            self._refuse(FrameFault.REMOTE_FRAME)
        elif route is None and (frame.arbitration_id, frame.extended) in self._profile.reserved:
            self._beyond_until_ns = max(self._beyond_until_ns, frame.time_ns + self._beyond_ns)
            self._refuse(FrameFault.BEYOND_PROFILE)

    def _build(self, now_ns: int, *, complete: bool) -> Snapshot:
        profile = self._profile
        silent = not self._fresh
        self._fresh = False
        self._completed = self._completed or complete
        self._due_ns = now_ns + (self._silence_ns if silent else self._timeout_ns)
        if not self._by_sweep:
            self._generation += 1
            self._remaining = self._required_count
        age_ns = now_ns - self._stamps_ns
        slot_reason = (age_ns > self._stale_ns).astype(np.uint8)
        slot_reason <<= 1  # STALE is 2, NEVER_RECEIVED 1
        slot_age_s = np.maximum(age_ns, 0) * 1e-9
        never = self._stamps_ns == NEVER_NS
        if never.any():
            slot_reason[never] = Reason.NEVER_RECEIVED
            slot_age_s[never] = math.inf
        raw, value, reason = profile.table.read(self._bytes, slot_reason, self._lengths_np)
        age_s = slot_age_s[profile.table.slot]
        cells, probes = profile.cells, profile.cells + profile.probes
        rest_value, rest_reason, rest_age = value[probes:].tolist(), reason[probes:].tolist(), age_s[probes:].tolist()

        def reading(name: str) -> Reading:
            place = profile.scalars.get(name)
            if place is None:
                return MISSING
            at = place - probes
            return Reading(rest_value[at], rest_age[at], REASONS[rest_reason[at]])

        current, voltage = reading("current"), reading("voltage")
        cell_value, cell_reason, cell_age = value[:cells], reason[:cells], age_s[:cells]
        probe_value, probe_reason, probe_age = value[cells:probes], reason[cells:probes], age_s[cells:probes]
        self._judge.cells(cell_value, cell_reason, current.value, voltage.value, now_ns)
        self._judge.probes(probe_value, probe_reason, now_ns)
        padding = rest_reason[: profile.padding]
        if (
            VALID in padding
            or now_ns < self._beyond_until_ns
            or (self._outside_touched and self._is_outside(slot_reason))
            or self._counted_more(rest_value, probes)
        ):
            blank(cell_value, cell_reason, cell_reason == VALID, Reason.BEYOND_PROFILE)
        if not profile.cells:
            cell_value, cell_reason, cell_age = _unmapped(self._pack.cells)
        if not profile.probes:
            probe_value, probe_reason, probe_age = _unmapped(self._pack.probes)
        extremes = self._extremes(raw, rest_value, rest_reason, rest_age, probes) if profile.extremes else Extremes()
        refused = tuple((fault.word, count) for fault, count in sorted(self._faults.items()))
        self._faults.clear()
        self._seq += 1
        return Snapshot(
            pack=self._pack.name,
            seq=self._seq - 1,
            time_ns=now_ns,
            cell_voltage_v=cell_value,
            cell_reason=cell_reason,
            cell_age_s=cell_age,
            temperature_c=probe_value,
            temperature_reason=probe_reason,
            temperature_age_s=probe_age,
            current_a=current,
            voltage_v=voltage,
            runaway_view=self._view(probe_reason, probe_age, probe_value, extremes),
            insulation_ohm=reading("insulation"),
            gas=reading("gas"),
            pressure_pa=reading("pressure"),
            coolant_temperature_c=reading("coolant"),
            reported_soc=reading("reported_soc"),
            contactors=self._contactors(raw, slot_reason),
            balancing=self._balancing(raw, slot_reason),
            extremes=extremes,
            complete=complete,
            refused_frames=refused,
        )

    def _is_outside(self, slot_reason: Codes) -> bool:
        """Whether a valid cell or probe beyond this pack is on the bus."""
        table = self._profile.outside
        if table is None:
            return False
        _, _, reason = table.read(self._bytes, slot_reason, self._lengths_np)
        if (reason[:] == VALID).any():
            return True
        self._outside_touched = bool((slot_reason[table.slot] == 0).any())
        return False

    def _counted_more(self, value: list[float], first: int) -> bool:
        """Whether the sender itself counts more cells or probes than the pack is said to have."""
        scalars, pack = self._profile.scalars, self._pack
        cells, probes = scalars.get("cell_count"), scalars.get("probe_count")
        return (cells is not None and value[cells - first] > pack.cells) or (probes is not None and value[probes - first] > pack.probes)

    def _extremes(self, raw: Raw, value: list[float], reason: list[int], age_s: list[float], first: int) -> Extremes:
        def extreme(place: ExtremePlace | None, count: int) -> Extreme | None:
            if place is None:
                return None
            at = place.value - first
            index = -1
            if place.index and reason[at] == VALID:
                index = sum(int(raw[entry]) * stride for entry, stride in zip(place.index, place.strides, strict=True)) - place.index_first
                index = index if 0 <= index < count else -1
            return Extreme(value[at], index, age_s[at], REASONS[reason[at]])

        places = self._profile.extremes
        cells, probes = self._pack.cells, self._pack.probes
        return Extremes(
            extreme(places.get("voltage_min"), cells),
            extreme(places.get("voltage_max"), cells),
            extreme(places.get("temperature_min"), probes),
            extreme(places.get("temperature_max"), probes),
        )

    def _contactors(self, raw: Raw, slot_reason: Codes) -> Contactor:
        places = self._profile.contactors
        if any(slot_reason[place.slot] for place in places):
            return Contactor.UNKNOWN
        for place in places:
            state = place.values.get(int(raw[place.entry]))
            if state is not None:
                return state
        return Contactor.UNKNOWN

    def _balancing(self, raw: Raw, slot_reason: Codes) -> Flags | None:
        places = self._profile.balancing
        if not places or any(slot_reason[slot] for slot in self._profile.balancing_slots):
            return None
        flags: Flags = raw[places[0] : places[-1] + 1] != 0
        return flags

    def _view(self, reason: Codes, age_s: Floats, value: Floats, extremes: Extremes) -> RunawayView:
        """Probe periods as the profile has them, or the oldest covered probe's age where that is more."""
        profile = self._profile
        highest, lowest = extremes.temperature_max_c, extremes.temperature_min_c
        broadcast = highest is not None and highest.reason is Reason.VALID
        saturated = bool((reason == Reason.SATURATED).any()) or (highest is not None and highest.reason is Reason.SATURATED)
        good = reason == VALID
        every = bool(good.all())
        probe_s = math.inf
        low_c = math.nan
        if len(good) and (every or good.any()):
            probe_s = max(profile.probe_period_s, float(age_s.max() if every else age_s[good].max()))
            low_c = float(np.min(value) if every else np.min(value[good]))
        uncovered = self._no_probe_of_cell
        if not every or not len(good):
            # the broadcast speaks for probes whose own frames are missing, not for those that the BMS itself calls invalid
            seen = good | ((reason == Reason.STALE) | (reason == Reason.NEVER_RECEIVED) if broadcast else False)
            watched = self._probe_of_cell
            uncovered = int(np.count_nonzero(~seen[watched[watched >= 0]])) + self._no_probe_of_cell
            if not profile.probes and broadcast:
                uncovered = 0
        spread_k, broadcast_s = math.nan, math.inf
        if broadcast and highest is not None:
            if lowest is not None and lowest.reason is Reason.VALID:
                low_c = lowest.value
            spread_k = max(highest.value - low_c, 0.0)
            broadcast_s = max(profile.temperature_max_period_s, highest.age_s)
        return RunawayView(worst_s(probe_s, broadcast_s, spread_k, profile.period_s), uncovered, saturated)


def _unmapped(count: int) -> tuple[Floats, Codes, Floats]:
    return np.full(count, np.nan), np.full(count, np.uint8(Reason.NOT_IN_PROFILE)), np.full(count, np.inf)
