"""``edgebms selftest``: a test alarm through the running daemon, seen at its outlets from outside."""

import json
import re
import time

import pytest
from adapter import faults, seen
from broker import Broker, free_port
from controlled import Controlled

from edgebms.cli.main import main

CAN1 = """
[[bus]]
name = "can1"
interface = "slcan"
channel = "/dev/null"
transmit = true
"""


def outlets(folder, broker_port):
    return f"""
[output]
ndjson = "{folder / "decisions.ndjson"}"
[outlet.socket]
path = "{folder / "decisions.sock"}"
[outlet.metrics]
listen = "127.0.0.1:{free_port()}"
[outlet.page]
listen = "127.0.0.1:{free_port()}"
[[outlet.can]]
bus = "can0"
keep_alive_s = 0
[outlet.mqtt]
host = "127.0.0.1"
port = {broker_port}
tls = false
every_s = 0.5
"""


@pytest.fixture
def scene(tmp_path):
    with Broker(tmp_path) as broker, Controlled(tmp_path, outlets(tmp_path, broker.port), record=False, bus="transmit = true") as one:
        one.broker = broker
        one.decisions = lambda: [json.loads(line) for line in (tmp_path / "decisions.ndjson").read_text().splitlines()]
        until(lambda: one.decisions() and seen(one.decisions()[-1]))
        yield one


def until(predicate, timeout_s=20):
    end_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def rows(text):
    """Outlet -> the rest of its line."""
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()[2:]}


def selftest(scene, capsys, *more):
    code = main(["selftest", "-c", str(scene.daemon.config), *more])
    out = capsys.readouterr()
    return code, rows(out.out), out.err


def test_the_alarm_reaches_every_outlet_as_a_test_and_ends_by_itself(scene, capsys):
    scene.pack.volts[4] = 4.3  # another alert stands all the while
    until(lambda: scene.decisions()[-1]["alerts"])
    scene.pack.volts[4] = 4.4
    until(lambda: any(alert["level"] != "watch" for alert in scene.decisions()[-1]["alerts"]))
    before = scene.decisions()[-1]
    code, found, _ = selftest(scene, capsys, "--seconds", "2")
    assert code == 0, found
    assert found.keys() == {"ndjson", "socket", "metrics", "mqtt", "page", "can-can0"}
    assert int(re.fullmatch(r"ok\s+(\d+) frames sent\s+-", found.pop("can-can0"))[1]) >= 5
    for text in found.values():
        shown, over = map(float, re.fullmatch(r"ok\s+(\d+) ms\s+(-?\d+) ms", text).groups())
        assert 0 < shown < 2000 and over >= 0
    decisions = scene.decisions()
    during = [entry for entry in decisions if "selftest" in faults(entry)]
    for entry in during:
        (alert,) = [alert for alert in entry["alerts"] if alert["hazard"] == "gateway_fault"]
        assert alert["level"] == "warning" and alert["raised_by"] == ["gateway"]
        assert [evidence["unit"] for evidence in alert["evidence"]] == ["s (test)"]
        assert {"signal": "gateway", "reason": "selftest", "indices": [], "count": 0} in entry["quality"]["warnings"]
        assert {asked["action"] for asked in entry["command"]["asked"] if asked["alert"] == alert["id"]} <= {"service"}
        assert entry["command"]["action"] == before["command"]["action"]
    others = {alert["id"] for alert in before["alerts"]}
    assert all(others <= {alert["id"] for alert in entry["alerts"]} for entry in during), "what stood goes on standing"
    assert 1.5 < (during[-1]["mono_ns"] - during[0]["mono_ns"]) / 1e9 <= 2.0
    assert "selftest" not in faults(decisions[-1])


def test_an_outlet_that_does_not_deliver_is_named_with_what_to_do(scene, capsys):
    scene.broker.kill()
    scene.daemon.config.write_text(scene.text.replace('[[outlet.can]]\nbus = "can0"', '[[outlet.can]]\nbus = "can1"') + CAN1)
    code, found, _ = selftest(scene, capsys, "--seconds", "1")
    assert code == 1
    assert found["ndjson"].startswith("ok") and found["metrics"].startswith("ok")
    assert found["mqtt"].startswith("WRONG") and "refused" in found["mqtt"].lower() and "whether the broker runs" in found["mqtt"]
    assert found["socket"].startswith("ok"), "the others deliver all the same"
    assert found["can-can1"].startswith("WRONG") and "reload" in found["can-can1"], "in the file, not in the daemon"


def test_one_at_a_time_and_not_without_a_daemon(scene, capsys):
    assert scene.say(b'{"verb":"selftest","seconds":2}\n')["answer"] == "begun"
    code, _, err = selftest(scene, capsys)
    assert code == 10 and "stands already" in err
    assert main(["selftest", "-c", str(scene.daemon.config), "--seconds", "9999"]) == 3
    capsys.readouterr()
    assert scene.daemon.stop() == 0
    code, _, err = selftest(scene, capsys)
    assert code == 10 and "no daemon answers" in err
