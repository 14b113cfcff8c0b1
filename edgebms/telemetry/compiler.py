"""From a profile's names to places: looked up in the DBC, checked, compiled for one pack.

Longer than 300 lines because each way in which a profile can be wrong has its own sentence here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from edgebms.config import PackConfig
from edgebms.errors import ProfileError
from edgebms.telemetry.checks import RULES, Check
from edgebms.telemetry.layout import NO_SLOT, ContactorPlace, ExtremePlace, Profile, Route, Selector, Slot
from edgebms.telemetry.profile_file import Extreme, FlagMeaning, MessageRule, ProfileFile, Row, Scalar, firmware_fits, numbered
from edgebms.telemetry.signals import Entry, SignalTable
from edgebms.telemetry.tables import Bits, bits_of

SCALARS = ("current", "voltage", "insulation", "gas", "pressure", "coolant", "reported_soc", "cell_count", "probe_count")
EXTREMES = ("voltage_min", "voltage_max", "temperature_min", "temperature_max")
LARGEST_RESERVE = 4096
LONGEST_PERIOD_S = 1e7


class Compiler:
    """The way from names to places, one profile and one pack. Used once."""

    def __init__(self, name: str, file: ProfileFile, database: Any, pack: PackConfig, where: str) -> None:
        self._name, self._file, self._pack, self._where = name, file, pack, where
        self._messages: dict[str, Any] = {message.name: message for message in database.messages}
        self._holders: dict[str, list[tuple[Any, Any]]] = {}
        for message in database.messages:
            for signal in message.signals:
                self._holders.setdefault(signal.name, []).append((message, signal))
        self._entries: list[Entry] = []
        self._slots: dict[tuple[str, int | None], int] = {}
        self._starts: list[int] = []
        self._length = 0
        self._used: set[str] = set()
        self._spread: set[str] = set()
        self._rules = self._message_rules()

    def compile(self) -> Profile:
        file, pack = self._file, self._pack
        self._check_stated()
        period_s, scale = self._period()
        cells = self._row(file.cells, "cells", pack.cells)
        probes = self._row(file.probes, "probes", pack.probes)
        inside = cells[: pack.cells] + probes[: pack.probes]
        beyond = cells[pack.cells :] + probes[pack.probes :]
        owed = {entry.slot for entry in inside}
        padding = [entry for entry in beyond if entry.slot in owed]
        outside = [entry for entry in beyond if entry.slot not in owed]
        entries = [*inside, *padding]
        scalars, extreme_at = {}, {}
        for name in SCALARS:
            if (spec := getattr(file, name)) is not None:
                scalars[name] = len(entries)
                entries.append(self._entry(spec, spec.signal, name))
                if name in ("current", "voltage"):
                    owed.add(entries[-1].slot)
        for name in EXTREMES:
            if (spec := getattr(file.extremes, name)) is not None:
                extreme_at[name] = len(entries)
                entries.append(self._entry(spec, spec.signal, f"extremes.{name}"))
        if not entries:
            raise ProfileError("maps nothing", where=self._where, mend="map at least cells, current or voltage")
        judged = len(entries)
        extremes = {
            name: self._extreme(getattr(file.extremes, name), value, entries, f"extremes.{name}") for name, value in extreme_at.items()
        }
        contactors = tuple(self._contactors(entries))
        balancing = self._row(file.balancing, "balancing", pack.cells)[: pack.cells]
        balancing_at = tuple(range(len(entries), len(entries) + len(balancing)))
        entries += balancing
        outside_slots = {entry.slot for entry in outside} - {entry.slot for entry in entries}
        slots = self._make_slots(scale, period_s, owed, outside_slots)
        routes = self._routes(slots)
        self._check_mapped()
        zero = self._length

        def slowest(rows: Sequence[Entry]) -> float:
            return max((slots[entry.slot].period_s for entry in rows), default=period_s)

        return Profile(
            name=self._name,
            file=file,
            period_s=period_s,
            scale=scale,
            routes=routes,
            reserved=self._reserved(routes),
            slots=slots,
            buffer_length=self._length + 1,
            table=SignalTable(entries, judged, self._starts, zero),
            outside=SignalTable(outside, len(outside), self._starts, zero) if outside else None,
            cells=pack.cells if file.cells else 0,
            probes=pack.probes if file.probes else 0,
            padding=len(padding),
            scalars=scalars,
            extremes=extremes,
            contactors=contactors,
            balancing=balancing_at,
            balancing_slots=tuple(sorted({entry.slot for entry in balancing})),
            cell_period_s=slowest(cells[: pack.cells]),
            probe_period_s=slowest(probes[: pack.probes]),
            temperature_max_period_s=slowest([entries[extreme_at["temperature_max"]]]) if "temperature_max" in extreme_at else float("inf"),
            mapped_messages=frozenset(self._used),
        )

    def _check_stated(self) -> None:
        spec, stated = self._file.firmware, self._pack.firmware
        if self._file.channel_needed and self._pack.channel is None:
            raise ProfileError(
                f"the channel is not stated: {self._file.channel_needed}",
                where=self._where,
                mend=f'state channel = "can0" or the like for pack {self._pack.name!r}',
            )
        if not spec:
            return
        if stated is None:
            raise ProfileError(
                f"what the bus says depends on the BMS's firmware version, which is not stated ({spec} is described here)",
                where=self._where,
                mend=f'state firmware = "x.y.z" for pack {self._pack.name!r}',
            )
        if not firmware_fits(stated, spec, f"pack {self._pack.name!r}: firmware"):
            raise ProfileError(
                f"describes firmware {spec}, pack {self._pack.name!r} has {stated}",
                where=self._where,
                mend="use a profile for that version, or update the BMS",
            )

    def _period(self) -> tuple[float, float]:
        """(seconds between two snapshots, what the profile's periods are multiplied with for this pack)."""
        stated, profile_s = self._pack.period_s, self._file.snapshot.period_s
        if stated is not None and not stated <= LONGEST_PERIOD_S:
            raise ProfileError(
                f"period_s = {stated:g}",
                where=f"pack {self._pack.name!r}: period_s",
                mend=f"state the seconds between two sweeps, at most {LONGEST_PERIOD_S:g}",
            )
        if profile_s is None:
            if stated is None:
                raise ProfileError(
                    "the bus's period is not known",
                    where=f"{self._where}: snapshot.period_s",
                    mend=f"state period_s for pack {self._pack.name!r}: the seconds between two sweeps",
                )
            return stated, 1.0
        if stated is None:
            return profile_s, 1.0
        return stated, stated / profile_s

    def _message_rules(self) -> dict[str, MessageRule]:
        """Message name -> its rule; an exact name wins over a glob. Ignored messages are known to the DBC."""
        rules = {}
        for pattern in (*self._file.messages, *self._file.ignored):
            if not any(fnmatchcase(name, pattern) for name in self._messages):
                raise ProfileError(
                    f"no message {pattern!r} in {self._file.dbc}", where=self._where, mend="mend the name, or take the entry out"
                )
        for name in self._messages:
            found = [rule for pattern, rule in self._file.messages.items() if fnmatchcase(name, pattern)]
            rules[name] = self._file.messages.get(name) or (found[0] if found else MessageRule())
        return rules

    def _signal(self, name: str, message: str, where: str) -> tuple[Any, Any]:
        """(message, signal) of the DBC. Raises ProfileError where there is none, or more than one."""
        if message:
            there = self._messages.get(message)
            found = [(there, signal) for signal in there.signals if signal.name == name] if there else []
        else:
            found = self._holders.get(name, [])
        if not found:
            place = f" of message {message}" if message else ""
            raise ProfileError(
                f"no signal {name!r}{place} in {self._file.dbc}",
                where=f"{self._where}: {where}",
                mend="mend the name, or take the entry out",
            )
        if len(found) > 1:
            raise ProfileError(
                f"signal {name!r} stands in {', '.join(holder.name for holder, _ in found)}",
                where=f"{self._where}: {where}",
                mend="say which with message = ...",
            )
        return found[0]

    def _slot(self, message: Any, signal: Any, where: str) -> int:
        ids = signal.multiplexer_ids
        if ids is not None and len(ids) != 1:
            raise ProfileError(
                f"signal {signal.name} stands under {len(ids)} multiplexer values",
                where=f"{self._where}: {where}",
                mend="map signals of one multiplexer value",
            )
        key = (message.name, None if ids is None else int(ids[0]))
        if key not in self._slots:
            self._slots[key] = len(self._starts)
            self._starts.append(self._length)
            self._length += message.length
        self._used.add(message.name)
        return self._slots[key]

    def _entry(self, spec: Scalar | Row | Extreme, name: str, where: str, flag_name: str = "") -> Entry:
        message, signal = self._signal(name, spec.message, where)
        there = f"{self._where}: {where}"
        bits = bits_of(signal, there)
        for code in (*spec.invalid_codes, *spec.saturated_codes):
            if code >= 1 << bits.length:
                raise ProfileError(
                    f"code {code} does not fit {bits.length} bits",
                    where=there,
                    mend="codes are raw values, unsigned, as they stand on the bus",
                )
        if spec.range is not None and not spec.range[0] < spec.range[1]:
            raise ProfileError("range must rise", where=there, mend="write range = [lowest, highest]")
        flag, good = None, 1
        flag_name = flag_name or spec.valid_flag
        if flag_name:
            _, flag_signal = self._signal(flag_name, message.name, where)
            if flag_signal.multiplexer_ids not in (None, signal.multiplexer_ids):
                raise ProfileError(
                    f"flag {flag_name} comes under another multiplexer value than {name}",
                    where=there,
                    mend="name the flag beside its signal",
                )
            flag, good = bits_of(flag_signal, there), self._good(spec.valid_when, there)
        return Entry(
            bits=Bits(bits.places, bits.shift, bits.length, bits.kind, bits.scale * spec.factor, bits.offset * spec.factor + spec.offset),
            slot=self._slot(message, signal, where),
            invalid_codes=spec.invalid_codes,
            saturated_codes=spec.saturated_codes,
            range=spec.range,
            flag=flag,
            good=good,
        )

    def _good(self, meanings: tuple[FlagMeaning, ...], where: str) -> int:
        """The flag's value that says valid with this pack's firmware; never guessed."""
        stated = self._pack.firmware
        for meaning in meanings:
            if not meaning.firmware:
                return meaning.value
            if stated is None:
                raise ProfileError(
                    "what the validity flag means depends on the firmware version, which is not stated",
                    where=where,
                    mend=f'state firmware = "x.y.z" for pack {self._pack.name!r}',
                )
            if firmware_fits(stated, meaning.firmware, f"pack {self._pack.name!r}: firmware"):
                return meaning.value
        raise ProfileError(
            f"no valid_when for firmware {stated}" if meanings else "valid_flag without valid_when",
            where=where,
            mend='write valid_when = [{ firmware = ">=1.8", value = 1 }]',
        )

    def _row(self, row: Row | None, name: str, needed: int) -> list[Entry]:
        """Entries of a row, as many as the DBC has. Raises ProfileError where that is fewer than the pack's."""
        if row is None or needed == 0:
            return []
        names: Iterator[tuple[str, str]]
        if row.signals:
            names = ((signal, "") for signal in row.signals)
        else:
            names = self._pattern(row)
        entries = [self._entry(row, signal, name, flag) for signal, flag in names]
        if len(entries) < needed:
            raise ProfileError(
                f"has {len(entries)} {name}, pack {self._pack.name!r} {needed}",
                where=f"{self._where}: {name}",
                mend="use a profile that is large enough, or mend the pack's number",
            )
        return entries

    def _pattern(self, row: Row) -> Iterator[tuple[str, str]]:
        number = row.first
        while (signal := numbered(row.pattern, number)) in self._holders:
            yield signal, numbered(row.valid_flag, number) if row.valid_flag else ""
            number += 1

    def _extreme(self, spec: Extreme, value: int, entries: list[Entry], where: str) -> ExtremePlace:
        if spec.index and len(spec.index) != len(spec.strides):
            raise ProfileError(
                f"{len(spec.index)} index signals, {len(spec.strides)} strides",
                where=f"{self._where}: {where}",
                mend="give one stride an index signal",
            )
        index = []
        for name in spec.index:
            message, signal = self._signal(name, spec.message, where)
            index.append(len(entries))
            entries.append(Entry(bits_of(signal, f"{self._where}: {where}"), self._slot(message, signal, where)))
        return ExtremePlace(value, tuple(index), spec.strides if spec.index else (), spec.index_first)

    def _contactors(self, entries: list[Entry]) -> Iterator[ContactorPlace]:
        for i, spec in enumerate(self._file.contactors):
            where = f"contactors[{i}]"
            message, signal = self._signal(spec.signal, spec.message, where)
            slot = self._slot(message, signal, where)
            entries.append(Entry(bits_of(signal, f"{self._where}: {where}"), slot))
            yield ContactorPlace(len(entries) - 1, slot, {int(code): state for code, state in spec.values.items()})

    def _make_slots(self, scale: float, period_s: float, owed: set[int], outside: set[int]) -> tuple[Slot, ...]:
        slots = []
        frames: dict[str, int] = {}
        for (message, _), slot in self._slots.items():
            frames[message] = frames.get(message, 0) + (slot not in outside)
        for (message, _), slot in self._slots.items():
            rule = self._rules[message]
            own_s = period_s
            if rule.frame_period_s is not None:
                own_s = rule.frame_period_s * max(frames[message], 1) * scale
            elif rule.period_s is not None:
                own_s = rule.period_s * scale
            required = slot in owed if rule.required is None else rule.required and slot not in outside
            slots.append(Slot(message, self._starts[slot], self._messages[message].length, own_s, required, slot in outside))
        if self._file.snapshot.complete != "trigger" and not any(slot.required for slot in slots):
            raise ProfileError(
                "no message is required for a snapshot",
                where=f"{self._where}: snapshot",
                mend="map cells, current or voltage, or set required = true for a message",
            )
        return tuple(slots)

    def _selector(self, message: Any, name: str, where: str) -> Selector:
        _, signal = self._signal(name, message.name, where)
        bits = bits_of(signal, f"{self._where}: {where}")
        if len(bits.places) != 1 or bits.kind == "float":
            raise ProfileError(
                f"{name} does not lie within one byte",
                where=f"{self._where}: {where}",
                mend="counters and multiplexers of one byte are supported",
            )
        return Selector(bits.places[0], bits.shift, (1 << bits.length) - 1)

    def _routes(self, slots: tuple[Slot, ...]) -> dict[tuple[int, bool], Route]:
        rule = self._file.snapshot
        if rule.complete == "trigger" and rule.trigger not in self._used:
            raise ProfileError(
                f"trigger {rule.trigger!r} is not a mapped message",
                where=f"{self._where}: snapshot.trigger",
                mend="name a message that the profile maps",
            )
        routes: dict[tuple[int, bool], Route] = {}
        for number, name in enumerate(sorted(self._used)):
            message = self._messages[name]
            extended = bool(message.is_extended_frame)
            identifier = message.frame_id + self._pack.id_offset
            if identifier > (0x1FFFFFFF if extended else 0x7FF):
                raise ProfileError(
                    f"id_offset moves message {name} to {identifier:#x}, beyond its id's range",
                    where=f"pack {self._pack.name!r}: id_offset",
                    mend="use a smaller id_offset",
                )
            muxes = [signal for signal in message.signals if signal.is_multiplexer]
            if len(muxes) > 1:
                raise ProfileError(
                    f"message {name} has {len(muxes)} multiplexers", where=self._where, mend="messages with one multiplexer are supported"
                )
            mux = self._selector(message, muxes[0].name, f"message {name}") if muxes else None
            known = {int(value): NO_SLOT for signal in message.signals for value in signal.multiplexer_ids or ()}
            known |= {value: slot for (holder, value), slot in self._slots.items() if holder == name and value is not None}
            used = {slot for (holder, _), slot in self._slots.items() if holder == name}
            routes[identifier, extended] = Route(
                name=name,
                number=number,
                length=message.length,
                minimum=self._minimum(message, mux),
                check=self._check(message),
                counter=self._counter(message),
                sweep=self._selector(message, rule.sweep, "snapshot.sweep") if rule.complete == "sweep" else None,
                mux=mux,
                slots=known,
                slot=self._slots.get((name, None), NO_SLOT),
                beyond_ns=round(rule.stale_periods * max(slots[slot].period_s for slot in used) * 1e9)
                if any(slots[slot].required for slot in used)
                else 0,
            )
        return routes

    def _minimum(self, message: Any, mux: Selector | None) -> int:
        if not self._rules[message.name].shorter:
            return int(message.length)
        return mux.byte + 1 if mux else 1

    def _check(self, message: Any) -> Check | None:
        for i, rule in enumerate(self._file.check):
            where = f"{self._where}: check[{i}]"
            if rule.rule not in RULES:
                raise ProfileError(f"no checksum rule {rule.rule!r}", where=where, mend=f"known: {', '.join(RULES)}")
            if any(fnmatchcase(message.name, pattern) for pattern in rule.messages):
                if self._rules[message.name].shorter:
                    raise ProfileError(
                        f"message {message.name} may be cut off and has a checksum", where=where, mend="take one of the two out"
                    )
                if message.length < 3:
                    raise ProfileError(
                        f"message {message.name} has {message.length} bytes, too few for a checksum",
                        where=where,
                        mend="leave it out of the rule",
                    )
                return RULES[rule.rule](message.frame_id, message.length)
        return None

    def _counter(self, message: Any) -> Selector | None:
        for i, rule in enumerate(self._file.counter):
            if any(fnmatchcase(message.name, pattern) for pattern in rule.messages):
                if self._rules[message.name].shorter:
                    raise ProfileError(
                        f"message {message.name} may be cut off and has a counter",
                        where=f"{self._where}: counter[{i}]",
                        mend="take one of the two out",
                    )
                return self._selector(message, rule.signal, f"counter[{i}]")
        return None

    def _reserved(self, routes: dict[tuple[int, bool], Route]) -> frozenset[tuple[int, bool]]:
        """Ids that are the pack's own but stand nowhere in its DBC."""
        if self._file.reserved_ids is None:
            return frozenset()
        low, high = self._file.reserved_ids
        if not low <= high < low + LARGEST_RESERVE or high > 0x1FFFFFFF:
            raise ProfileError(
                f"reserved_ids {low}..{high}",
                where=f"{self._where}: reserved_ids",
                mend=f"write reserved_ids = [lowest, highest], at most {LARGEST_RESERVE} ids",
            )
        known = {(message.frame_id + self._pack.id_offset, bool(message.is_extended_frame)) for message in self._messages.values()}
        extended = self._file.extended_ids
        return frozenset((identifier + self._pack.id_offset, extended) for identifier in range(low, high + 1)) - known - set(routes)

    def _check_mapped(self) -> None:
        """Every message of the DBC is mapped, belongs to a part that this pack does not have, or is ignored
        with a reason."""
        for name in self._messages:
            ignored = any(fnmatchcase(name, pattern) for pattern in self._file.ignored)
            if name in self._used and name in self._file.ignored:
                raise ProfileError(
                    f"message {name} is mapped and ignored", where=f"{self._where}: ignored", mend="take it out of [ignored]"
                )
            if name not in self._used and not ignored and not self._without_part(name):
                raise ProfileError(
                    f"message {name} of {self._file.dbc} is neither mapped nor ignored",
                    where=self._where,
                    mend="map it, or list it under [ignored] with a reason",
                )

    def _without_part(self, name: str) -> bool:
        """Probes' messages of a pack without probes are not compiled."""
        rows = [row for row, needed in ((self._file.probes, self._pack.probes),) if row is not None and needed == 0]
        for row in rows:
            signals = set(row.signals) or {signal for signal, _ in self._pattern(row)}
            if any(signal.name in signals for signal in self._messages[name].signals):
                return True
        return False
