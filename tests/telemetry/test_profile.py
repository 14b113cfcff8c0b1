"""Profiles: what is wrong, where, and how to mend it; never a traceback."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebms.config import PackConfig
from edgebms.errors import ProfileError
from edgebms.inlet.frame import Frame
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from edgebms.vocabulary import Contactor

CATALOGUE = Path(__file__).resolve().parents[2] / "edgebms" / "catalogue"

DBC = """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 256 Cells: 8 B
 SG_ C1 : 0|16@1+ (0.001,0) [0|0] "V" B
 SG_ C2 : 16|16@1+ (0.001,0) [0|0] "V" B
 SG_ Count : 32|8@1+ (1,0) [0|0] "" B
 SG_ Wide : 36|12@1+ (1,0) [0|0] "" B
BO_ 512 Pack: 4 B
 SG_ I : 0|16@1- (0.1,0) [0|0] "A" B
 SG_ State : 16|2@1+ (1,0) [0|0] "" B
 SG_ Twice : 24|8@1+ (1,0) [0|0] "" B
BO_ 513 Other: 8 B
 SG_ Twice : 0|8@1+ (1,0) [0|0] "" B
"""

PROFILE = """schema = "edgebms.profile/1"
title = "test"
dbc = "t.dbc"
[snapshot]
complete = "all"
period_s = 1.0
[ignored]
Other = "a message that says nothing of the pack"
[cells]
pattern = "C{n}"
[current]
signal = "I"
"""


def write(folder: Path, profile: str = PROFILE, dbc: str = DBC.replace("Wide : 36", "Wide : 40")) -> str:
    (folder / "t.dbc").write_text(dbc)
    (folder / "t.toml").write_text(profile)
    return str(folder / "t.toml")


def pack(profile: str, **other: Any) -> PackConfig:
    return PackConfig(name="rack", profile=profile, card="none", **{"cells": 2, **other})


def test_the_profile_of_these_tests_works(tmp_path: Path) -> None:
    settings_ = pack(write(tmp_path))
    assembler = Assembler(load_profile(settings_.profile, settings_), settings_)
    assert assembler.push(Frame(1, 256, bytes.fromhex("740E E40C 0000 0000"))) is None
    snapshot = assembler.push(Frame(2, 512, bytes.fromhex("9CFF 0000")))
    assert snapshot is not None and snapshot.complete
    assert snapshot.cell_voltage_v.tolist() == pytest.approx([3.7, 3.3])
    assert snapshot.current_a.value == pytest.approx(-10.0)


WRONG = [
    ('schema = "edgebms.profile/1"', 'schema = "edgebms.profile/2"', "schema"),
    ('title = "test"', 'title = "test"\nunknown = 1', "unknown"),
    ('title = "test"', "title = ", "not valid TOML"),
    ('dbc = "t.dbc"', 'dbc = "none.dbc"', "no DBC file 'none.dbc'"),
    ('dbc = "t.dbc"', 'dbc = "../../../../../../etc/passwd"', "not a sound DBC"),
    ('complete = "all"', 'complete = "often"', "snapshot.complete"),
    ('complete = "all"', 'complete = "sweep"', 'needs sweep = "..."'),
    ('complete = "all"', 'complete = "sweep"\nsweep = "None"', "no signal 'None'"),
    ('complete = "all"', 'complete = "sweep"\nsweep = "Count"', "no signal 'Count' of message Pack"),
    ('complete = "all"', 'complete = "trigger"\ntrigger = "Other"', "trigger 'Other' is not a mapped message"),
    ("period_s = 1.0", "", "period is not known"),
    ("period_s = 1.0", "period_s = 0", "snapshot.period_s"),
    ("period_s = 1.0", "period_s = nan", "snapshot.period_s"),
    ("period_s = 1.0", "period_s = inf", "snapshot.period_s"),
    ('signal = "I"', 'signal = "I"\nfactor = inf', "current.factor"),
    ('pattern = "C{n}"', 'pattern = "C"', "needs {n} once"),
    ('pattern = "C{n}"', 'pattern = "C{n}"\nsignals = ["C1"]', "either pattern or signals"),
    ('pattern = "C{n}"', 'signals = ["C1", "C9"]', "no signal 'C9'"),
    ('pattern = "C{n}"', 'pattern = "D{n}"', "has 0 cells, pack 'rack' 2"),
    ('pattern = "C{n}"', 'pattern = "C{n}"\ninvalid_codes = [65536]', "code 65536 does not fit 16 bits"),
    ('pattern = "C{n}"', 'pattern = "C{n}"\nrange = [5, 1]', "range must rise"),
    ('pattern = "C{n}"', 'pattern = "C{n}"\nvalid_flag = "V{n}"', "no signal 'V1'"),
    ('signal = "I"', 'signal = "I"\nvalid_flag = "State"', "valid_flag without valid_when"),
    (
        'signal = "I"',
        'signal = "I"\nvalid_flag = "State"\nvalid_when = [{ value = 1, firmware = ">=1.0" }]',
        "firmware version, which is not stated",
    ),
    ('signal = "I"', 'signal = "Twice"', "stands in Pack, Other"),
    ('signal = "I"', 'signal = "I"\nfactor = "one"', "current.factor"),
    ('Other = "a message', 'Absent = "a message', "no message 'Absent'"),
    ('Other = "a message that says nothing of the pack"', "", "message Other of t.dbc is neither mapped nor ignored"),
    ('Other = "a message that says nothing of the pack"', 'Other = ""', "ignored"),
    ("[current]", '[[check]]\nmessages = ["*"]\nrule = "crc99"\n[current]', "no checksum rule 'crc99' - known: crc8_j1850"),
    ("[current]", '[[counter]]\nmessages = ["Cells"]\nsignal = "Wide"\n[current]', "does not lie within one byte"),
    ("[current]", '[[contactors]]\nsignal = "State"\nvalues = { 0 = "ajar" }\n[current]', "ajar"),
    ("[current]", '[[contactors]]\nsignal = "State"\nvalues = { open = "open" }\n[current]', "'open' is not a raw value"),
    ("[current]", '[extremes.voltage_min]\nsignal = "C1"\nindex = ["State", "Count"]\n[current]', "2 index signals, 1 strides"),
    ("[ignored]", "reserved_ids = [1, 9]\n[ignored]", "reserved_ids"),
    ('title = "test"', 'title = "test"\nreserved_ids = [9, 1]', "reserved_ids 9..1"),
    ('title = "test"', 'title = "test"\nreserved_ids = [0, 536870911]', "at most 4096 ids"),
    ('title = "test"', 'title = "test"\nfirmware = ">=2"', "firmware version, which is not stated"),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in PROFILE
    dbc = DBC if "one byte" in said else DBC.replace("Wide : 36", "Wide : 40")
    dbc = dbc.replace("Count : 32|8", "Count : 32|4") if "one byte" in said else dbc
    path = write(tmp_path, PROFILE.replace(old, new, 1), dbc)
    with pytest.raises(ProfileError) as caught:
        load_profile(path, pack(path))
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert " - " in message  # how to mend it
    assert str(tmp_path) in message or "pack 'rack'" in message or "passwd" in message
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("BO_ 513 Other", "BO_ 512 Other", "messages Pack and Other share their id 0x200"),
        ("BO_ 513 Other", "BO_ 513 Pack", "messages Pack and Pack share their name"),
        ("(0.1,0)", "(1e999,0)", "signal I has scale inf"),
        ("I : 0|16", "I : 0|60", "not a sound DBC file"),
    ],
)
def test_a_dbc_that_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    dbc = DBC.replace("Wide : 36", "Wide : 40").replace(old, new)
    assert new in dbc
    path = write(tmp_path, PROFILE, dbc)
    with pytest.raises(ProfileError) as caught:
        load_profile(path, pack(path))
    assert said in str(caught.value)


MUXED = """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 256 Cells: 8 B
 SG_ Mux M : 0|4@1+ (1,0) [0|0] "" B
 SG_ C1 m0 : 8|16@1+ (0.001,0) [0|0] "V" B
 SG_ C2 m1 : 8|16@1+ (0.001,0) [0|0] "V" B
 SG_ Spare m2 : 8|16@1+ (0.001,0) [0|0] "V" B
 SG_ Flag m1 : 24|1@1+ (1,0) [0|0] "" B
 SG_ I : 40|16@1- (0.1,0) [0|0] "A" B
"""


NESTED = ' SG_ Inner m2M : 28|4@1+ (1,0) [0|0] "" B\n' + "".join(
    f"SG_MUL_VAL_ 256 {name} Mux {value}-{value};\n" for name, value in (("C1", 0), ("C2", 1), ("Flag", 1), ("Spare", 2), ("Inner", 2))
)
MUXED_PROFILE = PROFILE.replace('[ignored]\nOther = "a message that says nothing of the pack"\n', "")
CUT = "[messages]\nCells = { shorter = true }\n"
FLAG = '\nvalid_flag = "Flag"\nvalid_when = [{ value = 1 }]'


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 0, 1), (2, 0, 2, 1)])
def test_signals_beside_a_multiplexer_come_with_every_frame(tmp_path: Path, order: tuple[int, ...]) -> None:
    path = write(tmp_path, MUXED_PROFILE, MUXED)
    settings_ = pack(path)
    assembler = Assembler(load_profile(path, settings_), settings_)
    for sweep in range(3):
        for step, mux in enumerate(order):
            snapshot = assembler.push(Frame(10**9 * (sweep + 1) + step, 256, bytes((mux, 0x74 + mux, 0x0E, 0, 0, 0x9C + step, 0xFF, 0))))
            assert (snapshot is not None) == (step == len(order) - 1)
        assert snapshot is not None and snapshot.complete
        assert snapshot.cell_voltage_v.tolist() == pytest.approx([3.7, 3.701])
        assert snapshot.current_a.value == pytest.approx(-10.0 + 0.1 * (len(order) - 1))


@pytest.mark.parametrize(
    ("mapped", "added", "dbc", "said"),
    [
        ('signal = "Spare"' + FLAG, "", "", "comes under another multiplexer value"),
        ('signal = "I"', "", NESTED, "message Cells has 2 multiplexers"),
        ('signal = "I"', "[messages]\nCells = { required = false }", "", "no message is required"),
        ('signal = "I"', "[messages]\nCells = { period_s = 1, frame_period_s = 1 }", "", "both period_s and frame_period_s"),
        ('signal = "I"', '[ignored]\nCells = "not of any use"', "", "is mapped and ignored"),
        ('signal = "I"', CUT + '[[check]]\nmessages = ["*"]\nrule = "sum8"', "", "may be cut off and has a checksum"),
        ('signal = "I"', CUT + '[[counter]]\nmessages = ["*"]\nsignal = "Mux"', "", "may be cut off and has a counter"),
    ],
)
def test_what_multiplexers_and_rules_may_not_do(tmp_path: Path, mapped: str, added: str, dbc: str, said: str) -> None:
    path = write(tmp_path, MUXED_PROFILE.replace('signal = "I"', mapped) + added, MUXED + dbc)
    with pytest.raises(ProfileError) as caught:
        load_profile(path, pack(path))
    assert said in str(caught.value)


def test_a_profile_that_maps_nothing_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, MUXED_PROFILE[: MUXED_PROFILE.index("[cells]")], MUXED)
    with pytest.raises(ProfileError, match="maps nothing"):
        load_profile(path, pack(path))


def test_a_profile_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no profile called 'edgbms'.*known: edgebms, edgebms_fd, foxbms2"):
        load_profile("edgbms", pack("edgbms"))
    for name in ("../profiles/edgebms", "a\0b", ""):
        with pytest.raises(ProfileError):
            load_profile(name, pack(name))
    for name in (tmp_path / "none.toml", tmp_path / "folder.toml"):
        (tmp_path / "folder.toml").mkdir(exist_ok=True)
        with pytest.raises(ProfileError, match="cannot be read"):
            load_profile(str(name), pack(str(name)))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match="not UTF-8"):
        load_profile(str(tmp_path / "bytes.toml"), pack("x"))


def test_a_pack_larger_than_the_profile_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"has 216 cells, pack 'rack' 217"):
        load_profile("foxbms2", pack("foxbms2", cells=217, firmware="1.8"))


def test_a_pack_period_must_be_finite() -> None:
    with pytest.raises(ProfileError, match="period_s"):
        load_profile("edgebms", pack("edgebms", period_s=float("inf")))


def test_an_id_offset_out_of_range_is_refused() -> None:
    with pytest.raises(ProfileError, match="id_offset"):
        load_profile("edgebms", pack("edgebms", id_offset=0x700))


def test_a_channel_is_asked_for_where_the_bus_is_ambiguous() -> None:
    with pytest.raises(ProfileError, match=r"channel is not stated.*state channel"):
        load_profile("hyundai_kona", pack("hyundai_kona"))


def test_contactors_of_several_signals() -> None:
    settings_ = pack("hyundai_kona", channel="can0")
    assembler = Assembler(load_profile("hyundai_kona", settings_), settings_)

    def state(precharge: int, closed: int, at: int) -> Contactor:
        assembler.push(Frame(at, 0x5A3, bytes((closed << 6,)) + bytes(7), channel="can0"))
        snapshot = assembler.push(Frame(at + 1, 0x595, bytes((0, precharge)) + bytes(6), channel="can0"))
        assert snapshot is not None
        return snapshot.contactors

    assert [state(0, 0, 10), state(1, 0, 20), state(0, 1, 30), state(1, 1, 40)] == [
        Contactor.OPEN,
        Contactor.PRECHARGE,
        Contactor.CLOSED,
        Contactor.CLOSED,
    ]
    late = assembler.push(Frame(10_000_000_000, 0x595, bytes(8), channel="can0"))
    assert late is not None and late.contactors is Contactor.UNKNOWN  # 0x5A3 is stale


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_random_bytes_as_profiles_are_refused(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    with pytest.raises(ProfileError) as caught:
        load_profile(str(path), pack(str(path)))
    assert "\n" not in str(caught.value)


def mutated(text: str, chance: random.Random) -> str:
    """``text`` with a few of its lines dropped, doubled, swapped, or with a number or character changed."""
    lines = text.split("\n")
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(lines))
        kind = chance.randrange(5)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif kind == 2 and lines[at]:
            place = chance.randrange(len(lines[at]))
            lines[at] = lines[at][:place] + chance.choice('0917xF-.,[]{}"=#| @+MmB\0é') + lines[at][place + chance.randrange(2) :]
        elif kind == 3:
            lines[at] = lines[at].replace("1", chance.choice(["-1", "1e999", "99999999999999999999", "0", "nan"]))
        else:
            lines[at] = lines[at].replace("signal", chance.choice(["pattern", "signals", "index"]))
        if not lines:
            lines = [""]
    return "\n".join(lines)


NAMES = ["hyundai_kona", "victron_lv", "gm_volt"]


def load_mutated(folder: Path, name: str, seed: int) -> None:
    """Load a mutated profile or DBC; where it loads, run it. Anything but ProfileError is a failure."""
    chance = random.Random(seed)
    profile = (CATALOGUE / "profiles" / f"{name}.toml").read_text()
    dbc = (CATALOGUE / "dbc" / f"{name}.dbc").read_text()
    if chance.random() < 0.6:
        profile = mutated(profile, chance)
    else:
        dbc = mutated(dbc, chance)
    (folder / f"{name}.dbc").write_text(dbc)
    (folder / "x.toml").write_text(profile)
    settings_ = pack(str(folder / "x.toml"), cells=4, probes=1, firmware="1.8.0", period_s=1.0, channel="can0")
    try:
        ready = load_profile(settings_.profile, settings_)
    except ProfileError as error:
        assert "\n" not in str(error)
        return
    assembler = Assembler(ready, settings_)
    assert ready.describe()
    for step in range(40):
        for identifier, extended in sorted(ready.routes):
            assembler.push(Frame(10**9 + step * 10**8, identifier, chance.randbytes(8), extended, "can0"))
        assembler.poll(10**9 + step * 10**8)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_mutated_profiles_and_dbcs_load_or_are_refused(tmp_path: Path, name: str, seed: int) -> None:
    load_mutated(tmp_path, name, seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_many_mutated_profiles_and_dbcs_load_or_are_refused(tmp_path: Path, name: str) -> None:
    for seed in range(300 if os.environ.get("SHORT") else 3000):
        load_mutated(tmp_path, name, seed)
