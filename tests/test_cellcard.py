"""Cards parse strictly: every card of the catalogue is good, every broken one is one clear CardError."""

import tomllib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebms.cardfit.write import card_toml
from edgebms.cellcard import CellCard, card_names, load_card, parse_card
from edgebms.errors import CardError

TEXT = card_toml(load_card("lg_hg2"))
GENERIC = {"generic_nmc", "generic_nca", "generic_lco", "generic_lfp"}


@pytest.mark.parametrize("name", card_names())
def test_every_card_of_the_catalogue_is_sound(name):
    card = load_card(name)
    assert card.name == name
    for table in (
        card.ocv.voltage,
        card.resistance_ohm,
        card.exchange_a,
        card.accuracy.voltage_v,
        *(pair.resistance_ohm for pair in card.relaxation),
    ):
        assert table.source and table.method
    middle = np.interp(0.5, card.ocv.voltage.soc, card.ocv.voltage.value[-1])
    assert card.limits.voltage_min_v < middle < card.limits.voltage_max_v
    cold, warm = card.resistance_ohm.value[0], card.resistance_ohm.value[-1]
    assert np.median(cold) > np.median(warm), "resistance falls with temperature"


def test_the_catalogue_has_a_generic_card_for_each_chemistry_marked_so():
    assert set(card_names()) >= GENERIC | {"lg_hg2", "panasonic_18650pf", "a123_lfp"}
    for name in GENERIC:
        card = load_card(name)
        assert card.quality == "generic"
        assert "generic" in card.resistance_ohm.source
        assert card.accuracy.resistance > load_card("lg_hg2").accuracy.resistance


@pytest.mark.parametrize("name", ["lg_hg2", "generic_lfp"])
def test_a_written_card_reads_back_the_same(name):
    card = load_card(name)
    assert card_toml(parse_card(card_toml(card), "x")) == card_toml(card)


def broken(change):
    data = tomllib.loads(TEXT)
    change(data)
    with pytest.raises(CardError) as error:
        msgspec_parse(data)
    return str(error.value)


def msgspec_parse(data):
    """The strict part of parse_card on plain data (tomllib cannot write)."""
    return parse_card(to_toml(data), "my.toml")


def to_toml(data, prefix=""):
    """Enough of a TOML writer for a card's data."""
    lines, tables = [], []
    for key, value in data.items():
        if isinstance(value, dict):
            tables.append(f"[{prefix}{key}]\n" + to_toml(value, f"{prefix}{key}."))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [f"[[{prefix}{key}]]\n" + to_toml(item, f"{prefix}{key}.") for item in value]
        else:
            lines.append(f"{key} = {scalar(value)}")
    return "\n".join(lines + tables) + "\n"


def scalar(value):
    if isinstance(value, list):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, float):
        return {"nan": "nan", "inf": "inf", "-inf": "-inf"}.get(str(value), repr(value))
    return msgspec.json.encode(value).decode()


def set_at(path, value):
    def change(data):
        *parents, last = path
        for key in parents:
            data = data[key]
        data[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("capacity_ah",), 0.0, "capacity_ah"),
        (("capacity_ah",), "three", "capacity_ah"),
        (("chemistry",), "LTO", "chemistry"),
        (("quality",), "excellent", "quality"),
        (("ocv", "voltage", "value", 0, 3), 9.0, "0.5 to 6 V"),
        (("ocv", "voltage", "value", 0, 3), float("nan"), "not finite"),
        (("ocv", "voltage", "value", 0, 30), 1.0, "falls with rising SOC"),
        (("ocv", "voltage", "soc", 5), 0.99, "does not rise"),
        (("ocv", "hysteresis_v"), [0.0], "needed"),
        (("resistance_ohm", "temperature_c"), [25.0], "temperatures"),
        (("resistance_ohm", "value", 0, 0), -0.01, "outside"),
        (("relaxation", 0, "tau_s", 0), 0.0, "tau_s"),
        (("limits", "voltage_float_v"), 9.0, "voltage_float_v"),
        (("limits", "charge_temperature_min_c"), float("nan"), "finite"),
        (("accuracy", "sensor_v"), 0.0, "sensor_v"),
        (("surprise",), 1, "surprise"),
        (("relaxation",), [], "relaxation"),
    ],
)
def test_a_wrong_field_is_named_with_its_file_and_mend(path, value, words):
    message = broken(set_at(path, value))
    assert message.startswith("my.toml") and words in message and " - " in message


def test_the_to_toml_of_these_tests_keeps_a_card():
    assert msgspec_parse(tomllib.loads(TEXT)) == parse_card(TEXT, "x")


@pytest.mark.parametrize("name", ["no_such", "../lg_hg2", "", "missing.toml", "a\0b", "a\0b.toml"])
def test_a_card_that_is_not_there_is_one_sentence(name):
    with pytest.raises(CardError):
        load_card(name)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    file = tmp_path / "card.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CardError, match="UTF-8"):
        load_card(str(file))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_card_parses_or_is_a_card_error(data):
    text = TEXT
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(st.text(alphabet='0123456789.-e[]{}="\n nainf\x00é', max_size=8)) + text[at + length :]
    try:
        card = parse_card(text, "mutated.toml")
    except CardError as error:
        assert str(error).startswith("mutated.toml")
    else:
        assert isinstance(card, CellCard)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_card_error(text):
    with pytest.raises(CardError):
        parse_card(text, "noise.toml")
