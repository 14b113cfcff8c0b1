"""Prometheus metrics: a value on it is a decision's, and one whose decision expired is not there."""

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time

import msgspec
import pytest
from adapter import Adapter, Pack, Process, faults, seen, slcan_config, slcan_line
from lines import Run, frames
from prometheus_client.parser import text_string_to_metric_families
from shared_data import ROOT, missing

from edgebms.config import MetricsOutlet
from edgebms.decision.types import encode
from edgebms.outlet.metrics import VALUES, Metrics
from edgebms.outlet.outlet import Gateway

DASHBOARD = ROOT / "packaging" / "grafana" / "edgebms.json"


def tcp_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path="/metrics", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def samples(text):
    """{(name, labels): value}"""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Now:
    ns = 1_000_000_000_000

    def __call__(self):
        return self.ns


@pytest.fixture(scope="module")
def decisions():
    hot = Run(frames(seconds=3.0, voltage_v=4.35)).decisions
    assert hot[-1].alerts
    return hot


def metrics(now, packs=("rack-1", "rack-2")):
    return Metrics(MetricsOutlet(), packs, Gateway(dict, dict, lambda pack: None), now)


def test_what_stands_in_the_newest_decision_stands_there_and_unknown_is_absent(decisions):
    now, decision = Now(), decisions[-1]
    outlet = metrics(now)
    for entry in decisions:
        outlet.take(entry, encode(entry))
    found = samples(outlet.text().decode())
    pack = (("pack", "rack-1"),)
    for name, _, read in VALUES:
        assert found.get((f"edgebms_{name}", pack)) == read(decision), name
    assert any(read(decision) is None for _, _, read in VALUES), "or this test would not see an unknown value"
    for level in ("watch", "warning", "critical"):
        assert found["edgebms_alerts", (("level", level), *pack)] == sum(alert.level == level for alert in decision.alerts)
    told = sum(value for (name, _), value in found.items() if name == "edgebms_alert")
    assert told == len(decision.alerts)
    assert found["edgebms_action", (("action", decision.command.action.value), ("mode", decision.command.mode.value), *pack)] == 1
    assert found["edgebms_decisions_total", pack] == len(decisions)
    assert found["edgebms_decision_latency_seconds_count", pack] == len(decisions)
    assert found["edgebms_decision_valid", pack] == 1
    assert found["edgebms_decision_valid", (("pack", "rack-2"),)] == 0, "it has not decided yet"


def test_what_expired_is_absent_while_its_age_goes_on(decisions):
    now, decision = Now(), decisions[-1]
    outlet = metrics(now)
    outlet.take(decision, encode(decision))
    now.ns += decision.expires_ms * 1_000_000
    assert samples(outlet.text().decode())["edgebms_decision_valid", (("pack", "rack-1"),)] == 1
    now.ns += 1
    found = samples(outlet.text().decode())
    assert found["edgebms_decision_valid", (("pack", "rack-1"),)] == 0
    assert found["edgebms_decision_age_seconds", (("pack", "rack-1"),)] == pytest.approx(decision.expires_ms / 1000, abs=0.001)
    of_pack = {name for name, labels in found if ("pack", "rack-1") in labels}
    kept = {"edgebms_decision_valid", "edgebms_decision_age_seconds", "edgebms_decisions_total", "edgebms_alerts_raised_total"}
    assert {name for name in of_pack if "latency" not in name} == kept


def test_latency_falls_into_its_bucket_and_alerts_are_counted_once(decisions):
    outlet = metrics(Now())
    for latency_us in (400, 500, 501, 9_999, 250_000):
        entry = msgspec.structs.replace(decisions[-1], provenance=msgspec.structs.replace(decisions[-1].provenance, latency_us=latency_us))
        outlet.take(entry, b"")
    found = samples(outlet.text().decode())

    def bucket(bound):
        return found["edgebms_decision_latency_seconds_bucket", (("le", bound), ("pack", "rack-1"))]

    assert [bucket(bound) for bound in ("0.0005", "0.001", "0.008", "0.01", "0.1", "+Inf")] == [2, 3, 3, 4, 4, 5]
    assert found["edgebms_decision_latency_seconds_sum", (("pack", "rack-1"),)] == pytest.approx(0.2614)
    raised = sum(value for (name, _), value in found.items() if name == "edgebms_alerts_raised_total")
    assert raised == len(decisions[-1].alerts)


def test_promtool_finds_nothing_to_complain_of(decisions):
    subprocess.run([ROOT / "packaging/need.sh", "promtool", "prometheus"], check=False)
    if shutil.which("promtool") is None:
        missing("promtool is missing (apt install prometheus)")
    outlet = metrics(Now())
    outlet.take(decisions[-1], b"")
    done = subprocess.run(["promtool", "check", "metrics"], input=outlet.text(), capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_names_metrics_that_exist(decisions):
    dashboard = json.loads(DASHBOARD.read_text())
    outlet = metrics(Now())
    outlet.take(decisions[-1], b"")
    known = set()
    for family in text_string_to_metric_families(outlet.text().decode()):
        known |= {family.name, f"{family.name}_total", *(f"{family.name}_{end}" for end in ("bucket", "sum", "count"))}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    named = set()
    for panel in panels:
        for target in panel["targets"]:
            words = "".join(c if c.isalnum() or c == "_" else " " for c in target["expr"]).split()
            named |= {word for word in words if word.startswith(("edgebms_", "process_"))}
    assert len(panels) >= 10 and len(named) >= 20
    assert named <= known | {"process_cpu_seconds_total", "process_resident_memory_bytes"}
    assert dashboard["title"] and dashboard["uid"] and dashboard["schemaVersion"] >= 30


def test_a_daemon_gives_them_and_a_port_in_use_is_told_and_taken_when_free(tmp_path):
    adapter, port = Adapter(tmp_path / "ttyUSB0"), tcp_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        settings = slcan_config(adapter.path, more=f'[outlet.metrics]\nlisten = "127.0.0.1:{port}"')
        with Process(tmp_path, settings) as daemon, Pack(lambda frames: adapter.write(b"".join(map(slcan_line, frames)))):
            daemon.wait(seen)
            daemon.wait(lambda entry: "outlet_down.metrics" in faults(entry))
            other.close()
            daemon.wait(lambda entry: seen(entry) and "outlet_down.metrics" not in faults(entry), since=len(daemon.decisions))
            status, text = get(port)
            assert status == 200
            found = samples(text)
            assert found["edgebms_pack_current_amperes", (("pack", "rack-1"),)] == pytest.approx(-5.0)
            assert found["edgebms_bus_up", (("bus", "can0"),)] == 1
            assert found["edgebms_bus_frames_total", (("bus", "can0"),)] > 10
            assert ("edgebms_outlet_troubles_total", (("kind", "dropped"), ("outlet", "ndjson"))) in found
            assert get(port, Host="evil.example")[0] == 421
            assert get(port, "/nothing")[0] == 404
            assert daemon.stop() == 0


def test_connections_that_never_ask_keep_nobody_out(tmp_path, decisions):
    from edgebms.outlet.served import Served

    port = tcp_port()
    served = Served("metrics", Metrics(MetricsOutlet(listen=f"127.0.0.1:{port}"), ("rack-1",), Gateway(dict, dict, lambda pack: None)))
    end_s = time.monotonic() + 15
    while served.problem or served._down_since_ns is not None:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    for connection in idle[::2]:
        connection.sendall(b"GET /metrics HT")
    assert get(port)[0] == 200
    assert sum(thread.name == "edgebms-metrics" for thread in threading.enumerate()) == 1
    for connection in idle:
        connection.close()
    served.close()
    assert not served._thread.is_alive()
