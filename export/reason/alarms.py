"""How sure a student must be of a cause, and for how long, before it warns: set on whole recordings, days of use and faults, that nothing trained on.

Of all thresholds the one by which most faults of the cause are found (of equally good ones the middle one), where a warning must stand MARGIN times as long as the longest that any healthy hour
of the recordings held.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
MARGIN = 2.0
LEAST_S = 60.0
DOUBT = (Cause.HEALTHY, Cause.UNKNOWN)


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


def set_on(recordings: list[Heard]) -> tuple[dict[str, float], dict[str, float], list[dict[str, Any]]]:
    """(warning, hold_s: for the card; a row for each cause of what that means on these recordings)."""
    warning, hold_s, rows = {"": 0.8}, {"": 60.0}, []
    for place, cause in enumerate(CAUSES):
        if cause in DOUBT:
            continue
        tried: list[tuple[float, float, float, float, int]] = []
        for sure in SURE:
            calm = [longest_s(one.spoken, place, sure, one.calm) for one in recordings]
            ill = [
                longest_s(one.spoken, place, sure, one.spoken["time_s"] >= one.onset_s)
                for one in recordings
                if one.cause is cause and one.detectable
            ]
            needed_s = max(LEAST_S, MARGIN * max(calm))
            share = float(np.mean([stood >= needed_s for stood in ill])) if ill else 0.0
            if needed_s <= MOST_S:
                tried.append((share, needed_s, sure, max(calm), len(ill)))
        # none left = no threshold keeps it quiet: it is a watch
        best = middle(tried) if tried else (0.0, MOST_S, 1.0, MOST_S, 0)
        warning[cause.value], hold_s[cause.value] = best[2], round(float(best[1]), 1)
        rows.append(
            {"cause": cause.value, "sure": best[2], "hold_s": best[1], "longest_false_s": best[3], "faults": best[4], "found": best[0]}
        )
    return warning, hold_s, rows


def middle(tried: list[tuple[float, float, float, float, int]]) -> tuple[float, float, float, float, int]:
    """Of rows (share found, seconds it must stand, sure, ...), rising in sure: the best, and of equally good ones the middle one, as far from where
    calm packs speak up as from where faults are lost. Where nothing is found at all, the strictest."""
    most = max((share, -needed_s) for share, needed_s, *_ in tried)
    alike = [row for row in tried if (row[0], -row[1]) == most]
    return alike[(len(alike) - 1) // 2] if most[0] > 0.0 else alike[-1]


def told_of(recordings: list[Heard]) -> str:
    days = sum(min(one.onset_s, float(one.spoken["time_s"][-1])) for one in recordings if len(one.spoken)) / 86400.0
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
