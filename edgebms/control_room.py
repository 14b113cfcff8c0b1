"""What the daemon is asked on its control socket, and what it answers: acknowledge, selftest, status.

The socket has a thread; whatever an answer reads or changes is read and changed in the loop's, by way of the desk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgebms import __version__
from edgebms.clock import Clock
from edgebms.config import Config, Control
from edgebms.control import AcknowledgeAsk, Acknowledged, Ask, Begun, BusStatus, OutletStatus, PackStatus, Rule, SelftestAsk, Status
from edgebms.control_server import ControlServer
from edgebms.decision.alerts import moment
from edgebms.decision.types import Decision
from edgebms.desk import Desk
from edgebms.errors import GatewayError
from edgebms.gateway_fault import GatewayFault
from edgebms.loop import Loop, PackLine
from edgebms.notify import NOTICE, WARNING, say
from edgebms.order import Acknowledge
from edgebms.outlet.outlet import Gateway
from edgebms.record.audit import AuditedOrder
from edgebms.record.recorder import Recording
from edgebms.selftest import TestAlarm


class Running(NamedTuple):
    """The daemon as it stands now. faults: its own, without those of buses, outlets and record."""

    config: Config
    gateway: Gateway
    lines: Mapping[str, PackLine]
    loop: Loop
    recording: Recording
    faults: tuple[GatewayFault, ...]


class ControlRoom:
    """All but ``answer`` in the loop's thread."""

    def __init__(self, clock: Clock, desk: Desk, running: Callable[[], Running]) -> None:
        self._clock, self._desk, self._running = clock, desk, running
        self._server: ControlServer | None = None
        self._test_alarm = TestAlarm(clock)
        self._begun_ns, self._begun_utc_ns = clock.now_ns(), clock.utc_ns()
        self._last: dict[str, tuple[int, Decision]] = {}

    def use(self, settings: Control) -> None:
        """Listen where ``settings`` say, from now on."""
        if self._server is not None:
            if self._server.settings == settings:
                return
            threading.Thread(target=self._server.close, name="edgebms-closing").start()  # it may take its time
        self._server = ControlServer(settings, self.answer, lambda text: say(text, WARNING)) if settings.socket else None

    def decided(self, decision: Decision) -> None:
        before = self._last.get(decision.pack)
        self._last[decision.pack] = (1 if before is None else before[0] + 1), decision

    def faults(self, now_ns: int) -> tuple[GatewayFault, ...]:
        server = self._server.faults() if self._server is not None else ()
        return (*server, *self._test_alarm.faults(now_ns))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def answer(self, request: Ask, uid: int) -> Acknowledged | Begun | Status:
        """In the socket's thread. Raises GatewayError, TimeoutError, DeskFull."""
        return self._desk.ask(lambda: self._carry_out(request, uid))

    def _carry_out(self, request: Ask, uid: int) -> Acknowledged | Begun | Status:
        if isinstance(request, AcknowledgeAsk):
            answer = acknowledge(request, uid, self._running(), self._clock)
            say(f"{answer.pack}: uid {uid} acknowledged {', '.join(rule.rule for rule in answer.rules) or 'nothing'}", NOTICE)
            return answer
        if isinstance(request, SelftestAsk):
            since_ns, until_ns = self._test_alarm.begin(request.seconds)
            say(f"uid {uid} asked for a test alarm of {request.seconds:g} s", NOTICE)
            return Begun(since_ns, until_ns)
        return self._status(self._running())

    def _status(self, running: Running) -> Status:
        now_ns = self._clock.now_ns()
        return Status(
            runtime=__version__,
            pid=os.getpid(),
            since=moment(self._begun_utc_ns) if self._begun_utc_ns is not None else None,
            running_s=round((now_ns - self._begun_ns) / 1e9, 3),
            packs=tuple(self._pack(pack.name, pack.cells, running.lines[pack.name], now_ns) for pack in running.config.pack),
            buses=tuple(
                BusStatus(bus.name, bus.settings.interface, bus.up, bus.problem, bus.counts.as_dict())
                for bus in running.gateway.buses().values()
            ),
            outlets=tuple(
                OutletStatus(
                    name,
                    outlet.dropped,
                    outlet.lost_changes,
                    outlet.failed,
                    getattr(outlet, "sent", None),
                    tuple(fault.rule for fault in outlet.faults(now_ns)),
                )
                for name, outlet in running.gateway.outlets().items()
            ),
            faults=tuple(fault.rule for fault in (*running.faults, *self.faults(now_ns))),
        )

    def _pack(self, name: str, cells: int, line: PackLine, now_ns: int) -> PackStatus:
        count, decision = self._last.get(name, (0, None))
        latched = tuple(row.name for row in line.pipeline.guard.latched())
        if decision is None:
            return PackStatus(name, 0, None, None, cells, (), latched)
        alerts = tuple(f"{alert.level} {alert.id}" for alert in decision.alerts)
        age_s = round((now_ns - decision.mono_ns) / 1e9, 3)
        return PackStatus(name, count, age_s, decision.quality.valid_cells, cells, alerts, latched)


def acknowledge(request: AcknowledgeAsk, uid: int, running: Running, clock: Clock) -> Acknowledged:
    """Open the latches that may open; each rule goes into the audit log. Raises GatewayError where the pack or the rule is none."""
    line = running.lines.get(request.pack)
    if line is None:
        raise GatewayError(f"no pack is called {request.pack!r}", mend=f"name one of: {', '.join(running.lines)}")
    guard = line.pipeline.guard
    rows = {row.name: row for row in guard.latched()}
    if request.rule is not None and request.rule not in rows:
        mend = f"latched are: {', '.join(rows)}" if rows else "nothing of this pack is latched"
        raise GatewayError(f"{request.rule!r} is not latched", mend=mend)
    told = []
    for row in rows.values():
        if request.rule not in (None, row.name):
            continue
        outcome = running.loop.order(line, Acknowledge(row.name))
        assert outcome is not None
        utc_ns = clock.utc_ns()
        time = moment(utc_ns) if utc_ns is not None else None
        running.recording.acknowledged(
            AuditedOrder(request.pack, time, clock.now_ns(), "acknowledge", row.name, outcome.opened, outcome.stands, uid)
        )
        values = [kept["value"] for kept in guard.state().get(row.name, {}).values()]
        value = values[0] if values else None
        told.append(Rule(row.name, row.hazard.value, outcome.opened, outcome.stands, value, row.unit, row.over))
    return Acknowledged(request.pack, tuple(told), tuple(row.name for row in guard.latched()))
