"""One decision in plain words, from its own evidence alone: no number stands in here that is not in it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgebms.decision.types import Alert, Asked, Command, Decision, Evidence, UnknownSignal
from edgebms.vocabulary import Action, Contactor, Mode, ReasonerStatus, Restraint, SequenceStep

DEEDS = {
    Action.NONE: "nothing",
    Action.SERVICE: "have the pack serviced",
    Action.COOL: "cool the pack",
    Action.BALANCE: "balance cells",
    Action.LIMIT: "lower the current limits",
    Action.STOP_CHARGE: "stop charging",
    Action.STOP_DISCHARGE: "stop discharging",
    Action.OPEN_CONTACTORS: "open the contactors",
}

RESTRAINTS = {
    Restraint.NEEDS_GUARD: "more than that needs the guard",
    Restraint.NEEDS_ESTIMATOR: "balancing comes from the estimator's proposal alone",
    Restraint.SITE_NOT_STATED: "the site is not stated, and taking the power away may harm",
    Restraint.SITE_ISLANDED: "the site is islanded, and taking the power away blacks it out",
    Restraint.SITE_VEHICLE_IN_MOTION: "the vehicle is in motion, and taking the power away may harm",
    Restraint.SITE_RULE: "the site's own rule says so",
    Restraint.LOWERING_CURRENT: "the current is taken away first",
    Restraint.SUSPECTED_SHORT: "a cell suspected of a short is not balanced",
}

SIGNALS = {
    "cell_voltage_v": "cell voltage",
    "temperature_c": "temperature",
    "current_a": "pack current",
    "voltage_v": "pack voltage",
    "insulation_ohm": "insulation resistance",
    "pressure_pa": "pressure",
    "coolant_temperature_c": "coolant temperature",
    "reported_soc": "the BMS's own state of charge",
    "frames": "frames refused",
}


TEST_ALARM = "test alarm of edgebms selftest, not a real one"


def explain(decision: Decision) -> str:
    """A few lines of text, ending with a newline."""
    return "\n".join(_lines(decision)) + "\n"


def _lines(decision: Decision) -> Iterator[str]:
    at = decision.time if decision.time is not None else "a time that is not known (no synchronised wall clock)"
    yield f"Pack {decision.pack}, decision {decision.seq}, at {at}."
    yield ""
    if not decision.alerts:
        yield "No alert stands."
    for alert in decision.alerts:
        yield from alert_lines(alert)
    yield ""
    yield from command_lines(decision.command)
    yield ""
    yield from reasoning_lines(decision)
    yield from _known(decision)
    yield from _quality(decision)


def alert_lines(alert: Alert) -> Iterator[str]:
    """One alert: a headline, then a line for each piece of evidence and what else is known of it."""
    since = f", since {alert.since}" if alert.since is not None else ""
    by = " and ".join(alert.raised_by)
    yield f"{alert.level.upper()}: {words(alert.hazard)}{place(alert.cell, alert.probe)}{since} (for {plain(alert.standing_s)} s), raised by {by}."
    for evidence in alert.evidence:
        yield f"  {_evidence(evidence)}"
    if alert.latched:
        yield "  It is latched: it stays until a person has seen it and the values are back inside."
    if alert.time_to_critical_s is not None:
        yield f"  The reasoner expects it to be critical in {plain(alert.time_to_critical_s)} s."
    if alert.confidence is not None:
        yield f"  The reasoner's confidence is {percent(alert.confidence)}."


def _evidence(evidence: Evidence) -> str:
    value = f"{plain(evidence.value)} {evidence.unit}" if evidence.value is not None else "no value"
    window = f" over {plain(evidence.window_s)} s" if evidence.window_s else ""
    limit = f", limit {plain(evidence.limit)} {evidence.unit}" if evidence.limit is not None else ""
    rule = TEST_ALARM if evidence.rule == "selftest" else words(evidence.rule)
    return f"{rule}{place(evidence.cell, evidence.probe)}: {value}{window}{limit}"


def command_lines(command: Command) -> Iterator[str]:
    """What goes out, who asked for what, and the limits with what bound them; lines below the first are indented."""
    if command.action is Action.NONE:
        yield "Command: none."
    elif command.mode is Mode.ADVICE:
        yield f"Advice to a person, not a command: {DEEDS[command.action]}."
    else:
        yield f"Command: {DEEDS[command.action]}."
    yield from (f"  {_asked(entry)}" for entry in command.asked)
    sequence = command.sequence
    if sequence is not None:
        if sequence.step is SequenceStep.LOWERING:
            yield (
                f"  Opening the contactors: limits are at zero for {plain(sequence.elapsed_s)} s; they open once the current is at most "
                f"{plain(sequence.low_current_a)} A, or after {plain(sequence.timeout_s)} s in any case."
            )
        elif sequence.step is SequenceStep.OPEN:
            yield "  The contactors are to open now."
        else:
            yield "  The bus says that the contactors are open."
        if sequence.step is not SequenceStep.LOWERING and sequence.under_load is not False:
            load = "under load" if sequence.under_load else "with a current that is not known, so perhaps under load"
            yield f"  They were told to open {load}: the current had not fallen in time."
    if command.cool:
        yield "  Cooling is asked for."
    if command.balance:
        yield f"  To be balanced: {cells(command.balance)}."
    limits = command.limits
    yield (
        f"  Limits: charge {plain(limits.charge_a)} A up to {plain(limits.charge_v)} V, "
        f"discharge {plain(limits.discharge_a)} A down to {plain(limits.discharge_v)} V."
    )
    if limits.reasons:
        yield f"  Bound by: {', '.join(words(reason) for reason in limits.reasons)}."


def _asked(entry: Asked) -> str:
    asked = f"The {entry.by} asks to {DEEDS[entry.action]}"
    if entry.reason is None:
        return f"{asked}."
    why = RESTRAINTS[entry.reason]
    if entry.given is Action.NONE:
        return f"{asked}; refused: {why}."
    if entry.given is not entry.action:
        return f"{asked}; what goes out is: {DEEDS[entry.given]}: {why}."
    if entry.mode is Mode.ADVICE:
        return f"{asked}; it goes out as advice: {why}."
    return f"{asked}; in part: {why}."


def reasoning_lines(decision: Decision) -> Iterator[str]:
    """The student's verdict and what it asked, or why there is none."""
    reasoning = decision.reasoning
    if reasoning is None:
        status = decision.provenance.reasoner
        yield "No reasoner took part." if status is ReasonerStatus.ABSENT else f"The reasoner did not speak: {words(status)}."
        return
    confidence = f", confidence {percent(reasoning.confidence)}" if reasoning.confidence is not None else ""
    yield f"The reasoner says: {words(reasoning.cause)}{place(reasoning.cell, None)}, severity {reasoning.severity}{confidence}. It asked:"
    for query in reasoning.trace:
        window = f" over {plain(query.window_s)} s" if query.window_s else ""
        seen = ", ".join(f"{words(o.name)} {'unknown' if o.value is None else f'{plain(o.value)} {o.unit}'}" for o in query.observed)
        yield f"  {words(query.query)}{place(query.cell, None)}{window}: {seen or 'nothing known'}"


def _known(decision: Decision) -> Iterator[str]:
    measured, soc, soh = decision.measured, decision.soc, decision.soh
    told = []
    if measured.voltage_v is not None:
        told.append(f"pack {plain(measured.voltage_v)} V")
    if measured.current_a is not None:
        way = "charging" if measured.current_a > 0 else "discharging" if measured.current_a < 0 else "at rest"
        told.append(f"{plain(measured.current_a)} A ({way})")
    volts, degrees = measured.cell_voltage_v, measured.temperature_c
    if volts.min is not None and volts.max is not None:
        told.append(f"cells {plain(volts.min)} V{place(volts.min_cell, None)} to {plain(volts.max)} V{place(volts.max_cell, None)}")
    if degrees.min is not None and degrees.max is not None:
        told.append(
            f"temperatures {plain(degrees.min)} degC{place(None, degrees.min_probe)} to {plain(degrees.max)} degC{place(None, degrees.max_probe)}"
        )
    if measured.insulation_ohm is not None:
        told.append(f"insulation {plain(measured.insulation_ohm)} ohm")
    if measured.reported_soc is not None:
        told.append(f"the BMS's own state of charge {percent(measured.reported_soc)}")
    if measured.contactors is not Contactor.UNKNOWN:
        told.append(f"contactors {measured.contactors}")
    yield f"Measured: {', '.join(told) if told else 'nothing'}."
    if soc.min is not None and soc.max is not None:
        pack = percent(soc.pack) if soc.pack is not None else "unknown"
        sigma = f", sigma {percent(soc.sigma)}" if soc.sigma is not None else ""
        yield f"State of charge: pack {pack}, cells {percent(soc.min)} to {percent(soc.max)}{sigma}, leaning on: {soc.source}."
    else:
        yield "State of charge: unknown."
    capacity = percent(soh.capacity) if soh.capacity is not None else "unknown"
    sigma = f" (sigma {percent(soh.sigma)})" if soh.sigma is not None else ""
    resistance = f"{plain(soh.resistance)} times the card's" if soh.resistance is not None else "unknown"
    yield f"State of health: weakest capacity {capacity}{sigma}, worst resistance {resistance}."


def _quality(decision: Decision) -> Iterator[str]:
    quality = decision.quality
    age = f", the oldest {quality.oldest_ms} ms old" if quality.oldest_ms is not None else ""
    sweep = "" if quality.complete else "; the sweep was not complete"
    yield f"Data: {quality.valid_cells} of {quality.cells} cells and {quality.valid_probes} of {quality.probes} probes valid{age}{sweep}."
    for warning in quality.warnings:
        yield f"  {unknown_line(warning)}"
    view = quality.runaway_view
    worst = f"at worst after {plain(view.worst_s)} s" if view.worst_s is not None else "on no cell"
    uncovered = f"; cells that it cannot see: {view.uncovered_cells}" if view.uncovered_cells else ""
    saturated = "; a sensor is saturated, its rate is frozen" if view.saturated else ""
    yield f"The runaway rule sees {worst}{uncovered}{saturated}."


def unknown_line(warning: UnknownSignal) -> str:
    """One signal that is not known, and why."""
    name = SIGNALS.get(warning.signal, words(warning.signal.replace(".", " ")))
    if warning.signal == "frames":
        return f"{name}: {warning.count} ({words(warning.reason)})"
    kind = {"cell_voltage_v": "cell", "temperature_c": "probe"}.get(warning.signal, "")
    which = f" of {cells(warning.indices, kind)}" if warning.indices else ""
    return f"Unknown: {name}{which} ({words(warning.reason)})"


def cells(indices: tuple[int, ...], kind: str = "cell") -> str:
    """Places in words, runs drawn together.

    >>> cells((4,)), cells((1, 2, 3, 7), "probe")
    ('cell 4', 'probes 1 to 3, 7')
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    text = ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)
    return f"{kind}{'' if len(indices) == 1 else 's'} {text}"


def place(cell: int | None, probe: int | None) -> str:
    """Where, with a blank before it; empty for the whole pack.

    >>> place(17, None), place(None, 3), place(None, None)
    (' at cell 17', ' at probe 3', '')
    """
    if cell is not None:
        return f" at cell {cell}"
    return f" at probe {probe}" if probe is not None else ""


def words(code: str) -> str:
    """A code as words.

    >>> words("internal_short")
    'internal short'
    """
    return code.replace("_", " ")


def percent(fraction: float) -> str:
    """A fraction as per cent.

    >>> percent(0.6134), percent(1.0)
    ('61.3 %', '100 %')
    """
    return f"{trimmed(f'{fraction * 100:.1f}')} %"


def plain(value: float) -> str:
    """Four significant digits at least, all digits before the point, no exponent, no trailing zeros.

    >>> plain(3.61234), plain(-41.0), plain(123456.7), plain(0.0012345), plain(1e-9)
    ('3.612', '-41', '123457', '0.001234', '0')
    """
    places = 0 if value == 0 else min(max(3 - math.floor(math.log10(abs(value))), 0), 6)
    return trimmed(f"{value:.{places}f}")


def trimmed(text: str) -> str:
    """Without zeros at the end of a fraction, and without the sign of a zero.

    >>> trimmed("12.50"), trimmed("100"), trimmed("-0.0")
    ('12.5', '100', '0')
    """
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
