"""The record of a running gateway: one writer, and a recorder for each pack that its line and the outlets feed.

Nothing in here waits for a disk; what cannot be kept is counted and told as a gateway fault.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgebms.clock import Clock, wall_ns
from edgebms.config import Config, PackConfig, Record
from edgebms.decision.types import Decision
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.frame import Frame
from edgebms.loop import PackLine
from edgebms.order import Order
from edgebms.record import checkpoint, statefile
from edgebms.record.about import about_line
from edgebms.record.allowance import Allowance
from edgebms.record.audit import Audit, AuditedOrder
from edgebms.record.blackbox import BlackBox
from edgebms.record.checkpoint import Moment, Restored, boot_id
from edgebms.record.counters import Counters
from edgebms.record.writer import Writer
from edgebms.vocabulary import Level

CHECKPOINT, BOXES = "checkpoint.state", "boxes"

SOON_S = 0.25
"""A change of what stands is written within this time, as far as the day's bytes allow."""
BURST = 24
"""This share of a day's bytes may be written as fast as it comes: an hour's."""
OVERHEAD_BYTES = 16 << 10
"""What a file system writes besides: inode, directory, journal (four blocks)."""
FAILED_S = 600.0
"""What was not tried again is told for so long after it failed."""
REFUSED_S = 600.0
"""A checkpoint that was refused at the start is told for so long."""


class Recorder:
    """One pack's. It is its line's tape, and is given each decision with its bytes."""

    def __init__(
        self,
        line: PackLine,
        pack: PackConfig,
        settings: Record,
        about: dict[str, Any],
        counters: Counters,
        writer: Writer,
        boot: str,
        wall_ns: Callable[[], int],
        bytes_per_day: float,
    ) -> None:
        folder = Path(settings.folder) / pack.name
        self.pack, self.counters = pack, counters
        self.path = folder / CHECKPOINT
        self._line, self._writer, self._boot, self._wall_ns = line, writer, boot, wall_ns
        self._box = BlackBox(line, pack, about, settings, folder / BOXES, writer, f"blackbox:{pack.name}")
        self._audit = Audit(folder, round(settings.audit_mb * 1e6))
        self._audit_allowance = Allowance(settings.audit_mb * 1e6, settings.audit_mb * 1e6)
        self._folder = folder
        self._period_ns = round(settings.checkpoint_s * 1e9)
        self._allowance = Allowance(bytes_per_day, bytes_per_day / BURST)
        self._size = 0
        self._saved_ns: int | None = None
        self._writing = False
        self._standing: tuple[object, ...] = ()
        self._urgent = False
        self._utc_ns: int | None = None
        self._now_ns = 0
        self.broken = ""
        """What ended all recording of this pack: a fault of ours, "" without one."""

    def frame(self, frame: Frame) -> None:
        if not self.broken:
            try:
                self._box.frame(frame)
            except Exception as error:  # no decision is lost for the sake of its record
                self._break(error)

    def tick(self, now_ns: int) -> None:
        if not self.broken:
            try:
                self._box.tick(now_ns)
            except Exception as error:  # as above
                self._break(error)

    def order(self, order: Order, now_ns: int) -> None:
        if not self.broken:
            try:
                self._box.order(order, now_ns)
            except Exception as error:  # as above
                self._break(error)

    def acknowledged(self, entry: AuditedOrder) -> None:
        """Into the audit log, and soon into a checkpoint: what a person has seen does not come back at a restart."""
        if not self.broken:
            self._urgent = True
            self._put_audit(msgspec.json.encode(entry))

    def step(self, now_ns: int, utc_ns: int | None, faults: tuple[GatewayFault, ...]) -> None:
        self._utc_ns = utc_ns
        if not self.broken:
            self._box.step(now_ns, utc_ns, faults)

    def decided(self, decision: Decision, line: bytes) -> None:
        """Each decision once, after the outlets had it. line: its JSON."""
        if not self.broken:
            try:
                self._decided(decision, line)
            except Exception as error:  # as above
                self._break(error)

    def _break(self, error: Exception) -> None:
        where = traceback.extract_tb(error.__traceback__)[-1]
        self.broken = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"

    def _decided(self, decision: Decision, line: bytes) -> None:
        now_ns = self._now_ns = decision.mono_ns
        self.counters.take(decision, self._utc_ns)
        self._box.decided(decision, line)
        if self._audit.changed(decision):
            self._put_audit(line)
        standing = tuple((alert.id, alert.level) for alert in decision.alerts if alert.latched or alert.level != "watch")
        if standing != self._standing:
            self._standing = standing
            self._urgent = True
        if self._saved_ns is None:
            self._saved_ns = now_ns  # nothing was learned yet that the file before would not know
        since_ns = now_ns - self._saved_ns
        if since_ns >= self._period_ns or (self._urgent and since_ns >= SOON_S * 1e9):
            self.checkpoint()

    def checkpoint(self, last: bool = False) -> None:
        """Have the state as it stands written. last: whatever the day's bytes say."""
        cost = self._size + OVERHEAD_BYTES
        if not last and (self._writing or self._allowance.left(self._now_ns) < cost):
            return
        self._allowance.spend(cost)
        moment = Moment(self._now_ns, self._utc_ns, self._wall_ns(), self._boot)
        payloads = checkpoint.collect(self._line, self.pack, self.counters, moment)
        self._saved_ns, self._urgent, self._writing = self._now_ns, False, True

        def write() -> None:
            try:
                data = statefile.join(payloads)
                self._size = len(data)
                self._folder.mkdir(parents=True, exist_ok=True)
                statefile.replace(self.path, data)
            finally:
                self._writing = False

        if not self._writer.put(write, max(self._size, 1 << 16), f"checkpoint:{self.pack.name}"):
            self._writing = False

    def _put_audit(self, line: bytes) -> None:
        if self._audit_allowance.left(self._now_ns) > 0:
            self._audit_allowance.spend(len(line))
            self._writer.put(lambda: self._append_audit(line), len(line), f"audit:{self.pack.name}")

    def _append_audit(self, line: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._audit.append(line)

    @property
    def lost(self) -> int:
        return self._box.lost

    def skipping(self, now_ns: int) -> bool:
        """Whether a black box was left out lately because the day's bytes were used up."""
        return self._box.skipped_ns is not None and now_ns - self._box.skipped_ns < FAILED_S * 1e9

    def close(self) -> None:
        try:
            self._box.close()
            if self._saved_ns is not None:
                self.checkpoint(last=True)
        except Exception as error:  # the next pack's is closed all the same
            self._break(error)


class Recording:
    """The daemon's record. ``attach`` gives lines their tapes, ``offer`` takes every decision, ``faults`` says what is wrong.

    wall_ns: the wall clock, right or wrong; it bounds the time that the gateway was off.
    """

    def __init__(self, settings: Record, clock: Clock, *, say: Callable[[str], None] = print, wall_ns: Callable[[], int] = wall_ns) -> None:
        self._settings, self._clock, self._say, self._wall_ns = settings, clock, say, wall_ns
        self._boot = boot_id()
        self._writer = Writer()
        self._since: dict[str, tuple[int, str]] = {}
        self._last_failure: dict[str, tuple[int, int]] = {}
        self._refused: dict[str, tuple[int, str]] = {}
        self.recorders: dict[str, Recorder] = {}

    def attach(self, config: Config, lines: dict[str, PackLine], *, restore: bool) -> dict[str, PackLine]:
        """``lines`` with recorders as their tapes, before their first frame. restore: from the checkpoints on disk, at
        the start; at a reload the counters go on and the rest is carried over by whoever reloads."""
        if not self._settings.folder:
            return lines
        recorders = {}
        out = {}
        share = self._settings.checkpoint_mb_per_day * 1e6 / len(config.pack)
        for pack in config.pack:
            line = lines[pack.name]
            counters = self._restore(line, pack) if restore else None
            if counters is None:
                running = self.recorders.get(pack.name)
                counters = Counters(line.card.capacity_ah * pack.parallel, running.counters.totals if running is not None else None)
            about = about_line(config, pack, line)
            recorder = Recorder(line, pack, self._settings, about, counters, self._writer, self._boot, self._wall_ns, share)
            recorders[pack.name] = recorder
            out[pack.name] = dataclasses.replace(line, tape=recorder)
        for old in self.recorders.values():
            old.close()
        self.recorders = recorders
        return out

    def _restore(self, line: PackLine, pack: PackConfig) -> Counters | None:
        path = Path(self._settings.folder) / pack.name / CHECKPOINT
        saved, problem = checkpoint.load_latest(path)
        now_ns = self._clock.now_ns()
        came: Restored | None = None
        if saved is not None:
            now = Moment(now_ns, self._clock.utc_ns(), self._wall_ns(), self._boot)
            came = checkpoint.restore(saved, line, pack, now, self._settings.unknown_off_h * 3600.0)
        refused = "; ".join(text for text in (problem, came.refused if came is not None else "") if text)
        if refused:
            self._refused[pack.name] = (now_ns, refused)
            self._say(f"{pack.name}: checkpoint left out: {refused}")
            self._writer.put(lambda: keep_refused(path), 0, f"checkpoint:{pack.name}")
        elif came is not None and came.off is not None:
            age = f"{came.off.seconds:.1f} s ago" if came.off.known else "at an unknown time"
            self._say(f"{pack.name}: goes on from the checkpoint written {age}")
        return came.counters if came is not None else None

    def offer(self, decision: Decision, line: bytes) -> None:
        recorder = self.recorders.get(decision.pack)
        if recorder is not None:
            recorder.decided(decision, line)

    def acknowledged(self, entry: AuditedOrder) -> None:
        """A person acknowledged a rule of the pack that ``entry`` names."""
        recorder = self.recorders.get(entry.pack)
        if recorder is not None:
            recorder.acknowledged(entry)

    def faults(self, pack: str) -> tuple[GatewayFault, ...]:
        """What of ``pack``'s record fails now."""
        recorder = self.recorders.get(pack)
        if recorder is None:
            return ()
        now_ns = self._clock.now_ns()
        out = []
        told = self._refused.get(pack)
        if told is not None:
            since_ns = told[0]
            if now_ns - since_ns < REFUSED_S * 1e9:
                out.append(GatewayFault("checkpoint_refused.record", Level.WATCH, math.nan, math.nan, "", since_ns, frozenset({pack})))
            else:
                del self._refused[pack]
        for about, text in self._failing(pack, now_ns).items():
            told_before = self._since.get(about)
            if told_before is None or told_before[1] != text:
                self._say(f"{about}: {text}")
            since_ns = now_ns if told_before is None else told_before[0]
            self._since[about] = since_ns, text
            part = about.partition(":")[0]
            level = Level.WARNING if part in ("checkpoint", "record") else Level.WATCH
            out.append(GatewayFault(f"not_recorded.{part}", level, math.nan, math.nan, "", since_ns, frozenset({pack}), recorder.lost))
        return tuple(out)

    def _failing(self, pack: str, now_ns: int) -> dict[str, str]:
        """What of the pack's went wrong when it was tried last, and that not longer ago than FAILED_S."""
        found = {}
        for about, (text, number) in list(self._writer.problems.items()):
            if about.partition(":")[2] != pack:
                continue
            last = self._last_failure.get(about)
            if last is None or last[0] != number:
                last = self._last_failure[about] = number, now_ns
            if now_ns - last[1] < FAILED_S * 1e9:
                found[about] = text
        if self.recorders[pack].broken:
            found[f"record:{pack}"] = self.recorders[pack].broken
        if self.recorders[pack].skipping(now_ns):
            found[f"blackbox:{pack}"] = "the black boxes' share of the day is used up"
        if self._writer.hangs():
            found[f"disk:{pack}"] = "the disk does not answer"
        for about in [about for about in self._since if about.partition(":")[2] == pack and about not in found]:
            del self._since[about]
        return found

    def close(self) -> None:
        """A last checkpoint of each pack; waits for the disk as long as ``Writer.close`` says."""
        for recorder in self.recorders.values():
            recorder.close()
        self._writer.close()


def keep_refused(path: Path) -> None:
    """Keep a copy of a checkpoint that was left out: the next one is written over it."""
    if path.exists():
        shutil.copyfile(path, path.with_suffix(".refused"))
