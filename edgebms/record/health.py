"""A checkpoint as figures: state of health and lifetime of a pack, with their age and uncertainty.

The data that EU 2023/1542 Annex VII asks to be readable at any time, as far as a gateway can know them.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebms.decision.alerts import moment
from edgebms.record import checkpoint
from edgebms.record.checkpoint import Saved
from edgebms.record.counters import Counters, Totals


def health(saved: Saved) -> dict[str, Any]:
    """One JSON object; null = not known. Cells are counted from 1. Raises KeyError, TypeError, ValueError
    (msgspec.ValidationError) where the checkpoint does not hold what it should."""
    header, body = saved.header, saved.body
    figures: dict[str, NDArray[np.float64]] = checkpoint.arrays(body["figures"])
    totals = msgspec.convert(body["counters"], Totals)
    counters = Counters(header["card"]["capacity_ah"] * header["pack"]["parallel"], totals)
    saved_utc = saved.moment.utc_ns
    measured = figures["soh_capacity_measured"] > 0.5
    return {
        "pack": header["pack"]["name"],
        "cells": header["pack"]["cells"],
        "card": header["card"]["name"],
        "runtime": header["runtime"],
        "saved": moment(saved_utc) if saved_utc is not None else None,
        "soc": spread(figures["soc"], figures["soc_sigma"]),
        "soh_capacity": spread(figures["soh_capacity"], figures["soh_capacity_sigma"]) | {"measured_cells": int(measured.sum())},
        "soh_resistance": spread(figures["soh_resistance"], figures["soh_resistance_sigma"]),
        "annex_vii": annex_vii(
            figures["soh_capacity"], figures["soh_capacity_sigma"], figures["soh_resistance"], figures["soh_resistance_sigma"], measured
        ),
        "alerts": [{"id": kept["id"], "since": kept["since"]} for kept in body["alerts"]],
        "since": moment(totals.begun_utc_ns) if totals.begun_utc_ns is not None else None,
        "lifetime": counters.figures(),
    }


def annex_vii(
    capacity: NDArray[np.float64],
    capacity_sigma: NDArray[np.float64],
    resistance: NDArray[np.float64],
    resistance_sigma: NDArray[np.float64],
    measured: NDArray[np.bool_],
) -> dict[str, dict[str, float] | None]:
    """The figures of EU 2023/1542 Annex VII part A by the cell that limits the pack, fractions, each with its standard
    deviation; None = not known. Power fade: at the same voltage drop, power goes as one over the resistance.
    Throughput and equivalent full cycles are under ``lifetime``. Self-discharge would need days at rest: not known."""
    out: dict[str, dict[str, float] | None] = {
        "capacity_fade": None,
        "resistance_rise": None,
        "power_fade": None,
        "self_discharge_per_day": None,
    }
    if measured.any():
        cell = int(np.argmin(np.where(measured, capacity, np.inf)))
        out["capacity_fade"] = figure(1.0 - capacity[cell], capacity_sigma[cell])
    if np.isfinite(resistance).any():
        cell = int(np.nanargmax(resistance))
        ratio, sigma = resistance[cell], resistance_sigma[cell]
        out["resistance_rise"] = figure(ratio - 1.0, sigma)
        out["power_fade"] = figure(1.0 - 1.0 / ratio, sigma / ratio**2)
    return out


def figure(value: float, sigma: float) -> dict[str, float]:
    return {"value": round(float(value), 4), "sigma": round(float(sigma), 4)}


def spread(values: NDArray[np.float64], sigma: NDArray[np.float64]) -> dict[str, Any]:
    """Lowest, mean and highest of the known cells; sigma: the largest."""
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return {"min": None, "min_cell": None, "mean": None, "max": None, "max_cell": None, "sigma": None}
    low, high = known[np.argmin(values[known])], known[np.argmax(values[known])]
    return {
        "min": round(float(values[low]), 4),
        "min_cell": int(low) + 1,
        "mean": round(float(values[known].mean()), 4),
        "max": round(float(values[high]), 4),
        "max_cell": int(high) + 1,
        "sigma": round(float(np.nanmax(sigma[known])), 4) if np.isfinite(sigma[known]).any() else None,
    }


def told(figures: dict[str, Any]) -> str:
    """``health`` in lines for a person."""
    cells = figures["cells"]
    lines = [f"pack {figures['pack']}: {cells} {'cell' if cells == 1 else 'cells'}, card {figures['card']}"]
    lines.append(f"  saved {figures['saved'] or 'at an unknown time'} by edgebms {figures['runtime']}")
    for title, key, unit in (
        ("state of charge", "soc", "%"),
        ("capacity left of the card's", "soh_capacity", "%"),
        ("resistance over the card's", "soh_resistance", ""),
    ):
        lines.append(f"  {title}: {range_told(figures[key], unit)}")
    measured = figures["soh_capacity"]["measured_cells"]
    if not measured:
        lines.append("    no cell's capacity has been measured yet: this is the card's, with its uncertainty")
    elif measured < figures["cells"]:
        lines.append(f"    measured on {measured} of {figures['cells']} cells, the others lean on the card")
    for title, name in (
        ("capacity fade", "capacity_fade"),
        ("resistance rise", "resistance_rise"),
        ("power fade", "power_fade"),
        ("self-discharge a day", "self_discharge_per_day"),
    ):
        of = figures["annex_vii"][name]
        lines.append(f"  {title}: " + ("unknown" if of is None else f"{100 * of['value']:.1f} +- {100 * of['sigma']:.1f} %"))
    life = figures["lifetime"]
    lines.append(
        f"  lifetime since {figures['since'] or 'an unknown day'}, observed {life['observed_h']:g} h, unobserved {life['unobserved_h']:g} h"
    )
    if life["gaps_of_unknown_length"]:
        lines.append(f"    and {life['gaps_of_unknown_length']} times off for an unknown time")
    lines.append(
        f"    charged {life['charged_ah']:g} Ah ({life['charged_kwh']:g} kWh), discharged {life['discharged_ah']:g} Ah ({life['discharged_kwh']:g} kWh)"
    )
    lines.append(
        f"    equivalent full cycles {life['equivalent_full_cycles']:g} (+- {life['equivalent_full_cycles_uncertain']:g} by the current sensor's offset), "
        f"deep discharges {life['deep_discharges']}"
    )
    lines.append(f"    below 10 % {life['below_10_percent_h']:g} h, above 90 % {life['above_90_percent_h']:g} h")
    lines.append(f"    charged below 0 degC {life['charged_below_0_degc_h']:g} h ({life['charged_below_0_degc_ah']:g} Ah)")
    if life["hottest_c"] is not None:
        lines.append(f"    temperatures from {life['coldest_c']:.1f} to {life['hottest_c']:.1f} degC; by the warmest probe:")
        lines += [f"      {degrees(entry)}: {entry['hours']:g} h" for entry in life["at_temperature_h"]]
    if figures["alerts"]:
        lines.append("  standing alerts")
        lines += [f"    {alert['id']} since {alert['since'] or 'an unknown time'}" for alert in figures["alerts"]]
    return "\n".join(lines) + "\n"


def range_told(spread: dict[str, Any], unit: str) -> str:
    if spread["min"] is None:
        return "unknown"
    scale = 100.0 if unit else 1.0
    digits = 1 if unit else 3
    low, high, sigma = spread["min"] * scale, spread["max"] * scale, spread["sigma"]
    error = f", +- {sigma * scale:.{digits}f}{' ' + unit if unit else ''}" if sigma is not None else ""
    if spread["min_cell"] == spread["max_cell"]:
        return f"{low:.{digits}f}{' ' + unit if unit else ''}{error}"
    return (
        f"{low:.{digits}f} (cell {spread['min_cell']}) to {high:.{digits}f} (cell {spread['max_cell']}){' ' + unit if unit else ''}{error}"
    )


def degrees(entry: dict[str, Any]) -> str:
    if entry["from_c"] is None:
        return f"below {entry['to_c']:g} degC"
    if entry["to_c"] is None:
        return f"{entry['from_c']:g} degC and above"
    return f"{entry['from_c']:g} to {entry['to_c']:g} degC"
