"""Write golden frames: for each catalogue profile a candump log, encoded by cantools (and crccheck), and
beside it what its snapshots must say, decoded by cantools. Nothing of ``edgebms`` takes part.

Run by ``make golden`` only; ``tests/telemetry/test_golden_frames.py`` replays the logs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cantools.database
import make_dbc
from crccheck.crc import Crc8SaeJ1850, Crc16Ibm3740

HERE = Path(__file__).resolve().parent
DBC = HERE.parents[1] / "edgebms" / "catalogue" / "dbc"
START_S = 1_700_000_000.0


class Log:
    """Frames of one bus, and what is expected of its snapshots."""

    def __init__(self, dbc: str, pack: dict[str, Any]) -> None:
        self.database: Any = cantools.database.load_file(DBC / dbc, strict=True)
        self.pack = pack
        self.lines: list[str] = []
        self.expected: list[dict[str, Any]] = []

    def put(
        self, time_s: float, name: str, raw: dict[str, int], *, cut: int | None = None, damage: int | None = None, tail: bytes = b""
    ) -> dict[str, float]:
        """Append message ``name`` with raw signal values; returns cantools' own decode of it."""
        message = self.database.get_message_by_name(name)
        values = {signal.name: 0 for signal in message.signals if not signal.multiplexer_ids}
        data = bytearray(message.encode({**values, **raw}, scaling=False, strict=False))
        if any(signal.name == "Crc8" for signal in message.signals):
            data[0] = Crc8SaeJ1850.calc(message.frame_id.to_bytes(2, "big") + bytes(data[1:]))
        if any(signal.name == "Crc16" for signal in message.signals):
            data[:2] = Crc16Ibm3740.calc(message.frame_id.to_bytes(2, "big") + bytes(data[2:])).to_bytes(2, "little")
        if damage is not None:
            data[damage] ^= 0x40
        data = data[:cut] + tail
        mark = "#1" if len(data) > 8 else ""
        self.lines.append(f"({START_S + time_s:.6f}) can0 {message.frame_id:03X}#{mark}{data.hex().upper()}\n")
        return dict(message.decode(bytes(data), decode_choices=False, allow_truncated=True))

    def expect(self, time_s: float, **fields: Any) -> None:
        self.expected.append({"time_s": START_S + time_s, **fields})


def clean(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 6) for value in values]


def ours(dbc: str, per_cell: int, per_probe: int, fd: bool) -> Log:
    """16 cells, 4 probes: sound; codes; a damaged frame; sound again; a cell too many."""
    log = Log(dbc, {"profile": dbc.removesuffix(".dbc"), "cells": 16, "probes": 4})
    chance = random.Random(1)
    cells: list[float | None] = [None] * 16
    probes: list[float | None] = [None] * 4
    for sweep in range(5):
        at = 0.1 * sweep
        raw = [37000 + chance.randrange(-500, 500) for _ in range(16)]
        heat = [750 + chance.randrange(-20, 20) for _ in range(4)]
        reasons: dict[str, str] = {}
        probe_reasons: dict[str, str] = {}
        if sweep == 1:
            raw[3], heat[1], heat[2] = 0xFFFF, 0xFFE, 0xFFF
            reasons = {"4": "invalid_code"}
            probe_reasons = {"2": "saturated", "3": "invalid_code"}
        filled = raw + [0xFFFF] * (-len(raw) % per_cell)
        if sweep == 4:
            filled[16] = 37000
        counter = {"Sweep": (62 + sweep) % 64}
        pack = {"Current": -41000 + sweep, "Voltage": sum(value for value in raw if value != 0xFFFF) // 10}
        status = {"Contactors": 2, "CellCount": 16, "ProbeCount": 4, "ReportedSoc": 6100 + sweep}
        sensors = {"Insulation": 5000, "Pressure": 1013, "Gas": 0xFF, "Coolant": 700}
        known = [value for value in raw if value != 0xFFFF]
        volts = {"CellMin": min(known), "CellMax": max(known), "CellMinIndex": raw.index(min(known)), "CellMaxIndex": raw.index(max(known))}
        seen = [value for value in heat if value not in (0xFFE, 0xFFF)]
        heats = {
            "ProbeMin": min(seen),
            "ProbeMax": max(seen),
            "ProbeMinIndex": heat.index(min(seen)),
            "ProbeMaxIndex": heat.index(max(seen)),
        }
        decoded: dict[str, float] = {}
        if not fd:
            for step, (name, body) in enumerate(
                (("Status", status), ("Sensors", sensors), ("VoltageExtremes", volts), ("TemperatureExtremes", heats))
            ):
                decoded |= log.put(at + 0.001 * step, name, {**counter, **body})
        for i in range(-(-len(heat) // per_probe)):
            part = (heat + [0xFFF] * (-len(heat) % per_probe))[per_probe * i : per_probe * (i + 1)]
            name = f"Probes_{i + 1:02d}" if fd else f"Probes_{i + 1:03d}"
            decoded |= log.put(
                at + 0.01 + 0.001 * i, name, {**counter, **{f"Probe_{per_probe * i + k + 1:03d}": value for k, value in enumerate(part)}}
            )
        damaged = 0 if fd else 2
        lost = range(per_cell * damaged, min(per_cell * (damaged + 1), 16)) if sweep == 2 else range(0)
        for i in range(-(-16 // per_cell)):
            part = filled[per_cell * i : per_cell * (i + 1)]
            name = f"Cells_{i + 1:02d}" if fd else f"Cells_{i + 1:03d}"
            body = {f"Cell_{per_cell * i + k + 1:03d}": value for k, value in enumerate(part)}
            decoded |= log.put(at + 0.02 + 0.001 * i, name, {**counter, **body}, damage=7 if sweep == 2 and i == damaged else None)
        last = at + 0.04
        decoded |= log.put(last, "Pack", {**counter, **pack, **(status | sensors | volts | heats if fd else {})})
        for cell in range(16):
            if cell not in lost:
                cells[cell] = None if raw[cell] == 0xFFFF else decoded[f"Cell_{cell + 1:03d}"]
        for probe in range(4):
            probes[probe] = None if heat[probe] >= 0xFFE else decoded[f"Probe_{probe + 1:03d}"]
        if fd and sweep == 2:
            reasons = {"4": "invalid_code"}  # what the frame before the damaged one said
        if sweep == 4:
            reasons = {str(cell + 1): "beyond_profile" for cell in range(16)}
        log.expect(
            last,
            complete=sweep != 2,
            cell_voltage_v=[None] * 16 if sweep == 4 else clean(cells),
            cell_reason=reasons,
            temperature_c=clean(probes),
            temperature_reason=probe_reasons,
            current_a=decoded["Current"],
            voltage_v=decoded["Voltage"],
            insulation_ohm=decoded["Insulation"] * 1000,
            pressure_pa=decoded["Pressure"],
            gas=None,
            coolant_temperature_c=decoded["Coolant"],
            reported_soc=round(decoded["ReportedSoc"] / 100, 6),
            contactors="closed",
            voltage_max=[round(decoded["CellMax"], 6), int(decoded["CellMaxIndex"]) + 1],
            temperature_max=[round(decoded["ProbeMax"], 6), int(decoded["ProbeMaxIndex"]) + 1],
            refused={"checksum": 1} if sweep == 2 else {},
        )
    return log


def edgebms() -> Log:
    return ours("edgebms.dbc", 3, 4, False)


def edgebms_fd() -> Log:
    return ours("edgebms_fd.dbc", 30, 40, True)


def foxbms2() -> Log:
    """18 cells and 6 probes, firmware 1.8: five cell frames a sweep, flags, a saturated probe, a cold pack."""
    log = Log("foxbms2.dbc", {"profile": "foxbms2", "cells": 18, "probes": 6, "firmware": "1.8.0"})
    chance = random.Random(2)
    cells: list[float | None] = [None] * 18
    probes: list[float | None] = [None] * 6
    for cycle in range(12):
        at = 0.1 * cycle
        mux = cycle % 5
        raw = [3300 + chance.randrange(-30, 30) for _ in range(4)]
        log.put(at, "BmsState", {"BmsState": 7})
        hot = {"MaximumCellTemperature": 127 if cycle >= 8 else 31, "MinimumCellTemperature": -12}
        decoded = log.put(at + 0.001, "PackMinMaxCellTemperature", hot)
        decoded |= log.put(at + 0.002, "PackMinMaxCellVoltage", {"MinimumCellVoltage": 3270, "MaximumCellVoltage": 3330 + cycle})
        log.put(
            at + 0.003,
            "StringMinMaxCellTemperature",
            {"StringMinMaxTemperature_Mux": 0, "StringMaximumTemperature": 128, "StringMinimumTemperature": 20},
        )
        decoded |= log.put(at + 0.004, "PackValuesP1", {"InsulationResistance": 700})
        if cycle % 10 == 0:
            soc = log.put(at + 0.005, "PackStateEstimation", {"MinimumSoc": 555})["MinimumSoc"]
        body: dict[str, int] = {"CellVoltages_Mux": mux}
        for place in range(4):
            cell = 4 * mux + place
            good = cell < 18 and not (cell == 6 and cycle == 6)
            body |= {f"CellVoltage_{cell:03d}": raw[place], f"CellVoltage_{cell:03d}_Valid": int(good)}
            if cell < 18:
                cells[cell] = raw[place] / 1000 if good else None
        log.put(at + 0.006, "CellVoltages", body)
        if cycle % 2 == 0:
            heat = [20, 21, -5, 22, 127 if cycle >= 8 else 30, 24]
            log.put(
                at + 0.007,
                "CellTemperatures",
                {
                    "CellTemperatures_Mux": 0,
                    **{f"CellTemperature_{k:03d}": value for k, value in enumerate(heat)},
                    **{f"CellTemperature_{k:03d}_Valid": int(k != 5) for k in range(6)},
                },
            )
            probes = [None if k == 5 or value == 127 else float(value) for k, value in enumerate(heat)]
        decoded |= log.put(at + 0.01, "PackValuesP0", {"BatteryVoltage": sum(3300 for _ in range(18)) // 100, "Current": -1234 + cycle})
        if cycle < 4:
            continue
        probe_reasons = {"6": "invalid_flag"} | ({"5": "saturated"} if cycle >= 8 else {})
        log.expect(
            at + 0.01,
            complete=True,
            cell_voltage_v=clean(cells),
            cell_reason={"7": "invalid_flag"} if cells[6] is None else {},
            temperature_c=clean(probes),
            temperature_reason=probe_reasons,
            current_a=-decoded["Current"],
            voltage_v=decoded["BatteryVoltage"],
            insulation_ohm=decoded["InsulationResistance"] * 1000,
            reported_soc=round(soc / 100, 6),
            contactors="closed",
            voltage_max=[(3330 + cycle) / 1000, None],
            temperature_max=[None if cycle >= 8 else 31.0, None],
            temperature_min=[-12.0, None],
            refused={},
        )
    return log


def gm_volt() -> Log:
    """One sweep of 96 cells, then one in which cell 50 reads beyond what a cell can have."""
    log = Log("gm_volt.dbc", {"profile": "gm_volt", "cells": 96, "probes": 9, "period_s": 1.0})
    chance = random.Random(3)
    for sweep in range(2):
        cells: list[float | None] = [None] * 96
        probes: list[float | None] = []
        at = 1.0 * sweep
        decoded = log.put(at, "PackStats", {"PackVoltage": 2870})
        coolant = log.put(at + 0.001, "Coolant", {"CoolantInlet": 480})["CoolantInlet"]
        for bank in range(2):
            heat = {f"Temperature_{6 * bank + k + 1}": 120 + chance.randrange(10) for k in range(6 if bank == 0 else 3)}
            if sweep and bank:
                heat["Temperature_9"] = 0xFF
            values = log.put(at + 0.01 + 0.001 * bank, "Temperatures", {"TemperatureBank": bank, **heat})
            probes += [None if heat[name] == 0xFF else values[name] for name in heat]
        for module in range(4):
            for bank in range(8):
                first = 24 * module + 3 * bank
                raw = {f"Cell_{first + k + 1:02d}": 2990 + chance.randrange(10) for k in range(3)}
                if sweep and first + 2 == 50:
                    raw["Cell_51"] = 0xFFF
                values = log.put(at + 0.1 + 0.01 * (8 * module + bank), f"Module_{module + 1}", {f"Bank_{module + 1}": bank, **raw})
                for k in range(3):
                    cells[first + k] = values[f"Cell_{first + k + 1:02d}"]
        if sweep:
            cells[50] = None
        log.expect(
            at + 0.41,
            complete=True,
            cell_voltage_v=clean(cells),
            cell_reason={"51": "out_of_range"} if sweep else {},
            temperature_c=clean(probes),
            temperature_reason={"9": "saturated"} if sweep else {},
            current_a=None,
            voltage_v=decoded["PackVoltage"],
            coolant_temperature_c=coolant,
            contactors="unknown",
            refused={},
        )
    return log


def victron_lv() -> Log:
    """A battery without cell extremes and with frames of 4 and 6 bytes, then one with all and 8 bytes."""
    log = Log("victron_lv.dbc", {"profile": "victron_lv", "cells": 15, "probes": 1})
    for cycle in range(4):
        at = 1.0 * cycle
        decoded = log.put(at, "SocSoh", {"Soc": 88 - cycle, "Soh": 94, "SocFine": 8812}, cut=(4, 6, 8, 1)[cycle])
        if cycle >= 2:
            decoded |= log.put(
                at + 0.01,
                "CellExtremes",
                {"CellMin": 3301, "CellMax": 3312 + cycle, "TemperatureMin": 291, "TemperatureMax": 0 if cycle == 3 else 295},
            )
        decoded |= log.put(
            at + 0.02, "Measured", {"Voltage": 4986, "Current": -270 - cycle, "Temperature": 363}, tail=b"\0\0" if cycle == 1 else b""
        )
        log.expect(
            at + 0.02,
            complete=True,
            cell_voltage_v=[None] * 15,
            cell_reason={str(cell + 1): "not_in_profile" for cell in range(15)},
            temperature_c=clean([decoded["Temperature"]]),
            temperature_reason={},
            current_a=decoded["Current"],
            voltage_v=decoded["Voltage"],
            # one byte does not hold the 16 bits of the state of charge
            reported_soc=None if cycle == 3 else round((88 - cycle) / 100, 6),
            voltage_max=[decoded["CellMax"] if cycle >= 2 else None, None],
            temperature_max=[295.0 - 273 if cycle == 2 else None, None],
            contactors="unknown",
            refused={},
        )
    return log


def hyundai_kona() -> Log:
    """Open, precharge, closed; then a cut frame, which is refused."""
    log = Log("hyundai_kona.dbc", {"profile": "hyundai_kona", "cells": 98, "probes": 0, "channel": "can0"})
    for cycle, (precharge, closed, state) in enumerate(((0, 0, "open"), (1, 0, "precharge"), (0, 1, "closed"), (0, 1, "closed"))):
        at = 0.1 * cycle
        soc = log.put(at, "BatteryDisplay", {"SocDisplay": 73})["SocDisplay"]
        log.put(at + 0.001, "BatteryContactors", {"ContactorClosed": closed}, cut=5 if cycle == 3 else None)
        heat = log.put(at + 0.002, "BatteryTemperature", {"TemperatureLow": 251 if cycle == 1 else 22, "TemperatureHigh": 23})
        decoded = log.put(
            at + 0.01, "BatteryStatus", {"PrechargeRelay": precharge, "BatteryCurrent": 27 - 40 * cycle, "BatteryVoltage": 3550}
        )
        log.expect(
            at + 0.01,
            complete=True,
            cell_voltage_v=[None] * 98,
            cell_reason={str(cell + 1): "not_in_profile" for cell in range(98)},
            temperature_c=[],
            temperature_reason={},
            current_a=-decoded["BatteryCurrent"],
            voltage_v=decoded["BatteryVoltage"],
            reported_soc=round(soc / 100, 6),
            contactors=state,
            temperature_max=[heat["TemperatureHigh"], None],
            temperature_min=[None if cycle == 1 else heat["TemperatureLow"], None],
            refused={"too_short": 1} if cycle == 3 else {},
        )
    return log


LOGS: dict[str, Callable[[], Log]] = {make.__name__: make for make in (edgebms, edgebms_fd, foxbms2, gm_volt, victron_lv, hyundai_kona)}


def main() -> None:
    make_dbc.main()
    folder = HERE / "frames"
    folder.mkdir(exist_ok=True)
    for name, make in LOGS.items():
        log = make()
        (folder / f"{name}.log").write_text("".join(log.lines), encoding="ascii")
        (folder / f"{name}.json").write_text(json.dumps({"pack": log.pack, "snapshots": log.expected}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
