"""The MQTT outlet at a real mosquitto: what arrives, what is kept, what survives a broker that goes."""

import json
import socket
import time

import pytest
from broker import Broker, Listener
from told import Teller, finding

from edgebms.config import MqttOutlet
from edgebms.decision.types import encode
from edgebms.outlet.mqtt import Mqtt
from edgebms.vocabulary import Cause, Level


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


def settings(broker, **other):
    return MqttOutlet(**({"host": "127.0.0.1", "port": broker.port, "tls": False, "every_s": 0.05} | other))


class Opened:
    """An outlet, closed at the end; ``asked`` collects the packs whose cells it wanted."""

    def __init__(self, settings, packs=("rack-1",), predecessor=None):
        self.asked = []
        self.outlet = Mqtt(settings, packs, 60.0, self.asked.append, predecessor)

    def __enter__(self):
        return self.outlet

    def __exit__(self, *error):
        self.outlet.close()


def until(predicate, timeout_s=20.0, again=lambda: None):
    end_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < end_s
        again()
        time.sleep(0.02)


HOT = finding(Cause.OVER_TEMPERATURE, Level.WARNING, where=3, rule="hot_cell", value=61.5, limit=60.0)
HOTTER = finding(Cause.OVER_TEMPERATURE, Level.CRITICAL, where=3, rule="hot_cell", value=71.5, limit=70.0)


def test_state_and_decision_arrive_and_nothing_but_availability_and_discovery_is_retained(broker):
    teller = Teller()
    with Listener(broker) as ear, Opened(settings(broker)) as outlet:
        decision = teller.tell(outlet, HOT)
        state = ear.wait("edgebms/rack-1/state").body
        assert state["voltage_v"] == pytest.approx(decision.measured.voltage_v) and state["soc"] == pytest.approx(0.6)
        assert state["level"] == "warning" and state["problem"] is True
        assert state["alert"] == "warning: over temperature at cell 4; hot cell at cell 4: 61.5 degC, limit 60 degC"
        assert ear.wait("edgebms/rack-1/decision").payload == encode(decision), "the line as it is"
        assert ear.wait("edgebms/rack-1/cells").body["voltage_v"] == list(decision.cells.voltage_v)
        assert ear.wait("edgebms/rack-1/alert").body["event"] == "begin"
        with Listener(broker) as late:
            late.wait("/availability")
            time.sleep(0.3)
            kept = {message.topic.rpartition("/")[2] for message in late.heard if message.retained}
            assert kept == {"availability", "config"}


def test_unknown_is_null_and_never_a_number(broker):
    with Listener(broker) as ear, Opened(settings(broker)) as outlet:
        nan = float("nan")
        Teller().tell(outlet, voltage_v=nan, temperature_c=nan, current_a=nan, pack_voltage_v=nan)
        state = ear.wait("/state").body
        for field in ("voltage_v", "current_a", "power_w", "cell_voltage_min_v", "cell_voltage_spread_v", "temperature_max_c"):
            assert state[field] is None
        assert state["charge_limit_a"] == 0 and state["cells_valid"] == 0


def test_a_state_goes_out_as_often_as_configured_and_a_change_at_once(broker):
    teller = Teller()
    with Listener(broker) as ear, Opened(settings(broker, every_s=3600.0)) as outlet:
        teller.tell(outlet)
        ear.wait("/state")
        until(lambda: outlet.delivered >= 4)
        for _ in range(20):
            teller.tell(outlet)
        began_s = time.monotonic()
        teller.tell(outlet, HOT)
        assert ear.wait("/state", lambda message: message.body["problem"]).at_s - began_s < 2.0
        assert len(ear.of("/state")) == 2
        assert outlet.dropped == 0, "what was not due was not lost"


def test_each_change_of_an_alert_is_told_with_its_reasons(broker):
    teller = Teller()
    with Listener(broker) as ear, Opened(settings(broker)) as outlet:
        teller.tell(outlet)
        first = teller.tell(outlet, HOT)
        teller.tell(outlet, HOT)
        teller.tell(outlet, HOTTER)
        until(lambda: ear.of("/alert") and ear.of("/alert")[-1].body["event"] == "end", again=lambda: teller.tell(outlet))
        told = [message.body for message in ear.of("/alert")]
        assert [(entry["event"], entry["level_before"], entry["level"]) for entry in told] == [
            ("begin", "none", "warning"),
            ("level", "warning", "critical"),
            ("end", "critical", "none"),
        ]
        assert {entry["alert"]["id"] for entry in told} == {first.alerts[0].id}
        assert "hot cell at cell 4: 61.5 degC, limit 60 degC" in "\n".join(told[0]["text"])
        assert told[0]["time"] == first.time and told[0]["age_s"] < 5


def test_packs_have_topics_of_their_own(broker):
    one, two = Teller("rack-1"), Teller("rack-2")
    with Listener(broker) as ear, Opened(settings(broker, topic="site/a"), ("rack-1", "rack-2")) as outlet:
        one.tell(outlet, HOT)
        two.tell(outlet)
        assert ear.wait("site/a/rack-1/state").body["problem"] is True
        assert ear.wait("site/a/rack-2/state").body["problem"] is False
        assert not ear.of("rack-2/alert")


def test_leaving_says_offline_and_writes_what_waits(broker):
    teller = Teller()
    with Listener(broker) as ear:
        with Opened(settings(broker)) as outlet:
            until(lambda: outlet.connected)
            for _ in range(50):
                teller.tell(outlet, HOT)
                teller.tell(outlet)
        assert ear.wait("/availability", lambda message: message.payload == b"offline")
        told = ear.of("/alert")
        assert len(told) % 2 == 0 and told[-1].body["event"] == "end", "all of them, before the farewell"


def test_alerts_told_while_the_broker_is_away_arrive_in_order_and_old_states_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr("edgebms.outlet.mqtt_health.BACKOFF_MOST_S", 0.5)
    monkeypatch.setattr("edgebms.outlet.mqtt_health.DOWN_S", 0.2)
    broker = Broker(tmp_path, lasting=True)
    with broker, Listener(broker, session="ear"):
        pass  # from now on the broker keeps for it what comes first
    teller = Teller()
    with Opened(settings(broker)) as outlet:
        teller.tell(outlet)
        until(lambda: any(fault.rule == "outlet_down.mqtt" for fault in outlet.faults(time.monotonic_ns())))
        began_s = time.monotonic()
        for level in (HOT, HOTTER, None):
            teller.tell(outlet, *([level] if level else []))
        assert time.monotonic() - began_s < 1.0, "the loop does not wait"
        assert outlet.waiting == 3
        time.sleep(2.2)  # longer than a decision holds
        with broker, Listener(broker, session="ear") as ear:
            ear.wait("/alert", lambda message: message.body["event"] == "end")
            told = [message.body for message in ear.of("/alert")]
            assert [entry["event"] for entry in told] == ["begin", "level", "end"]
            assert all(entry["age_s"] > 2 for entry in told), "late, and they say so"
            assert not ear.of("/state"), "an expired state would be a lie"
            assert outlet.dropped > 0
            teller.tell(outlet)
            ear.wait("/state")
            outlet.close()


def test_a_broker_killed_during_an_alert_loses_none_of_it(tmp_path):
    teller = Teller()
    with (
        Broker(tmp_path, lasting=True) as broker,
        Listener(broker, session="ear") as ear,
        Opened(settings(broker)) as outlet,
    ):
        teller.tell(outlet, HOT)
        ear.wait("/alert")
        broker.kill()
        until(lambda: not outlet.connected, again=lambda: teller.tell(outlet, HOT))
        teller.tell(outlet, HOTTER)
        teller.tell(outlet)
        since = len(ear.heard)
        broker.start()
        ear.wait("/alert", lambda message: message.body["event"] == "end", since=since)
        told = [message.body["event"] for message in ear.of("/alert", since) if message.body["event"] != "begin"]
        assert told == ["level", "end"]
        assert outlet.connections == 2 and outlet.lost_changes == 0


def test_a_frozen_broker_is_noticed_and_what_it_did_not_acknowledge_is_told_again(broker, monkeypatch):
    monkeypatch.setattr("edgebms.outlet.mqtt_flight.ACKNOWLEDGE_S", 1.0)
    teller = Teller()
    with Opened(settings(broker)) as outlet:
        with Listener(broker) as ear:
            teller.tell(outlet)
            ear.wait("/state")
        broker.freeze()
        try:
            teller.tell(outlet, HOT)
            until(lambda: not outlet.connected, again=lambda: teller.tell(outlet, HOT))
            assert outlet.waiting == 1
        finally:
            broker.thaw()
        with Listener(broker) as ear:
            until(lambda: outlet.connected)
            until(lambda: outlet.waiting == 0)
            teller.tell(outlet)
            ear.wait("/alert", lambda message: message.body["event"] == "end")


def test_a_frozen_broker_does_not_hold_up_the_end(broker, monkeypatch):
    monkeypatch.setattr("edgebms.outlet.mqtt.CLOSE_S", 0.3)
    with Opened(settings(broker)) as outlet:
        until(lambda: outlet.connected)
        broker.freeze()
        Teller().tell(outlet, HOT)
        began_s = time.monotonic()
        outlet.close()
        assert time.monotonic() - began_s < 3.0
        broker.thaw()


def rules(outlet):
    return {fault.rule for fault in outlet.faults(time.monotonic_ns())}


def test_two_gateways_of_one_name_are_noticed(broker, capsys):
    one, two = Teller("rack-1"), Teller("rack-2")
    with (
        Opened(settings(broker, client_id="twin")) as first,
        Opened(settings(broker, client_id="twin"), ("rack-2",)) as second,
    ):
        told = {"outlet_unsteady.mqtt", "client_id_taken.mqtt"}
        until(lambda: told & (rules(first) | rules(second)), again=lambda: (one.tell(first), two.tell(second)))
        assert "client id twin" in capsys.readouterr().err


def test_a_broker_that_says_that_our_name_was_taken_is_believed(monkeypatch):
    """Newer brokers give the reason (MQTT 5.0, 3.14.2.1: 0x8E)."""
    monkeypatch.setattr("edgebms.outlet.mqtt_health.TAKEN_BACKOFF_S", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Opened(MqttOutlet(host="127.0.0.1", port=server.getsockname()[1], tls=False)) as outlet,
    ):
        for number in (1, 2):
            connection, _ = server.accept()
            connection.recv(4096)
            connection.sendall(bytes.fromhex("2003000000e0028e00"))  # CONNACK, success; DISCONNECT, session taken over
            until(lambda number=number: outlet.connections == number and not outlet.connected)
            connection.close()
        until(lambda: "client_id_taken.mqtt" in rules(outlet))


def test_without_a_name_each_gateway_has_one_of_its_own_and_they_do_not_disturb_each_other(broker):
    with Listener(broker) as ear, Opened(settings(broker)) as one, Opened(settings(broker), ("rack-2",)) as two:
        Teller("rack-1").tell(one)
        Teller("rack-2").tell(two)
        ear.wait("rack-1/state")
        ear.wait("rack-2/state")
        assert one.connections == two.connections == 1
        assert len({message.topic for message in ear.of("/availability")}) == 2


def test_a_reload_hands_over_alerts_that_did_not_leave(tmp_path, broker):
    """The old settings named a broker that is not there; the new ones mend it."""
    teller = Teller()
    before = Mqtt(MqttOutlet(host="127.0.0.1", port=1, tls=False), ("rack-1",), 60.0, lambda pack: None)
    teller.tell(before, HOT)
    teller.tell(before, HOTTER)
    with Listener(broker) as ear, Opened(settings(broker), predecessor=before) as outlet:
        before.close()
        teller.tell(outlet)
        ear.wait("/alert", lambda message: message.body["event"] == "end")
        assert [message.body["event"] for message in ear.of("/alert")] == ["begin", "level", "end"]


def test_a_reload_that_is_refused_leaves_the_standing_outlet_alone(broker):
    """The new outlet was opened, another part of the new configuration was wrong: it is closed before it was used."""
    teller = Teller()
    with Listener(broker) as ear, Opened(settings(broker)) as outlet:
        teller.tell(outlet, HOT)
        ear.wait("/state")
        new = Mqtt(settings(broker, every_s=5.0), ("rack-1",), 60.0, lambda pack: None, outlet)
        new.close()
        teller.tell(outlet)
        ear.wait("/alert", lambda message: message.body["event"] == "end")
        assert new.connections == 0 and outlet.connections == 1
        assert [message.payload for message in ear.of("/availability")] == [b"online"]


def test_a_reload_tells_neither_twice_what_stands_nor_forgets_what_ends(broker):
    teller = Teller()
    with Listener(broker) as ear:
        before = Mqtt(settings(broker), ("rack-1",), 60.0, lambda pack: None)
        teller.tell(before, HOT)
        ear.wait("/alert")
        with Opened(settings(broker, every_s=0.1), predecessor=before) as outlet:
            before.close()
            teller.tell(outlet, HOT)
            teller.tell(outlet)
            ear.wait("/alert", lambda message: message.body["event"] == "end")
            assert [message.body["event"] for message in ear.of("/alert")] == ["begin", "end"]


def test_alerts_beyond_what_memory_holds_are_counted_and_told(monkeypatch):
    monkeypatch.setattr("edgebms.outlet.mqtt_backlog.LIMIT_CHANGES", 5)
    teller = Teller()
    with Opened(MqttOutlet(host="127.0.0.1", port=1, tls=False)) as outlet:
        for _ in range(4):
            teller.tell(outlet, HOT)
            teller.tell(outlet)
        assert outlet.lost_changes == 3 and outlet.waiting == 5
        (fault,) = [fault for fault in outlet.faults(time.monotonic_ns()) if fault.rule == "outlet_lost.mqtt"]
        assert fault.level is Level.WARNING and fault.count >= 3


def test_what_the_brokers_rules_forbid_is_told(tmp_path):
    (tmp_path / "acl").write_text("topic readwrite edgebms/gateway/#\ntopic readwrite edgebms/+/state\ntopic read #\n")
    (tmp_path / "acl").chmod(0o644)
    with Broker(tmp_path, f"acl_file {tmp_path}/acl") as broker, Opened(settings(broker, discovery="")) as outlet:
        with Listener(broker) as ear:
            Teller().tell(outlet, HOT)
            ear.wait("/state")
        until(lambda: outlet.lost_changes == 1)
        (fault,) = outlet.faults(time.monotonic_ns())
        assert fault.rule == "outlet_lost.mqtt" and fault.level is Level.WARNING


def test_a_broker_that_takes_one_message_at_a_time_gets_all_of_them(tmp_path):
    teller = Teller()
    with Broker(tmp_path, "max_inflight_messages 1") as broker, Listener(broker) as ear, Opened(settings(broker)) as outlet:
        for _ in range(20):
            teller.tell(outlet, HOT)
            teller.tell(outlet)
        until(lambda: len(ear.of("/alert")) == 40)
        ear.wait("/config")
        assert outlet.connections == 1
        assert [message.body["event"] for message in ear.of("/alert")] == ["begin", "end"] * 20


def test_a_message_larger_than_the_broker_takes_is_left_out_and_the_rest_goes_on(tmp_path):
    with Broker(tmp_path, "max_packet_size 12000") as broker, Listener(broker) as ear, Opened(settings(broker)) as outlet:
        Teller().tell(outlet)
        ear.wait("/state")
        config = json.loads(ear.wait("/config").payload)
        assert "voltage" in config["cmps"] and "cell_1" not in config["cmps"]
        assert outlet.connections == 1
