"""What a user of History would notice: what a window holds, at which rate, and what it costs."""

import time

import numpy as np
import pytest
from snapshots import make_snapshot

from edgebms.history.history import FINE_ROWS, History


def fill(history: History, seconds: float, period_s: float, start_s: float = 0.0) -> None:
    for i in range(round(seconds / period_s)):
        at = start_s + i * period_s
        history.push(
            make_snapshot(history.cells, history.probes, time_s=at, voltage_v=3.0 + at * 1e-4, temperature_c=at * 0.01, current_a=at)
        )


def test_a_short_window_is_every_snapshot():
    history = History(4, 2)
    fill(history, 100, 0.5)
    window = history.window(10.0)
    assert window.period_s == 0.0
    assert np.allclose(np.diff(window.time_s), 0.5)
    assert window.time_s[-1] - window.time_s[0] == pytest.approx(10.0)
    assert window.cell_voltage_v.shape == (21, 4)
    assert window.temperature_c.shape == (21, 2)
    assert np.allclose(window.cell_voltage_v[:, 0], 3.0 + window.time_s * 1e-4, atol=1e-6)
    assert np.allclose(window.current_a, window.time_s)
    assert window.voltage_v[-1] == pytest.approx(4 * window.cell_voltage_v[-1, 0], rel=1e-6)


def test_windows_stay_in_order_over_the_wrap():
    history = History(1, 1)
    fill(history, 1.7 * FINE_ROWS, 1.0)
    window = history.window(500.0)
    assert len(window) == 501
    assert np.all(np.diff(window.time_s) > 0)
    assert np.allclose(window.current_a, window.time_s)


def test_a_long_window_comes_from_the_means():
    history = History(3, 1)
    fill(history, 3 * 3600, 1.0)
    window = history.window(2.5 * 3600)
    assert window.period_s == 10.0
    assert window.span_s == pytest.approx(2.5 * 3600, abs=20)
    assert np.allclose(window.current_a, window.time_s, rtol=1e-6)  # the mean of a ramp is its middle


def test_a_day_comes_from_the_five_minute_means():
    history = History(1, 1)
    fill(history, 25 * 3600, 10.0)
    window = history.window(24 * 3600)
    assert window.period_s == 300.0
    assert window.span_s == pytest.approx(24 * 3600, abs=600)


def test_nan_stays_nan_and_does_not_spoil_a_mean():
    history = History(2, 1)
    for i in range(200):
        voltage = [np.nan if i >= 100 else 3.5, np.nan if i % 2 else 3.6]
        history.push(make_snapshot(2, 1, time_s=i, voltage_v=voltage, temperature_c=np.nan))
    means = history.means(150.0)
    assert np.allclose(means.cell_voltage_v[:, 1], 3.6)
    assert np.isnan(means.cell_voltage_v[means.time_s > 100, 0]).all()
    assert np.isfinite(means.cell_voltage_v[means.time_s < 100, 0]).all()
    assert np.isnan(means.temperature_c).all()


def test_an_empty_history_gives_an_empty_window():
    window = History(2, 1).window(60.0)
    assert len(window) == 0
    assert window.span_s == 0.0


def test_time_that_goes_back_does_not_break_the_order():
    history = History(1, 0)
    for at in (1.0, 2.0, 1.5, 3.0):
        history.push(make_snapshot(1, 0, time_s=at))
    assert history.window(10.0).time_s.tolist() == [1.0, 2.0, 2.0, 3.0]


def test_a_gap_leaves_no_invented_rows():
    history = History(1, 0)
    fill(history, 60, 1.0)
    fill(history, 60, 1.0, start_s=7200.0)
    times = history.means(3 * 3600).time_s
    assert not ((times > 60) & (times < 7200)).any()


@pytest.mark.parametrize("cells, probes, megabytes", [(96, 24, 8), (400, 400, 24)])
def test_memory_is_bounded(cells, probes, megabytes):
    assert History(cells, probes).nbytes < megabytes * 1e6


def test_a_push_is_cheap():
    history = History(96, 24)
    snapshots = [make_snapshot(96, 24, time_s=i * 0.1, seq=i) for i in range(500)]
    best = np.inf
    for _ in range(5):
        start = time.thread_time()  # of this thread alone: others may have the core meanwhile
        for snapshot in snapshots:
            history.push(snapshot)
        best = min(best, (time.thread_time() - start) / len(snapshots))
    assert best < 100e-6  # 20 us on an idle x86 core; five times that for a busy one
