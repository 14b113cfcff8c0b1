"""The runs that went worst, drawn: SOC by the reference, the filter and the student over time, two sigma as a band.

``python -m export evaluate state-table --plots DIR`` keeps them while it evaluates and draws one picture for each way of
knowing a cell (in training, never seen, no characterisation).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebms.errors import MissingExtra
from export.state_batch import Answer
from export.state_logs import Run, StateLog

Floats = NDArray[np.float64]

PANELS = 3
"""Worst runs in one picture, each of another group."""
POINTS = 600
STYLE = {"kalman": ("filter", "tab:blue"), "student_int8": ("student", "tab:red")}


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One run: reference and each estimator's answer from the run's first row on."""

    title: str
    error_pct: float
    hours: Floats
    soc: Floats
    answers: dict[str, Answer]


@dataclass(slots=True)
class Worst:
    """The worst run of each group, by the way in which its cell is known."""

    traces: dict[str, dict[str, Trace]] = field(default_factory=dict)

    def offer(self, known: str, group: str, log: StateLog, run: Run, answers: dict[str, Answer], error_pct: float) -> None:
        """``error_pct``: RMSE of what is judged in this run."""
        held = self.traces.setdefault(known, {})
        if group in held and held[group].error_pct >= error_pct:
            return
        rows = np.unique(np.linspace(run.first, log.time_s.size - 1, POINTS).astype(int))
        held[group] = Trace(
            f"{group} degC, {run.perturbation}: {log.path.stem}",
            error_pct,
            (log.time_s[rows] - log.time_s[run.first]) / 3600.0,
            log.soc[rows],
            {name: (soc[rows], sigma[rows]) for name, (soc, sigma) in answers.items()},
        )

    def draw(self, folder: Path) -> list[Path]:
        """One picture a way of knowing: ``worst-<known>.png`` in ``folder``."""
        try:
            import matplotlib

            matplotlib.use("Agg")
            import matplotlib.pyplot as plt
        except ImportError:
            raise MissingExtra("drawing needs matplotlib", where="--plots", mend="pip install 'edgebms[fit]'") from None
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for known, held in self.traces.items():
            worst = sorted(held.values(), key=lambda trace: -trace.error_pct)[:PANELS]
            figure, axes = plt.subplots(1, len(worst), figsize=(4.2 * len(worst), 3.2), squeeze=False)
            for place, trace in zip(axes[0], worst, strict=True):
                panel(place, trace)
            axes[0][0].set_ylabel("SOC, %")
            axes[0][0].legend(fontsize=7, loc="best")
            figure.tight_layout()
            path = folder / f"worst-{known.replace(', ', '-').replace(' ', '-')}.png"
            figure.savefig(path, dpi=80, metadata={"Software": None})
            plt.close(figure)
            paths.append(path)
        return paths


def panel(place: Any, trace: Trace) -> None:
    place.plot(trace.hours, 100 * trace.soc, "k-", linewidth=1.2, label="reference")
    for name, (soc, sigma) in trace.answers.items():
        told, colour = STYLE.get(name, (name, "tab:green"))
        place.plot(trace.hours, 100 * soc, color=colour, linewidth=0.9, label=told)
        place.fill_between(trace.hours, 100 * (soc - 2 * sigma), 100 * (soc + 2 * sigma), color=colour, alpha=0.15, linewidth=0)
    place.set_title(f"{trace.title}\nRMSE {trace.error_pct:.1f} %", fontsize=7)
    place.set_xlabel("hours since the start")
    place.set_ylim(-15, 115)
    place.tick_params(labelsize=7)
