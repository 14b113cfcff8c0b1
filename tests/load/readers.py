"""Who reads the outlets under load: each notes when it had which decision, and looks at nothing else meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import threading
import time
from itertools import pairwise
from urllib.request import urlopen

from adapter import Adapter
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

DECISION = re.compile(rb'"pack":"([^"]+)","seq":(\d+),')


class Reader(threading.Thread):
    """had: (pack, sequence number) -> monotonic ns, when it came first."""

    def __init__(self):
        super().__init__(daemon=True)
        self.had = {}
        self.stopped = threading.Event()

    def note(self, text):
        now_ns = time.monotonic_ns()
        found = DECISION.search(text)
        if found:
            self.had.setdefault((found[1].decode(), int(found[2])), now_ns)

    def stop(self):
        self.stopped.set()


class SocketReader(Reader):
    def __init__(self, path):
        super().__init__()
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.connect(str(path))

    def run(self):
        for line in self.connection.makefile("rb"):
            if self.stopped.is_set():
                return
            self.note(line)


class PageReader(Reader):
    """A browser that looks at the page: decisions that say nothing new come at most five times a second."""

    def __init__(self, port):
        super().__init__()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.connection.request("GET", "/events")
        self.events = self.connection.getresponse()

    def run(self):
        while not self.stopped.is_set() and (line := self.events.readline()):
            if line.startswith(b"data: "):
                self.note(line)


class MqttReader(Reader):
    def __init__(self, port):
        super().__init__()
        ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_message = lambda client, userdata, message: self.note(message.payload)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe("edgebms/+/decision", qos=1)
        assert ready.wait(10)

    def stop(self):
        super().stop()
        self.client.disconnect()
        self.client.loop_stop()


class Scraper(Reader):
    """Prometheus: asks once a second. took_ms: from the question to the whole answer."""

    def __init__(self, port):
        super().__init__()
        self.url, self.took_ms = f"http://127.0.0.1:{port}/metrics", []

    def run(self):
        while not self.stopped.wait(1.0):
            began_s = time.monotonic()
            with urlopen(self.url, timeout=10) as answer:
                answer.read()
            self.took_ms.append((time.monotonic() - began_s) * 1e3)


class Inverter(Adapter):
    """An adapter whose bus has an inverter on it. frames: (monotonic s, id, data) that the gateway sent."""

    def __init__(self, link):
        self.frames, self.rest = [], b""
        super().__init__(link)

    def write(self, data):
        """Whole lines or nothing, as an adapter does: what the terminal took a part of is ended before the next."""
        self.hear()
        with contextlib.suppress(BlockingIOError):
            if self.rest:
                self.rest = self.rest[os.write(self.master, self.rest) :]
            if not self.rest:
                self.rest = data[os.write(self.master, data) :]
                return True
        return False

    def hear(self):
        super().hear()
        if b"\r" in self.said:
            *lines, self.said = self.said.split(b"\r")
            self.frames += [(time.monotonic(), int(line[1:4], 16), bytes.fromhex(line[5:].decode())) for line in lines if line[:1] == b"t"]

    def cycles_ms(self):
        """Times between two frames with the limits."""
        times = [at_s for at_s, identifier, _ in self.frames if identifier == 0x351]
        return [(after - before) * 1e3 for before, after in pairwise(times)]

    def last(self, identifier):
        return next((data for _, other, data in reversed(self.frames) if other == identifier), b"")
