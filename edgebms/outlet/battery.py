"""Several packs on one DC bus, as the one battery that an inverter knows. docs/decisions/0008 has the reasons.

Packs in parallel share a current as their conductances do, and nobody steers it. So the sum of their limits would be too
much: the battery may carry what the pack that reaches its own limit first leaves, ``sum(w) * min(limit / w)`` with
the capacity over the resistance's ratio to its card as weight w. With equal packs that is the sum.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edgebms.decision.types import Alert
from edgebms.outlet.standing import Share, Standing
from edgebms.vocabulary import Action, Cause, Level, Mode

END_OF_CHARGE = 0.1
"""Within this much of full or empty the state of charge leans towards the pack that gets there first."""


class Alarm(enum.IntEnum):
    """What inverters have words for, in the order of 0x35A's fields."""

    GENERAL = 0
    OVER_VOLTAGE = 1
    UNDER_VOLTAGE = 2
    OVER_TEMPERATURE = 3
    UNDER_TEMPERATURE = 4
    CHARGE_OVER_TEMPERATURE = 5
    CHARGE_UNDER_TEMPERATURE = 6
    DISCHARGE_CURRENT = 7
    CHARGE_CURRENT = 8
    CONTACTOR = 9
    SHORT = 10
    BMS = 11
    IMBALANCE = 12


ALARM_OF = {
    Cause.OVERCHARGE: Alarm.OVER_VOLTAGE,
    Cause.OVER_DISCHARGE: Alarm.UNDER_VOLTAGE,
    Cause.OVER_TEMPERATURE: Alarm.OVER_TEMPERATURE,
    Cause.COOLING_FAILURE: Alarm.OVER_TEMPERATURE,
    Cause.THERMAL_RUNAWAY: Alarm.OVER_TEMPERATURE,
    Cause.VENTING: Alarm.OVER_TEMPERATURE,
    Cause.UNDER_TEMPERATURE: Alarm.UNDER_TEMPERATURE,
    Cause.LITHIUM_PLATING: Alarm.CHARGE_UNDER_TEMPERATURE,
    Cause.OVER_CURRENT: Alarm.DISCHARGE_CURRENT,
    Cause.INTERNAL_SHORT: Alarm.SHORT,
    Cause.MICRO_SHORT: Alarm.SHORT,
    Cause.EXTERNAL_SHORT: Alarm.SHORT,
    Cause.IMBALANCE: Alarm.IMBALANCE,
    Cause.VOLTAGE_SENSOR: Alarm.BMS,
    Cause.TEMPERATURE_SENSOR: Alarm.BMS,
    Cause.CURRENT_OFFSET: Alarm.BMS,
    Cause.LOSS_OF_DATA: Alarm.BMS,
    Cause.INCONSISTENT_DATA: Alarm.BMS,
    Cause.GATEWAY_FAULT: Alarm.BMS,
}
"""Any other hazard is GENERAL."""

ALARM_OF_RULES = {
    frozenset({"charge_over_current"}): Alarm.CHARGE_CURRENT,
    frozenset({"charge_over_temperature"}): Alarm.CHARGE_OVER_TEMPERATURE,
}
"""Where the rules that hold say more than the hazard."""

LEVELS = {"watch": Level.WATCH, "warning": Level.WARNING, "critical": Level.CRITICAL}


class Outermost(NamedTuple):
    """A value and where it was read, ``P2.C17``: pack 2, cell 17."""

    value: float
    where: str


@dataclass(frozen=True, slots=True)
class Battery:
    """What is said of all packs at one moment. None = unknown.

    charge_v is never below float_v. capacity_ah: of all packs; online_ah: of those that count. online, blocking_charge,
    blocking_discharge, offline: numbers of packs. alarms: the gravest level of each.
    """

    charge_v: float
    float_v: float
    charge_a: float
    discharge_a: float
    discharge_v: float
    soc: float | None
    soh: float | None
    voltage_v: float | None
    current_a: float | None
    cell_min_v: Outermost | None
    cell_max_v: Outermost | None
    temperature_min_c: Outermost | None
    temperature_max_c: Outermost | None
    capacity_ah: float
    online_ah: float
    online: int
    blocking_charge: int
    blocking_discharge: int
    offline: int
    alarms: dict[Alarm, Level]


def join(shares: Sequence[Share], end: Literal["silence", "zero"]) -> Battery | None:
    """``shares`` as one battery; None = nothing is to be said.

    Something is said while a pack is known, lost but not yet faded, or known to be disconnected; and with ``end`` zero as
    long as any decision holds.
    """
    counted = [share for share in shares if share.standing in (Standing.KNOWN, Standing.LOST)]
    cells = [(share.number, share.decision.measured.cell_voltage_v) for share in shares if share.decision is not None]
    probes = [(share.number, share.decision.measured.temperature_c) for share in shares if share.decision is not None]
    opened = any(share.standing is Standing.OPEN for share in shares)
    ended = any(share.standing is Standing.ENDED and share.decision is not None for share in shares)
    if not counted and not opened and not (ended and end == "zero"):
        return None
    on_bus = [share for share in shares if share.standing is not Standing.OPEN] or list(shares)
    lowest = min(on_bus, key=lambda share: share.charge_v)
    charge, discharge = charge_amperes(shares), discharge_amperes(shares)
    offline = sum(share.standing in (Standing.NEVER, Standing.ENDED) for share in shares)
    return Battery(
        charge_v=lowest.charge_v,
        float_v=lowest.float_v,
        charge_a=sum(charge),
        discharge_a=sum(discharge),
        discharge_v=max(share.discharge_v for share in on_bus),
        soc=state_of_charge(counted),
        soh=least([share.soh for share in counted]),
        voltage_v=mean(voltages(counted)),
        current_a=total([share.decision.measured.current_a if share.decision is not None else None for share in counted]),
        cell_min_v=least_of([place(n, v.min, "C", v.min_cell) for n, v in cells]),
        cell_max_v=most_of([place(n, v.max, "C", v.max_cell) for n, v in cells]),
        temperature_min_c=least_of([place(n, t.min, "T", t.min_probe) for n, t in probes]),
        temperature_max_c=most_of([place(n, t.max, "T", t.max_probe) for n, t in probes]),
        capacity_ah=sum(share.capacity_ah for share in shares),
        online_ah=sum(share.capacity_ah for share in counted),
        online=len(shares) - offline,
        blocking_charge=sum(a <= 0.0 for a in charge),
        blocking_discharge=sum(a <= 0.0 for a in discharge),
        offline=offline,
        alarms=alarms(shares),
    )


def charge_amperes(shares: Sequence[Share]) -> list[float]:
    """What each pack takes of the battery's charge limit."""
    return amperes(shares, [s.charge_a for s in shares], [s.charge_left for s in shares], [s.charge_stopped for s in shares])


def discharge_amperes(shares: Sequence[Share]) -> list[float]:
    """What each pack gives to the battery's discharge limit."""
    return amperes(shares, [s.discharge_a for s in shares], [s.discharge_left for s in shares], [s.discharge_stopped for s in shares])


def amperes(shares: Sequence[Share], limits_a: Sequence[float], left: Sequence[float], stopped: Sequence[bool]) -> list[float]:
    """Each pack's part. A lost pack's last limit bounds the rate until it has faded, so that losing it raises nothing; a
    stop that is said holds for the whole bus, because the stopped pack is still on it."""
    weights = weights_of(shares)
    rates = [
        0.0 if stop else limit_a / weight
        for share, limit_a, stop, weight in zip(shares, limits_a, stopped, weights, strict=True)
        if share.standing in (Standing.KNOWN, Standing.LOST) or (stop and share.standing is not Standing.OPEN)
    ]
    rate = min(rates, default=0.0)
    return [
        rate * weight * part if share.standing in (Standing.KNOWN, Standing.LOST) else 0.0
        for share, part, weight in zip(shares, left, weights, strict=True)
    ]


def weights_of(shares: Sequence[Share]) -> list[float]:
    """How the packs share a current: by capacity, and by their resistances where those of all that count are known."""
    ratios = [share.resistance for share in shares if share.standing in (Standing.KNOWN, Standing.LOST)]
    measured = all(ratio is not None and ratio > 0 for ratio in ratios)
    return [share.capacity_ah / (share.resistance if measured and share.resistance else 1.0) for share in shares]


def state_of_charge(counted: Sequence[Share]) -> float | None:
    """The mean by capacity. Within END_OF_CHARGE of empty it goes over to the emptiest pack's, and else within as much of
    full to the fullest's: the pack that ends a discharge or a charge is the one that counts then.
    """
    known = [(share.soc, share.capacity_ah) for share in counted if share.soc is not None]
    if not known or len(known) < len(counted):
        return None
    low, high = min(soc for soc, _ in known), max(soc for soc, _ in known)
    soc = sum(soc * ah for soc, ah in known) / sum(ah for _, ah in known)
    if low < END_OF_CHARGE:
        return soc + min(1.0 - low / END_OF_CHARGE, 1.0) * (low - soc)
    if high > 1.0 - END_OF_CHARGE:
        return soc + min(1.0 - (1.0 - high) / END_OF_CHARGE, 1.0) * (high - soc)
    return soc


def voltages(shares: Iterable[Share]) -> list[float]:
    """The known voltages of the packs that say one now."""
    told = [share.decision.measured.voltage_v for share in shares if share.decision is not None]
    return [voltage_v for voltage_v in told if voltage_v is not None]


def alarms(shares: Sequence[Share]) -> dict[Alarm, Level]:
    """The gravest level of each alarm over all packs. Advice to take the power away is a general alarm: only a person can
    follow it. A pack that is not known is a BMS warning, no more while limits hold or fade or other packs go on: inverters stop
    at an alarm. When none is left it is one."""
    found: dict[Alarm, Level] = {}

    def add(alarm: Alarm, level: Level) -> None:
        found[alarm] = max(level, found.get(alarm, Level.NONE))

    for share in shares:
        blind = share.standing in (Standing.NEVER, Standing.LOST, Standing.ENDED)
        if share.last is not None:
            for alert in share.last.alerts:
                alarm, level = alarm_of(alert), LEVELS[alert.level]
                add(alarm, min(level, Level.WARNING) if blind and alarm is Alarm.BMS else level)
            command = share.last.command
            if command.mode is Mode.ADVICE and command.action in (Action.STOP_DISCHARGE, Action.OPEN_CONTACTORS):
                add(Alarm.GENERAL, Level.CRITICAL)
        if blind:
            add(Alarm.BMS, Level.WARNING)
    if all(share.standing in (Standing.NEVER, Standing.ENDED) for share in shares):
        add(Alarm.BMS, Level.CRITICAL)
    return found


def alarm_of(alert: Alert) -> Alarm:
    by_rules = ALARM_OF_RULES.get(frozenset(evidence.rule for evidence in alert.evidence))
    return by_rules if by_rules is not None else ALARM_OF.get(alert.hazard, Alarm.GENERAL)


def place(pack: int, value: float | None, kind: str, number: int | None) -> Outermost | None:
    """``P2.C17``; ``P2`` where the bus does not say which cell."""
    return None if value is None else Outermost(value, f"P{pack}" if number is None else f"P{pack}.{kind}{number}")


def least_of(values: Iterable[Outermost | None]) -> Outermost | None:
    return min((value for value in values if value is not None), key=lambda value: value.value, default=None)


def most_of(values: Iterable[Outermost | None]) -> Outermost | None:
    return max((value for value in values if value is not None), key=lambda value: value.value, default=None)


def least(values: Sequence[float | None]) -> float | None:
    """None where any is unknown."""
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def total(values: Sequence[float | None]) -> float | None:
    """None where any is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
