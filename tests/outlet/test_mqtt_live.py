"""The daemon as a process at a real broker: what Home Assistant sees of it from its start to its end."""

import os
import signal

import pytest
from adapter import PACK, Adapter, Pack, Process, seen, slcan_config, slcan_line
from broker import Broker, Listener
from test_mqtt import Opened, settings, until
from told import Teller

TWO = PACK + PACK.replace("rack-1", "rack-2")


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def outlet(broker, more=""):
    return f'[outlet.mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false\n{more}'


def reload(daemon, text):
    daemon.config.write_text(text)
    daemon.signal(signal.SIGHUP)
    daemon.manager.wait("RELOADING=1")
    daemon.manager.wait("READY=1")


def test_from_the_start_over_a_reload_to_a_sudden_end(tmp_path, broker):
    adapter = Adapter(tmp_path / "ttyUSB0")
    text = slcan_config(adapter.path, pack=TWO, more=outlet(broker))
    with Listener(broker) as ear, Process(tmp_path, text) as daemon, Pack(lambda f: adapter.write(b"".join(map(slcan_line, f)))):
        assert ear.wait("/availability").payload == b"online"
        daemon.wait(seen, 30)
        for pack in ("rack-1", "rack-2"):
            found = ear.wait(f"homeassistant/device/edgebms_{pack}/config").body
            state = ear.wait(f"edgebms/{pack}/state", lambda message: message.body["cells_valid"] == 16).body
            assert found["state_topic"] == f"edgebms/{pack}/state" and found["availability_topic"] == ear.wait("/availability").topic
            assert state["current_a"] == pytest.approx(-5.0)
            # expiry of the decision, and the time between two messages
            assert all(entry["expire_after"] == 3 for entry in found["cmps"].values() if "state_topic" not in entry)
        ear.wait("rack-1/cells", lambda message: message.body["voltage_v"][0] == pytest.approx(3.7))

        since = len(ear.heard)
        reload(daemon, slcan_config(adapter.path, more=outlet(broker)))
        withdrawn = ear.wait("homeassistant/device/edgebms_rack-2/config", since=since)
        assert withdrawn.payload == b"" and ear.wait("edgebms_rack-1/config", since=since).payload
        ear.wait("/availability", lambda message: message.payload == b"online", since=since)
        ear.wait("rack-1/state", lambda message: message.body["cells_valid"] == 16, since=since)

        since = len(ear.heard)
        os.kill(daemon.process.pid, signal.SIGKILL)
        assert ear.wait("/availability", since=since).payload == b"offline", "the last will"
        with Listener(broker) as late:
            assert late.wait("/availability").payload == b"offline", "and it stands"
            assert not late.of("/state") and not late.of("rack-2/config")


def test_a_clean_end_says_offline(tmp_path, broker):
    adapter = Adapter(tmp_path / "ttyUSB0")
    with Listener(broker) as ear, Process(tmp_path, slcan_config(adapter.path, more=outlet(broker))) as daemon:
        ear.wait("/state")
        assert daemon.stop() == 0
        assert ear.wait("/availability", lambda message: message.payload == b"offline")
        assert "Traceback" not in daemon.stderr()


def test_wrong_settings_end_the_start_with_one_sentence(tmp_path, broker):
    daemon = Process(tmp_path, slcan_config("/dev/null", more=outlet(broker, 'ca_file = "/nonexistent"\n')))
    try:
        assert daemon.process.wait(20) == 3
        assert "outlet.mqtt.ca_file" in daemon.stderr().splitlines()[-1] and "Traceback" not in daemon.stderr()
    finally:
        daemon.__exit__()


def test_home_assistants_birth_brings_discovery_and_state_again_and_nothing_else_is_obeyed(broker, monkeypatch):
    monkeypatch.setattr("edgebms.outlet.mqtt.SETTLE_S", 0.3)
    teller = Teller()
    with Listener(broker) as ear, Opened(settings(broker, every_s=3600.0)) as outlet:
        teller.tell(outlet)
        ear.wait("/config")
        ear.wait("/state")
        until(lambda: outlet.delivered >= 5)
        for topic, payload in (("homeassistant/status", "offline"), ("edgebms/rack-1/set", "online"), ("homeassistant/status", "online")):
            since = len(ear.heard)
            ear.client.publish(topic, payload, qos=1)
            ear.wait(topic, since=since)
        assert ear.wait("/config", since=since).body["cmps"]
        # hours before it were due
        again = len(ear.heard)
        until(lambda: ear.of("/state", again), again=lambda: teller.tell(outlet))
        assert len(ear.of("/config")) == 2, "once more, for the one birth"
