"""Write the DBC files of the catalogue whose messages repeat: ours (classic and FD) and foxBMS 2's cells.

The bit positions stand here once, from docs/protocol-can.md; ``tests/telemetry/test_catalogue.py`` holds
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


FILES = {"edgebms.dbc": edgebms, "edgebms_fd.dbc": edgebms_fd}


def main() -> None:
    for name, make in FILES.items():
        (DBC / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
