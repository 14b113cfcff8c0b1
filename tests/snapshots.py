"""Synthetic snapshots for tests: healthy unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edgebms.telemetry.snapshot import MISSING, NO_EXTREMES, Extremes, Reading, RunawayView, Snapshot
from edgebms.vocabulary import Contactor, Reason


def reading(value: float | None, age_s: float = 0.0) -> Reading:
    """A valid reading of ``value``; None = not in the profile; NaN = stale."""
    if value is None:
        return MISSING
    return Reading(value, age_s, Reason.VALID if np.isfinite(value) else Reason.STALE)


def _filled(values: ArrayLike, count: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(values, dtype=np.float64), (count,)).copy()


def _reasons(values: np.ndarray, reasons: Sequence[int] | np.ndarray | None) -> np.ndarray:
    if reasons is None:
        return np.where(np.isfinite(values), np.uint8(Reason.VALID), np.uint8(Reason.STALE)).astype(np.uint8)
    return np.asarray(reasons, dtype=np.uint8)


def make_snapshot(
    cells: int = 16,
    probes: int = 4,
    *,
    time_s: float = 0.0,
    seq: int = 0,
    pack: str = "pack",
    voltage_v: ArrayLike = 3.7,
    temperature_c: ArrayLike = 25.0,
    current_a: float | None = 0.0,
    pack_voltage_v: float | str | None = "sum",
    cell_age_s: ArrayLike = 0.0,
    temperature_age_s: ArrayLike = 0.0,
    cell_reason: Sequence[int] | np.ndarray | None = None,
    temperature_reason: Sequence[int] | np.ndarray | None = None,
    insulation_ohm: float | None = None,
    gas: float | None = None,
    pressure_pa: float | None = None,
    coolant_temperature_c: float | None = None,
    contactors: Contactor = Contactor.CLOSED,
    extremes: Extremes = NO_EXTREMES,
    complete: bool = True,
    runaway_view: RunawayView | None = None,
    **other: Any,
) -> Snapshot:
    """One snapshot. Scalars are broadcast over cells or probes; NaN reads as STALE unless a reason is given.

    pack_voltage_v: "sum" = the sum of the cells (NaN-cells counted at the mean of the others), None = not measured.
    """
    voltages, temperatures = _filled(voltage_v, cells), _filled(temperature_c, probes)
    if isinstance(pack_voltage_v, str):
        known = np.isfinite(voltages)
        pack_voltage_v = float(voltages[known].mean() * cells) if known.any() else float("nan")
    return Snapshot(
        pack=pack,
        seq=seq,
        time_ns=round(time_s * 1e9),
        cell_voltage_v=voltages,
        cell_reason=_reasons(voltages, cell_reason),
        cell_age_s=_filled(cell_age_s, cells),
        temperature_c=temperatures,
        temperature_reason=_reasons(temperatures, temperature_reason),
        temperature_age_s=_filled(temperature_age_s, probes),
        current_a=reading(current_a),
        voltage_v=reading(pack_voltage_v),
        runaway_view=runaway_view or RunawayView(worst_s=5.0, uncovered_cells=0 if probes else cells, saturated=False),
        insulation_ohm=reading(insulation_ohm),
        gas=reading(gas),
        pressure_pa=reading(pressure_pa),
        coolant_temperature_c=reading(coolant_temperature_c),
        contactors=contactors,
        extremes=extremes,
        complete=complete,
        **other,
    )


def blind_snapshot(cells: int = 16, probes: int = 4, *, time_s: float = 0.0, seq: int = 0, since_s: float = 5.0, **other: Any) -> Snapshot:
    """What the assembler sends when the bus fell silent: everything stale since ``since_s`` ago."""
    return make_snapshot(
        cells,
        probes,
        time_s=time_s,
        seq=seq,
        voltage_v=np.nan,
        temperature_c=np.nan,
        current_a=np.nan,
        pack_voltage_v=np.nan,
        cell_age_s=since_s,
        temperature_age_s=since_s,
        contactors=Contactor.UNKNOWN,
        complete=False,
        **other,
    )
