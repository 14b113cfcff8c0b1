"""How often thresholds that were set on some recordings are broken by others: what ``alarms`` may promise, before anything else is measured.

Thresholds are set on three quarters of the recordings and counted on the fourth, for each quarter, over several draws of the quarters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebms.reasoner.language import CAUSES
from export.fault_logs import WATCHED as NEVER_MORE
from export.reason.alarms import SURE, TOLD, Stands, thresholds

FOLDS, DRAWS = 4, 5
TRIED = tuple((margin, least_s) for margin in (1.0, 2.0, 3.0, 5.0) for least_s in (60.0, 120.0, 180.0))
"""(times the longest that a calm hour held, seconds at least)."""


def counted(stands: Stands, margin: float, least_s: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(recordings with a false alarm of each cause of ``TOLD``, share of each cause's faults found, NaN = there are none; days without a fault), summed over the draws."""
    rng = np.random.default_rng(seed)
    false, found, faults, days = np.zeros(len(TOLD)), np.zeros(len(TOLD)), np.zeros(len(TOLD)), 0.0
    for _ in range(DRAWS):
        fold = rng.integers(0, FOLDS, len(stands.days))
        for left_out in range(FOLDS):
            held = stands.of(np.flatnonzero(fold == left_out))
            days += float(held.days.sum())
            for row, best in enumerate(thresholds(stands.of(np.flatnonzero(fold != left_out)), margin, least_s)):
                ill = ~np.isnan(held.ill_s[:, row, 0])
                faults[row] += ill.sum()
                if best.sure in SURE:
                    column = SURE.index(best.sure)
                    false[row] += (held.calm_s[:, row, column] >= best.needed_s).sum()
                    found[row] += (held.ill_s[ill, row, column] >= best.needed_s).sum()
    return false, np.divide(found, faults, out=np.full(len(TOLD), np.nan), where=faults > 0), days


def table(stands: Stands) -> str:
    out = [
        "| margin | s at least | false warnings per 100 days | false watches per 100 days | faults found | of what |",
        "|---|---|---|---|---|---|",
    ]
    loud = np.array([CAUSES[place] not in NEVER_MORE for place in TOLD])
    weight = (~np.isnan(stands.ill_s[:, :, 0])).sum(axis=0)
    for margin, least_s in TRIED:
        false, found, days = counted(stands, margin, least_s)
        share = float(np.nansum(found * weight) / max(weight.sum(), 1))
        told = ", ".join(
            f"{CAUSES[TOLD[row]].value} {100 * false[row] / days:.1f}" for row in np.argsort(-false) if false[row] and loud[row]
        )
        rates = (100 * false[side].sum() / days for side in (loud, ~loud))
        out.append(f"| {margin:g} | {least_s:.0f} | {' | '.join(f'{rate:.1f}' for rate in rates)} | {100 * share:.0f} % | {told or '-'} |")
    return "\n".join(out)
