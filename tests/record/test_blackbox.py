"""The black box: what was decided around an alert is decided again, bit for bit."""

import gzip
import json
import shutil

import numpy as np
import pytest
from lines import pack
from recorded import Clock, Gateway, boxes, drive, recorded, settings, without_latency, write_config

from edgebms import config as configuration
from edgebms.cli.main import main
from edgebms.config import ShuntConfig
from edgebms.gateway_fault import GatewayFault
from edgebms.order import SendCells
from edgebms.record import rerun, statefile
from edgebms.telemetry.encode import Encoder
from edgebms.vocabulary import Level, ReasonerStatus
from edgebms.worker import ask_inline


def replayed(box, config, tmp_path, capsysbinary, code=0):
    toml = write_config(config, tmp_path / "gateway.toml")
    arguments = ["replay", str(box / "frames.log.gz"), "-c", str(toml), "--state", str(box / "start.state"), "--quiet"]
    assert main(arguments) == code
    out = capsysbinary.readouterr()
    return out.out.splitlines() if code == 0 else out.err.decode()


def same(box, config, tmp_path, capsysbinary):
    kept = recorded(box)
    again = replayed(box, config, tmp_path, capsysbinary)
    assert len(again) == len(kept) > 0
    for then, now in zip(kept, again, strict=True):
        assert without_latency(then) == without_latency(now)
    return kept


def test_boxes_give_the_same_decisions_again(tmp_path, capsysbinary):
    """A hot pack, a hole in the data, faults of the gateway, a student that is late, per-cell values asked for."""
    chance = np.random.default_rng(2)

    def ask(work, since_ns):
        late = chance.choice([None, None, ReasonerStatus.DEADLINE_MISSED, ReasonerStatus.FAILED, ReasonerStatus.SKIPPED])
        return (late, None) if late is not None else ask_inline(work, since_ns)

    def faults(name):
        if chance.random() < 0.7:
            return ()
        return (GatewayFault("link_down.can1", Level.WATCH, float(chance.integers(9)), 1.0, "s", 77, frozenset({name}), 3),)

    config = settings(tmp_path / "state", state="state", before_s=12.0, after_s=6.0)
    live = Gateway(config, ask=ask, faults=faults)
    frames = list(drive(44.0, hot_from_s=14.0, dip_at_s=11.0))
    for piece in range(0, len(frames), 700):
        live.loop.order(live.packs["rack-1"], SendCells())
        live.run(frames[piece : piece + 700])
    live.close()
    found = boxes(tmp_path / "state")
    assert len(found) >= 2
    statuses = set()
    for box in found:
        kept = same(box, config, tmp_path, capsysbinary)
        at = live.lines.index(kept[0])
        assert live.lines[at : at + len(kept)] == kept, "what was kept is what left, without a hole"
        statuses |= {decision.provenance.state_student for decision in live.decisions[at : at + len(kept)]}
    assert {ReasonerStatus.OK, ReasonerStatus.DEADLINE_MISSED} <= statuses
    last = recorded(found[-1])[-1]
    assert b'"hazard":"thermal_runaway"' in last and b'"latched":true' in last and b'"link_down"' in b"".join(recorded(found[-1]))
    header = rerun.load(found[0] / "start.state").header
    assert 12.0 <= (header["alerted_ns"] - header["begun_ns"]) / 1e9 <= 18.5 or len(found) > 1


def test_a_box_holds_the_time_before_and_after(tmp_path, capsysbinary):
    config = settings(tmp_path, before_s=10.0, after_s=5.0)
    live = Gateway(config).run(drive(45.0, high_v=(25.0, 28.0))).close()
    (box,) = boxes(tmp_path)
    kept = recorded(box)
    (header, *_) = (rerun.load(box / "start.state").header,)
    alerted = next(i for i, decision in enumerate(live.decisions) if any(alert.level != "watch" for alert in decision.alerts))
    first, last = live.lines.index(kept[0]), live.lines.index(kept[-1])
    assert header["alerted_ns"] == live.decisions[alerted].mono_ns
    assert 10.0 <= (live.decisions[alerted].mono_ns - live.decisions[first].mono_ns) / 1e9 <= 15.5
    assert 4.7 <= (live.decisions[last].mono_ns - live.decisions[alerted].mono_ns) / 1e9 <= 5.4
    assert box.name.endswith("-overcharge") and header["alerted"] == live.decisions[alerted].time


def test_a_quiet_pack_writes_no_box(tmp_path):
    Gateway(settings(tmp_path)).run(drive(5.0)).close()
    assert boxes(tmp_path) == []


def test_an_alert_that_was_restored_is_no_new_one(tmp_path):
    Gateway(settings(tmp_path)).run(drive(20.0, hot_from_s=2.0)).close()
    before = len(boxes(tmp_path))
    clock = Clock()
    clock.at_ns = 121 * 10**9
    Gateway(settings(tmp_path), clock=clock).run(drive(2.0, start_s=122.0, hot_from_s=-20.0)).close()
    assert len(boxes(tmp_path)) == before >= 1


def test_memory_is_bounded_and_a_box_from_less_memory_decides_the_same(tmp_path, capsysbinary):
    config = settings(tmp_path, before_s=600.0, after_s=3.0, memory_mb=0.08)
    live = Gateway(config)
    box = live.record.recorders["rack-1"]._box
    largest = 0
    frames = list(drive(30.0, hot_from_s=25.0))
    for piece in range(0, len(frames), 100):
        live.run(frames[piece : piece + 100])
        largest = max(largest, box.size)
    live.close()
    assert largest <= 0.08e6 + 3 * 64 * 1024
    (found,) = boxes(tmp_path)
    kept = same(found, config, tmp_path, capsysbinary)
    assert live.lines.index(kept[0]) > 5, "less than was asked for, but what there is"


def test_boxes_are_bounded_and_the_oldest_goes_first(tmp_path, capsysbinary):
    config = settings(tmp_path, before_s=4.0, after_s=1.0, box_mb=0.08, boxes_mb=0.2)
    live = Gateway(config)
    start_s = 100.0
    for _ in range(7):
        live.run(drive(12.0, start_s=start_s, high_v=(2.0, 5.0), period_s=0.2))
        start_s += 40_000.0  # each day's share holds a few
    live.close()
    found = boxes(tmp_path)
    sizes = [sum(path.stat().st_size for path in box.iterdir()) for box in found]
    assert 2 <= len(found) < 7 and int(found[-1].name[:6]) >= 7, "numbered on, the first gone"
    assert sum(sizes) <= 0.2e6 and max(sizes) <= 0.08e6 + 40_000
    for box in found[-2:]:
        same(box, config, tmp_path, capsysbinary)


def test_a_box_that_was_cut_off_is_good_to_its_last_piece(tmp_path, capsysbinary):
    config = settings(tmp_path / "state", before_s=10.0, after_s=10.0)
    Gateway(config).run(drive(30.0, hot_from_s=15.0)).close()
    (whole,) = boxes(tmp_path / "state")
    kept = recorded(whole)
    size = (whole / "start.state").stat().st_size
    for cut in (1, 300, 700):
        box = tmp_path / f"cut{cut}"
        shutil.copytree(whole, box)
        with (box / "start.state").open("r+b") as file:
            file.truncate(size - cut)
        again = replayed(box, config, tmp_path, capsysbinary)
        assert 0 < len(again) < len(kept)
        assert [without_latency(line) for line in again] == [without_latency(line) for line in kept[: len(again)]]
    with (whole / "start.state").open("r+b") as file:
        file.truncate(len(statefile.MAGIC) + len(statefile.record(next(statefile.read(whole / "start.state")))) + 99)
    assert "breaks off before the line's state" in replayed(whole, config, tmp_path, capsysbinary, code=9)


def test_another_configuration_is_refused(tmp_path, capsysbinary):
    config = settings(tmp_path / "state", before_s=4.0, after_s=1.0)
    Gateway(config).run(drive(12.0, hot_from_s=2.0)).close()
    box = boxes(tmp_path / "state")[0]
    for other, words in (
        (settings("", pack(card="panasonic_18650pf")), "another configuration or card of rack-1"),
        (settings("", pack(parallel=9)), "another configuration or card of rack-1"),
        (settings("", pack(name="rack-9")), "recorded from the pack 'rack-1'"),
    ):
        assert words in replayed(box, other, tmp_path, capsysbinary, code=9)
    assert same(box, settings("elsewhere", before_s=4.0), tmp_path, capsysbinary), "where it is recorded does not matter"
    own = configuration.convert(json.loads((box / "gateway.json").read_text()), "the box's own")
    assert same(box, own, tmp_path, capsysbinary)


def test_two_packs_have_boxes_of_their_own(tmp_path, capsysbinary):
    packs = (pack("a", channel="can0"), pack("b", channel="can1"))
    config = settings(tmp_path, *packs, before_s=4.0, after_s=2.0)
    hot, cool = drive(14.0, hot_from_s=4.0), drive(14.0, start_s=100.03, seed=9, encoder=Encoder("edgebms", 16, 4))
    frames = sorted(
        [*(frame._replace(channel="can0") for frame in hot), *(frame._replace(channel="can1") for frame in cool)],
        key=lambda frame: frame.time_ns,
    )
    Gateway(config).run(frames).close()
    assert boxes(tmp_path, "b") == []
    box = boxes(tmp_path, "a")[0]
    same(box, config, tmp_path, capsysbinary)
    assert {line.split()[1] for line in gzip.decompress((box / "frames.log.gz").read_bytes()).splitlines()} == {b"can0"}


@pytest.mark.parametrize("channels", [("can0", "can1"), (None, None)])
def test_a_shunts_frames_are_in_the_box(tmp_path, capsysbinary, channels):
    """A current sensor on a link of its own; without channels, its frames are the pack's own current frames too."""
    packs = (pack(channel=channels[0], shunt=ShuntConfig("edgebms", channel=channels[1], invert=True)),)
    config = settings(tmp_path, *packs, before_s=4.0, after_s=2.0)
    bus = (frame._replace(channel="can0") for frame in drive(12.0, hot_from_s=2.0, current_a=-5.0))
    sensor = (frame._replace(channel="can1") for frame in drive(12.0, start_s=100.02, current_a=-7.0, encoder=Encoder("edgebms", 16, 4)))
    live = Gateway(config).run(sorted([*bus, *sensor], key=lambda frame: frame.time_ns)).close()
    box = boxes(tmp_path)[0]
    same(box, config, tmp_path, capsysbinary)
    if channels[0]:
        assert live.decisions[-1].measured.current_a == pytest.approx(7.0)


@pytest.mark.parametrize("synchronised", [False])
def test_without_a_wall_clock_boxes_have_names_and_decide_the_same(tmp_path, capsysbinary, synchronised):
    config = settings(tmp_path, before_s=4.0, after_s=1.0)
    Gateway(config, clock=Clock(synchronised)).run(drive(12.0, hot_from_s=2.0)).close()
    box = boxes(tmp_path)[0]
    assert box.name.split("-")[1].endswith("ms")
    assert all(b'"time":null' in line for line in same(box, config, tmp_path, capsysbinary))


def test_a_flapping_alert_does_not_wear_the_card_out(tmp_path):
    config = settings(tmp_path, before_s=4.0, after_s=1.0, box_mb=0.08, boxes_mb=0.1)
    live = Gateway(config)
    start_s = 100.0
    for _ in range(10):
        live.run(drive(6.0, start_s=start_s, high_v=(1.0, 4.0), period_s=0.2))
        start_s += 80.0
    assert any("share of the day is used up" in text for text in live.said)
    assert any(
        evidence.rule == "not_recorded.blackbox" for decision in live.decisions for alert in decision.alerts for evidence in alert.evidence
    )
    live.close()
    assert 1 <= int(boxes(tmp_path)[-1].name[:6]) < 10
