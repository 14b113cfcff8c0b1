"""How sure a student must be of a cause, and for how long, before it warns: set on whole recordings, days of use and faults, that nothing trained on.

Of all thresholds the one by which most faults of the cause are found (of equally good ones the middle one), where a warning must stand MARGIN times as long as the longest that any healthy hour
of the recordings held.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import LogError
from edgebms.evidence.baseline import WATCHED
from edgebms.reasoner.language import CAUSES
from edgebms.reasoner.standing import LONGEST_STEP_S, MOST_S
from edgebms.vocabulary import Cause, Level
from export.fault_logs import WATCHED as NEVER_MORE
from export.fault_logs import after_broken, find_logs, lines_of, read_fault_log

Floats = NDArray[np.float64]

SURE = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
MARGIN, LEAST_S = 3.0, 120.0
"""Chosen by setting thresholds on three quarters of the recordings and counting on the fourth, five times over (docs/reasoning-tried.md)."""
TOLD = tuple(place for place, cause in enumerate(CAUSES) if cause not in (Cause.HEALTHY, Cause.UNKNOWN))
"""Places in CAUSES of what a student may warn of."""


class Threshold(NamedTuple):
    """found: share of the cause's detectable faults; longest_s: how long it stood where nothing was; faults: how many of them."""

    found: float
    needed_s: float
    sure: float
    longest_s: float
    faults: int


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A recording: its truth, and what was said over it (``listen.SPOKEN``). onset_s: inf = nothing happens. calm: of each row of ``spoken``, nothing is wrong yet, and no
    limit of the card broken (``fault_logs.broken``)."""

    name: str
    cause: Cause
    onset_s: float
    detectable: bool
    spoken: NDArray[np.void]
    calm: NDArray[np.bool_]


def heard_of(data: Path, kept: Path) -> list[Heard]:
    """The recordings of folder ``data`` (with tests.csv) that were listened to. Raises LogError where there are none."""
    lines, out = lines_of(data / "tests.csv"), []
    for path in find_logs([data]):
        file = kept / f"{path.stem}.npy"
        if not file.is_file():
            continue
        told = lines[path.stem]
        cause = Cause(told["cause"])
        onset_s = np.inf if cause is Cause.HEALTHY else float(told["onset_second"])
        spoken = np.load(file)
        calm = (spoken["time_s"] < onset_s) & ~after_broken(read_fault_log(path, 0.0).broken_s, spoken["time_s"])
        out.append(Heard(path.stem, cause, onset_s, told["detectable"] in ("1", "True", "true"), spoken, calm))
    if not out:
        raise LogError("was not listened to", where=str(data), mend="python -m export reason listen")
    return out


def longest_s(spoken: NDArray[np.void], cause: int, sure: float, when: NDArray[np.bool_]) -> float:
    """How long ``cause`` stood at most, of one cell, by ``Standing``'s rule, where ``when`` (n,) and it was said as an alarm: as
    more than a watch, or of what is never more as one."""
    said = (spoken["cause"] == cause) & (spoken["chance"] >= sure)
    if not (said & when).any():
        return 0.0
    time_s = spoken["time_s"]
    passed_s = np.minimum(np.diff(time_s, prepend=time_s[0]), LONGEST_STEP_S)
    found = 0.0
    for cell in np.unique(spoken["cell"][said & when]):
        if cell < 0 and CAUSES[cause] in WATCHED:  # waits for its own slow history
            continue
        own = said & (spoken["cell"] == cell)
        first, last = np.flatnonzero(own)[[0, -1]]
        stood = 0.0
        for i in range(first, last + 1):
            stood = min(stood + passed_s[i], MOST_S) if own[i] else max(stood - passed_s[i], 0.0)
            if own[i] and when[i] and spoken["severity"][i] >= (Level.WATCH if CAUSES[cause] in NEVER_MORE else Level.WARNING):
                found = max(found, stood)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Stands:
    """How long each cause stood at most, s, (recordings, causes of ``TOLD``, SURE): where nothing was wrong, and where that fault was and could be detected (NaN = it
    was not). days (recordings,): without a fault."""

    calm_s: Floats
    ill_s: Floats
    days: Floats

    def of(self, some: NDArray[np.intp]) -> Stands:
        return Stands(self.calm_s[some], self.ill_s[some], self.days[some])


def stands_of(recordings: list[Heard]) -> Stands:
    shape = (len(recordings), len(TOLD), len(SURE))
    calm_s, ill_s, days = np.zeros(shape), np.full(shape, np.nan), np.zeros(len(recordings))
    for number, one in enumerate(recordings):
        for row, place in enumerate(TOLD):
            for column, sure in enumerate(SURE):
                calm_s[number, row, column] = longest_s(one.spoken, place, sure, one.calm)
                if one.cause is CAUSES[place] and one.detectable:
                    ill_s[number, row, column] = longest_s(one.spoken, place, sure, one.spoken["time_s"] >= one.onset_s)
        if len(one.spoken):
            days[number] = float(one.spoken["time_s"][-1]) * one.calm.mean() / 86400.0
    return Stands(calm_s, ill_s, days)


def thresholds(stands: Stands, margin: float = MARGIN, least_s: float = LEAST_S) -> list[Threshold]:
    """Of each cause of ``TOLD``. Where no threshold keeps it quiet, it is never more than a watch."""
    out = []
    for row in range(len(TOLD)):
        tried = []
        ill_s = stands.ill_s[~np.isnan(stands.ill_s[:, row, 0]), row]
        for column, sure in enumerate(SURE):
            longest = float(stands.calm_s[:, row, column].max(initial=0.0))
            needed_s = max(least_s, margin * longest)
            found = float((ill_s[:, column] >= needed_s).mean()) if len(ill_s) else 0.0
            if needed_s <= MOST_S:
                tried.append(Threshold(found, needed_s, sure, longest, len(ill_s)))
        out.append(middle(tried) if tried else Threshold(0.0, MOST_S, 1.0, MOST_S, 0))
    return out


def set_on(recordings: list[Heard]) -> tuple[dict[str, float], dict[str, float], list[dict[str, Any]]]:
    """(warning, hold_s: for the card; a row for each cause of what that means on these recordings)."""
    warning, hold_s, rows = {"": 0.8}, {"": 60.0}, []
    for place, best in zip(TOLD, thresholds(stands_of(recordings)), strict=True):
        cause = CAUSES[place].value
        warning[cause], hold_s[cause] = best.sure, round(best.needed_s, 1)
        rows.append(
            {
                "cause": cause,
                "sure": best.sure,
                "hold_s": best.needed_s,
                "longest_false_s": best.longest_s,
                "faults": best.faults,
                "found": best.found,
            }
        )
    return warning, hold_s, rows


def middle(tried: list[Threshold]) -> Threshold:
    """Of thresholds rising in ``sure`` the best, and of equally good ones the middle one, as far from where
    calm packs speak up as from where faults are lost. Where nothing is found at all, the strictest."""
    most = max((one.found, -one.needed_s) for one in tried)
    alike = [one for one in tried if (one.found, -one.needed_s) == most]
    return alike[(len(alike) - 1) // 2] if most[0] > 0.0 else alike[-1]


def told_of(recordings: list[Heard]) -> str:
    days = sum(float(one.spoken["time_s"][-1]) * one.calm.mean() for one in recordings if len(one.spoken)) / 86400.0
    return f"{len(recordings)} recordings, {days:.1f} days without a fault"


def table(rows: list[dict[str, Any]]) -> str:
    out = ["| cause | sure | must stand, s | stood where nothing was, s | detectable faults | found |", "|---|---|---|---|---|---|"]
    for row in rows:
        found = f"{100 * row['found']:.0f} %" if row["faults"] else ""
        out.append(f"| {row['cause']} | {row['sure']:g} | {row['hold_s']:.0f} | {row['longest_false_s']:.0f} | {row['faults']} | {found} |")
    return "\n".join(out)


def write(card: Path, warning: dict[str, float], hold_s: dict[str, float], told: str) -> None:
    """Put both into the model card at ``card``."""
    fields = json.loads(card.read_text(encoding="utf-8"))
    fields |= {"warning": warning, "hold_s": hold_s, "alarms_set_on": told}
    card.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
