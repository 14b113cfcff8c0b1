"""Defects put into a copy of the runtime, and the scenarios that must turn red of each.

A mutant is a file of ``edgebms/``, a text in it that stands there once, and what takes its place. That a student may lower no
level is not among them: no student speaks in the pipeline yet.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """red: scenarios that must fail. short: one of the quick ones, run in CI."""

    name: str
    file: str
    old: str
    new: str
    red: tuple[str, ...]
    short: bool = False


MUTANTS = (
    Mutant("a limit removed", "catalogue/limits/default.toml", 'limit = { of = "voltage_max_v", plus = 0.1 }', "limit = 99", ("overcharge",)),
    Mutant("a debounce zeroed", "catalogue/limits/default.toml", 'quantity = "cell_lost_s"\nside = "above"\nlevel = "warning"\nhazard = "loss_of_data"\naction = "stop_charge"\nlimit = 5\nhysteresis = 4\ndebounce = 3', 'quantity = "cell_lost_s"\nside = "above"\nlevel = "warning"\nhazard = "loss_of_data"\naction = "stop_charge"\nlimit = 0.5\nhysteresis = 0.4\ndebounce = 1', ("cell_reconnected",), short=True),
    Mutant("the runaway rule off", "guard/runaway.py", "RATE_K_PER_S = 1.0", "RATE_K_PER_S = 1e9", ("runaway_propagates",)),
    Mutant("a stale value kept", "telemetry/assembler.py", "slot_reason = (age_ns > self._stale_ns).astype(np.uint8)", "slot_reason = (age_ns < 0).astype(np.uint8)", ("bus_silence", "bus_id_missing"), short=True),
    Mutant("a stale frame repeated", "telemetry/assembler.py", "if count == self._counters[number]:", "if False:", ("bus_frozen",)),
    Mutant("the checksum not looked at", "telemetry/assembler.py", "if check is not None and not check(data):", "if False:", ("bus_checksum",), short=True),
    Mutant("loss of data is no alert", "catalogue/limits/default.toml", 'quantity = "heat_blind_s"\nside = "above"\nlevel = "warning"\nhazard = "loss_of_data"\naction = "stop_charge"\nlimit = 10', 'quantity = "heat_blind_s"\nside = "above"\nlevel = "warning"\nhazard = "loss_of_data"\naction = "stop_charge"\nlimit = 1e9', ("all_probes_open",)),
    Mutant("advice turned into command", "decision/authority.py", "harm = HARMS_THE_SITE.get(site.kind)", "harm = None", ("site_islanded_alone", "site_not_stated", "site_vehicle_in_motion")),
    Mutant("command turned into advice", "decision/authority.py", "harm = HARMS_THE_SITE.get(site.kind)", "harm = Restraint.SITE_RULE", ("site_grid_tied", "site_vehicle_parked")),
    Mutant("contactors opened under load", "decision/contactor_sequence.py", "self._step, self._since_ns, self._under_load = SequenceStep.LOWERING, now_ns, None", "self._step, self._since_ns, self._under_load = SequenceStep.OPEN, now_ns, None", ("site_current_to_zero",)),
    Mutant("charging in the cold is no alert", "catalogue/limits/default.toml", 'limit = { of = "charge_temperature_min_c", plus = -1 }', "limit = -99", ("plating_below_zero",), short=True),
    Mutant("a stopped charge goes on", "decision/limits.py", "no_charge = stop_charge or charge_reason is not None", "no_charge = charge_reason is not None", ("insulation_loss",), short=True),
    Mutant("cooling off in a thermal alert", "decision/arbiter.py", "cool=any(place.hazard in WANTS_COOLING for place in alerts) or any(entry.given is Action.COOL for entry in asked),", "cool=False,", ("heater_runaway",)),
    Mutant("a broken sense wire believed", "guard/plausibility.py", "WIRE_V = 0.2", "WIRE_V = 99.0", ("voltage_sense_wire",), short=True),
    Mutant("error frames taken for data", "inlet/pythoncan.py", "if message.is_error_frame:", "if False:", ("bus_error_frames",)),
    Mutant("a pack that goes blind in an alert is forgotten", "guard/guard.py", "if self._alert_before_blind else 0.0", "if False else 0.0", ("runaway_blind",)),
    Mutant("latches lost in a restart", "guard/guard.py", "for alarm in self._alarms:\n            alarm.restore(state.get(alarm.row.name, {}))", "del state", ("killed_in_alert",)),
    Mutant("frames to the inverter outlive their decision", "outlet/loss.py", "if lost_s <= self.hold_s:", "if lost_s >= 0:", ("inverter_loss_fades", "hung_loop")),
    Mutant("a charge voltage of 0 to the inverter", "outlet/inverter_frames.py", "charge_voltage(battery.charge_v, battery.float_v, 0.1),", "0 if battery.charge_a == 0 else charge_voltage(battery.charge_v, battery.float_v, 0.1),", ("inverter_stop_charge",)),
    Mutant("a second gateway not noticed", "inlet/bus.py", "if own_ids:\n                self._look_for", "if False:\n                self._look_for", ("two_gateways",)),
)  # fmt: skip


def plant(mutant: Mutant, folder: Path) -> Path:
    """A folder with ``edgebms`` as it stands and the defect in it, to be put before the other on the path."""
    shutil.copytree(ROOT / "edgebms", folder / "edgebms", ignore=shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc"))
    for name in ("models", "firmware_bridge"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    path = folder / "edgebms" / mutant.file
    text = path.read_text(encoding="utf-8")
    count = text.count(mutant.old)
    assert count == 1, f"{mutant.name}: stands {count} times in {mutant.file}: {mutant.old!r}"
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return folder
