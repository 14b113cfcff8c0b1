"""What a limit row can watch."""

from __future__ import annotations

from typing import NamedTuple


class Quantity(NamedTuple):
    """kind: one value for each "cell", each "probe" or the whole "pack". window_s: the time it is
    measured over, 0 = one sample."""

    kind: str
    unit: str
    window_s: float
    what: str


QUANTITIES = {
    "cell_voltage_v": Quantity("cell", "V", 0, "cell voltage, spikes and broken sense wires taken out"),
    "cell_deviation_v": Quantity("cell", "V", 0, "cell voltage less the median of all cells"),
    "cell_fall_v": Quantity("cell", "V", 60, "how far the cell fell against the median below what it usually does at this current"),
    "cell_leak": Quantity(
        "cell",
        "1",
        60,
        "charge that the cell lost so, as a share of its capacity, beyond what a cell with a fifth less capacity may (see guard/leak.py)",
    ),
    "unwatched_fall_v": Quantity("cell", "V", 60, "fall of the cell while its probe, seen before, is lost; else 0"),
    "rest_fall_v_per_h": Quantity("cell", "V/h", 1800, "fall of the cell against the median at rest: self-discharge"),
    "falling_cell_warming_k": Quantity(
        "cell", "K", 60, "how far the probe of a falling cell warmed against the median, 0 while the cell does not fall"
    ),
    "sense_fault_v": Quantity(
        "cell", "V", 0, "distance from the median of a cell whose reading is not believed (broken sense wire, misread), else 0"
    ),
    "temperature_c": Quantity("probe", "degC", 0, "probe temperature, spikes taken out"),
    "temperature_deviation_k": Quantity("probe", "K", 0, "probe temperature less the median of all probes"),
    "temperature_rate_k_per_min": Quantity(
        "probe", "K/min", 120, "rise of a probe, and of the probe against the median: the smaller of the two"
    ),
    "fast_rise_s": Quantity("probe", "s", 0, "how long the probe has risen by 1 K/s or more (see guard/runaway.py)"),
    "saturated_s": Quantity("probe", "s", 0, "how long the probe has stood at its saturation value: its rate is frozen"),
    "cell_runaway_k_per_s": Quantity("cell", "K/s", 3, "rate of rise where the runaway event rule holds for a cell, else 0"),
    "probe_runaway_k_per_s": Quantity(
        "probe", "K/s", 3, "rate of rise where the runaway event rule holds for a probe of several cells, else 0"
    ),
    "charge_current_a": Quantity("pack", "A", 0, "pack current while charging"),
    "discharge_current_a": Quantity("pack", "A", 0, "magnitude of the pack current while discharging"),
    "pack_voltage_v": Quantity("pack", "V", 0, "pack voltage as measured"),
    "insulation_ohm_per_v": Quantity("pack", "ohm/V", 0, "insulation resistance over pack voltage"),
    "gas": Quantity("pack", "1", 0, "gas sensor as the profile maps it: a flag (0 or 1) or a concentration"),
    "pressure_rise_pa": Quantity("pack", "Pa", 60, "pressure over its own mean of the last minute"),
    "open_contactor_current_a": Quantity("pack", "A", 0, "magnitude of the pack current while the contactors are said to be open"),
    "cell_lost_s": Quantity("cell", "s", 0, "time without a valid voltage of the cell"),
    "cell_inconsistent_s": Quantity("cell", "s", 0, "time for which the cell's voltage came but contradicted itself or the pack"),
    "probe_lost_s": Quantity("probe", "s", 0, "time without a valid temperature of the probe"),
    "current_lost_s": Quantity("pack", "s", 0, "time without a valid pack current"),
    "blind_s": Quantity("pack", "s", 0, "time without any valid cell voltage"),
    "heat_blind_s": Quantity("pack", "s", 0, "time without any valid temperature, in a pack that has probes"),
    "blind_in_alert_s": Quantity("pack", "s", 0, "time without any valid cell voltage since a hot or short-circuit alert"),
    "startup_wait_s": Quantity("pack", "s", 0, "time since the start without one valid snapshot"),
}

SAMPLED = frozenset({"cell_voltage_v", "cell_deviation_v", "sense_fault_v", "temperature_c", "temperature_deviation_k"})
"""Quantities of one sample: debounce counts samples of the place, not snapshots."""
