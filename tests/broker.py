"""A real mosquitto, a client that listens, and certificates made for the occasion."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from shared_data import ROOT, missing


def need(tool, package):
    """The tool is there or may be installed; else a skip, in CI a failure."""
    if subprocess.run([ROOT / "packaging/need.sh", tool, package], env=os.environ | {"PATH": path()}).returncode:
        missing(f"{tool} is missing (apt install {package})")


def path():
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """mosquitto on a port of its own. more: lines of its configuration. lasting: it writes down at once what it holds, so that
    sessions and retained messages outlive it. beside: another port that ``more`` has it listen on."""

    def __init__(
        self,
        folder: Path,
        more: str = "",
        *,
        anonymous: bool = True,
        port: int | None = None,
        lasting: bool = False,
        beside: int | None = None,
    ):
        need("mosquitto", "mosquitto")
        if lasting:
            more += f"\npersistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true"
        self.folder, self.more, self.anonymous, self.port = folder, more, anonymous, port or free_port()
        self.ports = (self.port,) if beside is None else (self.port, beside)
        self.process = None
        self.log = folder / f"mosquitto-{self.port}.log"

    def start(self):
        config = self.folder / f"mosquitto-{self.port}.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        allowed = "true" if self.anonymous else "false"
        config.write_text(f"{user}listener {self.port} 127.0.0.1\nallow_anonymous {allowed}\nlog_type all\n{self.more}\n")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["mosquitto", "-c", str(config)], stdout=log, stderr=log, env=os.environ | {"PATH": path()})
        end_s = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, self.log.read_text()
            try:
                for port in self.ports:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                return self
            except OSError:
                assert time.monotonic() < end_s, self.log.read_text()
                time.sleep(0.02)

    def kill(self):
        """Gone without a word, what it held with it."""
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        """It may write down what it holds."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        self.kill()


class Message:
    def __init__(self, message):
        self.topic, self.payload, self.retained = message.topic, message.payload, bool(message.retain)
        self.at_s = time.monotonic()

    @property
    def body(self):
        return json.loads(self.payload)

    def __repr__(self):
        return f"{self.topic}{' (retained)' if self.retained else ''}: {self.payload[:80]!r}"


class Listener:
    """Hears all that is published at ``broker``; comes back when the broker does. session: a name under which a broker
    that is ``lasting`` keeps what comes while this one is away."""

    def __init__(self, broker, topic="#", session="", **tls):
        self.heard: list[Message] = []
        self._ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, session, protocol=MQTTProtocolVersion.MQTTv5)
        self._keep = Properties(PacketTypes.CONNECT)
        self._keep.SessionExpiryInterval = 3600 if session else 0
        self.client.reconnect_delay_set(0.05, 0.1)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = lambda client, userdata, message: self.heard.append(Message(message))
        if tls:
            self.client.tls_set(**tls)
        self.port = broker.port

    def __enter__(self):
        self.client.connect_async("127.0.0.1", self.port, clean_start=not self._keep.SessionExpiryInterval, properties=self._keep)
        self.client.loop_start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *error):
        self.client.disconnect()
        self.client.loop_stop()

    def wait(self, topic, predicate=lambda message: True, timeout_s=20.0, since=0):
        """The first message from number ``since`` on of a topic that ends so."""
        end_s = time.monotonic() + timeout_s
        at = since
        while True:
            while at < len(self.heard):
                message = self.heard[at]
                if message.topic.endswith(topic) and predicate(message):
                    return message
                at += 1
            assert time.monotonic() < end_s, f"no such {topic} among {len(self.heard)}, the last {self.heard[-8:]}"
            time.sleep(0.01)

    def of(self, topic, since=0):
        return [message for message in self.heard[since:] if message.topic.endswith(topic)]


def make_ca(folder: Path, name: str = "ca") -> Path:
    """A throw-away authority: NAME.pem, NAME.key."""
    need("openssl", "openssl")
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
    )  # fmt: skip
    return folder / f"{name}.pem"


def make_certificate(folder: Path, name: str, *, ca: str = "ca", host: str = "localhost", days: int = 2) -> tuple[Path, Path]:
    """(certificate, key) for ``host``; negative days: expired so long ago."""
    request, key, out = folder / f"{name}.csr", folder / f"{name}.key", folder / f"{name}.pem"
    openssl(
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        f"/CN={host}",
        "-keyout",
        key,
        "-out",
        request,
    )
    extension = folder / f"{name}.ext"
    extension.write_text(f"subjectAltName={'IP' if host[0].isdigit() else 'DNS'}:{host}\n")
    openssl(
        "x509", "-req", "-in", request, "-CA", folder / f"{ca}.pem", "-CAkey", folder / f"{ca}.key", "-CAcreateserial",
        "-days", str(days), "-extfile", extension, "-out", out,
    )  # fmt: skip
    return out, key


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
