"""A BMS that speaks foxBMS 2 (firmware 1.7 or later), one 100 ms cycle a call: encoded by cantools from its DBC.

Saturates as the firmware does: 0x230 and 0x260 at 127 degC; 0x241 goes out unsigned in 0.5 K up to 127.5 degC.
"""

from __future__ import annotations

import math
from importlib import resources
from typing import Any

import cantools.database
import numpy as np
from numpy.typing import ArrayLike

from edgebms.inlet.frame import Frame
from edgebms.vocabulary import Contactor

PER_MUX, PROBES_PER_MUX = 4, 6
STATES = {Contactor.OPEN: 5, Contactor.PRECHARGE: 6, Contactor.CLOSED: 7, Contactor.UNKNOWN: 1}
TOP_C, BOTTOM_C = 127, -127


class FoxBms:
    """firmware decides what a valid flag means: from 1.8 on 1 is valid, in 1.7 it is 0."""

    def __init__(self, cells: int, probes: int, firmware: str) -> None:
        text = resources.files("edgebms").joinpath("catalogue/dbc/foxbms2.dbc").read_text(encoding="utf-8")
        self._database: Any = cantools.database.load_string(text, "dbc")
        self._cells, self._probes = cells, probes
        self._valid = int(tuple(int(part) for part in firmware.split(".")[:2]) >= (1, 8))
        self._cycle = 0

    def encode(
        self,
        time_ns: int,
        cell_voltage_v: ArrayLike,
        temperature_c: ArrayLike,
        current_a: float,
        voltage_v: float,
        *,
        contactors: Contactor,
        reported_soc: float,
        insulation_ohm: float,
    ) -> list[Frame]:
        """One cycle: the 100 ms frames, the next cells, every other time the next probes, each second the SOC."""
        volts, degrees = np.asarray(cell_voltage_v, float), np.asarray(temperature_c, float)
        cycle, self._cycle = self._cycle, self._cycle + 1
        known_v, known_c = volts[np.isfinite(volts)], degrees[np.isfinite(degrees)]
        frames = [self._frame(time_ns, "BmsState", {"BmsState": STATES[contactors]})]
        if known_c.size:
            held = [int(np.clip(math.floor(value), BOTTOM_C, TOP_C)) for value in (known_c.min(), known_c.max())]
            frames.append(
                self._frame(time_ns, "PackMinMaxCellTemperature", {"MinimumCellTemperature": held[0], "MaximumCellTemperature": held[1]})
            )
            half = [int(np.clip(round(2 * value), 0, 255)) for value in (known_c.min(), known_c.max())]
            body = {"StringMinMaxTemperature_Mux": 0, "StringMinimumTemperature": half[0], "StringMaximumTemperature": half[1]}
            frames.append(self._frame(time_ns, "StringMinMaxCellTemperature", body))
        if known_v.size:
            millivolts = [int(np.clip(round(1000 * value), -8192, 8191)) for value in (known_v.min(), known_v.max())]
            frames.append(
                self._frame(time_ns, "PackMinMaxCellVoltage", {"MinimumCellVoltage": millivolts[0], "MaximumCellVoltage": millivolts[1]})
            )
        frames.append(self._frame(time_ns, "PackValuesP1", {"InsulationResistance": int(np.clip(insulation_ohm / 7000, 0, 0x1FFF))}))
        if cycle % 10 == 0:
            frames.append(self._frame(time_ns, "PackStateEstimation", {"MinimumSoc": round(1000 * reported_soc)}))
        frames.append(self._cells_frame(time_ns, volts, cycle))
        if self._probes and cycle % 2 == 0:
            frames.append(self._probes_frame(time_ns, degrees, cycle // 2))
        pack = {"BatteryVoltage": round(10 * voltage_v), "Current": int(np.clip(round(-100 * current_a), -65536, 65535))}
        return [*frames, self._frame(time_ns, "PackValuesP0", pack)]

    def _cells_frame(self, time_ns: int, volts: Any, cycle: int) -> Frame:
        mux = cycle % -(-self._cells // PER_MUX)
        body: dict[str, int] = {"CellVoltages_Mux": mux}
        for place in range(PER_MUX):
            cell = PER_MUX * mux + place
            good = cell < self._cells and math.isfinite(volts[cell])
            body[f"CellVoltage_{cell:03d}"] = int(np.clip(round(1000 * volts[cell]), 0, 8191)) if good else 0
            body[f"CellVoltage_{cell:03d}_Valid"] = self._valid if good else 1 - self._valid
        return self._frame(time_ns, "CellVoltages", body)

    def _probes_frame(self, time_ns: int, degrees: Any, turn: int) -> Frame:
        mux = turn % -(-self._probes // PROBES_PER_MUX)
        body: dict[str, int] = {"CellTemperatures_Mux": mux}
        for place in range(PROBES_PER_MUX):
            probe = PROBES_PER_MUX * mux + place
            good = probe < self._probes and math.isfinite(degrees[probe])
            body[f"CellTemperature_{probe:03d}"] = int(np.clip(math.floor(degrees[probe]), BOTTOM_C, TOP_C)) if good else 0
            body[f"CellTemperature_{probe:03d}_Valid"] = self._valid if good else 1 - self._valid
        return self._frame(time_ns, "CellTemperatures", body)

    def _frame(self, time_ns: int, name: str, raw: dict[str, int]) -> Frame:
        message = self._database.get_message_by_name(name)
        values = {signal.name: 0 for signal in message.signals if not signal.multiplexer_ids}
        return Frame(time_ns, message.frame_id, bytes(message.encode({**values, **raw}, scaling=False, strict=False)))
