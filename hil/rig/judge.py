"""Did a run do what its scenario asks? Each expectation, each never, and what was left over."""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from edgebms.cellcard import load_card
from edgebms.decision.types import Alert, Decision
from edgebms.vocabulary import Cause
from hil.rig.plant import daemon_card
from hil.rig.run_log import McuTold, RunLog, Truth
from hil.scenario import AlertSpec, CommandSpec, Expect, McuSpec, Moment, Never, SentSpec

LEVELS = ("none", "watch", "warning", "critical")
WARNING = re.compile(r"warning:|error:|Traceback|failed", re.IGNORECASE)
BELIEVED_S, BELIEVED_V = 15.0, 0.02
"""Stale by the profile's rules at the latest, and a sensor's errors."""
LYING_SENSORS = ("voltage_drift", "voltage_stuck", "voltage_tap", "cell_reconnected")
SILENT_S = 3.0
"""An inverter's frames come once a second: so long without one is silence."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing asked of a run. at_s: when it held first. known: why it fails today."""

    asked: str
    passed: bool
    says: str
    at_s: float | None = None
    known: str = ""


def judge(run: RunLog) -> list[Check]:
    """All checks of one run."""
    checks = [replace(expected(run, expect), known=expect.known) for expect in run.scenario.expect]
    checks += [forbidden(run, never) for never in run.scenario.never]
    return checks + believed(run) + left_over(run)


def moment(run: RunLog, when: Moment) -> float | None:
    """Seconds of an event's beginning; None: it never came."""
    if not isinstance(when, str):
        return float(when)
    if when == "start":
        return 0.0
    parts = when.split(".")
    if parts[0] in ("fault", "bus", "gateway", "mcu"):
        if len(parts) == 1 or parts[1] == "end":
            parts.insert(1, "1")
        return run.events.get(".".join(parts))
    return run.events.get(when)


def expected(run: RunLog, expect: Expect) -> Check:
    asked = words(expect)
    start_s = moment(run, expect.of)
    if start_s is None:
        return Check(asked, False, f"{expect.of} never came")
    end_s = run.scenario.duration_s
    if expect.within_s is not None:
        end_s = min(end_s, start_s + expect.within_s)
    if expect.before is not None and (before_s := moment(run, expect.before)) is not None:
        end_s = min(end_s, before_s)
    held_since: float | None = None
    for time_s, holds in timeline(run, expect):
        if time_s < start_s:
            continue
        if holds and held_since is None:
            if time_s > end_s:
                return Check(asked, False, f"held first at {time_s:.1f} s, asked by {end_s:.1f} s")
            held_since = time_s
        if not holds and held_since is not None and time_s - held_since < expect.holds_s:
            held_since = None
        if held_since is not None and time_s - held_since >= expect.holds_s:
            return Check(asked, True, f"{held_since - start_s:.1f} s after {expect.of}", held_since)
    if held_since is not None:
        return Check(asked, False, f"from {held_since:.1f} s on it held no {expect.holds_s:g} s")
    return Check(asked, False, f"never held from {start_s:.1f} s to {end_s:.1f} s")


def timeline(run: RunLog, expect: Expect) -> Iterable[tuple[float, bool]]:
    if expect.plant is not None:
        if expect.plant in ("no_runaway", "runaway"):
            last_s = run.truth[-1].time_s if run.truth else 0.0
            began = any(truth.runaway for truth in run.truth)
            return [(run.events.get("runaway", last_s) if began else last_s, began == (expect.plant == "runaway"))]
        if expect.plant == "opened_without_load" and run.scenario.link == "mcu":
            return [(time_s, abs(current_a) <= low_a(run)) for time_s, current_a in run.openings]
        if expect.plant == "opened_without_load":
            return [
                (truth.time_s, was.closed and not truth.closed and abs(was.current_a) <= low_a(run)) for was, truth in pairwise(run.truth)
            ]
        holds: Callable[[Truth], bool] = PLANT[expect.plant]
        return [(truth.time_s, holds(truth)) for truth in run.truth]
    if expect.alert is not None:
        spec = expect.alert
        return [(time_s, any(meets(alert, spec) for alert in decision.alerts)) for time_s, decision in run.decisions]
    if expect.cleared is not None:
        gone = expect.cleared
        return [(time_s, not any(meets(alert, gone) for alert in decision.alerts)) for time_s, decision in run.decisions]
    if expect.mcu is not None:
        spoken = expect.mcu
        return [(told.time_s, tells(told, spoken)) for told in run.mcu]
    if expect.sent is not None:
        return [(truth.time_s, says(run, expect.sent, truth.time_s)) for truth in run.truth]
    if expect.command is not None:
        asked = expect.command
        return [(time_s, commands(decision, asked)) for time_s, decision in run.decisions]
    if expect.unknown is not None:
        signal = expect.unknown
        return [(time_s, any(signal in (w.signal, w.reason) for w in decision.quality.warnings)) for time_s, decision in run.decisions]
    return [(time_s, decision.quality.valid_cells == decision.quality.cells) for time_s, decision in run.decisions]


PLANT: dict[str, Callable[[Truth], bool]] = {
    "contactors_open": lambda truth: not truth.closed,
    "current_zero": lambda truth: abs(truth.current_a) < 0.5,
    "no_charge": lambda truth: truth.current_a < 0.1,
}


def low_a(run: RunLog) -> float:
    """What a contactor may open at: 1.8 A (Battery-Emulator, PR 2713), or C/100 of a large pack."""
    pack = run.scenario.pack
    return max(1.8, 0.01 * load_card(daemon_card(pack)).capacity_ah * pack.parallel)


def says(run: RunLog, spec: SentSpec, now_s: float) -> bool:
    """Is the newest frame of ``spec.id`` (of the last SILENT_S) what ``spec`` asks for at ``now_s``?"""
    newest = next(
        (frame for at_s, frame in reversed(run.sent) if frame.arbitration_id == spec.id and now_s - SILENT_S < at_s <= now_s), None
    )
    if newest is None or spec.silent:
        return (newest is None) == spec.silent
    charge_v, charge_a, discharge_a = (value / 10 for value in struct.unpack_from("<Hhh", newest.data))
    return (
        (spec.charge_a_max is None or charge_a <= spec.charge_a_max)
        and (spec.discharge_a_max is None or discharge_a <= spec.discharge_a_max)
        and (spec.discharge_a_min is None or discharge_a >= spec.discharge_a_min)
        and (spec.charge_v_max is None or charge_v <= spec.charge_v_max)
    )


def tells(told: McuTold, spec: McuSpec) -> bool:
    """Is what the microcontroller says of itself what ``spec`` asks for?"""
    return (
        (spec.state is None or told.state == spec.state)
        and (spec.contactor is None or told.closed == (spec.contactor == "closed"))
        and (spec.fault is None or spec.fault in told.faults)
        and (spec.refused is None or told.counts.get(spec.refused, 0) > 0)
        and (spec.charge_a_max is None or told.charge_a <= spec.charge_a_max)
        and (spec.discharge_a_max is None or told.discharge_a <= spec.discharge_a_max)
        and (spec.discharge_a_min is None or told.discharge_a >= spec.discharge_a_min)
        and (spec.lapse_s_max is None or told.lapse_s <= spec.lapse_s_max)
    )


def forbidden(run: RunLog, never: Never) -> Check:
    asked = "never " + " ".join(map(spec_words, filter(None, [never.alert, never.command, never.sent, never.mcu]))) + between(never)
    start_s = moment(run, never.since)
    if start_s is None:
        return Check(asked, True, f"{never.since} never came")
    till_s = moment(run, never.till) if never.till is not None else None
    for time_s, decision in run.decisions:
        if time_s < start_s or (till_s is not None and time_s >= till_s):
            continue
        if never.alert is not None and (met := [alert for alert in decision.alerts if meets(alert, never.alert)]):
            return Check(asked, False, f"at {time_s:.1f} s: {alert_words(met[0])}", time_s)
        if never.command is not None and commands(decision, never.command):
            return Check(asked, False, f"at {time_s:.1f} s: {decision.command.action} as {decision.command.mode}", time_s)
    if (sent := never.sent) is not None:
        for truth in run.truth:
            if start_s <= truth.time_s and (till_s is None or truth.time_s < till_s) and says(run, sent, truth.time_s):
                return Check(asked, False, f"at {truth.time_s:.1f} s", truth.time_s)
    if never.mcu is not None:
        for told in run.mcu:
            if start_s <= told.time_s and (till_s is None or told.time_s < till_s) and tells(told, never.mcu):
                return Check(asked, False, f"at {told.time_s:.1f} s", told.time_s)
    return Check(asked, True, "never")


def believed(run: RunLog) -> list[Check]:
    """No cell voltage in a decision that no cell had shortly before: nothing is invented, nothing wrong gets through."""
    if any(fault.kind in LYING_SENSORS for fault in run.scenario.faults) or not run.truth:
        return []
    at = 0
    window: deque[Truth] = deque()
    for time_s, decision in run.decisions:
        while at < len(run.truth) and run.truth[at].time_s <= time_s + run.scenario.pack.period_s:
            window.append(run.truth[at])
            at += 1
        while window and window[0].time_s < time_s - BELIEVED_S:
            window.popleft()
        low_v, high_v = decision.measured.cell_voltage_v.min, decision.measured.cell_voltage_v.max
        # the first sweep was sampled on the way from a state that nobody noted
        if time_s < 2.5 * run.scenario.pack.period_s or low_v is None or high_v is None:
            continue
        if low_v < min(t.cell_min_v for t in window) - BELIEVED_V or high_v > max(t.cell_max_v for t in window) + BELIEVED_V:
            return [Check("cell voltages are the pack's", False, f"at {time_s:.1f} s: {low_v:.3f} to {high_v:.3f} V", time_s)]
    return [Check("cell voltages are the pack's", True, "all")]


def left_over(run: RunLog) -> list[Check]:
    """Nothing unexpected: no unlisted alert, no line that is no decision, no error in the log, a clean end."""
    allowed = [expect.alert for expect in run.scenario.expect if expect.alert is not None] + list(run.scenario.allow)
    strangers: dict[str, float] = {}
    for time_s, decision in run.decisions:
        for alert in decision.alerts:
            if not any(same_place(alert, spec) for spec in allowed):
                strangers.setdefault(alert_words(alert), time_s)
    told = "; ".join(f"{text} at {time_s:.1f} s" for text, time_s in sorted(strangers.items(), key=lambda entry: entry[1])[:5])
    checks = [Check("no unlisted alert", not strangers, told or "none")]
    told = {
        f"{warning.signal}: {warning.reason}": time_s
        for time_s, decision in reversed(run.decisions)
        for warning in decision.quality.warnings
        if warning.signal.split(".")[0] == "gateway" and not any(expects_fault(spec, warning.reason) for spec in allowed)
    }
    first = [f"{text} at {time_s:.1f} s" for text, time_s in sorted(told.items(), key=lambda entry: entry[1])[:3]]
    checks.append(Check("no unlisted fault of the gateway", not told, "; ".join(first) or "none"))
    lines = [line for line in run.log.splitlines() if WARNING.search(line) and not any(text in line for text in run.scenario.allow_log)]
    checks.append(Check("no error in the log", not lines, "; ".join(lines[:3]) or "none"))
    if run.exit_code is not None or run.broken:
        says = run.broken or f"exit code {run.exit_code}"
        checks.append(Check("the daemon lives and ends cleanly", run.exit_code == 0 and not run.broken, says))
    checks.append(Check("every line is a decision", run.bad_lines == 0, f"{run.bad_lines} are not"))
    return checks


def expects_fault(spec: AlertSpec, reason: str) -> bool:
    return spec.hazard is Cause.GATEWAY_FAULT and (spec.rule is None or spec.rule.split(".")[0] == reason)


def meets(alert: Alert, spec: AlertSpec) -> bool:
    return same_place(alert, spec) and (spec.level is None or LEVELS.index(alert.level) >= LEVELS.index(spec.level))


def same_place(alert: Alert, spec: AlertSpec) -> bool:
    """As ``meets``, at any level."""
    return (
        (spec.hazard is None or alert.hazard is spec.hazard)
        and (spec.cell is None or alert.cell == spec.cell)
        and (spec.probe is None or alert.probe == spec.probe)
        and (spec.rule is None or any(evidence.rule.startswith(spec.rule) for evidence in alert.evidence))
    )


def commands(decision: Decision, spec: CommandSpec) -> bool:
    command, limits = decision.command, decision.command.limits
    return (
        (spec.action is None or command.action is spec.action)
        and (spec.mode is None or command.mode is spec.mode)
        and (spec.cool is None or command.cool == spec.cool)
        and (spec.charge_a_max is None or limits.charge_a <= spec.charge_a_max)
        and (spec.discharge_a_max is None or limits.discharge_a <= spec.discharge_a_max)
        and (spec.charge_a_min is None or limits.charge_a >= spec.charge_a_min)
        and (spec.discharge_a_min is None or limits.discharge_a >= spec.discharge_a_min)
    )


def words(expect: Expect) -> str:
    if expect.recovered:
        what = "every cell is seen again"
    elif expect.unknown is not None:
        what = f"{expect.unknown} is told as unknown"
    elif expect.plant is not None:
        what = f"plant: {expect.plant.replace('_', ' ')}"
    elif expect.cleared is not None:
        what = f"no {spec_words(expect.cleared)} any more"
    else:
        what = " ".join(map(spec_words, filter(None, [expect.alert, expect.command, expect.sent, expect.mcu])))
    when = f" within {expect.within_s:g} s of {expect.of}" if expect.within_s is not None else f" after {expect.of}"
    return (
        what
        + when
        + (f", before {expect.before}" if expect.before is not None else "")
        + (f", for {expect.holds_s:g} s" if expect.holds_s else "")
    )


def spec_words(spec: AlertSpec | CommandSpec | SentSpec | McuSpec) -> str:
    given = [(name, getattr(spec, name)) for name in spec.__struct_fields__ if getattr(spec, name) not in (None, False)]
    kind = {AlertSpec: "alert", CommandSpec: "command", SentSpec: "frame", McuSpec: "microcontroller"}[type(spec)]
    if isinstance(spec, SentSpec):
        given = [(name, f"{value:#x}" if name == "id" else value) for name, value in given]
    return kind + " " + (" ".join(f"{name} {value}" for name, value in given) or "of any kind")


def between(never: Never) -> str:
    return ("" if never.since == "start" else f" since {never.since}") + ("" if never.till is None else f" till {never.till}")


def alert_words(alert: Alert) -> str:
    place = f" cell {alert.cell}" if alert.cell is not None else f" probe {alert.probe}" if alert.probe is not None else ""
    return f"{alert.level} {alert.hazard}{place} ({', '.join(sorted({evidence.rule for evidence in alert.evidence}))})"
