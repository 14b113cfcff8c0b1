"""The process around the loop: buses in, outlets out, signals, systemd, reload, shutdown.

The main thread runs the loop and nothing else that takes long: buses read in threads of their own,
outlets write in theirs, a reload builds its new lines in one. The loop sleeps until a frame comes or
the next tick is due.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

import msgspec

from edgebms.assembly import build_lines
from edgebms.buses import Buses
from edgebms.clock import MonotonicClock
from edgebms.config import Config
from edgebms.control_room import ControlRoom, Running
from edgebms.decision.types import Decision, encode
from edgebms.desk import Desk, DeskFull
from edgebms.errors import EdgebmsError
from edgebms.gateway_fault import GatewayFault
from edgebms.inlet.frame import Frame
from edgebms.inlet.inbox import Inbox
from edgebms.loop import Loop, PackLine
from edgebms.notify import NOTICE, WARNING, Notify, say
from edgebms.order import SendCells
from edgebms.outlet.outlet import Gateway
from edgebms.outlets import Opened, open_outlets, outlet_faults
from edgebms.own_faults import OwnFaults
from edgebms.record.recorder import Recording
from edgebms.reload import Building, carry_over, load
from edgebms.rigclock import RigClock
from edgebms.turns import serve, serve_rig
from edgebms.vocabulary import Level
from edgebms.wallclock import synchronised
from edgebms.worker import Worker, ask_inline

CLOCK_EVERY_S = 10.0
WATCHDOG_SHARE = 4
"""The watchdog is fed so often within its time, if decisions come."""

OutletOpener = Callable[[Config, Gateway, Mapping[str, Opened]], dict[str, Opened]]


class Daemon:
    """``run`` returns the exit code: 0 after SIGTERM or SIGINT. Raises EdgebmsError where the first
    configuration is wrong; a wrong one at a reload is a fault that is told, and the old one goes on."""

    def __init__(
        self, path: Path, notify: Notify | None = None, opener: OutletOpener = open_outlets, clock: MonotonicClock | RigClock | None = None
    ) -> None:
        self._path = path
        self._open_outlets = opener
        self._notify = notify or Notify()
        self._clock = clock or MonotonicClock(synchronised())
        self._clock_due_ns = 0
        self._inbox = Inbox()
        self._buses = Buses(self._clock, self._inbox)
        self._desk = Desk(self._inbox.wake)
        self._control = ControlRoom(self._clock, self._desk, self._running)
        self._outlets: dict[str, Opened] = {}
        self._gateway = Gateway(
            lambda: self._buses.live, lambda: {name: opened.outlet for name, opened in self._outlets.items()}, self._request_cells
        )
        self._emitted = 0
        self._stopping = False
        self._reload_asked = False
        self._building: Building | None = None
        self._own_faults = OwnFaults(self._clock)
        self._retired: list[Recording] = []
        self._fed_ns = 0
        self._feed_every_ns = round(self._notify.watchdog_s * 1e9 / WATCHDOG_SHARE)
        self._config = load(path)
        self._deadline_ms = self._config.students.deadline_ms
        self._worker = Worker(self._clock, self._deadline_ms / 1e3)
        self._recording = self._open_recording(self._config)
        self._lines = self._recording.attach(self._config, self._build(self._config), restore=True)
        self._loop = self._make_loop()

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        try:
            self._use_buses()
            self._outlets = self._open_outlets(self._config, self._gateway, {})
            self._control.use(self._config.control)
            # what was built so far stays: the collector need not look at it again and again
            gc.collect()
            gc.freeze()
            self._notify.ready(self._status())
            say(f"ready: {self._status()}", NOTICE)
            self._serve()
        finally:
            self._notify.stopping()
            self._close()
        say("stopped", NOTICE)
        return 0

    # ---- the loop

    def _serve(self) -> None:
        if isinstance(self._clock, RigClock):
            serve_rig(self, self._inbox, self._desk, self._clock)
        else:
            serve(self, self._inbox, self._desk, self._clock)

    def stopping(self) -> bool:
        return self._stopping

    def take(self, frame: Frame) -> None:
        try:
            self._loop.frame(frame, frame.time_ns)
            self._loop.settle()
        except Exception:  # one pack's line: the others and the next frame go on
            self._failed()

    def old(self) -> None:
        self._own_faults.frame_old(self._clock.now_ns())

    def tick(self, now_ns: int) -> None:
        try:
            self._loop.tick()
            self._loop.settle()
        except Exception:  # as above
            self._failed()
        self.attend(now_ns)

    def attend(self, now_ns: int) -> None:
        """What is looked at each tick."""
        if now_ns >= self._clock_due_ns:
            self._clock_due_ns = now_ns + round(CLOCK_EVERY_S * 1e9)
            self._clock.synchronised = synchronised()
            self._own_faults.look(now_ns)
        if self._reload_asked and self._building is None:
            self._reload_asked = False
            self._begin_reload()
        if self._building is not None and self._building.done.is_set():
            self._end_reload(self._building)
            self._building = None

    def done(self, barrier: int) -> None:
        self._notify.rig(barrier, self._emitted)

    def _emit(self, decision: Decision) -> None:
        line = encode(decision)
        self._emitted += 1
        for opened in self._outlets.values():
            opened.outlet.offer(decision, line)
        self._recording.offer(decision, line)
        self._control.decided(decision)
        if self._feed_every_ns:
            now_ns = self._clock.now_ns()
            if now_ns - self._fed_ns >= self._feed_every_ns:
                self._fed_ns = now_ns
                self._notify.watchdog()

    def _faults(self, pack: str) -> tuple[GatewayFault, ...]:
        now_ns = self._clock.now_ns()
        found = [fault for fault in (*self._own_faults.standing(), *self._control.faults(now_ns)) if fault.concerns(pack)]
        found += self._buses.faults(pack, now_ns)
        found += outlet_faults(self._outlets, now_ns, on_rig=isinstance(self._clock, RigClock))
        found += self._recording.faults(pack)
        return tuple(found)

    def _failed(self) -> None:
        """A line raised: a fault of ours. That line is built anew, its latches kept; too often ends the process."""
        say(f"a pack's line failed:\n{traceback.format_exc()}", WARNING)
        self._own_faults.line_failed()
        failed = [pack for pack in self._config.pack if self._lines[pack.name] is self._loop.at] or list(self._config.pack)
        built = self._build(msgspec.structs.replace(self._config, pack=tuple(failed)))
        for name, line in built.items():
            # latches and alerts, no more: whatever made it fail must not go over
            old = self._lines[name].pipeline
            line.pipeline.guard.restore(old.guard.state())
            line.pipeline.arbiter.restore(old.arbiter.state())
        self._lines = self._recording.attach(self._config, self._lines | built, restore=False)
        self._loop = self._make_loop()

    # ---- building

    def _open_recording(self, config: Config) -> Recording:
        return Recording(config.record, self._clock, say=lambda text: say(text, WARNING))

    def _build(self, config: Config) -> dict[str, PackLine]:
        if self._deadline_ms != config.students.deadline_ms or self._worker.hangs:
            self._worker, self._deadline_ms = Worker(self._clock, config.students.deadline_ms / 1e3), config.students.deadline_ms
        # a clock that stands still while a student thinks has no deadline
        if isinstance(self._clock, RigClock):
            return build_lines(config, ask_inline)
        return build_lines(config, self._worker.ask, self._worker.late)

    def _make_loop(self) -> Loop:
        return Loop(self._lines.values(), self._clock, self._emit, self._clock.now_ns, self._faults)

    def _use_buses(self) -> None:
        if isinstance(self._clock, RigClock):
            self._clock.use(bus.name for bus in self._config.bus)
        self._buses.use(self._config)

    def _status(self) -> str:
        return f"{len(self._config.pack)} pack(s) on {', '.join(bus.name for bus in self._config.bus)}"

    def _request_cells(self, pack: str) -> None:
        """From any thread."""

        def order() -> None:
            line = self._lines.get(pack)
            if line is not None:
                self._loop.order(line, SendCells())

        with contextlib.suppress(DeskFull):  # so many have asked already
            self._desk.leave(order)

    def _running(self) -> Running:
        own = self._own_faults.standing()
        return Running(self._config, self._gateway, self._lines, self._loop, self._recording, own)

    # ---- reload

    def _begin_reload(self) -> None:
        self._notify.reloading()
        self._building = Building(self._path, self._build)

    def _end_reload(self, building: Building) -> None:
        error, config = building.error, building.config
        outlets = self._outlets
        if config is not None:
            try:
                outlets = self._open_outlets(config, self._gateway, self._outlets)
            except EdgebmsError as refused:
                error = refused
        if error is not None or config is None:
            say(f"reload refused, the old configuration goes on: {error}", WARNING)
            self._own_faults.begin("config_refused", Level.WARNING)
        else:
            self._own_faults.end("config_refused")
            self._swap(config, building.lines, outlets)
            say(f"reloaded: {self._status()}", NOTICE)
        self._notify.ready(self._status())

    def _swap(self, config: Config, lines: dict[str, PackLine], outlets: dict[str, Opened]) -> None:
        """The new lines and outlets take the place of the old between two frames."""
        old_packs = {pack.name: pack for pack in self._config.pack}
        for pack in config.pack:
            if pack.name in old_packs:
                went = carry_over(self._lines[pack.name], lines[pack.name], old_packs[pack.name], pack, self._clock.now_ns())
                say(f"{pack.name}: took over {went} from before the reload")
        old, self._config = self._config, config
        self._swap_recording(old)
        self._lines = self._recording.attach(config, lines, restore=False)
        self._loop = self._make_loop()
        self._use_buses()
        self._control.use(config.control)
        for name, opened in self._outlets.items():
            if outlets.get(name) is not opened:
                threading.Thread(target=opened.outlet.close, name="edgebms-closing").start()  # it may take its time
        self._outlets = outlets

    def _swap_recording(self, old: Config) -> None:
        if old.record == self._config.record:
            return
        before, self._recording = self._recording, self._open_recording(self._config)
        # the counters go on; their recorders are closed when the new ones are attached
        self._recording.recorders, before.recorders = before.recorders, {}
        self._retired.append(before)

    # ---- the end

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True
        self._inbox.wake()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._reload_asked = True

    def _close(self) -> None:
        self._control.close()
        for recording in (*self._retired, self._recording):
            recording.close()
        self._buses.close()
        for opened in self._outlets.values():
            try:
                opened.outlet.close()
            except Exception as error:  # the next outlet is closed all the same
                say(f"closing an outlet: {error}", WARNING)
