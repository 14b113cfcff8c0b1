"""One connection to an MQTT 5 broker, from CONNECT to its end, in the caller's thread.

MQTT 5 for three things that 3.1.1 lacks: a message that the broker drops when it has expired, a reason for each
disconnection ("session taken over"), and a refusal for each message that the broker's rules forbid. Each connection is a new
one to paho, so nothing old is sent again behind our back: what must be sent again is the outlet's to say.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from edgebms.config import MqttOutlet
from edgebms.outlet.mqtt_access import password, tls_context

if TYPE_CHECKING:
    from paho.mqtt.client import Client

CONNECT_S = 5.0
"""For TCP, for TLS, and for the broker's answer, each."""
KEEPALIVE_S = 15
"""The broker calls us dead after 1.5 times this without a word from us (MQTT 5.0, 3.1.2.10)."""
WINDOW = 10
"""Messages on their way at once, fewer where the broker wants it so."""


class LinkLost(Exception):
    """Why the connection ended or did not come about, as a sentence's end."""


class TakenOver(LinkLost):
    """Another client came with our client id."""


class Link:
    """``connect``, then ``publish`` and ``poll`` in turn; both raise LinkLost when it is over.

    acknowledged: (message id, None or why the broker refused it) since the last look. births: a subscribed topic said
    "online". unread: why the broker refused the subscription. largest: bytes that a packet may have, 0 = any.
    """

    def __init__(self, settings: MqttOutlet, client_id: str, will_topic: str, subscriptions: tuple[str, ...]) -> None:
        self.acknowledged: list[tuple[int, str | None]] = []
        self.births = 0
        self.unread = ""
        self.window = WINDOW
        self.largest = 0
        self._settings, self._client_id, self._will_topic, self._subscriptions = settings, client_id, will_topic, subscriptions
        self._answer: str | None = None
        self._answered = False
        self._end: tuple[str, bool] | None = None
        self._complaint = ""
        self._client = self._make()

    def _make(self) -> Client:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTProtocolVersion

        client = Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=MQTTProtocolVersion.MQTTv5)
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(0)  # the outlet counts them, by what the broker says at its answer
        client.will_set(self._will_topic, "offline", qos=1, retain=True)

        def on_connect(client: Client, _userdata: Any, _flags: Any, reason: Any, properties: Any) -> None:
            self._answered = True
            if reason.is_failure:
                self._answer = f"the broker refuses the connection: {reason}"
                return
            self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
            self.largest = getattr(properties, "MaximumPacketSize", 0)
            if self._subscriptions:
                client.subscribe([(topic, 1) for topic in self._subscriptions])

        def on_disconnect(_client: Client, _userdata: Any, flags: Any, reason: Any, _properties: Any) -> None:
            # 0x8E, session taken over (MQTT 5.0, 3.14.2.1)
            if flags.is_disconnect_packet_from_server:
                self._end = (f"the broker ends the connection: {reason}", reason.value == 0x8E)
            elif self._end is None:
                self._end = (f"the connection is lost{f': {self._complaint}' if self._complaint else ''}", False)

        def on_publish(_client: Client, _userdata: Any, mid: int, reason: Any, _properties: Any) -> None:
            self.acknowledged.append((mid, str(reason) if reason.is_failure else None))

        def on_subscribe(_client: Client, _userdata: Any, _mid: int, reasons: Any, _properties: Any) -> None:
            self.unread = next((str(reason) for reason in reasons if reason.is_failure), "")

        def on_message(_client: Client, _userdata: Any, message: Any) -> None:
            if message.topic in self._subscriptions and message.payload == b"online":
                self.births += 1

        def on_log(_client: Client, _userdata: Any, level: int, text: str) -> None:
            if level == LogLevel.MQTT_LOG_ERR:
                self._complaint = text.partition(": ")[2] or text

        client.on_connect, client.on_disconnect, client.on_publish = on_connect, on_disconnect, on_publish
        client.on_subscribe, client.on_message, client.on_log = on_subscribe, on_message, on_log
        return client

    def connect(self) -> None:
        """Open it and wait for the broker's answer."""
        settings = self._settings
        try:
            context = tls_context(settings)
            if context is not None:
                self._client.tls_set_context(context)
            if settings.username:
                self._client.username_pw_set(settings.username, password(settings))
            self._client.connect(settings.host, settings.port, keepalive=KEEPALIVE_S, clean_start=True)
            end_s = time.monotonic() + CONNECT_S
            while not self._answered:
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    raise LinkLost("the broker does not answer")
                self.poll(left_s)
        except LinkLost as lost:
            self.drop()
            if self._answer is not None:
                raise LinkLost(self._answer) from None
            if not self._answered and "answer" not in str(lost):
                raise LinkLost(f"{lost} before the broker had answered: does it speak MQTT 5{unsaid(settings)}?") from None
            raise
        except (OSError, ValueError) as error:  # ValueError: a host name that is none
            self.drop()
            raise LinkLost(reason_of(error, settings)) from None
        if self._answer is not None:
            self.drop()
            raise LinkLost(self._answer)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> int:
        """Its message id; the acknowledgement comes by itself."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        told = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        self._check()
        return told.mid

    def poll(self, timeout_s: float, wake: socket.socket | None = None) -> None:
        """Read and write what there is; wait for ``timeout_s`` at most, or until ``wake`` has something to read."""
        client = self._client
        raw = client.socket()
        if raw is None:
            self._check()
            raise LinkLost("the connection is lost")
        pending = isinstance(raw, ssl.SSLSocket) and raw.pending() > 0
        poller = select.poll()
        poller.register(raw, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        if wake is not None:
            poller.register(wake, select.POLLIN)
        events = dict(poller.poll(0 if pending else max(0.0, timeout_s) * 1000))
        mine = events.get(raw.fileno(), 0)
        if pending or mine & ~select.POLLOUT:
            client.loop_read()
        if mine & select.POLLOUT:
            client.loop_write()
        client.loop_misc()
        self._check()

    def close(self) -> None:
        """Say goodbye: the will is not sent. Raises nothing."""
        try:
            self._client.disconnect()
            end_s = time.monotonic() + 1.0
            while self._client.want_write() and self._client.socket() is not None and time.monotonic() < end_s:
                self.poll(0.1)
        except (LinkLost, OSError):
            pass
        self.drop()

    def drop(self) -> None:
        """Close the socket without a word: the broker sends the will."""
        raw = self._client.socket()
        if raw is not None:
            raw.close()

    def _check(self) -> None:
        if self._end is not None:
            sentence, taken = self._end
            raise TakenOver(sentence) if taken else LinkLost(sentence)


def unsaid(settings: MqttOutlet) -> str:
    """What a broker may want that closes without a word. TLS 1.3 refuses a missing certificate after the handshake, and the
    refusal is lost where our own packet crossed it (RFC 8446, 4.4.2.4; the peer's kernel then resets the connection).
    """
    if not settings.tls:
        return ", without TLS"
    return "" if settings.cert_file else ", or does it want our certificate (cert_file)"


def reason_of(error: Exception, settings: MqttOutlet) -> str:
    """Why no connection came about, for a person."""
    at = f"{settings.host}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {at} is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        hint = " (is this a port without TLS?)" if error.reason == "WRONG_VERSION_NUMBER" else ""
        return f"no TLS with {at}: {error.reason or error}{hint}"
    if isinstance(error, socket.gaierror):
        return f"{settings.host} cannot be found: {error.strerror}"
    if settings.tls and (isinstance(error, ConnectionResetError) or "handshake" in str(error)):
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        return f"no TLS with {at}: {why} (is this a port without TLS{unsaid(settings)}?)"
    if isinstance(error, TimeoutError):
        return f"{at} does not answer"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"{at}: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
