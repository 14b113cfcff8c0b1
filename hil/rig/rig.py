"""One scenario, run: the plant, the real daemon as its own process, a real link between them, and the site that obeys."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebms.errors import ConfigError
from edgebms.inlet.frame import Frame
from edgebms.vocabulary import Contactor
from hil.errors import Missing, RigError
from hil.rig import gateway_faults
from hil.rig import unit as unit_daemon
from hil.rig.bench import Bench
from hil.rig.broker import Broker
from hil.rig.bus_faults import BusFaults
from hil.rig.config import config_text
from hil.rig.hardware import HardwareEnd, emulator_of, load
from hil.rig.link import End, open_end, time_frame
from hil.rig.machine import environment, small_disk
from hil.rig.process import DaemonProcess
from hil.rig.run_log import RunLog, Truth
from hil.rig.site import Site
from hil.rig.unit import UnitDaemon
from hil.scenario import GatewayFault, McuFault

if TYPE_CHECKING:
    from hil.rig.mcu_end import BoardChoice, McuEnd
    from hil.rig.site_mcu import McuSite

START_NS = 1_000_000_000
"""The rig's clock at the scenario's start: there is a time before it."""
SETTLE_S = 0.3
ON_A_DISK = ("full_disk", "read_only_disk")
WITH_A_BROKER = ("broker_loss",)
OPEN_S = 20.0
RENEW_S = 4.0
"""A pseudo-terminal that the daemon does not open by then is held by another process: the rig takes the next one."""
LINK_SILENT_S, REOPEN_S = 5.0, 0.6
"""The daemon's own times (``bus.silent_s``, ``inlet/bus.py``), the first with room."""


class Rig:
    """``run`` once. A ``Host`` for the gateway faults."""

    def __init__(
        self,
        log: RunLog,
        folder: Path,
        package: Path | None = None,
        hardware: Path | None = None,
        board: BoardChoice | None = None,
        unit: str | None = None,
    ) -> None:
        """log: an empty one of the scenario and seed to run; what happens goes into it. package: a folder with another
        ``edgebms`` for the daemon, None = the rig's own. hardware: see ``hardware.py``; then all is on the machine's clock.
        board: which microcontroller, None = the reference firmware under QEMU. unit: the daemon is this systemd unit of an
        installed package, on the machine's clock."""
        scenario, seed = log.scenario, log.seed
        self.log, self.scenario, self.folder = log, scenario, folder
        self._unit, self._state = unit, folder if unit is None else unit_daemon.STATE
        self.record = self._state / "record"
        self.config = folder / "gateway.toml" if unit is None else unit_daemon.CONFIG
        self._rng = np.random.default_rng([seed, 1])
        self._bench = Bench(scenario, seed)
        self._hardware, self._board = hardware, board
        self._realtime = scenario.realtime or hardware is not None or unit is not None
        self._package = {} if package is None else {"PYTHONPATH": str(package)}
        self._bus_faults = BusFaults(scenario.bus, scenario.pack.period_s, self._rng)
        self._barrier = 0
        self._taken = 0
        self._start_ns = START_NS
        self._now_s = 0.0
        self.broker: Broker | None = None
        self.mcu: McuEnd | None = None

    def run(self) -> RunLog:
        """Raises RigError where this machine cannot run it."""
        began_s = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            if any(fault.kind in ON_A_DISK for fault in self.scenario.gateway):
                stack.enter_context(small_disk(self.record))
            self._open()
            stack.callback(self._end.close)
            text = config_text(self.scenario, self._end, self._state)
            if any(fault.kind in WITH_A_BROKER for fault in self.scenario.gateway):
                self.broker = stack.enter_context(Broker(self.folder))
                text = text.replace("{broker}", str(self.broker.port))
            self.daemon = self._daemon(text)
            standing: dict[str, Callable[[], None]] = {}
            try:
                self.daemon.wait_ready()
                self._start()
                self._steps(standing)
            finally:
                for end in standing.values():
                    end()
                self._finish()
        self.log.wall_s = time.monotonic() - began_s
        return self.log

    def _daemon(self, text: str) -> DaemonProcess | UnitDaemon:
        """It, started with this configuration."""
        if self._unit is not None:
            return UnitDaemon(self._unit, text)
        self.config.write_text(text)
        more = environment(self.scenario, self.folder) | self._package
        return DaemonProcess(self.folder, self.config, rig_clock=not self._realtime, environment=more)

    def _open(self) -> None:
        """The rig's end of the link, and the site behind it."""
        self._end: End
        self._site: Site | McuSite = Site(self.scenario.site, self.scenario.pack.contactors is Contactor.CLOSED)
        if self.scenario.link == "mcu":
            from hil.rig.mcu_end import BoardChoice, McuEnd
            from hil.rig.site_mcu import McuSite

            board = self._board or BoardChoice()
            if self._hardware is not None and board.port is None:
                raise Missing("an emulated microcontroller has no wires", where="hardware", mend="name the board's port: --port")
            self._end = self.mcu = McuEnd(self.scenario, self.folder, self._bench.at_start(), board)
            if self._hardware is not None:
                self.mcu.emulator = emulator_of(load(self._hardware), self._hardware)
            self._site = McuSite(self.scenario.site, self.mcu)
        elif self._hardware is None:
            self._end = open_end(self.scenario.link, self.folder, "can0")
        elif self.scenario.bus or self.scenario.link != "slcan":
            raise Missing("needs the rig's own bus", where="hardware", mend="run this scenario without --hardware")
        else:
            self._end = real = HardwareEnd(self._hardware)
            self._bench.emulator = real.emulator

    def restarted(self) -> None:
        self.daemon.wait_ready()
        self._taken = len(self.daemon.decisions)
        if not self._realtime:
            self._barrier = 0
            self._wait_open(self._now_s)

    # ---- time

    def _start(self) -> None:
        if self._realtime:
            time.sleep(SETTLE_S)  # the link is opened in a thread of the daemon's
            self._start_ns = time.monotonic_ns()
        else:
            self._wait_open(0.0)

    def _wait_open(self, now_s: float) -> None:
        """Time frames until one is answered: the daemon is ready before its link is open."""
        renew_s = end_s = time.monotonic()
        end_s += OPEN_S
        answer = None
        while answer is None:
            if time.monotonic() > end_s:
                raise RigError("the daemon hears nothing", where="link", mend=f"see its log: {self.daemon.log().strip()}")
            if self._end.renews and time.monotonic() > renew_s + RENEW_S:
                renew_s = time.monotonic()
                self._end.unplug()
                self._end.plug_in()
            answer = self._ask_time(now_s)
            if answer is not None and now_s > LINK_SILENT_S and self._barrier == 0:
                # its clock has just jumped by more than a link may be silent: it opens the link anew
                self._barrier, answer = answer, None
                time.sleep(REOPEN_S)
        self._barrier = answer

    def _ask_time(self, now_s: float) -> int | None:
        """The newest barrier that the daemon says it has passed, None = it says nothing."""
        assert isinstance(self.daemon, DaemonProcess)
        self._end.send([time_frame(self._ns(now_s))])
        barrier, wait_s = None, 0.1
        while (message := self.daemon.manager.receive(wait_s)) is not None:
            if "X_EDGEBMS_BARRIER" in message:
                barrier, wait_s = int(message["X_EDGEBMS_BARRIER"]), 0.05
        return barrier

    def _ns(self, time_s: float) -> int:
        return self._start_ns + round(time_s * 1e9)

    # ---- the scenario

    def _steps(self, standing: dict[str, Callable[[], None]]) -> None:
        """standing: how each fault that is on ends; whoever calls ends what is left of them."""
        scenario = self.scenario
        period_s = scenario.pack.period_s
        if self.mcu is not None:  # its front end has shown the cells since before the start
            self.log.truth.append(self._bench.truth(0.0, self._site.orders(0.0, 0.0)))
        for number in range(1, int(scenario.duration_s / period_s) + 1):
            self._now_s = now_s = number * period_s
            self._turn("gateway", scenario.gateway, self._begin_gateway, now_s, standing)
            self._turn("mcu", scenario.mcu, self._begin_mcu, now_s, standing)
            orders = self._site.orders(self._bench.wanted_a(now_s), now_s)
            self._bench.step(period_s, orders)
            self._mark_events(now_s)
            frames, raw = self._spoken(now_s)
            if not self._exchange(now_s, frames, raw):
                code = self.daemon.process.poll()
                self.log.broken = f"no answer from the daemon at {now_s:.1f} s" + (f", it ended with {code}" if code is not None else "")
                return
            self.log.truth.append(self._bench.truth(now_s, orders))

    def _spoken(self, now_s: float) -> tuple[list[Frame], bytes]:
        """What the pack's BMS sends now. A microcontroller in the loop speaks for itself, of what it is shown."""
        if self.mcu is not None:
            self.mcu.show(self._bench.measure())
            return [], b""
        return self._bus_faults.apply(self._bench.frames(self._ns(now_s)), now_s)

    def _exchange(self, now_s: float, frames: list[Frame], raw: bytes) -> bool:
        """Send a sweep, let the daemon decide, take what it says. False: it does not answer any more."""
        now_ns = self._ns(now_s)
        plugged = not self._bus_faults.unplugged(now_s)
        self._plug(plugged)
        if self._realtime:
            time.sleep(max(0.0, (now_ns - time.monotonic_ns()) / 1e9))
            if raw:
                self._end.send_raw(raw)
            self._end.send(frames)
            alive = self.daemon.down or self.daemon.process.poll() is None
        else:
            self._end.send([time_frame(now_ns)])
            if raw:
                self._end.send_raw(raw)
            self._end.send([*frames, time_frame(now_ns)])
            self._barrier += 2
            assert isinstance(self.daemon, DaemonProcess)
            alive = self.daemon.wait_barrier(self._barrier)
        self.log.frames += [frame._replace(time_ns=round(now_s * 1e9)) for frame in frames]
        self.log.sent += [(now_s, frame) for frame in self._end.receive() if frame.arbitration_id not in self._bench.ids]
        self._take(now_s)
        return alive

    def _plug(self, plugged: bool) -> None:
        if plugged == self._plugged:
            return
        self._plugged = plugged
        if plugged:
            self._end.plug_in()
        else:
            self._end.unplug()

    _plugged = True

    def _take(self, now_s: float) -> None:
        for decision in self.daemon.decisions[self._taken :]:
            self._taken += 1
            self.log.decisions.append(((decision.mono_ns - self._start_ns) / 1e9, decision))
            self._site.take(decision, now_s)
        if self.mcu is not None:
            self.log.mcu += self.mcu.told(self._start_ns)
            self.log.openings = self.mcu.openings(self._start_ns)

    def _turn(
        self,
        name: str,
        specs: Sequence[Any],
        begin: Callable[[Any], Callable[[], None]],
        now_s: float,
        standing: dict[str, Callable[[], None]],
    ) -> None:
        """Begin and end what is due."""
        for i, spec in enumerate(specs, 1):
            event = f"{name}.{i}"
            if event not in self.log.events and now_s >= spec.at_s:
                self.log.events[event] = now_s
                standing[event] = begin(spec)
            elif event in standing and spec.for_s is not None and now_s >= spec.at_s + spec.for_s:
                standing.pop(event)()
                self.log.events[f"{event}.end"] = now_s

    def _begin_gateway(self, spec: GatewayFault) -> Callable[[], None]:
        fault = gateway_faults.KINDS[spec.kind]()
        fault.begin(self)
        return partial(fault.end, self)

    def _begin_mcu(self, spec: McuFault) -> Callable[[], None]:
        if self.mcu is None:
            raise ConfigError("there is no microcontroller", where="mcu", mend="link: mcu")
        return self.mcu.begin(spec)

    def _mark_events(self, now_s: float) -> None:
        events = self.log.events
        for i, fault in enumerate(self.scenario.faults):
            if now_s >= fault.at_s:
                events.setdefault(f"fault.{i + 1}", fault.at_s)
        for i, spec in enumerate(self.scenario.bus):
            if now_s >= spec.at_s:
                events.setdefault(f"bus.{i + 1}", spec.at_s)
            if spec.for_s is not None and now_s >= spec.at_s + spec.for_s:
                events.setdefault(f"bus.{i + 1}.end", spec.at_s + spec.for_s)
        for name, at_s in zip(("runaway", "propagation"), self._bench.runaways_s, strict=False):
            events.setdefault(name, at_s)
        if self._site.opened_s is not None:
            events.setdefault("opened", self._site.opened_s)

    def _finish(self) -> None:
        self.log.exit_code = self.daemon.stop()
        if self._start_ns:
            self._take(self.log.truth[-1].time_s if self.log.truth else 0.0)
        self.log.log = self.daemon.log()
        self.log.bad_lines = len(self.daemon.bad_lines)


def keep(folder: Path, to: Path) -> None:
    """Copy what a failed run left."""
    shutil.copytree(folder, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("notify", "tty-*"))


__all__ = ["Rig", "Truth", "keep"]
