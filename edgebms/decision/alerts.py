"""The alerts that stand: the guard's findings and the student's verdicts, one alert a hazard and place.

Levels only rise: an alert's level is the highest of those who raise it. A student's own alert clears
when it has spoken otherwise for STUDENT_CLEAR_S, or has been silent for STUDENT_SILENT_S; the guard's
clear by their rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from edgebms.decision.types import Alert, AlertWord, Evidence, Raiser, known
from edgebms.guard.finding import Finding
from edgebms.reasoner.verdict import Verdict
from edgebms.vocabulary import Cause, Level

STUDENT_CLEAR_S = 60.0
STUDENT_SILENT_S = 600.0
"""A student that went silent has not said that all is well: its alert stands longer."""

WORDS: dict[Level, AlertWord] = {Level.WATCH: "watch", Level.WARNING: "warning", Level.CRITICAL: "critical"}


class Place(NamedTuple):
    """What an alert is about: the hazard, and where (kind "cell", "probe" or "pack"; 0-based, -1 = pack)."""

    hazard: Cause
    kind: str
    where: int

    @property
    def cell(self) -> int | None:
        """1-based, None when it is not at a cell."""
        return self.where + 1 if self.kind == "cell" else None

    @property
    def probe(self) -> int | None:
        return self.where + 1 if self.kind == "probe" else None


@dataclass(slots=True)
class _Standing:
    """since_text is made once: a wall clock that is being corrected does not move it."""

    id: str
    since_ns: int
    since_text: str | None = None


@dataclass(slots=True)
class _Claim:
    """What a student claims of one place, at its highest level so far."""

    verdict: Verdict
    last_ns: int
    otherwise_ns: int | None = None


@dataclass(slots=True)
class _Group:
    """Who raises one place's alert in this step."""

    since_ns: int
    level: Level = Level.NONE
    latched: bool = False
    raised_by: list[Raiser] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    claim: _Claim | None = None


class Alerts:
    """One pack's alerts. ``step`` at each decision."""

    def __init__(self, pack: str) -> None:
        self._pack = pack
        self._standing: dict[Place, _Standing] = {}
        self._claims: dict[Place, _Claim] = {}

    def step(self, findings: tuple[Finding, ...], verdict: Verdict | None, now_ns: int, utc_ns: int | None) -> dict[Place, Alert]:
        """What stands now, the gravest first. verdict: None when the student did not speak."""
        self._take_verdict(verdict, now_ns)
        if not findings and not self._claims:
            if self._standing:
                self._standing = {}
            return {}
        groups: dict[Place, _Group] = {}
        for finding in sorted(findings, key=lambda finding: -finding.level):  # the gravest evidence stands first
            place = Place(finding.hazard, finding.kind, finding.where)
            group = groups.setdefault(place, _Group(finding.since_ns))
            group.since_ns = min(group.since_ns, finding.since_ns)
            group.level = max(group.level, finding.level)
            group.latched = group.latched or finding.latched
            by: Raiser = "gateway" if finding.by == "gateway" else "guard"
            if by not in group.raised_by:
                group.raised_by.append(by)
            group.evidence.append(_evidence_of(finding, place))
        for place, claim in self._claims.items():
            group = groups.setdefault(place, _Group(now_ns))
            group.level = max(group.level, claim.verdict.severity)
            group.raised_by.append("reasoner")
            group.evidence += _evidence_of_trace(claim.verdict)
            group.claim = claim
        alerts = {place: self._alert(place, group, now_ns, utc_ns) for place, group in groups.items() if group.level > Level.NONE}
        self._standing = {place: self._standing[place] for place in alerts}
        order = sorted(alerts, key=lambda place: (-groups[place].level, self._standing[place].since_ns, place))
        return {place: alerts[place] for place in order}

    def claims(self) -> dict[Place, Verdict]:
        """The student's claims that stand."""
        return {place: claim.verdict for place, claim in self._claims.items()}

    def state(self) -> list[dict[str, Any]]:
        """What must survive a restart, as plain JSON: ids and beginnings of what stands."""
        return [
            {
                "hazard": place.hazard.value,
                "kind": place.kind,
                "where": place.where,
                "id": standing.id,
                "since_ns": standing.since_ns,
                "since": standing.since_text,
            }
            for place, standing in self._standing.items()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Put ``state()`` back, its times on this run's clock. What no one raises in the next step has ended meanwhile."""
        for kept in state:
            place = Place(Cause(kept["hazard"]), kept["kind"], kept["where"])
            self._standing[place] = _Standing(kept["id"], kept["since_ns"], kept["since"])

    def _take_verdict(self, verdict: Verdict | None, now_ns: int) -> None:
        claimed = place_of(verdict) if verdict is not None else None
        for place, claim in list(self._claims.items()):
            if verdict is not None and place == claimed and verdict.severity >= claim.verdict.severity:
                self._claims[place] = _Claim(verdict, now_ns)
                continue
            if verdict is not None and claim.otherwise_ns is None:
                claim.otherwise_ns = now_ns
            otherwise = claim.otherwise_ns is not None and now_ns - claim.otherwise_ns >= STUDENT_CLEAR_S * 1e9
            if otherwise or now_ns - claim.last_ns >= STUDENT_SILENT_S * 1e9:
                del self._claims[place]
        if verdict is not None and claimed is not None and claimed not in self._claims:
            self._claims[claimed] = _Claim(verdict, now_ns)

    def _alert(self, place: Place, group: _Group, now_ns: int, utc_ns: int | None) -> Alert:
        standing = self._standing.get(place)
        if standing is None:
            number = f"/{place.kind}-{place.where + 1}" if place.where >= 0 else ""
            standing = _Standing(f"{self._pack}/{place.hazard}{number}/{group.since_ns // 1_000_000}", group.since_ns)
            self._standing[place] = standing
        if standing.since_text is None and utc_ns is not None:
            standing.since_text = moment(utc_ns - (now_ns - standing.since_ns))
        verdict = group.claim.verdict if group.claim is not None else None
        return Alert(
            id=standing.id,
            level=WORDS[group.level],
            hazard=place.hazard,
            cell=place.cell,
            probe=place.probe,
            since=standing.since_text,
            standing_s=round((now_ns - standing.since_ns) * 1e-9, 3),
            time_to_critical_s=known(verdict.time_to_critical_s) if verdict is not None else None,
            confidence=known(verdict.confidence) if verdict is not None else None,
            latched=group.latched,
            raised_by=tuple(group.raised_by),
            evidence=tuple(group.evidence),
        )


def place_of(verdict: Verdict) -> Place | None:
    """Where a verdict raises an alert; None where it raises none."""
    if verdict.severity is Level.NONE or verdict.cause is Cause.HEALTHY:
        return None
    return Place(verdict.cause, "cell" if verdict.cell >= 0 else "pack", verdict.cell)


def _evidence_of(finding: Finding, place: Place) -> Evidence:
    return Evidence(
        rule=finding.rule,
        cell=place.cell,
        probe=place.probe,
        window_s=known(finding.window_s),
        value=known(finding.value),
        limit=known(finding.limit),
        unit=finding.unit,
    )


def _evidence_of_trace(verdict: Verdict) -> list[Evidence]:
    return [
        Evidence(
            rule=f"{asked.query}.{observed.name}",
            cell=asked.cell + 1 if asked.cell >= 0 else None,
            probe=None,
            window_s=known(asked.window_s),
            value=known(observed.value),
            limit=None,
            unit=observed.unit,
        )
        for asked in verdict.trace
        for observed in asked.observed
    ]


def moment(utc_ns: int) -> str:
    """RFC 3339 with milliseconds.

    >>> moment(1_764_000_000_123_456_789)
    '2025-11-24T16:00:00.123Z'
    """
    seconds, rest_ns = divmod(utc_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1_000_000:03d}Z"
