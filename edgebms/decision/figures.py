"""A snapshot's and a cell state's figures as the decision shows them: extremes, fractions, what is unknown and why."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgebms.decision.types import (
    CellRange,
    CellValues,
    MeasuredValues,
    ProbeRange,
    Quality,
    RunawayQuality,
    Soc,
    Soh,
    SourceWord,
    UnknownSignal,
    known,
)
from edgebms.estimator.state import CellState
from edgebms.telemetry.snapshot import NO_EXTREMES, Extreme, Snapshot
from edgebms.vocabulary import Reason, Source

Floats = NDArray[np.float64]

SOURCES: dict[Source, SourceWord] = {
    Source.UNKNOWN: "unknown",
    Source.COUNTING: "counting",
    Source.OCV: "ocv",
    Source.FILTER: "filter",
    Source.STUDENT: "student",
}

OPTIONAL = ("insulation_ohm", "gas", "pressure_pa", "coolant_temperature_c", "reported_soc")
"""Signals that many packs do not have: a warning only where the profile has them."""

BROADCASTS = ("voltage_min_v", "voltage_max_v", "temperature_min_c", "temperature_max_c")


def measured(snapshot: Snapshot) -> MeasuredValues:
    extremes = snapshot.extremes
    return MeasuredValues(
        voltage_v=known(snapshot.voltage_v.value),
        current_a=known(snapshot.current_a.value),
        cell_voltage_v=CellRange(
            *lowest(snapshot.cell_voltage_v, extremes.voltage_min_v), *highest(snapshot.cell_voltage_v, extremes.voltage_max_v)
        ),
        temperature_c=ProbeRange(
            *lowest(snapshot.temperature_c, extremes.temperature_min_c), *highest(snapshot.temperature_c, extremes.temperature_max_c)
        ),
        insulation_ohm=known(snapshot.insulation_ohm.value),
        reported_soc=known(snapshot.reported_soc.value),
        contactors=snapshot.contactors,
    )


def lowest(values: Floats, broadcast: Extreme | None) -> tuple[float | None, int | None]:
    """The lowest known value and its 1-based place. The pack's own broadcast counts where it lies further out:
    it is newer than a slow sweep, and some packs send nothing else."""
    value, place = extreme(values, low=True)
    if broadcast is not None and broadcast.reason is Reason.VALID and (value is None or broadcast.value < value):
        return broadcast.value, broadcast.index + 1 if broadcast.index >= 0 else None
    return value, place


def highest(values: Floats, broadcast: Extreme | None) -> tuple[float | None, int | None]:
    """The highest, as ``lowest``."""
    value, place = extreme(values, low=False)
    if broadcast is not None and broadcast.reason is Reason.VALID and (value is None or broadcast.value > value):
        return broadcast.value, broadcast.index + 1 if broadcast.index >= 0 else None
    return value, place


def extreme(values: Floats, *, low: bool) -> tuple[float | None, int | None]:
    """The lowest (highest) finite value and its 1-based place; (None, None) without any.

    >>> extreme(np.array([3.6, np.nan, 3.5]), low=True)
    (3.5, 3)
    """
    if not values.size:
        return None, None
    at = int(values.argmin() if low else values.argmax())
    value = float(values[at])
    if not math.isfinite(value):
        finite = np.isfinite(values)
        if not finite.any():
            return None, None
        at = int(np.where(finite, values, math.inf).argmin() if low else np.where(finite, values, -math.inf).argmax())
        value = float(values[at])
    return value, at + 1


def soc(state: CellState) -> Soc:
    low, low_cell = extreme(state.soc, low=True)
    high, high_cell = extreme(state.soc, low=False)
    if low is None or low_cell is None or high is None or high_cell is None:
        return Soc(None, None, None, None, SOURCES[state.source], known(state.current_offset_a))
    sigma = float(np.maximum(state.soc_sigma[low_cell - 1], state.soc_sigma[high_cell - 1]))
    complete = bool(np.isfinite(state.soc).all())
    return Soc(
        pack=rounded(pack_soc(low, high)) if complete else None,
        min=rounded(low),
        max=rounded(high),
        sigma=rounded(sigma),
        source=SOURCES[state.source],
        current_offset_a=rounded(state.current_offset_a),
    )


def pack_soc(low: float, high: float) -> float:
    """What can be taken out over what can be taken out and put in: empty with the lowest cell, full with the highest.

    >>> pack_soc(0.5, 0.5), pack_soc(0.0, 0.5), pack_soc(0.5, 1.0)
    (0.5, 0.0, 1.0)
    """
    out = min(max(low, 0.0), 1.0)
    room = 1.0 - min(max(high, 0.0), 1.0)
    return out / (out + room) if out + room > 0.0 else 0.5


def soh(state: CellState) -> Soh:
    capacity, cell = extreme(state.soh_capacity, low=True)
    resistance, _ = extreme(state.soh_resistance, low=False)
    sigma = None if cell is None else rounded(float(state.soh_capacity_sigma[cell - 1]))
    return Soh(capacity=rounded(capacity), resistance=rounded(resistance), sigma=sigma)


def cell_values(snapshot: Snapshot, state: CellState) -> CellValues:
    return CellValues(
        voltage_v=tuple(snapshot.cell_voltage_v.tolist()),
        soc=tuple(np.round(state.soc, 5).tolist()),
        soh=tuple(np.round(state.soh_capacity, 5).tolist()),
        temperature_c=tuple(snapshot.temperature_c.tolist()),
    )


def quality(snapshot: Snapshot, clock_synchronised: bool) -> Quality:
    oldest_s = snapshot.oldest_s
    view = snapshot.runaway_view
    return Quality(
        valid_cells=snapshot.valid_cells,
        cells=len(snapshot.cell_reason),
        valid_probes=int(np.count_nonzero(snapshot.temperature_reason == 0)),
        probes=len(snapshot.temperature_reason),
        oldest_ms=round(oldest_s * 1e3) if math.isfinite(oldest_s) else None,
        complete=snapshot.complete,
        runaway_view=RunawayQuality(known(view.worst_s), view.uncovered_cells, view.saturated),
        clock_synchronised=clock_synchronised,
        warnings=warnings(snapshot),
    )


def warnings(snapshot: Snapshot) -> tuple[UnknownSignal, ...]:
    """Signals that are UNKNOWN, grouped by reason; then refused frames."""
    out: list[UnknownSignal] = []
    for name, codes in (("cell_voltage_v", snapshot.cell_reason), ("temperature_c", snapshot.temperature_reason)):
        if codes.any():
            for code in np.unique(codes[codes != 0]).tolist():
                places = (np.flatnonzero(codes == code) + 1).tolist()
                out.append(UnknownSignal(name, Reason(code).word, tuple(places), len(places)))
    for name in ("current_a", "voltage_v"):
        reading = getattr(snapshot, name)
        if reading.reason is not Reason.VALID:
            out.append(UnknownSignal(name, reading.reason.word, (), 1))
    for name in OPTIONAL:
        reading = getattr(snapshot, name)
        if reading.reason is not Reason.VALID and reading.reason is not Reason.NOT_IN_PROFILE:
            out.append(UnknownSignal(name, reading.reason.word, (), 1))
    if snapshot.extremes is not NO_EXTREMES:
        for name in BROADCASTS:
            broadcast = getattr(snapshot.extremes, name)
            if broadcast is not None and broadcast.reason is not Reason.VALID:
                out.append(UnknownSignal(f"broadcast.{name}", broadcast.reason.word, (), 1))
    out.extend(UnknownSignal("frames", fault, (), count) for fault, count in snapshot.refused_frames)
    return tuple(out)


def rounded(value: float | None) -> float | None:
    """An estimate to 5 digits after the point; None stays, NaN and infinity become None.

    >>> rounded(0.1234567), rounded(float("nan")), rounded(None)
    (0.12346, None, None)
    """
    return round(value, 5) if value is not None and math.isfinite(value) else None
