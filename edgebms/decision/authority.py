"""Who may cause what, as data.

Alert level and action authority are two things. A student may raise a level; an action is not
monotone (opening contactors at speed, or blacking out an islanded house, harms), so what each may
cause, and whether it goes out as a command or as advice to a person, stands here.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from edgebms.config import Site
from edgebms.vocabulary import Action, Cause, Level, Mode, Restraint, SiteKind


class By(enum.StrEnum):
    """Who asks for an action."""

    GUARD = "guard"
    ESTIMATOR = "estimator"
    REASONER = "reasoner"
    GATEWAY = "gateway"


RISING = tuple(Action)
"""Actions in rising order of intervention."""

RANK = {action: rank for rank, action in enumerate(RISING)}

MAY_CAUSE = {
    Action.NONE: frozenset(By),
    Action.SERVICE: frozenset({By.GUARD, By.REASONER, By.GATEWAY}),
    Action.COOL: frozenset({By.GUARD, By.REASONER}),
    Action.BALANCE: frozenset({By.ESTIMATOR}),
    Action.LIMIT: frozenset({By.GUARD, By.REASONER}),
    Action.STOP_CHARGE: frozenset({By.GUARD, By.REASONER}),
    Action.STOP_DISCHARGE: frozenset({By.GUARD}),
    Action.OPEN_CONTACTORS: frozenset({By.GUARD}),
}

HARMS_THE_SITE = {
    SiteKind.NOT_STATED: Restraint.SITE_NOT_STATED,
    SiteKind.ISLANDED: Restraint.SITE_ISLANDED,
    SiteKind.VEHICLE_IN_MOTION: Restraint.SITE_VEHICLE_IN_MOTION,
}
"""Where taking the power away may harm more than the pack does: there it goes out as advice."""

TAKES_THE_POWER = frozenset({Action.STOP_DISCHARGE, Action.OPEN_CONTACTORS})

SUSPECTS_A_SHORT = frozenset({Cause.INTERNAL_SHORT, Cause.MICRO_SHORT, Cause.EXTERNAL_SHORT, Cause.THERMAL_RUNAWAY, Cause.VENTING})
"""A cell (or pack) under one of these, at any level, is not balanced."""

WANTS_COOLING = frozenset({Cause.OVER_TEMPERATURE, Cause.COOLING_FAILURE, Cause.INTERNAL_SHORT, Cause.THERMAL_RUNAWAY, Cause.VENTING})
"""While one of these stands, cooling is asked for, whatever else is."""

CHARGING_STAYS = frozenset({Cause.OVER_DISCHARGE})
"""Where contactors are only advised to open, charging is stopped by command at once, but not where
charging is the way out."""


class Permit(NamedTuple):
    """What goes out for what was asked for: ``action`` in ``mode``; restraint None = as asked."""

    action: Action
    mode: Mode | None
    restraint: Restraint | None


def permit(action: Action, by: By, site: Site) -> Permit:
    """What ``by`` gets for asking for ``action`` at ``site``.

    What it may not cause falls to the strongest weaker action that it may; balancing falls to nothing.

    >>> permit(Action.OPEN_CONTACTORS, By.REASONER, Site()).action.value
    'stop_charge'
    >>> permit(Action.OPEN_CONTACTORS, By.GUARD, Site()).mode.value
    'advice'
    """
    if by in MAY_CAUSE[action]:
        return _in_mode(action, site)
    if action is Action.BALANCE:
        return Permit(Action.NONE, None, Restraint.NEEDS_ESTIMATOR)
    for weaker in reversed(RISING[: RANK[action]]):
        if by in MAY_CAUSE[weaker] and weaker not in (Action.NONE, Action.BALANCE):
            return Permit(weaker, Mode.COMMAND, Restraint.NEEDS_GUARD)
    return Permit(Action.NONE, None, Restraint.NEEDS_GUARD)


def _in_mode(action: Action, site: Site) -> Permit:
    if action not in TAKES_THE_POWER:
        return Permit(action, Mode.COMMAND, None)
    rule = site.stop_discharge if action is Action.STOP_DISCHARGE else site.open_contactors
    if rule is not None:
        return Permit(action, rule, Restraint.SITE_RULE if rule is Mode.ADVICE else None)
    harm = HARMS_THE_SITE.get(site.kind)
    return Permit(action, Mode.COMMAND, None) if harm is None else Permit(action, Mode.ADVICE, harm)


HOT = (Action.COOL, Action.STOP_CHARGE, Action.OPEN_CONTACTORS)
CHARGED = (Action.SERVICE, Action.STOP_CHARGE, Action.OPEN_CONTACTORS)
LOADED = (Action.SERVICE, Action.LIMIT, Action.STOP_DISCHARGE)
MEND = (Action.SERVICE, Action.SERVICE, Action.SERVICE)

STUDENT_ASKS: dict[Cause, tuple[Action, Action, Action]] = {
    Cause.INTERNAL_SHORT: CHARGED,
    Cause.MICRO_SHORT: CHARGED,
    Cause.EXTERNAL_SHORT: CHARGED,
    Cause.LOOSE_JOINT: LOADED,
    Cause.OVERCHARGE: CHARGED,
    Cause.OVER_DISCHARGE: LOADED,
    Cause.COOLING_FAILURE: (Action.COOL, Action.LIMIT, Action.STOP_CHARGE),
    Cause.LITHIUM_PLATING: (Action.SERVICE, Action.LIMIT, Action.STOP_CHARGE),
    Cause.VENTING: HOT,
    Cause.THERMAL_RUNAWAY: HOT,
    Cause.OVER_TEMPERATURE: HOT,
    Cause.UNDER_TEMPERATURE: (Action.SERVICE, Action.LIMIT, Action.STOP_CHARGE),
    Cause.OVER_CURRENT: (Action.SERVICE, Action.LIMIT, Action.LIMIT),
    Cause.INSULATION: CHARGED,
}
"""What a verdict of watch, warning, critical asks for; what it gets is ``permit``'s. A cause that is not
in here asks for service at every level."""


def student_asks(cause: Cause, level: Level) -> Action:
    """The action that a verdict asks for. NONE for Level.NONE.

    >>> student_asks(Cause.INTERNAL_SHORT, Level.CRITICAL).value
    'open_contactors'
    """
    if level is Level.NONE:
        return Action.NONE
    return STUDENT_ASKS.get(cause, MEND)[level - 1]
