"""``explain`` tells a decision in words: complete, and with no number that is not in the decision."""

import io
import json
import re
import sys
from types import SimpleNamespace

import pytest
from decided import Decider, finding, findings, make_state, sites, snapshots, states, verdict, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import blind_snapshot, make_snapshot, reading

from edgebms.cli import explain as explain_verb
from edgebms.config import Site
from edgebms.decision.explain import DEEDS, RESTRAINTS, explain, plain
from edgebms.decision.types import decode, encode
from edgebms.errors import LogError
from edgebms.estimator.state import PowerLimits
from edgebms.vocabulary import Action, Cause, Contactor, Level, Reason, ReasonerStatus, Restraint, SiteKind

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def numbers_and_words(value):
    """All numbers and all strings in a parsed JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        numbers, strings = [], []
        for entry in value:
            more_numbers, more_strings = numbers_and_words(entry)
            numbers += more_numbers
            strings += more_strings
        return numbers, strings
    if isinstance(value, str):
        return [], [value]
    return ([float(value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []), []


def foreign_numbers(text, decision):
    """Numbers in ``text`` that are no rounding of a number in the decision (or of its hundredfold, before %)."""
    numbers, strings = numbers_and_words(json.loads(encode(decision)))
    for string in sorted(strings, key=len, reverse=True):
        text = text.replace(string, " ").replace(string.replace("_", " "), " ")
    foreign = []
    for match in NUMBER.finditer(text):
        shown, places = float(match[0]), len(match[0].partition(".")[2])
        factors = (1.0, 100.0) if text[match.end() :].startswith(" %") else (1.0,)
        half = 0.5 * 10.0**-places
        if not any(abs(shown - number * factor) <= half * (1 + 1e-9) + abs(shown) * 1e-9 for number in numbers for factor in factors):
            foreign.append(match[0])
    return foreign


@settings(max_examples=60, deadline=None)
@given(sites, snapshots(), st.lists(findings(), max_size=5), states(), st.none() | verdicts(), st.floats(0, 20))
def test_no_number_stands_in_the_words_that_is_not_in_the_decision(site, snapshot, found, state, spoken, wait_s):
    decider = Decider(site)
    decider.at(0.0, *found, snapshot=snapshot, state=state, verdict=spoken)
    decision = decider.at(wait_s, *found, snapshot=snapshot, state=state, verdict=spoken)
    text = explain(decision)
    assert foreign_numbers(text, decision) == []
    assert "nan" not in text.lower().split() and "None" not in text
    assert explain(decode(encode(decision))) == text, "the same from the file as from the running house"


def test_the_check_above_finds_a_foreign_number():
    decision = Decider().at(0.0)
    assert foreign_numbers(explain(decision) + "The cell has 1234 cycles.", decision) == ["1234"]


def test_each_alert_is_told_with_value_limit_unit_since_and_who():
    text = explain(
        Decider().at(12.0, finding(rule="temperature_rate", value=1.314, limit=1.0, unit="K/min", window_s=60.0, since_s=2.0, latched=True))
    )
    assert "WARNING: over temperature at cell 4, since 2025-11-24T16:00:02.123Z (for 10 s), raised by guard." in text
    assert "temperature rate at cell 4: 1.314 K/min over 60 s, limit 1 K/min" in text
    assert "latched" in text


def test_a_verdict_is_told_with_what_it_asked_and_why_it_got_no_more():
    text = explain(Decider().at(0.0, verdict=verdict(Cause.INTERNAL_SHORT, Level.CRITICAL)))
    assert "CRITICAL: internal short at cell 4" in text and "raised by reasoner" in text
    assert "critical in 420 s" in text and "confidence is 98 %" in text
    assert "thermal rate at cell 4 over 60 s: rate 1.31 K/min" in text
    assert "Command: stop charging." in text
    assert "The reasoner asks to open the contactors; what goes out is: stop charging: more than that needs the guard." in text


def test_advice_says_that_it_is_no_command_and_why():
    open_it = finding(Cause.THERMAL_RUNAWAY, Level.CRITICAL, Action.OPEN_CONTACTORS)
    text = explain(Decider(Site(SiteKind.VEHICLE_IN_MOTION)).at(0.0, open_it))
    assert "Advice to a person, not a command: open the contactors." in text
    assert "it goes out as advice: the vehicle is in motion" in text
    assert "Cooling is asked for." in text


def test_the_contactor_sequence_is_told_step_by_step():
    decider, open_it = Decider(), finding(Cause.THERMAL_RUNAWAY, Level.CRITICAL, Action.OPEN_CONTACTORS)
    lowering = explain(decider.at(0.0, open_it, current_a=-40.0))
    assert "they open once the current is at most 1.8 A, or after 7 s in any case" in lowering and "Command: stop discharging." in lowering
    loaded = explain(decider.at(7.0, open_it, current_a=-40.0))
    assert "Command: open the contactors." in loaded and "told to open under load" in loaded
    opened = explain(decider.at(8.0, open_it, current_a=0.0, contactors=Contactor.OPEN))
    assert "The bus says that the contactors are open." in opened and "under load" in opened
    decider = Decider()
    decider.at(0.0, open_it, current_a=float("nan"))
    assert "not known, so perhaps under load" in explain(decider.at(7.0, open_it, current_a=float("nan")))
    gentle = explain(Decider().at(0.0, open_it, current_a=0.0))
    assert "under load" not in gentle and "to open now" in gentle


def test_balancing_is_told_with_the_cells_that_were_left_out():
    short = finding(Cause.INTERNAL_SHORT, Level.WATCH, Action.BALANCE, where=2)
    text = explain(Decider().at(0.0, short, state=make_state(balance=(1, 2, 4, 5, 6))))
    assert "To be balanced: cells 2, 5 to 7." in text
    assert "in part: a cell suspected of a short is not balanced" in text
    assert "The guard asks to balance cells; refused: balancing comes from the estimator's proposal alone." in text


def test_unknown_is_said_as_unknown():
    text = explain(
        Decider().at(
            0.0, snapshot=blind_snapshot(16, 4), state=make_state(soc=float("nan")), utc=False, status=ReasonerStatus.DEADLINE_MISSED
        )
    )
    assert "no synchronised wall clock" in text
    assert "Measured: nothing." in text and "State of charge: unknown." in text
    assert "Unknown: cell voltage of cells 1 to 16 (stale)" in text and "Unknown: temperature of probes 1 to 4 (stale)" in text
    assert "Unknown: pack current (stale)" in text and "the sweep was not complete" in text
    assert "The reasoner did not speak: deadline missed." in text
    assert "charge temperature unknown" in text
    part = explain(Decider().at(0.0, state=make_state(soc=[float("nan")] + [0.5] * 15), voltage_v=[float("nan")] + [3.7] * 15))
    assert "pack unknown, cells 50 % to 50 %" in part and "Unknown: cell voltage of cell 1 (stale)" in part


def test_a_healthy_decision_is_told_calmly():
    text = explain(Decider().at(0.0, current_a=12.5, insulation_ohm=1e6, reported_soc=reading(0.365)))
    assert "No alert stands." in text and "Command: none." in text and "No reasoner took part." in text
    assert "the BMS's own state of charge 36.5 %" in text
    assert "12.5 A (charging)" in text and "insulation 1000000 ohm" in text
    assert "16 of 16 cells and 4 of 4 probes valid, the oldest 0 ms old." in text


def test_limits_that_nothing_bound_and_a_pack_without_probes():
    free = make_state(limits=PowerLimits(80.0, 120.0, 64.0, 40.0))
    assert "Bound by" not in explain(Decider().at(0.0, state=free))
    text = explain(Decider().at(0.0, state=free, snapshot=make_snapshot(16, 0)))
    assert "temperatures" not in text and "Bound by: charge temperature unknown." in text
    assert "0 of 0 probes" in text


def test_refused_frames_and_a_blind_runaway_view_are_told():
    from edgebms.telemetry.snapshot import Extreme, Extremes, RunawayView

    stale = Extremes(voltage_min_v=Extreme(float("nan"), -1, 9.0, Reason.STALE))
    text = explain(
        Decider().at(
            0.0, refused_frames=(("checksum", 3),), extremes=stale, runaway_view=RunawayView(float("inf"), 16, True), gas=float("nan")
        )
    )
    assert "frames refused: 3 (checksum)" in text and "broadcast voltage min v (stale)" in text
    assert "on no cell; cells that it cannot see: 16; a sensor is saturated" in text and "gas (stale)" in text


def test_every_action_and_restraint_has_words():
    assert set(DEEDS) == set(Action) and set(RESTRAINTS) == set(Restraint)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1234.56, "1235"),
        (999.94, "999.9"),
        (1e9, "1000000000"),
        (99.996, "100"),
        (-3.30004, "-3.3"),
        (0.00001234, "0.000012"),
    ],
)
def test_numbers_are_plain(value, text):
    assert plain(value) == text


# ---- the command


@pytest.fixture
def recorded(tmp_path):
    decider = Decider()
    lines = [
        encode(decider.at(0.0, seq=1)),
        encode(decider.at(1.0, finding(), seq=2)),
        encode(decider.at(2.0, seq=3)),
    ]
    path = tmp_path / "decisions.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n\n")
    return path


def run(file, seq=None, last_alert=False, pack=None):
    return explain_verb.run(SimpleNamespace(file=str(file), seq=seq, last_alert=last_alert, pack=pack))


def test_the_command_takes_the_last_one_a_number_or_the_last_alert(recorded, capsys):
    assert run(recorded) == 0
    assert "decision 3," in capsys.readouterr().out
    run(recorded, seq=1)
    assert "decision 1," in capsys.readouterr().out
    run(recorded, last_alert=True)
    assert "decision 2," in capsys.readouterr().out


def test_the_command_reads_standard_input(recorded, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(recorded.read_bytes())))
    assert run("-", seq=2) == 0
    assert "WARNING: over temperature" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "says"),
    [({"seq": 9}, "sequence number 9"), ({"pack": "other"}, "of pack other"), ({"pack": "other", "last_alert": True}, "with an alert")],
)
def test_nothing_that_fits_is_one_sentence(recorded, choice, says):
    with pytest.raises(LogError, match=says):
        run(recorded, **choice)


def test_files_that_are_no_decisions(tmp_path, recorded, capsys):
    with pytest.raises(LogError, match="cannot be read"):
        run(tmp_path / "gone")
    with pytest.raises(LogError, match="cannot be read"):
        run(tmp_path)
    noise = tmp_path / "noise"
    noise.write_bytes(b"\xff\xfe{}\n{}\n[1]\nnot json\n")
    with pytest.raises(LogError, match="no decision at all"):
        run(noise)
    assert "4 lines are no decisions" in capsys.readouterr().err
    torn = tmp_path / "torn"
    torn.write_bytes(b'{"schema":"edgebms.dec\n' + recorded.read_bytes())
    assert run(torn) == 0
    assert "1 lines are no decisions" in capsys.readouterr().err
    other = tmp_path / "other"
    other.write_bytes(b'{"schema":"edgebms.decision/9","pack":"p","seq":1,"alerts":[]}\n')
    with pytest.raises(LogError, match="other: line 1: not a decision of this version"):
        run(other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=5))
def test_random_bytes_never_crash_the_command(lines):
    number, line, unread = explain_verb.choose(lines, None, False, None)
    assert line is None and number == 0 and unread <= len(lines)


def test_a_test_alarm_is_told_as_one():
    told = finding(
        Cause.GATEWAY_FAULT,
        Level.WARNING,
        Action.SERVICE,
        kind="pack",
        where=-1,
        rule="selftest",
        value=5.0,
        limit=float("nan"),
        unit="s (test)",
    )
    assert "  test alarm of edgebms selftest, not a real one: 5 s (test)\n" in explain(Decider().at(0.0, told))
