"""The catalogue's DBC files against the vendors' own: the same bits under another name, or a reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cantools.database
import pytest
from shared_data import shared

from edgebms.config import PackConfig
from edgebms.errors import ProfileError
from edgebms.telemetry.profile import dbc_path, load_profile, read

CATALOGUE = Path(__file__).resolve().parents[2] / "edgebms" / "catalogue"
PROFILES = sorted(path.stem for path in (CATALOGUE / "profiles").glob("*.toml"))

PACKS: dict[str, dict[str, Any]] = {
    "edgebms": {"cells": 400, "probes": 400},
    "edgebms_fd": {"cells": 400, "probes": 400},
    "foxbms2": {"cells": 216, "probes": 180, "firmware": "1.8.0"},
    "gm_volt": {"cells": 96, "probes": 9, "period_s": 1.0},
    "victron_lv": {"cells": 15, "probes": 1},
    "hyundai_kona": {"cells": 98, "channel": "can0"},
}

VENDORS = {
    "foxbms2": "foxbms2/foxbms.dbc",
    "gm_volt": "gm_volt/gm_global_a_high_voltage_management.dbc",
    "victron_lv": "lv_bms/lv_bms.dbc",
    "hyundai_kona": "kona_ev/kona_pcan.dbc",
}

DIFFERENT = {
    # (profile, signal): what differs, and why ours is right
    ("foxbms2", "StringMaximumTemperature"): (
        "sign",
        "firmware 1.11 sends 0.5 K unsigned up to 127.5 degC; read signed, 64 degC becomes -64 degC",
    ),
    ("foxbms2", "StringMinimumTemperature"): ("sign", "as StringMaximumTemperature"),
}


def pack(profile: str, **other: Any) -> PackConfig:
    return PackConfig(name="pack", profile=profile, card="none", **{**PACKS.get(profile, {"cells": 16}), **other})


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_loads_for_its_largest_pack(name: str) -> None:
    profile = load_profile(name, pack(name))
    assert profile.describe()
    assert profile.cells in (0, PACKS[name]["cells"])
    assert profile.table.slot.size >= profile.cells + profile.probes


@pytest.mark.parametrize("name", PROFILES)
def test_every_message_is_mapped_or_ignored_with_a_reason(name: str) -> None:
    profile = load_profile(name, pack(name))
    ignored = read(name)[0].ignored
    messages = {message.name for message in cantools.database.load_file(dbc_path(name), strict=True).messages}
    assert messages == profile.mapped_messages | set(ignored)
    assert all(len(reason.split()) > 3 for reason in ignored.values())


def test_a_message_that_is_neither_is_refused(tmp_path: Path) -> None:
    text = (CATALOGUE / "profiles" / "hyundai_kona.toml").read_text()
    dbc = (CATALOGUE / "dbc" / "hyundai_kona.dbc").read_text() + '\nBO_ 100 Extra: 8 BMS\n SG_ X : 0|8@1+ (1,0) [0|0] "" GATEWAY\n'
    (tmp_path / "kona.toml").write_text(text.replace("hyundai_kona.dbc", "extra.dbc"))
    (tmp_path / "extra.dbc").write_text(dbc)
    with pytest.raises(ProfileError, match=r"message Extra of extra\.dbc is neither mapped nor ignored"):
        load_profile(str(tmp_path / "kona.toml"), pack("hyundai_kona"))


def places(database: Any) -> dict[tuple[int, int | None, int, int], Any]:
    """(id, multiplexer value, start, length) -> signal. The start bit alone would do but for nested signals."""
    found = {}
    for message in database.messages:
        for signal in message.signals:
            for value in signal.multiplexer_ids or [None]:
                found[message.frame_id, value, signal.start, signal.length] = signal
    return found


@pytest.mark.parametrize("name", VENDORS)
def test_signals_lie_where_the_vendor_has_them(name: str) -> None:
    ours = cantools.database.load_file(dbc_path(name), strict=True)
    theirs = places(load_vendor(name))
    lengths = {message.frame_id: message.length for message in load_vendor(name).messages}
    differs = set()
    for (identifier, mux, start, length), signal in places(ours).items():
        assert ours.get_message_by_frame_id(identifier).length == lengths[identifier]
        other = theirs.get((identifier, mux, start, length))
        assert other is not None, f"{signal.name}: the vendor has no signal of {length} bits at {start} in {identifier:#x}"
        assert length == 1 or signal.byte_order == other.byte_order, signal.name
        assert signal.is_multiplexer == other.is_multiplexer, signal.name
        assert signal.conversion.scale == other.conversion.scale, signal.name
        assert signal.conversion.offset == other.conversion.offset, signal.name
        if signal.is_signed != other.is_signed:
            differs.add((name, signal.name))
            assert DIFFERENT[name, signal.name][0] == "sign"
    assert differs == {key for key in DIFFERENT if key[0] == name}


def load_vendor(name: str) -> Any:
    return cantools.database.load_file(shared(f"data/can/{VENDORS[name]}"), strict=True)


@pytest.mark.parametrize(("firmware", "value"), [("1.8.0", 1), ("1.11", 1), ("1.7.0", 0), ("1.7.9", 0)])
def test_foxbms_flags_mean_what_the_firmware_says(firmware: str, value: int) -> None:
    from edgebms.inlet.frame import Frame
    from edgebms.telemetry.assembler import Assembler
    from edgebms.vocabulary import Reason

    settings = pack("foxbms2", cells=4, probes=0, firmware=firmware)
    assembler = Assembler(load_profile("foxbms2", settings), settings)
    database: Any = cantools.database.load_file(dbc_path("foxbms2"), strict=True)
    flags = {f"CellVoltage_{cell:03d}_Valid": value if cell else 1 - value for cell in range(4)}
    volts = {f"CellVoltage_{cell:03d}": 3300 for cell in range(4)}
    assembler.push(Frame(10, 0x250, database.encode_message("CellVoltages", {"CellVoltages_Mux": 0, **flags, **volts})))
    snapshot = assembler.push(Frame(20, 0x233, database.encode_message("PackValuesP0", {"BatteryVoltage": 13.2, "Current": 0})))
    assert snapshot is not None
    assert snapshot.cell_reason.tolist() == [Reason.INVALID_FLAG, 0, 0, 0]


@pytest.mark.parametrize(("firmware", "said"), [(None, "not stated"), ("1.6.2", "describes firmware >=1.7"), ("new", "is not a version")])
def test_foxbms_firmware_is_never_guessed(firmware: str | None, said: str) -> None:
    with pytest.raises(ProfileError, match=said) as caught:
        load_profile("foxbms2", pack("foxbms2", firmware=firmware))
    assert "firmware" in str(caught.value)
