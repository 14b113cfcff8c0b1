"""A cause warns once it has stood longer than it ever did where nothing was; what never came up is told as that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgebms.reasoner.language import CAUSES
from edgebms.reasoner.standing import Standing
from edgebms.vocabulary import Cause
from export.reason import alarm_folds
from export.reason.alarms import (
    LEAST_S,
    MARGIN,
    SURE,
    TOLD,
    Heard,
    Stands,
    Threshold,
    longest_s,
    middle,
    set_on,
    stands_of,
    table,
    told_of,
    write,
)
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
    assert f"| internal_short | 0.95 | {LEAST_S:.0f} | 0 | 1 | 100 % |" in table(rows)
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
        Threshold(0.5, 120.0, 0.5, 60.0, 4),
        Threshold(0.75, 60.0, 0.7, 0.0, 4),
        Threshold(0.75, 60.0, 0.8, 0.0, 4),
        Threshold(0.75, 60.0, 0.9, 0.0, 4),
        Threshold(0.25, 60.0, 0.95, 0.0, 4),
    ]
    assert middle(found).sure == 0.8
    assert middle([Threshold(0.75, 90.0, 0.7, 45.0, 4), Threshold(0.75, 60.0, 0.9, 0.0, 4)]).sure == 0.9
    assert middle([Threshold(0.0, 60.0, sure, 0.0, 0) for sure in (0.5, 0.7, 0.98)]).sure == 0.98


def test_an_hour_beyond_the_card_s_limits_sets_no_threshold() -> None:
    """What was said while a limit was broken is no false alarm, so it keeps no warning from being quick."""
    said = [CALM] * 50 + [(SHORT, 3, 0.99, 3)] * 400 + [CALM] * 300
    broken = recording("broken", Cause.HEALTHY, np.inf, said)
    calm = broken.calm.copy()
    calm[50:450] = False
    assert set_on([broken])[1]["internal_short"] == 1800.0
    assert set_on([Heard("broken", Cause.HEALTHY, np.inf, True, broken.spoken, calm)])[1]["internal_short"] == LEAST_S


def test_folds_count_what_thresholds_of_others_let_through() -> None:
    """A hundred quiet days and one on which a short stood for long: only where that one is left out does it warn."""
    row, loudest_s = TOLD.index(SHORT), 900.0
    calm_s, ill_s = np.zeros((101, len(TOLD), len(SURE))), np.full((101, len(TOLD), len(SURE)), np.nan)
    calm_s[0, row], ill_s[1, row] = loudest_s, 1700.0
    stands = Stands(calm_s, ill_s, np.ones(101))
    false, found, days = alarm_folds.counted(stands, 1.0, 60.0)
    assert days == pytest.approx(101 * alarm_folds.DRAWS)
    assert false[row] == alarm_folds.DRAWS  # once a draw
    assert false.sum() == false[row]
    assert found[row] == 1.0
    assert np.isnan(np.delete(found, row)).all()
    assert "internal_short" in alarm_folds.table(stands)
    quiet = Stands(np.zeros_like(calm_s), ill_s, np.ones(101))
    assert alarm_folds.counted(quiet, 1.0, 60.0)[0].sum() == 0


def test_stands_are_of_each_recording() -> None:
    fault = [CALM] * 100 + [(SHORT, 5, 0.95, 3)] * 200
    stands = stands_of([recording("short", Cause.INTERNAL_SHORT, 200.0, fault), recording("day", Cause.HEALTHY, np.inf, [CALM] * 43201)])
    row, column = TOLD.index(SHORT), SURE.index(0.9)
    assert stands.ill_s[0, row, column] == pytest.approx(400.0, abs=2.0)
    assert np.isnan(stands.ill_s[1]).all()
    assert stands.days[1] == pytest.approx(1.0)
    assert stands.days[0] == pytest.approx(200 / 86400, rel=0.02)
