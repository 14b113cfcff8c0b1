"""The decode tables against cantools' own decode: every signal of every DBC file at hand."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import cantools.database
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shared_data import shared

from edgebms.errors import ProfileError
from edgebms.telemetry.tables import Bits, DecodeTable, bits_of, load_dbc

CATALOGUE = sorted((Path(__file__).resolve().parents[2] / "edgebms" / "catalogue" / "dbc").glob("*.dbc"))
VENDORS = (
    "foxbms2/foxbms.dbc",
    "foxbms2/foxbms-bootloader.dbc",
    "gm_volt/gm_global_a_high_voltage_management.dbc",
    "kona_ev/kona_pcan.dbc",
    "kona_ev/kona_comp_can.dbc",
    "lv_bms/lv_bms.dbc",
)


def read(bits: list[Bits], data: bytes) -> tuple[np.ndarray, np.ndarray]:
    buffer = np.frombuffer(data + b"\0", dtype=np.uint8)
    return DecodeTable(bits, [0] * len(bits), len(data)).decode(buffer)


def equal(got: float, expected: float) -> bool:
    if math.isnan(got) or math.isnan(expected):
        return math.isnan(got) and math.isnan(expected)
    # an integer beyond 2**53 is exact in cantools and a double here
    return got == expected or (abs(expected) > 2.0**53 and math.isclose(got, expected, rel_tol=2.0**-50))


def payloads(length: int, random: np.random.Generator) -> list[bytes]:
    ones = [
        bytes([0xFF] * length),
        bytes(length),
        bytes([0x80] + [0] * (length - 1)),
        bytes([0] * (length - 1) + [0x80]),
        bytes([0x55] * length),
        bytes([0xAA] * length),
    ]
    return ones + [random.bytes(length) for _ in range(4)]


def with_mux(data: bytes, bits: Bits, value: int) -> bytes:
    out = bytearray(data)
    for bit in range(bits.length):
        significance = bits.shift + bit
        place, mask = bits.places[significance // 8], 1 << (significance % 8)
        out[place] = out[place] | mask if value >> bit & 1 else out[place] & ~mask
    return bytes(out)


def check_database(path: Path) -> int:
    """Compare every signal of ``path`` on boundary and random payloads; returns their number."""
    database = load_dbc(path, path.name)
    random = np.random.default_rng(5)
    seen = set()
    for message in database.messages:
        if not message.signals:
            continue
        muxes = [signal for signal in message.signals if signal.is_multiplexer]
        assert len(muxes) <= 1, message.name
        bits = {signal.name: bits_of(signal, message.name) for signal in message.signals}
        table = list(bits.values())
        values = sorted({value for signal in message.signals for value in signal.multiplexer_ids or ()})
        # cantools knows a multiplexer without signals under it by its value 0 alone
        values = values or ([0] if muxes else [None])
        for value in values:
            for data in payloads(message.length, random):
                sent = data if value is None else with_mux(data, bits[muxes[0].name], value)
                raw, physical = read(table, sent)
                expected_raw = message.decode(sent, decode_choices=False, scaling=False)
                expected = message.decode(sent, decode_choices=False)
                for row, name in enumerate(bits):
                    if name in expected:
                        seen.add((message.name, name))
                        assert bits[name].raw(sent) == raw[row]
                        if bits[name].kind != "float":
                            assert int(raw[row]) == int(expected_raw[name]) % (1 << bits[name].length), (message.name, name, sent.hex())
                        assert equal(float(physical[row]), float(expected[name])), (message.name, name, sent.hex())
    assert len(seen) == sum(len(message.signals) for message in database.messages)
    return len(seen)


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.name)
def test_every_signal_of_the_catalogue_reads_as_in_cantools(path: Path) -> None:
    assert check_database(path) >= 5


@pytest.mark.parametrize("name", VENDORS)
def test_every_signal_of_the_vendors_files_reads_as_in_cantools(name: str) -> None:
    assert check_database(shared(f"data/can/{name}")) >= 12


def test_overlapping_signals_are_refused() -> None:
    path = shared("data/can/foxbms2/overlapping-signals.dbc")
    with pytest.raises(ProfileError, match="overlapping") as caught:
        load_dbc(path, "a profile")
    assert "overlapping-signals.dbc" in str(caught.value)


def one_signal(line: str, length: int, extra: str = "") -> Any:
    text = f'VERSION ""\nNS_ :\nBS_:\nBU_: A\nBO_ 256 M: {length} A\n SG_ S : {line} [0|0] "" A\n\n{extra}\n'
    return cantools.database.load_string(text, database_format="dbc", strict=True).messages[0]


@settings(max_examples=150, deadline=None)
@given(
    start=st.integers(0, 511),
    length=st.integers(1, 64),
    order=st.sampled_from("01"),
    sign=st.sampled_from("+-"),
    scale=st.sampled_from(["1", "0.001", "0.5", "-2", "7"]),
    offset=st.sampled_from(["0", "-40", "0.25"]),
    data=st.binary(min_size=64, max_size=64),
)
def test_any_signal_reads_as_in_cantools(start: int, length: int, order: str, sign: str, scale: str, offset: str, data: bytes) -> None:
    try:
        message = one_signal(f"{start}|{length}@{order}{sign} ({scale},{offset})", 64)
    except cantools.database.UnsupportedDatabaseFormatError:
        assume(False)  # does not fit the message
    try:
        bits = bits_of(message.signals[0], "test")
    except ProfileError as error:
        assert "spans 9 bytes" in str(error)
        return
    raw, physical = read([bits], data)
    assert int(raw[0]) == int(message.decode(data, scaling=False)["S"]) % (1 << length)
    assert equal(float(physical[0]), float(message.decode(data)["S"]))


@settings(max_examples=100, deadline=None)
@given(order=st.sampled_from("01"), width=st.sampled_from([32, 64]), data=st.binary(min_size=8, max_size=8))
def test_ieee_floats_read_as_in_cantools(order: str, width: int, data: bytes) -> None:
    start = 0 if order == "1" else 7
    message = one_signal(f"{start}|{width}@{order}- (0.5,1)", 8, f"SIG_VALTYPE_ 256 S : {1 if width == 32 else 2};")
    bits = bits_of(message.signals[0], "test")
    assert bits.kind == "float"
    _, physical = read([bits], data)
    assert equal(float(physical[0]), float(message.decode(data)["S"]))


def test_a_missing_dbc_is_said_in_one_sentence() -> None:
    with pytest.raises(ProfileError, match=r"cannot be read: .* - name a DBC file"):
        load_dbc(Path(__file__).parent / "none.dbc", "a profile")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_as_dbc_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("dbc") / "x.dbc"
    path.write_bytes(data)
    try:
        load_dbc(path, "a profile")
    except ProfileError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


def test_loading_a_profile_imports_neither_python_can_nor_pandas() -> None:
    script = (
        "import sys; from edgebms.config import PackConfig; from edgebms.telemetry.profile import load_profile\n"
        "load_profile('victron_lv', PackConfig(name='a', profile='victron_lv', card='x', cells=15))\n"
        "heavy = {'can', 'asammdf', 'pandas', 'scipy', 'pyarrow', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "import cantools\n"  # the whole of it still works afterwards
        "assert cantools.database is sys.modules['cantools.database'] and cantools.tester\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
