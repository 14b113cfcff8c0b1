"""Limits files: what they say, and what is refused with file, field and mend."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from guarded import LIMITS, make_card, make_pack

from edgebms.errors import ConfigError
from edgebms.guard.limits import OWED, LimitRow, load_limits, parse_limits, sources
from edgebms.guard.quantities import QUANTITIES
from edgebms.vocabulary import Action, Cause, Level

DEFAULT = (resources.files("edgebms") / "catalogue" / "limits" / "default.toml").read_text(encoding="utf-8")
ROW = """
[[row]]
name = "mine"
quantity = "temperature_deviation_k"
side = "below"
level = "watch"
hazard = "temperature_sensor"
action = "service"
limit = -12
hysteresis = 2.5
"""


def parse(text: str, **pack: object) -> dict[str, LimitRow]:
    return {row.name: row for row in parse_limits(text, "limits.toml", make_card(50.0), make_pack(16, 4, **pack))}


def refused(text: str, **pack: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, **pack)
    assert caught.value.mend
    return str(caught.value)


def test_a_row_with_its_numbers_in_place():
    row = parse(DEFAULT + ROW)["mine"]
    assert row == LimitRow(
        name="mine",
        quantity="temperature_deviation_k",
        kind="probe",
        unit="K",
        side="below",
        level=Level.WATCH,
        hazard=Cause.TEMPERATURE_SENSOR,
        action=Action.SERVICE,
        limit=-12.0,
        recovery=-9.5,
        when="always",
        debounce=2,
        delay_s=0.0,
        recovery_s=10.0,
        latch=False,
    )


def test_a_row_that_was_read_cannot_be_changed():
    row = load_limits("default", make_card(), make_pack())[0]
    with pytest.raises(AttributeError):
        row.limit = 0.0


def test_limits_come_from_the_card():
    rows = parse(DEFAULT)
    assert rows["cell_over_voltage"].limit == pytest.approx(4.22)
    assert rows["cell_over_voltage"].recovery == pytest.approx(4.17)
    assert rows["cell_under_voltage_critical"].limit == pytest.approx(2.0)
    assert rows["over_temperature_watch"].limit == 55.0
    assert rows["over_temperature_critical"].limit == 80.0
    assert rows["pack_over_voltage"].limit == pytest.approx(1.03 * 16 * 4.2)


def test_currents_go_with_capacity_and_parallel_cells():
    assert parse(DEFAULT)["charge_over_current"].limit == pytest.approx(55.0)
    assert parse(DEFAULT, parallel=3)["discharge_over_current"].limit == pytest.approx(330.0)
    assert parse(DEFAULT, parallel=3)["current_with_open_contactors"].limit == pytest.approx(7.5)


def test_what_a_threshold_may_lean_on():
    known = sources(make_card(50.0), make_pack(16, 4, parallel=2, startup_s=7.0))
    assert known == {
        "voltage_min_v": 2.5,
        "voltage_max_v": 4.2,
        "voltage_float_v": 4.1,
        "charge_c_rate": 1.0,
        "discharge_c_rate": 2.0,
        "charge_temperature_min_c": 0.0,
        "charge_temperature_max_c": 45.0,
        "discharge_temperature_min_c": -20.0,
        "discharge_temperature_max_c": 60.0,
        "temperature_runaway_c": LIMITS.temperature_runaway_c,
        "charge_current_a": 100.0,
        "discharge_current_a": 200.0,
        "one_c_a": 100.0,
        "pack_voltage_min_v": 40.0,
        "pack_voltage_max_v": pytest.approx(67.2),
        "startup_s": 7.0,
    }


def test_a_pack_overrides_a_row_by_its_name_and_keeps_its_hysteresis():
    row = parse(DEFAULT, thresholds={"cell_over_voltage": 4.1})["cell_over_voltage"]
    assert (row.limit, row.recovery) == (4.1, pytest.approx(4.05))
    below = parse(DEFAULT, thresholds={"cell_under_voltage": 3.0})["cell_under_voltage"]
    assert (below.limit, below.recovery) == (3.0, pytest.approx(3.2))


def test_the_exit_is_stated():
    rows = parse(DEFAULT + ROW)
    assert rows["mine"].exit == "clears by itself after temperature_deviation_k above -9.5 K for 10 s; unknown values do not clear it"
    assert rows["gas"].exit == "latched: a person acknowledges it after gas below 0.25 1 for 600 s"


def test_the_catalogue_and_a_path(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(DEFAULT + ROW)
    assert len(load_limits(str(file), make_card(), make_pack())) == len(load_limits("default", make_card(), make_pack())) + 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nowhere.toml", None, "cannot be read: No such file"),
        ("latin.toml", b"# caf\xe9", "not UTF-8"),
        ("broken.toml", b"[[row]\n", "not valid TOML"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, says: str):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_limits(str(file), make_card(), make_pack())
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["nothing_like_it", "../limits/default", ""])
def test_a_name_that_the_catalogue_does_not_have(name: str):
    with pytest.raises(ConfigError, match="known: default"):
        load_limits(name, make_card(), make_pack())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "mine"', 'name = "gas"', "two rows are called 'gas'"),
        ('name = "mine"', 'name = "My row"', "].name"),
        ('quantity = "temperature_deviation_k"', 'quantity = "mood"', "row mine: quantity: unknown quantity 'mood'"),
        ('side = "below"', 'side = "beside"', "].side"),
        ('level = "watch"', 'level = "panic"', "].level"),
        ('hazard = "temperature_sensor"', 'hazard = "gremlins"', "].hazard"),
        ('action = "service"', 'action = "pray"', "].action"),
        ("limit = -12", 'limit = { of = "moon_phase" }', "row mine: limit.of: unknown threshold 'moon_phase'"),
        ("limit = -12", 'limit = { off = "voltage_max_v" }', "limit"),
        ("limit = -12", "limit = nan", "row mine: limit: limit and hysteresis must be finite"),
        ("limit = -12", "limit = -inf", "must be finite"),
        ("hysteresis = 2.5", "hysteresis = inf", "must be finite"),
        ("hysteresis = 2.5", "hysteresis = -1", "].hysteresis"),
        ("hysteresis = 2.5", "", "hysteresis"),
        ("limit = -12", "limit = -12\ndebounce = 0", "].debounce"),
        ("limit = -12", "limit = -12\ndelay = 3", "unknown field `delay`"),
        ("limit = -12", 'limit = { of = "voltage_max_v", tims = 2 }', "unknown field `tims`"),
        ("limit = -12", 'limit = -12\nwhen = "raining"', "].when"),
    ],
)
def test_rows_that_are_refused(old: str, new: str, says: str):
    assert old in ROW
    said = refused(DEFAULT + ROW.replace(old, new))
    assert says in said
    assert said.startswith("limits.toml")


def test_no_rows_at_all():
    assert "limits.toml" in refused("")
    assert "row" in refused("row = []")


def test_tables_that_are_not_rows():
    assert "unknown field `rows`" in refused(DEFAULT + "[[rows]]\nname = 'x'\n")


@pytest.mark.parametrize(("quantity", "side"), OWED)
def test_a_file_without_a_row_that_every_pack_is_owed(quantity: str, side: str):
    assert quantity in QUANTITIES
    rows = DEFAULT.split("[[row]]")
    left = [row for row in rows if not (f'quantity = "{quantity}"' in row and f'side = "{side}"' in row)]
    assert f"no row watches {quantity} {side} a limit" in refused("[[row]]".join(left))


@pytest.mark.parametrize(
    ("thresholds", "says"),
    [
        ({"no_such_row": 1.0}, "pack pack: thresholds: no limit row called 'no_such_row'"),
        ({"gas": float("nan")}, "pack pack: thresholds.gas: nan is not a limit"),
        ({"gas": float("inf")}, "inf is not a limit"),
        ({"cell_over_voltage": 4.31}, "row cell_over_voltage_critical: limit 4.3 V is reached before row 'cell_over_voltage' at 4.31 V"),
        ({"cell_under_voltage": 1.9}, "row cell_under_voltage_critical: limit 2 V is reached before"),
    ],
)
def test_overrides_that_are_refused(thresholds: dict[str, float], says: str):
    assert says in refused(DEFAULT, thresholds=thresholds)


@pytest.mark.parametrize("thresholds", [{"cell_over_voltage": 4.3}, {"cell_under_voltage": 2.0}])
def test_two_levels_may_share_a_limit(thresholds: dict[str, float]):
    parse(DEFAULT, thresholds=thresholds)


def test_rows_of_one_level_may_stand_in_any_order():
    parse(DEFAULT + ROW + ROW.replace('"mine"', '"other"').replace("-12", "-20"))


def test_levels_of_other_quantities_sides_and_times_do_not_meet():
    parse(DEFAULT + ROW.replace('"below"', '"above"').replace("-12", '500\nwhen = "charging"'))
    assert "hot_spot" in refused(DEFAULT + ROW.replace('"below"', '"above"').replace("-12", "500"))
