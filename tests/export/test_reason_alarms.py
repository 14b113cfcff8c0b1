"""A cause warns once it has stood longer than it ever did where nothing was; what never came up is told as that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgebms.reasoner.language import CAUSES
from edgebms.reasoner.standing import Standing
from edgebms.vocabulary import Cause
from export.reason.alarms import LEAST_S, MARGIN, Heard, longest_s, middle, set_on, table, told_of, write
from export.reason.listen import SPOKEN

SHORT, HEALTHY = CAUSES.index(Cause.INTERNAL_SHORT), 0


def spoken(said: list[tuple[int, int, float, int]], every_s: float = 2.0) -> np.ndarray:
    """(cause, cell, chance, severity) one after the other."""
    out = np.zeros(len(said), dtype=SPOKEN)
    out["time_s"] = np.arange(len(said)) * every_s
    out["cause"], out["cell"], out["chance"], out["severity"] = zip(*said, strict=True)
    return out


def drawn(rng: np.random.Generator, count: int = 400) -> np.ndarray:
    causes = rng.choice([HEALTHY, SHORT, SHORT, CAUSES.index(Cause.VENTING)], count)
    return spoken([(int(c), int(rng.integers(2)), float(rng.uniform(0.4, 1.0)), int(rng.integers(1, 4))) for c in causes])


@pytest.mark.parametrize("seed", range(5))
def test_it_stands_as_the_runtime_lets_it_stand(seed: int) -> None:
    heard, standing, most = drawn(np.random.default_rng(seed)), Standing(), 0.0
    for one in heard:
        stood = standing.step(
            CAUSES[one["cause"]], int(one["cell"]), bool(one["cause"] == SHORT and one["chance"] >= 0.6), float(one["time_s"])
        )
        if one["cause"] == SHORT and one["severity"] >= 2:
            most = max(most, stood)
    assert longest_s(heard, SHORT, 0.6, np.ones(len(heard), dtype=bool)) == pytest.approx(most)


def recording(name: str, cause: Cause, onset_s: float, said: list[tuple[int, int, float, int]]) -> Heard:
    said_ = spoken(said)
    return Heard(name, cause, onset_s, True, said_, said_["time_s"] < onset_s)


CALM = (HEALTHY, -1, 0.9, 0)


def test_a_warning_stands_longer_than_what_was_nothing_and_finds_the_fault() -> None:
    noise = [CALM] * 50 + [(SHORT, 3, 0.9, 3)] * 41 + [CALM] * 300
    fault = [CALM] * 100 + [(SHORT, 5, 0.95, 3)] * 200
    warning, hold_s, rows = set_on([recording("day", Cause.HEALTHY, np.inf, noise), recording("short", Cause.INTERNAL_SHORT, 200.0, fault)])
    mine = next(row for row in rows if row["cause"] == "internal_short")
    assert mine["found"] == 1.0
    assert warning["internal_short"] == 0.95
    assert hold_s["internal_short"] == LEAST_S  # at 0.95 nothing was said of nothing
    assert "| internal_short | 0.95 | 60 | 0 | 1 | 100 % |" in table(rows)
    louder = [CALM] * 50 + [(SHORT, 3, 0.99, 3)] * 41 + [CALM] * 300
    _, hold_s, rows = set_on([recording("day", Cause.HEALTHY, np.inf, louder), recording("short", Cause.INTERNAL_SHORT, 200.0, fault)])
    assert hold_s["internal_short"] == MARGIN * 82.0
    assert next(row for row in rows if row["cause"] == "internal_short")["found"] == 1.0


def test_what_cannot_be_told_from_nothing_is_never_more_than_a_watch() -> None:
    always = [(SHORT, 3, 0.99, 3)] * 2000
    warning, hold_s, _ = set_on([recording("day", Cause.HEALTHY, np.inf, always)])
    assert warning["internal_short"] == 1.0
    assert hold_s["internal_short"] == 1800.0


def test_they_stand_in_the_card(tmp_path: Path) -> None:
    card = tmp_path / "student.json"
    card.write_text('{"name": "student", "warning": {"": 0.5}}')
    day = recording("day", Cause.HEALTHY, np.inf, [CALM] * 43201)
    warning, hold_s, _ = set_on([day])
    write(card, warning, hold_s, told_of([day]))
    fields = json.loads(card.read_text())
    assert (fields["name"], fields["hold_s"][""], fields["alarms_set_on"]) == ("student", 60.0, "1 recordings, 1.0 days without a fault")


def test_of_equally_good_thresholds_the_middle_one_is_taken() -> None:
    """Most faults found, then the shortest stand; where nothing is found, the strictest that there is."""
    found = [
        (0.5, 120.0, 0.5, 60.0, 4),
        (0.75, 60.0, 0.7, 0.0, 4),
        (0.75, 60.0, 0.8, 0.0, 4),
        (0.75, 60.0, 0.9, 0.0, 4),
        (0.25, 60.0, 0.95, 0.0, 4),
    ]
    assert middle(found)[2] == 0.8
    assert middle([(0.75, 90.0, 0.7, 45.0, 4), (0.75, 60.0, 0.9, 0.0, 4)])[2] == 0.9
    assert middle([(0.0, 60.0, sure, 0.0, 0) for sure in (0.5, 0.7, 0.98)])[2] == 0.98
