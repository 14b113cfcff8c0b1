"""Write the DBC files of the catalogue whose messages repeat: ours (classic and FD), foxBMS 2, GM Volt.

The bit positions stand here once, ours from docs/protocol-can.md, the others' from the facts of their buses; ``tests/telemetry/test_catalogue.py`` holds
the files against this script and against the vendors' files.
"""

from __future__ import annotations

from pathlib import Path

DBC = Path(__file__).resolve().parents[2] / "edgebms" / "catalogue" / "dbc"
HEAD = 'VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: BMS GATEWAY\n'


def message(identifier: int, name: str, length: int, signals: list[str]) -> str:
    return "\n".join([f"BO_ {identifier} {name}: {length} BMS", *signals, ""])


def signal(
    name: str,
    start: int,
    length: int,
    *,
    scale: str = "1",
    offset: str = "0",
    signed: bool = False,
    motorola: bool = False,
    unit: str = "",
    mux: str = "",
) -> str:
    sign, order = "-" if signed else "+", "0" if motorola else "1"
    return f' SG_ {name} {mux + " " if mux else ""}: {start}|{length}@{order}{sign} ({scale},{offset}) [0|0] "{unit}" GATEWAY'


CELL = {"scale": "0.0001", "unit": "V"}
PROBE = {"scale": "0.1", "offset": "-50", "unit": "degC"}


def pack_signals(at: int) -> list[str]:
    return [signal("Current", at, 24, scale="0.001", signed=True, unit="A"), signal("Voltage", at + 24, 24, scale="0.001", unit="V")]


def status_signals(at: int) -> list[str]:
    return [
        signal("Contactors", at, 2),
        signal("CellCount", at + 2, 9),
        signal("ProbeCount", at + 11, 9),
        signal("ReportedSoc", at + 24, 16, scale="0.01", unit="%"),
    ]


def sensor_signals(at: int) -> list[str]:
    return [
        signal("Insulation", at, 16, scale="1", unit="kOhm"),
        signal("Pressure", at + 16, 12, scale="100", unit="Pa"),
        signal("Gas", at + 28, 8, scale="0.5", unit="%"),
        signal("Coolant", at + 36, 12, **PROBE),
    ]


def voltage_extreme_signals(at: int, index_at: int) -> list[str]:
    return [
        signal("CellMin", at, 16, **CELL),
        signal("CellMax", at + 16, 16, **CELL),
        signal("CellMinIndex", index_at, 9),
        signal("CellMaxIndex", index_at + 9, 9),
    ]


def temperature_extreme_signals(at: int) -> list[str]:
    return [
        signal("ProbeMin", at, 12, **PROBE),
        signal("ProbeMax", at + 12, 12, **PROBE),
        signal("ProbeMinIndex", at + 24, 9),
        signal("ProbeMaxIndex", at + 33, 9),
    ]


def edgebms() -> str:
    """Classic CAN: byte 0 CRC-8, then 6 bits of sweep counter, then the signals."""
    crc = [signal("Crc8", 0, 8), signal("Sweep", 8, 6)]
    out = [
        HEAD,
        message(0x100, "Pack", 8, [*crc, *pack_signals(16)]),
        message(0x101, "Status", 8, [*crc, *status_signals(16)]),
        message(0x102, "Sensors", 8, [*crc, *sensor_signals(16)]),
        # 50 bits: the only message that uses the two spare bits of byte 1
        message(0x103, "VoltageExtremes", 8, [*crc, *voltage_extreme_signals(32, 14)]),
        message(0x104, "TemperatureExtremes", 8, [*crc, *temperature_extreme_signals(16)]),
    ]
    for i in range(9):
        bits = [signal(f"Balancing_{cell + 1:03d}", 16 + cell - 48 * i, 1) for cell in range(48 * i, min(48 * i + 48, 400))]
        out.append(message(0x105 + i, f"Balancing_{i + 1}", 8, [*crc, *bits]))
    for i in range(134):
        cells = [signal(f"Cell_{cell + 1:03d}", 16 + 16 * (cell - 3 * i), 16, **CELL) for cell in range(3 * i, min(3 * i + 3, 400))]
        out.append(message(0x110 + i, f"Cells_{i + 1:03d}", 8, [*crc, *cells]))
    for i in range(100):
        probes = [signal(f"Probe_{probe + 1:03d}", 16 + 12 * (probe - 4 * i), 12, **PROBE) for probe in range(4 * i, 4 * i + 4)]
        out.append(message(0x198 + i, f"Probes_{i + 1:03d}", 8, [*crc, *probes]))
    return "\n".join(out)


def edgebms_fd() -> str:
    """CAN FD: bytes 0-1 CRC-16, byte 2 sweep counter (6 bits), byte 3 spare, then the signals."""
    crc = [signal("Crc16", 0, 16), signal("Sweep", 16, 6)]
    head = [
        *crc,
        *pack_signals(32),
        *status_signals(80),
        *sensor_signals(120),
        *voltage_extreme_signals(168, 200),
        *temperature_extreme_signals(218),
    ]
    balancing = [signal(f"Balancing_{cell + 1:03d}", 32 + cell, 1) for cell in range(400)]
    out = [HEAD, message(0x100, "Pack", 48, head), message(0x101, "Balancing", 64, [*crc, *balancing])]
    for i in range(14):
        cells = [signal(f"Cell_{cell + 1:03d}", 32 + 16 * (cell - 30 * i), 16, **CELL) for cell in range(30 * i, min(30 * i + 30, 400))]
        out.append(message(0x110 + i, f"Cells_{i + 1:02d}", 64, [*crc, *cells]))
    for i in range(10):
        probes = [signal(f"Probe_{probe + 1:03d}", 32 + 12 * (probe - 40 * i), 12, **PROBE) for probe in range(40 * i, 40 * i + 40)]
        out.append(message(0x120 + i, f"Probes_{i + 1:02d}", 64, [*crc, *probes]))
    out.append(
        'BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","StandardCAN_FD","ExtendedCAN_FD";'
    )
    out.append('BA_DEF_DEF_ "VFrameFormat" "StandardCAN_FD";\n')
    return "\n".join(out)


def foxbms2() -> str:
    """foxBMS 2, 11-bit ids, Motorola: 216 cells and 180 probes, as far as its firmware goes."""
    extremes = [
        signal("MaximumCellTemperature", 47, 8, signed=True, motorola=True, unit="degC"),
        signal("MinimumCellTemperature", 39, 8, signed=True, motorola=True, unit="degC"),
    ]
    string_extremes = [
        signal("StringMinMaxTemperature_Mux", 3, 4, motorola=True, mux="M"),
        signal("StringMaximumTemperature", 31, 8, scale="0.5", motorola=True, unit="degC", mux="m0"),
        signal("StringMinimumTemperature", 39, 8, scale="0.5", motorola=True, unit="degC", mux="m0"),
    ]
    voltages = [
        signal("MinimumCellVoltage", 53, 14, signed=True, motorola=True, unit="mV"),
        signal("MaximumCellVoltage", 37, 14, signed=True, motorola=True, unit="mV"),
    ]
    values = [
        signal("BatteryVoltage", 7, 15, scale="0.1", signed=True, motorola=True, unit="V"),
        signal("Current", 40, 17, scale="0.01", signed=True, motorola=True, unit="A"),
    ]
    cells = [signal("CellVoltages_Mux", 7, 8, motorola=True, mux="M")]
    for cell in range(216):
        mux, place = f"m{cell // 4}", cell % 4
        cells.append(signal(f"CellVoltage_{cell:03d}_Valid", 12 + place, 1, motorola=True, mux=mux))
        cells.append(signal(f"CellVoltage_{cell:03d}", (11, 30, 33, 52)[place], 13, motorola=True, unit="mV", mux=mux))
    probes = [signal("CellTemperatures_Mux", 7, 8, motorola=True, mux="M")]
    for probe in range(180):
        mux, place = f"m{probe // 6}", probe % 6
        probes.append(signal(f"CellTemperature_{probe:03d}_Valid", 8 + place, 1, motorola=True, mux=mux))
        probes.append(signal(f"CellTemperature_{probe:03d}", 23 + 8 * place, 8, signed=True, motorola=True, unit="degC", mux=mux))
    return "\n".join(
        [
            HEAD,
            message(0x220, "BmsState", 8, [signal("BmsState", 3, 4, motorola=True)]),
            message(0x230, "PackMinMaxCellTemperature", 8, extremes),
            message(0x231, "PackMinMaxCellVoltage", 8, voltages),
            message(0x233, "PackValuesP0", 8, values),
            message(0x234, "PackValuesP1", 8, [signal("InsulationResistance", 7, 13, scale="7", motorola=True, unit="kOhm")]),
            message(0x235, "PackStateEstimation", 8, [signal("MinimumSoc", 7, 10, scale="0.1", motorola=True, unit="%")]),
            message(0x241, "StringMinMaxCellTemperature", 8, string_extremes),
            message(0x250, "CellVoltages", 8, cells),
            message(0x260, "CellTemperatures", 8, probes),
        ]
    )


def gm_volt() -> str:
    """GM Volt: four modules of 24 cells, three a frame, eight frames a module; nine temperatures."""
    out = [HEAD]
    for module in range(4):
        signals = [signal(f"Bank_{module + 1}", 55, 3, motorola=True, mux="M")]
        for bank in range(8):
            for place in range(3):
                cell = 24 * module + 3 * bank + place + 1
                signals.append(signal(f"Cell_{cell:02d}", (4, 20, 39)[place], 12, scale="0.00125", motorola=True, unit="V", mux=f"m{bank}"))
        out.append(message(0x200 + 2 * module, f"Module_{module + 1}", 8, signals))
    heat = {"scale": "0.5", "offset": "-40", "unit": "degC"}
    temperatures = [signal("TemperatureBank", 2, 1, mux="M")]
    temperatures += [signal(f"Temperature_{probe + 1}", 8 + 8 * (probe % 6), 8, mux=f"m{probe // 6}", **heat) for probe in range(9)]
    coolant = [signal("CoolantInlet", 1, 10, scale="0.125", offset="-40", motorola=True, unit="degC")]
    out.append(message(0x210, "PackStats", 8, [signal("PackVoltage", 7, 12, scale="0.125", motorola=True, unit="V")]))
    out.append(message(0x302, "Temperatures", 8, temperatures))
    out.append(message(0x460, "Coolant", 4, coolant))
    return "\n".join(out)


def victron_lv() -> str:
    """48 V batteries in the manner of Pylontech and Victron, Intel."""
    soc = [signal("Soc", 0, 16, unit="%"), signal("Soh", 16, 16, unit="%"), signal("SocFine", 32, 16, scale="0.01", unit="%")]
    measured = [
        signal("Voltage", 0, 16, scale="0.01", signed=True, unit="V"),
        signal("Current", 16, 16, scale="0.1", signed=True, unit="A"),
        signal("Temperature", 32, 16, scale="0.1", signed=True, unit="degC"),
    ]
    extremes = [
        signal("CellMin", 0, 16, scale="0.001", unit="V"),
        signal("CellMax", 16, 16, scale="0.001", unit="V"),
        signal("TemperatureMin", 32, 16, offset="-273", unit="degC"),
        signal("TemperatureMax", 48, 16, offset="-273", unit="degC"),
    ]
    return "\n".join(
        [HEAD, message(0x355, "SocSoh", 8, soc), message(0x356, "Measured", 6, measured), message(0x373, "CellExtremes", 8, extremes)]
    )


def hyundai_kona() -> str:
    """Hyundai Kona EV, P-CAN, as far as its battery is understood."""
    status = [
        signal("PrechargeRelay", 8, 1),
        signal("BatteryCurrent", 32, 16, scale="0.1", signed=True, unit="A"),
        signal("BatteryVoltage", 48, 16, scale="0.1", unit="V"),
    ]
    return "\n".join(
        [
            HEAD,
            message(0x542, "BatteryDisplay", 8, [signal("SocDisplay", 0, 8, scale="0.5", unit="%")]),
            message(0x595, "BatteryStatus", 8, status),
            message(
                0x596,
                "BatteryTemperature",
                8,
                [signal("TemperatureLow", 48, 8, unit="degC"), signal("TemperatureHigh", 56, 8, unit="degC")],
            ),
            message(0x5A3, "BatteryContactors", 8, [signal("ContactorClosed", 6, 1)]),
        ]
    )


FILES = {
    "edgebms.dbc": edgebms,
    "edgebms_fd.dbc": edgebms_fd,
    "foxbms2.dbc": foxbms2,
    "gm_volt.dbc": gm_volt,
    "victron_lv.dbc": victron_lv,
    "hyundai_kona.dbc": hyundai_kona,
}


def main() -> None:
    for name, make in FILES.items():
        (DBC / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
