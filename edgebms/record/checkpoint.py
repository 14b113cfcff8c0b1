"""The state of a pack that survives a restart: collected, written, read, put back.

A checkpoint is semantic, not an image: estimator states, standing latches, alerts' ids and beginnings,
lifetime counters. It outlives versions of the runtime and reboots, whose clocks start anew: ages in it
are put on the new clock by what is known of the time between, and grow where that is not known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgebms import __version__
from edgebms.config import PackConfig
from edgebms.errors import StateError
from edgebms.estimator.estimator import Estimator
from edgebms.loop import PackLine
from edgebms.record import image, statefile
from edgebms.record.counters import Counters, Totals

KIND, FORMAT = "checkpoint", 1
"""FORMAT goes up when an older reader would misread the file."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Moment(msgspec.Struct, frozen=True):
    """A moment on every clock there is. utc_ns: only of a synchronised clock; wall_ns: what the wall clock showed,
    right or wrong. boot: the boot that mono_ns counts from, "" where it is none (replay)."""

    mono_ns: int
    utc_ns: int | None
    wall_ns: int
    boot: str


class Off(msgspec.Struct, frozen=True):
    """How long nothing was seen. known: a clock tells; else ``seconds`` is what is taken for it where uncertainties
    grow, and ``at_least_s`` where ages are told."""

    seconds: float
    known: bool
    at_least_s: float


def boot_id() -> str:
    """The kernel's name for this boot, "" where it tells none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def off_between(saved: Moment, now: Moment, unknown_off_s: float) -> Off:
    """The time between: by the monotonic clock within one boot, by synchronised wall clocks over a boot, else by
    what a wrong wall clock shows at least, and never less than ``unknown_off_s``.

    >>> a = Moment(5_000_000_000, None, 100_000_000_000, "b1")
    >>> off_between(a, Moment(8_000_000_000, None, 103_000_000_000, "b1"), 86400.0)
    Off(seconds=3.0, known=True, at_least_s=3.0)
    >>> off_between(a, Moment(1_000_000_000, 10**18, 10**18, "b2"), 86400.0).known
    False
    """
    if saved.boot and saved.boot == now.boot and now.mono_ns >= saved.mono_ns:
        seconds = (now.mono_ns - saved.mono_ns) / 1e9
    elif saved.utc_ns is not None and now.utc_ns is not None and now.utc_ns >= saved.utc_ns:
        seconds = (now.utc_ns - saved.utc_ns) / 1e9
    else:
        shown_s = max(now.wall_ns - saved.wall_ns, 0) / 1e9
        return Off(max(shown_s, unknown_off_s), False, shown_s)
    return Off(seconds, True, seconds)


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint as read. header: pack, card, saved (Moment), runtime. body: the states."""

    header: dict[str, Any]
    body: dict[str, Any]

    @property
    def pack(self) -> str:
        return str(self.header["pack"]["name"])

    @property
    def moment(self) -> Moment:
        return msgspec.convert(self.header["saved"], Moment)


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a checkpoint. counters: to go on with. off: None where there was no checkpoint.
    refused: why all or a part of it was left out, "" when nothing was."""

    counters: Counters
    off: Off | None
    refused: str = ""


def fingerprint(*parts: object) -> str:
    """Of cards, profiles, configurations: the same content, the same text."""
    return hashlib.sha256(b"\0".join(msgspec.json.encode(part) for part in parts)).hexdigest()[:16]


def pack_key(pack: PackConfig) -> dict[str, Any]:
    """What makes a pack another pack."""
    return {"name": pack.name, "cells": pack.cells, "parallel": pack.parallel, "probes": pack.probes}


def collect(line: PackLine, pack: PackConfig, counters: Counters, moment: Moment) -> list[Any]:
    """Header and body of a checkpoint of ``line`` as it stands; nothing in them changes when the line moves on."""
    pipeline = line.pipeline
    header = {
        "kind": KIND,
        "format": FORMAT,
        "runtime": __version__,
        "pack": pack_key(pack),
        "card": {"name": line.card.name, "fingerprint": fingerprint(line.card), "capacity_ah": line.card.capacity_ah},
        "saved": msgspec.to_builtins(moment),
    }
    body = {
        "estimator": plain(pipeline.estimator.state()),
        "guard": pipeline.guard.state(),
        "alerts": pipeline.arbiter.state(),
        "counters": msgspec.to_builtins(counters.totals),
        "figures": plain(figures(pipeline.estimator)),
        "weeks": pipeline.reasoner.state() if pipeline.reasoner is not None else None,
    }
    return [header, body]


def figures(estimator: Estimator) -> dict[str, Any]:
    """What a reader of the file wants to know without the filter's equations: fractions, a figure a cell."""
    kalman, soh = estimator.kalman, estimator.soh
    return {
        "soc": kalman.soc.copy(),
        "soc_sigma": kalman.soc_sigma.copy(),
        "soh_capacity": soh.capacity.copy(),
        "soh_capacity_sigma": soh.capacity_sigma.copy(),
        "soh_capacity_measured": soh.measured.astype(float),
        "soh_resistance": soh.resistance.copy(),
        "soh_resistance_sigma": soh.resistance_sigma.copy(),
    }


def load(path: Path) -> Saved:
    """Raises StateError where ``path`` is no checkpoint that this version reads."""
    payloads = list(statefile.read(path))
    header = payloads[0]
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise StateError("is no checkpoint", where=str(path), mend="name a checkpoint")
    if header.get("format") != FORMAT:
        raise StateError(
            f"is of format {header.get('format')}, this version reads {FORMAT}",
            where=str(path),
            mend="use the version of edgebms that wrote it, or start without it",
        )
    if len(payloads) < 2:
        raise StateError("is damaged: its check sum does not fit", where=str(path), mend="use the generation before it (.previous)")
    return Saved(header, payloads[1])


def load_latest(path: Path) -> tuple[Saved | None, str]:
    """The checkpoint at ``path``, or the generation before it where that cannot be read; None where there is none.
    The text says what could not be read, "" when all could."""
    problem = ""
    for candidate in (path, path.with_suffix(".previous")):
        if not candidate.exists():
            continue
        try:
            return load(candidate), problem
        except StateError as error:
            problem = problem or str(error)
    return None, problem


def restore(saved: Saved, line: PackLine, pack: PackConfig, now: Moment, unknown_off_s: float) -> Restored:
    """Put ``saved`` into ``line``, built anew, before its first frame. What cannot be used is left out and told."""
    capacity_ah = line.card.capacity_ah * pack.parallel
    key = pack_key(pack)
    theirs = saved.header.get("pack")
    if theirs != key:
        return Restored(Counters(capacity_ah), None, f"it is of another pack ({describe(theirs)}, this one is {describe(key)})")
    before = image.take(line.pipeline)
    try:
        return _restore(saved, line, Counters(capacity_ah), now, unknown_off_s)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        image.put(before, line.pipeline)
        return Restored(Counters(capacity_ah), None, f"it does not hold what it should ({type(error).__name__}: {error})")


def _restore(saved: Saved, line: PackLine, counters: Counters, now: Moment, unknown_off_s: float) -> Restored:
    pipeline, body = line.pipeline, saved.body
    off = off_between(saved.moment, now, unknown_off_s)
    counters.totals = msgspec.convert(body["counters"], Totals)
    counters.gap(off.seconds, off.known)
    shift_ns = now.mono_ns - saved.moment.mono_ns - round(off.at_least_s * 1e9)
    pipeline.guard.restore(
        {row: {place: shifted(kept, shift_ns) for place, kept in places.items()} for row, places in body["guard"].items()}
    )
    pipeline.arbiter.restore([shifted(kept, shift_ns) for kept in body["alerts"]])
    card = saved.header["card"]
    if card["fingerprint"] != fingerprint(line.card):
        return Restored(counters, off, f"its states are of another card ({card['name']}); latches and counters are kept")
    pipeline.estimator.restore(arrays(body["estimator"]), now.mono_ns / 1e9, off.seconds)
    slow = body.get("weeks")  # runtimes without a reasoner wrote none, and those of before another one
    if slow is not None and pipeline.reasoner is not None:
        pipeline.reasoner.restore(slow)
    return Restored(counters, off)


def shifted(kept: dict[str, Any], shift_ns: int) -> dict[str, Any]:
    """What began at ``since_ns`` on the clock before, on this one."""
    return kept | {"since_ns": kept["since_ns"] + shift_ns}


def describe(key: object) -> str:
    if not isinstance(key, dict):
        return "none"
    return f"{key.get('name')}: {key.get('cells')} cells, {key.get('parallel')} in parallel, {key.get('probes')} probes"


def plain(value: Any) -> Any:
    """Arrays as [dtype, shape, bytes], anything below dicts and tuples too."""
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "shape": list(value.shape), "bytes": value.tobytes()}
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return value


def arrays(value: Any) -> Any:
    """``plain`` taken back. Raises ValueError, TypeError where it is none."""
    if isinstance(value, dict):
        if set(value) == {"dtype", "shape", "bytes"}:
            found = np.frombuffer(value["bytes"], dtype=np.dtype(value["dtype"])).reshape(value["shape"]).copy()
            if found.dtype.kind not in "fiu":
                raise ValueError(f"an array of {found.dtype}")
            return found
        return {key: arrays(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return tuple(arrays(entry) for entry in value)
    return value
