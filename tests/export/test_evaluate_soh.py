"""``python -m export evaluate soh``: charge between marks by hand, capacity of a cell that was not learned from."""

import json

import numpy as np
import pytest
from shared_data import needed, shared

from export.__main__ import main
from export.soh_window import Charges, WindowCapacity, between_marks

needed("pyarrow")
MARKS = np.array([3.7, 3.8, 3.9])


def test_charge_between_marks_by_hand():
    time_s = np.arange(0.0, 3601.0, 36.0)
    voltage = np.interp(time_s, [0, 3600], [3.6, 4.0])  # 0.1 V in 900 s at 2 A: 0.5 Ah
    filled = between_marks(time_s, voltage, np.full(time_s.size, 2.0), MARKS, 2.5)
    np.testing.assert_allclose(filled, [0.2, 0.2], rtol=1e-6)


@pytest.mark.parametrize("change", ["late", "short", "interrupted"])
def test_a_charge_that_does_not_pass_the_window_says_nothing(change):
    time_s = np.arange(0.0, 3600.0, 36.0)
    voltage, current = np.interp(time_s, [0, 3600], [3.6, 4.0]), np.full(time_s.size, 2.0)
    part = {"late": slice(30, None), "short": slice(None, 50), "interrupted": slice(None)}[change]
    current[40] = 0.0 if change == "interrupted" else 2.0
    assert between_marks(time_s[part], voltage[part], current[part], MARKS, 2.5) is None


def test_a_new_cell_of_the_same_law_is_found_and_a_strange_one_is_doubted():
    rng = np.random.default_rng(1)
    soh = np.linspace(1.0, 0.6, 400)
    filled = np.stack([0.2 * soh, 0.3 * soh**2], axis=1)
    noisy = [Charges(name, np.arange(400.0), filled + rng.normal(scale=5e-4, size=filled.shape), soh) for name in "ab"]
    model = WindowCapacity(noisy)
    said, sigma = model.estimate(filled)
    assert np.abs(said - soh)[10:].max() < 0.03 and (np.abs(said - soh) <= 2 * sigma).mean() > 0.85
    _, strange = model.estimate(filled + 5.0)
    assert strange.min() > 3 * sigma.max()


@pytest.mark.slow
def test_the_public_cell_meets_the_requirement(capsys):
    data = shared("data/soh/public/calce_cs2").parents[3]
    assert main(["evaluate", "soh", "--shared", str(data), "--every", "12", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    public = {row["estimator"]: row for row in rows if row["split"] == "public"}
    assert public["window"]["mae_pct"] < 1.5 < public["mean"]["mae_pct"]
    assert public["window"]["charges"] > 500
    # Each twelfth charge: the mean of nine lags behind an ageing cell (3.7 %; 1.4 % with all of them, docs/estimation.md).
    assert public["runtime, aged cells in the card"]["mae_pct"] < 4.5 < public["runtime, new cells' curve"]["mae_pct"]
