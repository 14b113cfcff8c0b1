"""Faults of the MQTT broker, between a real mosquitto and the daemon. Alerts lost: changes of alerts in the decisions that
no listener at the broker ever heard; its session outlives the broker, so that nothing is missed by the listener itself."""

from __future__ import annotations

import contextlib
import subprocess
import time

from adapter import faults, slcan_config
from broker import Broker, Listener, make_ca, make_certificate, need
from scene import Scene

OTHER = 9
"""0-based cell that goes over its limit and comes back while the fault lasts: an alert that begins in the outage."""


class MqttScene(Scene):
    """A scene with a broker beside it. more: of the broker's configuration; fields: of [outlet.mqtt], {folder} = the scene's."""

    def __init__(self, more="", fields="tls = false", *, up=True, prepare=lambda folder: None, **listener):
        super().__init__()
        self.daemon.__exit__()  # it was started before there was a broker to name
        (self.folder / "notify").unlink()
        prepare(self.folder)
        self.broker = Broker(self.folder, more.format(folder=self.folder), lasting=True)
        with Broker(self.folder, port=self.broker.port, lasting=True) as plain, Listener(plain, session="ear"):
            pass  # its session is kept from now on
        self.ear = Listener(self.broker, session="ear", **listener)
        if up:
            self.broker.start()
        outlet = f'[outlet.mqtt]\nhost = "127.0.0.1"\nport = {self.broker.port}\n{fields.format(folder=self.folder)}\n'
        self.text = slcan_config(self.adapter.path, more=outlet)
        self.daemon = type(self.daemon)(self.folder, self.text)

    def __enter__(self):
        super().__enter__()
        return self

    def __exit__(self, *error):
        super().__exit__(*error)
        with contextlib.suppress(Exception):
            self.broker.__exit__()

    def settled(self):
        """The alert stands, here and at the broker."""
        self.settle()
        self.ear.__enter__()
        self.ear.wait("rack-1/alert", lambda message: "overcharge" in str(message.payload), 30)
        return self

    def down(self):
        self.wait(lambda entry: "outlet_down.mqtt" in faults(entry), 60)

    def excursion(self):
        """One more alert begins and ends."""
        self.pack.volts[OTHER] = 4.3
        self.wait(lambda entry: any(alert["cell"] == OTHER + 1 for alert in entry["alerts"]))
        self.pack.volts[OTHER] = 3.7
        self.wait(lambda entry: not any(alert["cell"] == OTHER + 1 for alert in entry["alerts"]), 60)

    def arrived(self):
        """The fault is over now: until a state decided from now on arrives."""
        ended_s, seq = time.monotonic(), self.daemon.decisions[-1]["seq"]
        self.recovered_s = self.ear.wait("rack-1/state", lambda message: message.body["seq"] > seq, 60).at_s - ended_s

    def row(self, fault, injected, **other):
        row = super().row(fault, injected, **other)
        told = changes(self.daemon.decisions)
        end_s = time.monotonic() + 20
        while (missing := [change for change in told if change not in self.heard()]) and time.monotonic() < end_s:
            time.sleep(0.05)
        row.alerts_lost += len(missing)
        if missing:
            row.wrong += f" never told: {missing}"
        firsts = list(dict.fromkeys(change for change in self.heard() if change in told))
        if firsts != told and not missing:
            row.wrong += " told out of order"
        row.did += f"; {len(told)} changes of alerts told, in order"
        row.frames_lost = max(0, self.on_bus - self.counts["can0"]["frames"])
        self.ear.__exit__()
        return row

    def heard(self):
        return [(body["event"], body["alert"]["id"], body["level"]) for body in (message.body for message in self.ear.of("rack-1/alert"))]

    def said(self, words):
        end_s = time.monotonic() + 30
        while words not in self.daemon.stderr():
            assert time.monotonic() < end_s, self.daemon.stderr()
            time.sleep(0.05)


def changes(decisions):
    """(event, alert id, level) in the order in which the decisions say so."""
    standing, out = {}, []
    for decision in decisions:
        now = {alert["id"]: alert["level"] for alert in decision["alerts"]}
        out += [("end", key, "none") for key in standing if key not in now]
        for key, level in now.items():
            if standing.get(key) != level:
                out.append(("level" if key in standing else "begin", key, level))
        standing = now
    return out


def dead_at_start():
    with MqttScene(up=False) as scene:
        scene.settle().begin()
        scene.down()
        scene.broker.start()
        scene.ear.__enter__()
        scene.arrived()
        return scene.row("no MQTT broker at start", "started after the alert")


def killed_in_an_alert():
    with MqttScene() as scene:
        scene.settled().begin()
        scene.broker.kill()
        scene.down()
        scene.excursion()
        scene.broker.start()
        scene.arrived()
        return scene.row("MQTT broker killed during an alert", "kill -9; another alert begins and ends meanwhile")


def frozen():
    with MqttScene() as scene:
        scene.settled().begin()
        scene.broker.freeze()
        scene.excursion()
        scene.down()
        scene.broker.thaw()
        scene.arrived()
        return scene.row("MQTT broker frozen", "stopped, its connections open; another alert begins and ends meanwhile")


def keys(folder):
    make_ca(folder)
    make_certificate(folder, "good", host="127.0.0.1")
    make_certificate(folder, "expired", host="127.0.0.1", days=-1)
    make_certificate(folder, "elsewhere", host="elsewhere.example")
    present(folder, "good")
    for file in folder.glob("*.key"):
        file.chmod(0o644)


def present(folder, name):
    for end in ("pem", "key"):
        (folder / f"server.{end}").write_bytes((folder / f"{name}.{end}").read_bytes())


TLS = "certfile {folder}/server.pem\nkeyfile {folder}/server.key"


def certificate(fault, name, sentence):
    def attempt():
        scene = MqttScene(TLS, 'ca_file = "{folder}/ca.pem"', prepare=keys)
        scene.ear.client.tls_set(ca_certs=str(scene.folder / "ca.pem"))
        with scene:
            scene.settled().begin()
            scene.broker.kill()
            present(scene.folder, name)
            scene.broker.start()
            scene.down()
            scene.said(sentence)
            scene.excursion()
            scene.broker.kill()
            present(scene.folder, "good")
            scene.broker.start()
            scene.arrived()
            return scene.row(fault, "the broker comes back with it; mended later", more="nothing sent in the clear")

    attempt.fault = fault
    return attempt


expired = certificate("MQTT broker's certificate expired", "expired", "certificate has expired")
elsewhere = certificate("MQTT broker's certificate of another host", "elsewhere", "IP address mismatch")


def passwords(folder):
    need("mosquitto_passwd", "mosquitto")
    enrol(folder, "secret")
    (folder / "password").write_text("secret\n")
    (folder / "password").chmod(0o600)


def enrol(folder, password):
    (folder / "users").write_text(f"gateway:{password}\near:ear\n")
    subprocess.run(["mosquitto_passwd", "-U", folder / "users"], check=True)
    (folder / "users").chmod(0o644)


def refused():
    more, fields = "password_file {folder}/users", 'tls = false\nusername = "gateway"\npassword_file = "{folder}/password"'
    scene = MqttScene(more, fields, prepare=passwords)
    scene.ear.client.username_pw_set("ear", "ear")
    with scene:
        scene.settled().begin()
        scene.broker.kill()
        enrol(scene.folder, "changed")
        scene.broker.start()
        scene.down()
        scene.said("refuses the connection: Not authorized")
        scene.excursion()
        (scene.folder / "password").write_text("changed\n")
        scene.arrived()
        return scene.row("MQTT password changed at the broker", "refused until password_file was changed too")


def taken():
    with MqttScene(fields='tls = false\nclient_id = "twin"') as scene:
        scene.settled().begin()
        end_s = time.monotonic() + 60
        told = ("client_id_taken.mqtt", "outlet_unsteady.mqtt")
        while not any(rule in faults(scene.daemon.decisions[-1]) for rule in told):
            assert time.monotonic() < end_s
            with Listener(scene.broker, "nothing", session="twin"):
                time.sleep(1.0)
        scene.excursion()
        scene.arrived()
        return scene.row("another client has our MQTT client id", "it throws us out again and again")


FAULTS = [dead_at_start, killed_in_an_alert, frozen, expired, elsewhere, refused, taken]
SHORT = [killed_in_an_alert, expired]
