"""What survives a restart, what is refused, and what grows while nobody looks."""

import json
import shutil
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lines import pack
from recorded import UTC_NS, Clock, Gateway, drive, settings

from edgebms.assembly import build_lines
from edgebms.cli.main import main
from edgebms.errors import StateError
from edgebms.record import checkpoint, statefile
from edgebms.record.checkpoint import Moment
from edgebms.worker import ask_inline

SECOND = 10**9
FEED_S = 15.0


def lived(folder, seconds=FEED_S, **more):
    """A gateway that ran, stopped cleanly and left its folder."""
    return Gateway(settings(folder)).run(drive(seconds, **more)).close()


def reborn(folder, *packs, off_s=5.0, reboot=False, synchronised=True, wall_off_s=None, seconds=FEED_S):
    """The same gateway started again ``off_s`` later; reboot: its monotonic clock starts anew."""
    clock = Clock(synchronised)
    last_ns = round((100.0 + seconds) * SECOND)
    if reboot:
        clock.at_ns = 3 * SECOND
        shown_ns = UTC_NS + last_ns + round((off_s if wall_off_s is None else wall_off_s) * SECOND)
        clock.utc_ns = lambda: shown_ns if synchronised else None
        wall_ns = lambda: shown_ns  # noqa: E731
    else:
        clock.at_ns = last_ns + round(off_s * SECOND)
        wall_ns = lambda: UTC_NS + clock.at_ns  # noqa: E731
    gateway = Gateway(settings(folder, *packs), clock=clock, wall_ns=wall_ns)
    if reboot:
        # as if the kernel had given this boot another name
        for recorder in gateway.record.recorders.values():
            recorder._boot = "another"
    return gateway


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    return folder, lived(folder)


@pytest.fixture
def copy(life, tmp_path):
    folder, gateway = life
    shutil.copytree(folder, tmp_path / "state")
    return tmp_path / "state", gateway


def test_a_restart_goes_on_where_it_stood(copy):
    folder, before = copy
    after = reborn(folder)
    old, new = before.packs["rack-1"].pipeline.estimator, after.packs["rack-1"].pipeline.estimator
    assert np.array_equal(new.kalman._x, old.kalman._x)
    assert (
        after.record.recorders["rack-1"].counters.totals.discharged_ah
        == before.record.recorders["rack-1"].counters.totals.discharged_ah
        > 0
    )
    after.run(drive(1.0, start_s=100.0 + FEED_S + 5.0))
    first = after.decisions[0]
    last = before.decisions[-1]
    assert first.soc.pack == pytest.approx(last.soc.pack, abs=0.01)
    assert first.soc.sigma < 1.2 * last.soc.sigma
    assert first.command.limits.discharge_a >= 0.9 * last.command.limits.discharge_a > 0, "a restart of seconds blacks nothing out"
    assert "rack-1: goes on from the checkpoint written" in after.said[0]


def test_latches_and_alerts_survive_with_their_ids_and_ages(tmp_path):
    before = lived(tmp_path, 36.0, hot_from_s=3.0)
    last = before.decisions[-1]
    latched = {alert.id: alert for alert in last.alerts if alert.latched}
    assert latched, "the drive must latch something"
    after = reborn(tmp_path, seconds=36.0, off_s=10.0)
    after.run(drive(1.0, start_s=146.0, seed=9))
    now = {alert.id: alert for alert in after.decisions[0].alerts}
    for name, alert in latched.items():
        assert now[name].since == alert.since and now[name].level == alert.level
        assert now[name].standing_s > alert.standing_s + 9.0
    assert after.decisions[0].command.action == last.command.action


@pytest.mark.parametrize(
    ("off_s", "synchronised", "known"),
    [(3600.0, True, True), (3600.0, False, False)],
    ids=["both clocks right", "no clock after the reboot"],
)
def test_after_a_reboot_the_uncertainty_is_that_of_the_time_off(copy, off_s, synchronised, known):
    folder, before = copy
    saved = checkpoint.load(folder / "rack-1" / "checkpoint.state")
    now_utc = saved.moment.utc_ns + round(off_s * SECOND)
    now = Moment(5 * SECOND, now_utc if synchronised else None, now_utc if synchronised else saved.moment.wall_ns - SECOND, "another boot")
    line = build_lines(before.config, ask_inline)["rack-1"]
    came = checkpoint.restore(saved, line, before.config.pack[0], now, 24 * 3600.0)
    assert came.refused == "" and came.off.known is known
    assert came.off.seconds == (pytest.approx(off_s) if known else 24 * 3600.0)
    totals = came.counters.totals
    assert totals.unknown_gaps == (not known) and totals.unobserved_s >= (off_s if known else 0.0)
    before_sigma = before.packs["rack-1"].pipeline.estimator.kalman.soc_sigma.copy()
    kalman = line.pipeline.estimator.kalman
    kalman.step(6.0, 0.0, np.full(16, np.nan), np.full(16, 25.0))
    assert (kalman.soc_sigma > 10 * before_sigma).all(), "an hour of a current that nobody saw"
    assert (kalman.soc_sigma <= 0.75).all(), "no more than a start that knows nothing, beside what was not known before"


def test_a_wrong_wall_clock_never_shortens_the_time_off():
    a = Moment(50 * SECOND, UTC_NS, UTC_NS, "one")
    for wall_ns in (0, UTC_NS - 10**18, UTC_NS + 10):
        off = checkpoint.off_between(a, Moment(SECOND, None, wall_ns, "two"), 86400.0)
        assert off.seconds == 86400.0 and not off.known and 0 <= off.at_least_s <= 1
    assert checkpoint.off_between(a, Moment(SECOND, None, UTC_NS + 10**6 * SECOND, "two"), 86400.0).seconds == 10**6
    assert checkpoint.off_between(a, Moment(60 * SECOND, None, 0, "one"), 86400.0).seconds == 10.0


def test_another_packs_checkpoint_is_refused_and_the_start_goes_on(copy):
    folder, _ = copy
    for changes in ({"cells": 12, "probes": 3}, {"parallel": 4}):
        after = reborn(folder, pack(**changes))
        assert "of another pack" in after.said[0] and "16 cells" in after.said[0]
        (fault,) = after.record.faults("rack-1")
        assert fault.rule == "checkpoint_refused.record"
        assert np.isnan(after.packs["rack-1"].pipeline.estimator.kalman.soc).all()
        after.record.close()
    assert (folder / "rack-1" / "checkpoint.refused").exists()


def test_the_refusal_is_an_alert(copy):
    folder, _ = copy
    after = reborn(folder, pack(parallel=4)).run(drive(1.0, start_s=130.0))
    (alert,) = [alert for alert in after.decisions[0].alerts if alert.hazard == "gateway_fault"]
    assert alert.evidence[0].rule == "checkpoint_refused.record" and alert.level == "watch"
    after.close()


def test_another_cards_states_are_left_out_but_latches_and_lifetime_stay(copy):
    folder, _ = copy
    after = reborn(folder, pack(card="panasonic_18650pf"))
    assert "of another card (lg_hg2)" in after.said[0]
    assert np.isnan(after.packs["rack-1"].pipeline.estimator.kalman.soc).all()
    assert after.record.recorders["rack-1"].counters.totals.discharged_ah > 0
    after.record.close()


def test_a_later_formats_checkpoint_is_refused(copy):
    folder, _ = copy
    path = folder / "rack-1" / "checkpoint.state"
    header, body = statefile.read(path)
    path.write_bytes(statefile.join([header | {"format": 2}, body]))
    (folder / "rack-1" / "checkpoint.previous").unlink(missing_ok=True)
    after = reborn(folder)
    assert "is of format 2, this version reads 1" in after.said[0]
    after.record.close()


def test_a_damaged_checkpoint_gives_way_to_the_one_before(copy):
    folder, _ = copy
    path = folder / "rack-1" / "checkpoint.state"
    shutil.copy(path, path.with_suffix(".previous"))
    path.write_bytes(path.read_bytes()[:-7])
    after = reborn(folder)
    assert "damaged" in after.said[0]
    assert np.isfinite(after.packs["rack-1"].pipeline.estimator.kalman._x[0]).all()
    assert after.packs["rack-1"].pipeline.estimator.kalman._running
    after.record.close()


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_to_the_file_is_taken_for_a_state(life, tmp_path_factory, data):
    """Bytes changed, cut or put in: refused with a sentence, or the same state; never a traceback, never another state."""
    folder, _ = life
    good = (folder / "rack-1" / "checkpoint.state").read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    bad = {
        "flip": good[:at] + bytes((good[at] ^ data.draw(st.integers(1, 255)),)) + good[at + 1 :],
        "cut": good[:at],
        "insert": good[:at] + data.draw(st.binary(min_size=1, max_size=9)) + good[at:],
    }[kind]
    path = tmp_path_factory.mktemp("bad") / "checkpoint.state"
    path.write_bytes(bad)
    try:
        saved = checkpoint.load(path)
    except StateError as error:
        assert str(path) in str(error)
    else:
        assert msgspec.msgpack.encode(saved.body) == msgspec.msgpack.encode(checkpoint.load(folder / "rack-1" / "checkpoint.state").body)


def test_a_body_that_lacks_something_leaves_the_line_as_it_was(copy):
    folder, before = copy
    saved = checkpoint.load(folder / "rack-1" / "checkpoint.state")
    now = Moment(200 * SECOND, None, UTC_NS, "")
    for spoil in (
        lambda body: body.pop("counters"),
        lambda body: body["estimator"]["kalman"].pop("rest_s"),
        lambda body: body["estimator"]["soh"].update(capacity=3),
        lambda body: body["estimator"]["kalman"]["p"].update(shape=[1, 2]),
        lambda body: body.update(guard=[1, 2]),
        lambda body: body.update(alerts=[{"hazard": "no such"}]),
    ):
        body = msgspec.msgpack.decode(msgspec.msgpack.encode(saved.body))
        spoil(body)
        line = build_lines(before.config, ask_inline)["rack-1"]
        came = checkpoint.restore(checkpoint.Saved(saved.header, body), line, before.config.pack[0], now, 86400.0)
        assert "does not hold what it should" in came.refused
        kalman = line.pipeline.estimator.kalman
        assert not kalman._running and not kalman._x.any() and not line.pipeline.guard.state() and not line.pipeline.arbiter.state()


def test_the_day_s_bytes_are_bounded_whatever_happens(tmp_path, monkeypatch):
    """A checkpoint is due each second for two hours; the day's share says when there is one."""
    gateway = Gateway(settings(tmp_path, checkpoint_s=1.0, checkpoint_mb_per_day=30.0)).run(drive(2.0))
    recorder, decision = gateway.record.recorders["rack-1"], gateway.decisions[-1]
    written = []
    replace = statefile.replace
    monkeypatch.setattr(statefile, "replace", lambda path, data: (replace(path, data), written.append(len(data)))[0])
    for second in range(2 * 3600):
        recorder.decided(msgspec.structs.replace(decision, mono_ns=(110 + second) * SECOND), b"{}")
        while recorder._writing:
            time.sleep(0.001)
    overhead = 16 << 10
    assert sum(written) + overhead * len(written) <= 3 * 30e6 / 24 + max(written) + overhead, (
        "an hour's share at once, then as the hours go"
    )
    assert len(written) > 100, "and it does write"
    gateway.record.close()


def test_replay_goes_on_from_a_checkpoint(copy, tmp_path, capsys):
    from recorded import write_config

    from hil.candump import write

    folder, before = copy
    log = tmp_path / "later.log"
    write(log, drive(1.0, start_s=1_790_000_300.0))
    config = write_config(
        settings(
            "",
        ),
        tmp_path / "gateway.toml",
    )
    assert main(["replay", str(log), "-c", str(config), "--state", str(folder / "rack-1" / "checkpoint.state"), "--quiet"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["soc"]["pack"] == pytest.approx(before.decisions[-1].soc.pack, abs=0.05)
    for arguments, words in (
        (["--state", str(log)], "is no state file"),
        (["--state", str(tmp_path / "nothing")], "cannot be read"),
    ):
        assert main(["replay", str(log), "-c", str(config), *arguments, "--quiet"]) == 9
        assert words in capsys.readouterr().err
    other = write_config(settings("", pack(name="rack-2")), tmp_path / "other.toml")
    assert main(["replay", str(log), "-c", str(other), "--state", str(folder / "rack-1" / "checkpoint.state"), "--quiet"]) == 9
    assert "is of the pack 'rack-1'" in capsys.readouterr().err


def test_health_tells_the_checkpoint(copy, capsys):
    folder, before = copy
    assert main(["health", str(folder), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    totals = before.record.recorders["rack-1"].counters.totals
    assert figures["pack"] == "rack-1" and figures["cells"] == 16
    assert figures["lifetime"]["discharged_ah"] == round(totals.discharged_ah, 3)
    assert figures["soc"]["min"] <= before.decisions[-1].soc.pack <= figures["soc"]["max"] + 0.01
    assert figures["soh_capacity"]["measured_cells"] == 0
    asked = figures["annex_vii"]
    assert asked["capacity_fade"] is None and asked["self_discharge_per_day"] is None, "not measured: not known"
    assert asked["resistance_rise"]["sigma"] > 0 and asked["power_fade"]["value"] < asked["resistance_rise"]["value"] + 1e-9
    assert main(["health", str(folder / "rack-1")]) == 0
    told = capsys.readouterr().out
    assert (
        "16 cells" in told
        and "no cell's capacity has been measured yet" in told
        and "capacity fade: unknown" in told
        and "equivalent full cycles" in told
    )
    assert main(["health", str(folder.parent / "none")]) == 9
    (folder / "rack-1" / "checkpoint.state").write_bytes(b"no")
    capsys.readouterr()
    assert main(["health", str(folder)]) == 9
    assert "is no state file" in capsys.readouterr().err


def test_fades_by_hand():
    from edgebms.record.health import annex_vii

    capacity, resistance = np.array([0.9, 0.8, 0.5]), np.array([1.25, np.nan, 1.0])
    got = annex_vii(capacity, np.full(3, 0.01), resistance, np.full(3, 0.05), np.array([True, True, False]))
    assert got["capacity_fade"] == {"value": 0.2, "sigma": 0.01}, "a capacity that was not measured is not the lowest"
    assert got["resistance_rise"] == {"value": 0.25, "sigma": 0.05}
    assert got["power_fade"] == {"value": 0.2, "sigma": 0.032}


def test_what_is_the_same_for_all_cells_is_said_once():
    from edgebms.record.health import range_told, spread

    assert range_told(spread(np.array([0.9]), np.array([0.02])), "%") == "90.0 %, +- 2.0 %"
    assert range_told(spread(np.array([0.9, 1.0]), np.array([0.02, 0.01])), "%") == "90.0 (cell 1) to 100.0 (cell 2) %, +- 2.0 %"
    assert range_told(spread(np.array([np.nan]), np.array([np.nan])), "%") == "unknown"
