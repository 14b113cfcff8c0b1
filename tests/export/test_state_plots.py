"""The worst runs are kept, one a group, and drawn."""

from pathlib import Path

import numpy as np
from shared_data import needed

from export.state_logs import Run, StateLog
from export.state_plots import POINTS, Worst

needed("matplotlib")


def offer(worst, group, error, rows=2000):
    time_s = np.arange(float(rows))
    soc = np.linspace(1.0, 0.2, rows)
    nothing = np.full(rows, 25.0)
    log = StateLog(Path(f"{group}.parquet"), "a", "b", 25.0, 3.0, time_s, nothing, nothing, nothing, soc)
    said = {"kalman": (soc + error / 100, np.full(rows, 0.02)), "student_int8": (soc, np.full(rows, 0.01))}
    worst.offer("never seen", group, log, Run("join_0.6", 500, 0.0), said, error)


def test_the_worst_of_each_group_is_kept_and_drawn(tmp_path):
    worst = Worst()
    for group, error in (("a 25", 1.0), ("a 25", 5.0), ("a 25", 2.0), ("a 0", 3.0), ("b 25", 4.0), ("c 25", 0.5)):
        offer(worst, group, error)
    held = worst.traces["never seen"]
    assert {group: trace.error_pct for group, trace in held.items()} == {"a 25": 5.0, "a 0": 3.0, "b 25": 4.0, "c 25": 0.5}
    assert held["a 25"].hours[0] == 0.0 and held["a 25"].hours.size <= POINTS
    (path,) = worst.draw(tmp_path)
    assert path.name == "worst-never-seen.png" and path.read_bytes().startswith(b"\x89PNG")
