"""A card for each parameter set, fitted as a user fits one: from simulated characterisation logs, through ``edgebms fit``.

For evaluation only: these cards stand in no catalogue and train nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebms.cardfit.card import fit_card
from edgebms.cardfit.log import read_log
from edgebms.cardfit.write import card_toml
from edgebms.cellcard import CellCard, load_card
from edgebms.cli.fit import limits_of
from edgebms.errors import CardError, MissingExtra
from hil.plant_pybamm.sets import CellSet
from hil.plant_pybamm.simulate import Run, simulate

Floats = NDArray[np.float64]

CARDS = Path(__file__).parent / "cards"
PULSES_C = (10.0, 25.0, 40.0)
REST_S = 3600.0
EDGE_S = 0.5
"""How long a step of the current takes."""
HEAD = "Fitted by edgebms fit to logs that PyBaMM simulated with the set {name}: for evaluation only."


def card_path(cell_set: CellSet) -> Path:
    return CARDS / f"{cell_set.key}.toml"


def read_card(cell_set: CellSet) -> CellCard:
    """Raises CardError."""
    return load_card(str(card_path(cell_set)))


def fit(cell_set: CellSet) -> list[str]:
    """Write the set's card anew; returns what the fit says. Raises MissingExtra, CardError, LogError."""
    fallback = load_card(f"generic_{cell_set.chemistry.value.lower()}")
    limits = limits_of(fallback, [cell_set.voltage_min_v, cell_set.voltage_max_v])
    with tempfile.TemporaryDirectory() as folder:
        logs = [read_log(path, cell_set.capacity_ah) for path in characterisation(cell_set, Path(folder))]
    fitted = fit_card(logs, f"pybamm_{cell_set.key}", cell_set.cell, cell_set.chemistry, cell_set.capacity_ah, None, limits, fallback)
    text = card_toml(fitted.card, HEAD.format(name=cell_set.name))
    try:
        CARDS.mkdir(exist_ok=True)
        card_path(cell_set).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CardError(f"cannot be written: {error.strerror}", where=str(card_path(cell_set)), mend="run from a checkout") from None
    return [
        *(f"found    {line}" for line in fitted.found),
        *(f"missing  {line}" for line in fitted.missing),
        *(f"fit      {line}" for line in fitted.errors()),
    ]


def characterisation(cell_set: CellSet, folder: Path) -> list[Path]:
    """Slow discharge and charge, 1C, and pulses at three temperatures, as files in ``folder``."""
    paths = []
    down, taken_ah, down_a = log_of(cell_set, [(40 * 3600.0, -0.05, 60.0)], 25.0, 1.0)
    up, given_ah, up_a = log_of(cell_set, [(40 * 3600.0, 0.05, 60.0)], 25.0, 0.0)
    time_s = np.append(down.time_s, up.time_s + down.time_s[-1] + REST_S)
    both = Run(time_s, np.append(down.voltage_v, up.voltage_v), np.append(down.temperature_c, up.temperature_c), whole=True)
    paths.append(written(folder / "c20.parquet", both, np.append(taken_ah, given_ah + taken_ah[-1]), np.append(down_a, up_a)))
    paths.append(written(folder / "c1_25.parquet", *log_of(cell_set, [(3800.0, -1.0, 10.0)], 25.0, 1.0)))
    for warmth_c in PULSES_C:
        steps: list[tuple[float, float, float]] = [(600.0, 0.0, 30.0)]
        for _ in range(9):
            # the charge pulse is gentle: a cold cell at 90 % is near its upper limit
            steps += [(720.0, -0.5, 15.0), (1800.0, 0.0, 15.0), (10.0, -1.0, 1.0), (60.0, 0.0, 2.0), (10.0, 0.25, 1.0), (300.0, 0.0, 10.0)]
        paths.append(written(folder / f"pulses_{warmth_c:.0f}.parquet", *log_of(cell_set, steps, warmth_c, 1.0)))
    return paths


def log_of(cell_set: CellSet, steps: list[tuple[float, float, float]], ambient_c: float, soc: float) -> tuple[Run, Floats, Floats]:
    """(run, net charge since its start in Ah, current in A) through ``steps`` of (seconds, C-rate, s between rows)."""
    time_s, rate = [0.0], [0.0]
    for seconds, c_rate, every_s in steps:
        begin = time_s[-1]
        inside = begin + np.append(EDGE_S, np.arange(every_s, seconds + 1e-6, every_s))
        time_s += inside.tolist()
        rate += [c_rate] * len(inside)
    times, current_a = np.array(time_s), np.array(rate) * cell_set.capacity_ah
    run = simulate(cell_set, times, current_a, np.full(len(times), ambient_c), soc)
    flowed = current_a[: len(run.time_s)]
    mean_a = 0.5 * (flowed[1:] + flowed[:-1])
    net_ah = np.append(0.0, np.cumsum(mean_a * np.diff(run.time_s))) / 3600.0
    return run, net_ah, flowed


def written(path: Path, run: Run, net_ah: Floats, current_a: Floats) -> Path:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("writing parquet needs pyarrow", where=str(path), mend="pip install -e '.[rig]'") from None
    columns = {
        "test_time_second": run.time_s,
        "voltage_volt": run.voltage_v,
        "current_ampere": current_a,
        "temperature_t1_celsius": run.temperature_c,
        "net_capacity_ah": net_ah,
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def copy_cards(folder: Path) -> None:
    """Put the cards beside a corpus that names them. Raises CardError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(CARDS.glob("*.toml")):
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise CardError(f"cannot be copied: {error.strerror}", where=str(folder), mend="name a folder that can be written") from None
