"""One decision in the words of the status page: a headline, then the lines of ``edgebms explain``."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgebms.decision.explain import alert_lines, command_lines, place, plain, reasoning_lines, unknown_line, words
from edgebms.decision.types import AlertWord, Decision

State = Literal["clear", "unknown", "watch", "warning", "critical"]
RISING: tuple[AlertWord, ...] = ("watch", "warning", "critical")


class AlertWords(msgspec.Struct, frozen=True):
    """title: what and where. lines: as ``explain`` has them."""

    id: str
    level: AlertWord
    title: str
    lines: tuple[str, ...]


class Words(msgspec.Struct, frozen=True):
    """state: of the headline. alerts: the gravest first."""

    state: State
    headline: str
    below: str
    flow: str
    alerts: tuple[AlertWords, ...]
    command: tuple[str, ...]
    reasoning: tuple[str, ...]
    unknown: tuple[str, ...]


def page_words(decision: Decision) -> Words:
    """All of it."""
    alerts = tuple(
        AlertWords(alert.id, alert.level, capital(f"{words(alert.hazard)}{place(alert.cell, alert.probe)}"), tuple(alert_lines(alert)))
        for alert in sorted(decision.alerts, key=lambda alert: -RISING.index(alert.level))
    )
    state, headline, below = headline_of(decision, alerts)
    return Words(
        state,
        headline,
        below,
        flow(decision.measured.current_a),
        alerts,
        tuple(line.strip() for line in command_lines(decision.command)),
        tuple(line.strip() for line in reasoning_lines(decision)),
        tuple(map(unknown_line, decision.quality.warnings)),
    )


def headline_of(decision: Decision, alerts: tuple[AlertWords, ...]) -> tuple[State, str, str]:
    """(state, the pack in a few words, how far it is seen). Without an alert, what is not known is said before all else:
    a pack that is seen in part is never called clear."""
    quality, measured = decision.quality, decision.measured
    seen = f"{quality.valid_cells} of {quality.cells} cells and {quality.valid_probes} of {quality.probes} probes are known"
    if alerts:
        more = f", and {len(alerts) - 1} more" if len(alerts) > 1 else ""
        return alerts[0].level, f"{alerts[0].title}{more}", capital(seen)
    missing = [
        name
        for name, value in (
            ("pack voltage", measured.voltage_v),
            ("pack current", measured.current_a),
            ("temperature", measured.temperature_c.max),
            ("state of charge", decision.soc.pack),
        )
        if value is None
    ]
    if missing or quality.valid_cells < quality.cells or quality.valid_probes < quality.probes or not quality.complete:
        return "unknown", "No alert, but the pack is seen in part", seen + (f"; not known: {', '.join(missing)}" if missing else "")
    return "clear", "No alert", f"All {quality.cells} cells and {quality.probes} probes are known"


def flow(current_a: float | None) -> str:
    """What the current does.

    >>> flow(-41.0), flow(2.0), flow(0.0), flow(None)
    ('discharging at 41 A', 'charging at 2 A', 'at rest', 'current unknown')
    """
    if current_a is None:
        return "current unknown"
    return "at rest" if current_a == 0 else f"{'charging' if current_a > 0 else 'discharging'} at {plain(abs(current_a))} A"


def capital(text: str) -> str:
    """With a capital first letter, the rest as it is.

    >>> capital("over SOC")
    'Over SOC'
    """
    return text[:1].upper() + text[1:]
