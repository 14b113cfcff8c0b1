"""Whatever is chosen among what the grammar allows, it ends in a well-formed verdict; what it does not allow is refused."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from edgebms.evidence.queries import BY_WORD, OUTLIERS, QUERIES
from edgebms.reasoner.grammar import Refused, Trace, parse
from edgebms.reasoner.language import (
    CAP,
    CAUSES,
    FIRST_CAUSE,
    FIRST_QUERY,
    ID,
    LOCAL,
    OF_PACK,
    POSITIONS,
    TOKENS,
    VOCABULARY_HASH,
    tokenizer_json,
)
from edgebms.vocabulary import Cause, Level


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_every_way_through_it_is_a_verdict(data: st.DataObject) -> None:
    cap = data.draw(st.integers(0, CAP))
    trace = Trace(cap)
    while not trace.done:
        allowed = trace.allowed()
        assert allowed
        assert len(set(allowed)) == len(allowed)
        token = data.draw(st.sampled_from(allowed))
        if token < FIRST_CAUSE:
            place = token - FIRST_QUERY
            trace.ask(place, data.draw(st.integers(-1, 95)) if place in OUTLIERS else trace.suspect)
        else:
            trace.say(token)
    assert len(trace.asked) <= cap
    assert trace.cause in CAUSES
    named = {cell for place, cell in trace.asked if place in OUTLIERS}
    assert trace.cell == -1 or trace.cell in named
    if trace.cause in OF_PACK:
        assert trace.cell == -1
    if trace.cause in LOCAL and any(cell >= 0 for cell in named):
        assert trace.cell >= 0
    assert (trace.severity is Level.NONE) or trace.cause is not Cause.HEALTHY
    assert trace.to_critical_s > 0
    assert 0 <= trace.confidence_bin < 10
    assert 1 + len(trace.asked) + 4 < POSITIONS


VERDICT = "cause:internal_short where:voltage_deviation.outlier.600s severity:critical critical_in:300s confidence:8"


def test_a_trace_in_words() -> None:
    asked = "ask:voltage_deviation.outlier.600s n0:2 n1:3 n2:0 n3:unknown ask:thermal_rate.suspect.60s"
    trace = parse(f"<begin> chemistry:NMC cells:few {asked} {VERDICT}", {"voltage_deviation.outlier.600s": 6})
    assert (trace.cause, trace.cell, trace.severity, trace.to_critical_s) == (Cause.INTERNAL_SHORT, 6, Level.CRITICAL, 150.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not whole"),
        (VERDICT, "where:voltage_deviation.outlier.600s may not stand here"),
        ("ask:thermal_rate.suspect.60s", "may not be asked"),
        ("ask:gas.pack.60s ask:gas.pack.60s", "may not be asked"),
        ("I think that cell 7 is at fault", "no word"),
        ("n0:1", "answers no question"),
        ("cause:healthy where:pack severity:critical", "may not stand here"),
        ("cause:healthy where:pack severity:none critical_in:never confidence:1 confidence:1", "may not stand here"),
        ("cause:healthy ask:gas.pack.60s", "may not be asked"),
        ("ask:gas.pack.60s <begin>", "at the beginning"),
        (" ".join(f"ask:{query.word}" for query in QUERIES[: CAP + 1]), "may not be asked"),
    ],
)
def test_what_is_no_trace_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        parse(text)


def test_words_are_appended_never_moved() -> None:
    """A model in the field was trained on these places. Append to the end of a family's words, and renew this with a new model."""
    assert len(set(TOKENS)) == len(TOKENS)
    assert VOCABULARY_HASH[:16] == "bc61d9360aa5e3df"
    assert len(BY_WORD) == len(QUERIES)


def test_the_tokenizer_is_hugging_face_s() -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json())
    words = ["<begin>", "chemistry:LFP", "cells:most", "ask:gas.pack.60s", "n0:15", "n3:unknown", *VERDICT.split()]
    encoded = tokenizer.encode(" ".join(words), add_special_tokens=False)
    assert encoded.ids == [ID[word] for word in words]
    assert tokenizer.get_vocab_size() == len(TOKENS)
    assert json.loads(tokenizer_json())["model"]["vocab"] == ID


def test_never_is_never() -> None:
    trace = parse("cause:healthy where:pack severity:none critical_in:never confidence:9")
    assert math.isinf(trace.to_critical_s)
