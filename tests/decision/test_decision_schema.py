"""Every decision, whatever the parts say, is one line of JSON that the shipped schema accepts."""

import json
import math
from importlib import resources
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest
from decided import CELLS, Decider, findings, make_state, sites, snapshots, states, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import blind_snapshot

from edgebms.cli import schema as schema_verb
from edgebms.decision import types
from edgebms.vocabulary import Action, Cause, Level, Mode, ReasonerStatus, Restraint, Source

SHIPPED = json.loads((resources.files("edgebms") / "decision" / "decision.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SHIPPED, format_checker=jsonschema.FormatChecker())


def parsed(decision):
    """The decision's JSON, read strictly: a NaN or Infinity in it is an error."""

    def refuse(word):
        raise AssertionError(f"{word} in the JSON")

    line = types.encode(decision)
    assert b"\n" not in line
    return json.loads(line, parse_constant=refuse)


def test_the_shipped_schema_is_fresh_and_what_the_command_prints(capsys):
    shipped = (resources.files("edgebms") / "decision" / "decision.schema.json").read_text()
    assert schema_verb.text() == shipped, "write it again: make golden"
    assert schema_verb.run(None) == 0
    assert capsys.readouterr().out == shipped
    jsonschema.Draft202012Validator.check_schema(SHIPPED)


def test_every_object_of_the_schema_is_closed_and_every_field_required():
    objects = [SHIPPED, *(entry for entry in SHIPPED["$defs"].values() if entry.get("type") == "object")]
    assert len(objects) > 10
    for entry in objects:
        assert entry["additionalProperties"] is False
        assert sorted(entry["required"]) == sorted(entry["properties"])


def test_the_words_of_the_schema_are_the_vocabularys():
    definitions = SHIPPED["$defs"]
    assert definitions["Action"]["enum"] == sorted(Action)
    assert definitions["Mode"]["enum"] == sorted(Mode)
    assert definitions["Cause"]["enum"] == sorted(Cause)
    assert definitions["ReasonerStatus"]["enum"] == sorted(ReasonerStatus)
    assert definitions["Soc"]["properties"]["source"]["enum"] == sorted(source.word for source in Source)
    assert definitions["Reasoning"]["properties"]["severity"]["enum"] == sorted(level.word for level in Level)
    assert definitions["Alert"]["properties"]["level"]["enum"] == sorted(level.word for level in Level if level)


@settings(max_examples=60, deadline=None)
@given(
    sites,
    st.lists(
        st.tuples(st.floats(0, 30), snapshots(), st.lists(findings(), max_size=5), states(), st.none() | verdicts()), min_size=1, max_size=4
    ),
    st.sampled_from(list(ReasonerStatus)),
    st.booleans(),
)
def test_whatever_the_parts_say_the_schema_holds(site, steps, status, utc):
    decider = Decider(site, cells_every_s=0.0)
    time_s = 0.0
    for wait_s, snapshot, found, state, spoken in steps:
        time_s += wait_s
        decision = decider.at(
            time_s, *found, snapshot=snapshot, state=state, verdict=spoken, status=status if spoken is None else ReasonerStatus.OK, utc=utc
        )
        record = parsed(decision)
        VALIDATOR.validate(record)
        # what was written is what is read, but for NaN, which is null on the wire
        assert types.encode(types.decode(types.encode(decision))) == types.encode(decision)


def test_nan_everywhere_is_null_everywhere_and_limits_are_numbers():
    nothing = make_state(
        soc=math.nan, soc_sigma=math.nan, soh_capacity=math.nan, soh_capacity_sigma=math.nan, soh_resistance=math.nan,
        current_offset_a=math.nan, source=Source.UNKNOWN, limits=types_limits_nan(),
    )  # fmt: skip
    record = parsed(Decider().at(1.0, snapshot=blind_snapshot(CELLS), state=nothing, utc=False))
    VALIDATOR.validate(record)
    assert record["time"] is None and record["quality"]["clock_synchronised"] is False
    assert set(record["soc"].values()) == {None, "unknown"} and set(record["soh"].values()) == {None}
    assert record["measured"]["voltage_v"] is None and record["measured"]["current_a"] is None
    assert set(record["measured"]["cell_voltage_v"].values()) == {None}
    assert record["cells"]["voltage_v"] == [None] * CELLS == record["cells"]["soc"]
    limits = record["command"]["limits"]
    assert limits["charge_a"] == limits["discharge_a"] == 0.0
    assert limits["charge_v"] == 64.0, "the card's float voltage times cells"
    assert limits["discharge_v"] == 40.0
    assert record["quality"]["valid_cells"] == 0


def types_limits_nan():
    from edgebms.estimator.state import PowerLimits

    return PowerLimits(math.nan, math.nan, math.nan, math.nan)


@pytest.mark.parametrize("change", [{"extra": 1}, {"seq": "one"}, {"command": None}])
def test_the_schema_and_the_decoder_refuse_what_is_no_decision(change):
    record = parsed(Decider().at(0.0)) | change
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(record)
    with pytest.raises(msgspec.ValidationError):
        types.decode(json.dumps(record))


def test_a_missing_field_is_refused():
    record = parsed(Decider().at(0.0))
    del record["expires_ms"]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(record)
    with pytest.raises(msgspec.ValidationError):
        types.decode(json.dumps(record))


def test_cells_travel_first_then_at_their_rate_and_on_request():
    decider = Decider(cells_every_s=60.0)
    seen = [decider.at(float(t)).cells is not None for t in (0, 1, 59, 60, 61)]
    assert seen == [True, False, False, True, False]
    decider.arbiter.request_cells()
    assert decider.at(62.0).cells is not None
    voltages = np.linspace(3.6, 3.7, CELLS)
    decider.arbiter.request_cells()
    assert list(decider.at(63.0, voltage_v=voltages).cells.voltage_v) == voltages.tolist()


def test_the_page_names_every_field_of_the_decision_and_of_its_command():
    page = (Path(__file__).parents[2] / "docs" / "decision.md").read_text()
    names = set(SHIPPED["properties"])
    for part in ("Soc", "Soh", "Limits", "Command", "Quality", "ContactorSequence", "MeasuredValues", "CellValues"):
        names |= set(SHIPPED["$defs"][part]["properties"])
    exempt = {"discharge_v", "elapsed_s"}  # named by their table or sentence
    assert [name for name in sorted(names - exempt) if f"`{name}`" not in page and f".{name}`" not in page] == []
    assert [reason for reason in Restraint if f"`{reason}`" not in page] == []
    assert [status for status in ReasonerStatus if f"`{status}`" not in page] == []
