"""Outlets looked at from outside, as their users would: one small reader for each, for ``edgebms selftest``.

A reader connects, calls ``ready`` once it would see the next decision, then ``told(pack, standing)`` for each that it sees, until
``stop`` is set. It raises OSError, or GatewayError with how to mend it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebms.config import Config, MqttOutlet
from edgebms.errors import GatewayError
from edgebms.selftest import RULE

CONNECT_S = 5.0
LOOK_S = 0.05
"""How often a file or the metrics are looked at."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a reader tells, and when it is to end."""

    ready: Callable[[], None]
    told: Callable[[str, bool], None]
    stop: threading.Event


Reader = Callable[[Watch], None]


def readers(config: Config) -> dict[str, Reader]:
    """Outlet name -> its reader. Left out are those that cannot be looked at from outside: standard output, CAN."""
    found: dict[str, Reader] = {}
    outlet = config.outlet
    if config.output.ndjson != "-":
        found["ndjson"] = lambda watch: read_file(Path(config.output.ndjson), watch)
    if (unix := outlet.socket) is not None:
        found["socket"] = lambda watch: read_socket(unix.path, watch)
    if (mqtt := outlet.mqtt) is not None:
        found["mqtt"] = lambda watch: read_mqtt(mqtt, watch)
    if (metrics := outlet.metrics) is not None:
        found["metrics"] = lambda watch: read_metrics(metrics.listen, watch)
    if (page := outlet.page) is not None:
        found["page"] = lambda watch: read_page(page.listen, watch)
    return found


def shows(decision: Any) -> bool:
    """Does the parsed decision carry the test alarm?"""
    return any(evidence["rule"] == RULE for alert in decision["alerts"] for evidence in alert["evidence"])


def tell(line: bytes, watch: Watch) -> None:
    try:
        decision = json.loads(line)
        decision = decision.get("decision", decision)  # the page's events carry it in a shell
        watch.told(decision["pack"], shows(decision))
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # no decision: what is not seen is told in the end


def read_file(path: Path, watch: Watch) -> None:
    """What is appended to ``path`` from now on."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        watch.ready()
        rest = b""
        while not watch.stop.is_set():
            rest += file.read()
            *lines, rest = rest.split(b"\n")
            for line in lines:
                tell(line, watch)
            watch.stop.wait(LOOK_S)


def read_socket(path: str, watch: Watch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_S)
        connection.connect(path)
        watch.ready()
        connection.settimeout(0.2)
        for line in lines_of(lambda: connection.recv(65536), watch.stop):
            tell(line, watch)


def lines_of(receive: Callable[[], bytes], stop: threading.Event) -> Iterator[bytes]:
    """Lines as they come. Raises GatewayError where the other end closes."""
    rest = b""
    while not stop.is_set():
        try:
            piece = receive()
        except TimeoutError:
            continue
        if not piece:
            raise GatewayError("the daemon closed the connection", mend="are there more readers than the outlet takes?")
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


def read_mqtt(settings: MqttOutlet, watch: Watch) -> None:
    """As another client, with the outlet's own way in."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    from edgebms.outlet.mqtt_access import password, tls_context
    from edgebms.outlet.mqtt_link import reason_of

    client = Client(CallbackAPIVersion.VERSION2, f"edgebms-selftest-{os.getpid()}", protocol=MQTTProtocolVersion.MQTTv5)
    client.connect_timeout = CONNECT_S
    refused: list[str] = []
    subscribed = threading.Event()
    topics = [(f"{settings.topic}/+/decision", 1), (f"{settings.topic}/+/alert", 1)]

    def on_connect(client: Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            refused.append(f"the broker refuses a reader with the gateway's user: {reason}")
            subscribed.set()
        else:
            client.subscribe(topics)

    def on_subscribe(_client: Client, _userdata: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if reasons[0].is_failure:
            refused.append(f"the broker lets the gateway's user not read {topics[0][0]}: {reasons[0]}")
        subscribed.set()

    def on_message(_client: Client, _userdata: Any, message: Any) -> None:
        if message.topic.endswith("/decision"):
            tell(message.payload, watch)
            return
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(message.payload)
            if told["event"] != "end" and any(evidence["rule"] == RULE for evidence in told["alert"]["evidence"]):
                watch.told(told["pack"], True)

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    try:
        context = tls_context(settings)
        if context is not None:
            client.tls_set_context(context)
        if settings.username:
            client.username_pw_set(settings.username, password(settings))
        client.connect(settings.host, settings.port, keepalive=30)
    except (OSError, ValueError) as error:
        raise GatewayError(reason_of(error, settings), mend="see [outlet.mqtt], and whether the broker runs") from None
    client.loop_start()
    try:
        if not subscribed.wait(CONNECT_S):
            raise GatewayError("the broker does not answer", mend="does it speak MQTT 5?")
        if refused:
            raise GatewayError(refused[0], mend="allow that user to read its own topics, or look with another client")
        watch.ready()
        watch.stop.wait()
    finally:
        client.disconnect()
        client.loop_stop()


def read_metrics(listen: str, watch: Watch) -> None:
    """The packs that are told of, and those that carry the test alarm among what is not well."""
    from prometheus_client.parser import text_string_to_metric_families

    while not watch.stop.is_set():
        text = fetch(listen, "/metrics").read().decode()
        watch.ready()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        testing = {one.labels["pack"] for one in samples if one.name == "edgebms_unknown" and one.labels["reason"] == RULE}
        for one in samples:
            if one.name == "edgebms_decision_valid":
                watch.told(one.labels["pack"], one.labels["pack"] in testing)
        watch.stop.wait(2 * LOOK_S)


def read_page(listen: str, watch: Watch) -> None:
    """The events that a browser on the page gets."""
    events = fetch(listen, "/events")
    watch.ready()
    while not watch.stop.is_set():
        line = events.readline()  # a beat comes each second, or it times out
        if not line:
            raise GatewayError("the page's events ended", mend="are there more viewers than it takes?")
        if line.startswith(b"data: "):
            tell(line.removeprefix(b"data: "), watch)


def fetch(listen: str, path: str) -> http.client.HTTPResponse:
    """The answer to GET at an outlet's ``listen``. Raises OSError, GatewayError."""
    host, _, port = listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    connection = http.client.HTTPConnection(host, int(port), timeout=CONNECT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
    except http.client.HTTPException as error:
        raise GatewayError(f"no answer over HTTP ({type(error).__name__})", mend="is another program at that address?") from None
    if answer.status != 200:
        raise GatewayError(f"HTTP {answer.status} at {path}", mend="is another program at that address?")
    return answer
