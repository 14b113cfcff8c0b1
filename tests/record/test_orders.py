"""What a person acknowledged: it survives kill -9, stands in the audit log, and a black box decides it again."""

import json
import os
import time

from adapter import seen
from controlled import Controlled, latched, quick_limits
from lines import pack
from recorded import Gateway, boxes, drive, recorded, settings, without_latency, write_config

from edgebms.cli.main import main
from edgebms.order import Acknowledge, SendCells


def until_opens(controlled, arguments, capsys, timeout_s=10.0):
    """Ask again and again, as a person would, until the latch opens; the answers."""
    said, end_s = [], time.monotonic() + timeout_s
    while True:
        code = main(["acknowledge", "-c", str(controlled.daemon.config), "rack-1", *arguments])
        said.append(capsys.readouterr().out)
        if code == 0:
            return said
        assert code == 1 and time.monotonic() < end_s, said
        time.sleep(0.1)


def test_a_latch_stays_shut_while_its_cause_stands_and_opens_for_a_person_afterwards(tmp_path, capsys):
    with Controlled(tmp_path) as controlled:
        controlled.daemon.wait(seen)
        acknowledged_and_killed(controlled, capsys)


def acknowledged_and_killed(controlled, capsys):
    daemon, one, toml = controlled.daemon, controlled.pack, str(controlled.daemon.config)
    one.current_a = -2000.0
    daemon.wait(latched)
    assert main(["acknowledge", "-c", toml, "rack-1", "external_short"]) == 1
    told = capsys.readouterr().out
    assert "external_short" in told and "stays shut: last value 2000 A" in told and "below" in told
    assert main(["status", "-c", toml]) == 1
    assert "latched external_short" in capsys.readouterr().out
    one.current_a = -5.0
    since = len(daemon.decisions)
    decision, _ = daemon.wait(lambda entry: entry["measured"]["current_a"] == -5.0, since=since)
    assert latched(decision) == ["external_short"], "the value is well again, nobody has seen it"
    assert main(["acknowledge", "-c", toml, "rack-1"]) == 0
    assert capsys.readouterr().out == "rack-1: latched: external_short\n"
    assert "acknowledged, the latch is open" in until_opens(controlled, ["--all"], capsys)[-1]
    since = len(daemon.decisions)
    daemon.wait(lambda entry: not entry["alerts"] and seen(entry), since=since)
    # what was seen does not come back at a restart, not even after kill -9
    end_s = time.monotonic() + 10
    while True:
        (controlled.folder / "state" / "rack-1" / "checkpoint.state").stat()
        assert main(["health", str(controlled.folder / "state")]) == 0
        if "external_short" not in capsys.readouterr().out or time.monotonic() > end_s:
            break
        time.sleep(0.1)
    daemon.process.kill()
    controlled.daemon.__exit__()
    controlled.restart()
    first, _ = controlled.daemon.wait(seen)
    assert latched(first) == []
    assert controlled.daemon.stop() == 0
    # who is not known; when and what is
    assert main(["audit", str(controlled.folder / "state")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "acknowledged external_short" in line]
    assert f"uid {os.getuid()} acknowledged external_short: 1 latches opened, 0 stay shut" in lines[-1]
    assert "0 latches opened, 1 stay shut" in lines[0]


def test_a_black_box_in_which_orders_fell_decides_again_what_was_decided(tmp_path, capsysbinary):
    """A short that latches; orders before, at and behind the frame at which its cause is over, between looks at a silent pack."""
    config = settings(tmp_path / "state", pack(limits=str(quick_limits(tmp_path))), before_s=30.0, after_s=30.0)
    live = Gateway(config)
    line = live.packs["rack-1"]
    outcomes = []
    start_s = 100.0
    for piece, current_a in enumerate([-5.0, -2000.0, *[-5.0] * 12]):
        frames = list(drive(0.6, start_s=start_s, current_a=current_a, seed=piece, period_s=0.1))
        for part in range(0, len(frames), 7):
            live.run(frames[part : part + 7])
            outcomes.append(live.loop.order(line, Acknowledge("external_short" if piece < 7 else "gas")))
            if part % 3 == 0:
                live.loop.order(line, SendCells())
        start_s += 0.6 + (2.5 if piece in (4, 9) else 0.0)  # the pack falls silent
    live.close()
    assert sum(outcome.opened for outcome in outcomes) == 1 and any(outcome.stands for outcome in outcomes)
    (box,) = boxes(tmp_path / "state")
    kept = recorded(box)
    shut = [bool(latched(json.loads(line))) for line in kept]
    assert any(shut) and not shut[-1] and sum(json.loads(line)["cells"] is not None for line in kept) > 3
    toml = write_config(config, tmp_path / "gateway.toml")
    log, state = str(box / "frames.log.gz"), str(box / "start.state")
    assert main(["replay", log, "-c", str(toml), "--state", state, "--quiet"]) == 0
    again = capsysbinary.readouterr().out.splitlines()
    assert [without_latency(line) for line in again] == [without_latency(line) for line in kept]
