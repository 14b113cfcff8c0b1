"""The readers of ``edgebms selftest``, each at a real other end: what it sees, and what it says where it sees nothing."""

import json
import socket
import subprocess
import threading
import time

import msgspec
import pytest
from broker import Broker, free_port, make_ca, make_certificate, need
from lines import pack
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgebms.cli.selftest import Sight
from edgebms.config import Config, MetricsOutlet, MqttOutlet, Outlets, Output, PageOutlet, SocketOutlet
from edgebms.outlet_readers import readers


def decision(testing, name="rack-1"):
    rule = "selftest" if testing else "link_down.can0"
    return json.dumps({"pack": name, "alerts": [{"hazard": "gateway_fault", "evidence": [{"rule": rule}]}]}).encode()


class Looking:
    """A reader at work in its thread."""

    def __init__(self, output="-", **outlets):
        config = Config(pack=(pack(),), output=Output(ndjson=str(output)), outlet=Outlets(**outlets))
        ((name, reader),) = readers(config).items()
        self.sight, self.stop = Sight(name, frozenset({"rack-1"})), threading.Event()
        self.thread = threading.Thread(target=self.sight.look, args=(reader, self.stop))
        self.thread.start()

    def __enter__(self):
        assert self.sight.ready.wait(20)
        return self.sight

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


def until(predicate, timeout_s=20):
    end_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def told(sight):
    return sight.shown_ms(0) is not None, sight.done


def test_a_file_is_read_from_its_end_on_and_in_whole_lines(tmp_path):
    path = tmp_path / "decisions.ndjson"
    path.write_bytes(decision(True) + b"\n")
    with Looking(path) as sight, path.open("ab", buffering=0) as file:
        line = decision(True) + b"\n"
        file.write(b"garbage\n[]\n{}\n" + line[:20])
        time.sleep(0.2)
        assert told(sight) == (False, False), "what stood there before is no answer, half a line is none"
        file.write(line[20:])
        until(lambda: told(sight) == (True, False))
        file.write(decision(False) + b"\n")
        until(lambda: told(sight) == (True, True))
    with Looking(tmp_path / "nosuch") as sight:
        assert "nosuch: No such file" in sight.problem and sight.mend


def test_a_broker_is_read_with_the_gateways_own_tls_and_password(tmp_path):
    make_ca(tmp_path)
    certificate, key = make_certificate(tmp_path, "broker")
    make_ca(tmp_path, "other")
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    need("mosquitto_passwd", "mosquitto")
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "gateway", "s3cret"], check=True)
    passwords.chmod(0o644)
    secret.write_text("s3cret\n")
    plain = free_port()
    more = f"certfile {certificate}\nkeyfile {key}\npassword_file {passwords}\nlistener {plain} 127.0.0.1\n"
    with Broker(tmp_path, more, anonymous=False, beside=plain) as broker:
        good = MqttOutlet(host="localhost", port=broker.port, ca_file=f"{tmp_path}/ca.pem", username="gateway", password_file=str(secret))
        sender = Client(CallbackAPIVersion.VERSION2)
        sender.username_pw_set("gateway", "s3cret")
        sender.connect("127.0.0.1", plain)
        sender.loop_start()
        with Looking(mqtt=good) as sight:
            assert sight.problem == ""
            sender.publish("edgebms/rack-1/decision", decision(False), 1)
            sender.publish(
                "edgebms/rack-1/alert", json.dumps({"event": "begin", "pack": "rack-1", "alert": {"evidence": [{"rule": "selftest"}]}}), 1
            )
            until(lambda: told(sight) == (True, False))
            sender.publish("edgebms/rack-1/decision", decision(False), 1)
            until(lambda: told(sight) == (True, True))
        sender.disconnect()
        sender.loop_stop()
        with Looking(mqtt=msgspec.structs.replace(good, ca_file=f"{tmp_path}/other.pem")) as sight:
            assert "certificate" in sight.problem and sight.mend
        secret.write_text("wrong")
        with Looking(mqtt=good) as sight:
            assert "refuses a reader" in sight.problem and sight.mend


@pytest.mark.parametrize("outlet", ["socket", "metrics", "page"])
def test_nobody_there_and_somebody_else_there_are_said(tmp_path, outlet):
    port, path = free_port(), tmp_path / "decisions.sock"
    settings = {
        "socket": SocketOutlet(path=str(path)),
        "metrics": MetricsOutlet(listen=f"127.0.0.1:{port}"),
        "page": PageOutlet(listen=f"127.0.0.1:{port}"),
    }
    with Looking(**{outlet: settings[outlet]}) as sight:
        until(lambda: sight.problem)
        assert sight.problem in ("No such file or directory", "Connection refused") and sight.mend
    family, address = (socket.AF_UNIX, str(path)) if outlet == "socket" else (socket.AF_INET, ("127.0.0.1", port))
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)

        def answer():
            connection, _ = listener.accept()
            connection.sendall(b"SSH-2.0-nonsense\r\n")
            connection.recv(1000) if outlet != "socket" else None
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with Looking(**{outlet: settings[outlet]}) as sight:
            until(lambda: sight.problem)
            assert sight.problem and sight.mend != "report it", sight.problem
        thread.join()
