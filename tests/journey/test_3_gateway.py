"""The demo's log into a whole gateway: over SLCAN and over udp_multicast, and its alert seen at every outlet.

As fast as it was recorded: six and a half minutes (`make demo-gateway`). EDGEBMS_SHOTS: a folder for pictures of the page.
"""

import json
import os
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

import can
import pytest
from adapter import Adapter, Process, slcan_line
from adapter import free_port as udp_port
from broker import Broker, Listener, free_port
from browser import Browser

from edgebms.inlet.logfile import open_log
from hil.rig.link import SlcanEnd

pytestmark = pytest.mark.slow
GROUP = "239.74.163.81"


class Slcan:
    def __init__(self, folder):
        self.adapter = Adapter(folder / "ttyUSB0")
        self.toml = f'interface = "slcan"\nchannel = "{self.adapter.path}"\nbitrate = 500000'

    def send(self, frames):
        data = b"".join(map(slcan_line, frames))
        end_s = time.monotonic() + 5
        while not self.adapter.write(data):
            assert time.monotonic() < end_s
            time.sleep(0.01)


class Udp:
    def __init__(self, folder):
        port = udp_port()
        self.bus = can.Bus(interface="udp_multicast", channel=GROUP, port=port, ignore_config=True)
        self.toml = f'interface = "udp_multicast"\nchannel = "{GROUP}"\noptions = {{ port = {port} }}'

    def send(self, frames):
        for frame in frames:
            self.bus.send(can.Message(arbitration_id=frame.arbitration_id, data=frame.data, is_extended_id=False))


def gateway(folder, link, broker, inverter, metrics, page):
    return f"""
[[pack]]
name = "demo"
profile = "edgebms"
card = "lg_hg2"
cells = 16
probes = 8
channel = "can0"
period_s = 1
[site]
kind = "grid_tied"
[[bus]]
name = "can0"
{link.toml}
{inverter.bus("can1", transmit=True)}
[outlet.socket]
path = "{folder}/decisions.sock"
[outlet.mqtt]
host = "127.0.0.1"
port = {broker.port}
tls = false
client_id = "edgebms-{folder.name}"
[[outlet.can]]
bus = "can1"
[outlet.metrics]
listen = "127.0.0.1:{metrics}"
[outlet.page]
listen = "127.0.0.1:{page}"
[control]
socket = "{folder}/control.sock"
[record]
folder = "{folder}/record"
"""


def sweeps():
    """(seconds since the start, frames) of each second of the demo's log."""
    with resources.as_file(resources.files("edgebms") / "catalogue/demo/demo.log.gz") as path:
        log = list(open_log(path))
    start_ns = log[0].time_ns
    found = {}
    for frame in log:
        found.setdefault(round((frame.time_ns - start_ns) / 1e9), []).append(frame)
    return sorted(found.items())


class Reader(threading.Thread):
    """What a program hears that connects to the Unix socket."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.decisions = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.start()

    def run(self):
        for line in self.socket.makefile("rb"):
            self.decisions.append(json.loads(line))


class Site:
    """One gateway with all its outlets, and what each of them is seen to give."""

    def __init__(self, kind, folder, broker):
        folder.mkdir()
        self.name, self.folder = kind.__name__.lower(), folder
        self.link, self.inverter = kind(folder), SlcanEnd(folder / "ttyUSB1")
        self.metrics, self.page = free_port(), free_port()
        self.daemon = Process(folder, gateway(folder, self.link, broker, self.inverter, self.metrics, self.page))
        self.frames = []

    def __enter__(self):
        self.daemon.__enter__()
        until(lambda: "bus can0: open" in self.daemon.stderr() and (self.folder / "decisions.sock").exists())
        self.reader = Reader(self.folder / "decisions.sock")
        return self

    def __exit__(self, *error):
        self.daemon.__exit__(*error)
        self.inverter.close()

    def send(self, frames):
        self.link.send(frames)
        self.frames += self.inverter.receive()

    @property
    def opened(self):
        """The first decision of the short at cell 11 that opens the contactors."""
        return next((found for found in self.daemon.decisions if self.short(found) and action(found) == "open_contactors"), None)

    @staticmethod
    def short(decision):
        return next((alert for alert in decision["alerts"] if alert["hazard"] == "internal_short" and alert["cell"] == 11), None)

    def scraped(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=20) as answer:
            return answer.read().decode()


def action(decision):
    return decision["command"]["action"]


def until(holds, timeout_s=20.0):
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s, "never"
        time.sleep(0.02)


@pytest.mark.timeout(1200)
def test_the_demo_is_seen_at_every_outlet(tmp_path):
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(tmp_path))
        listener = stack.enter_context(Listener(broker))
        browser = stack.enter_context(Browser())
        sites = [stack.enter_context(Site(kind, tmp_path / kind.__name__, broker)) for kind in (Slcan, Udp)]
        browser.size(1280)
        began_s = time.monotonic()
        for second, frames in sweeps():
            time.sleep(max(0.0, began_s + second - time.monotonic()))
            for site in sites:
                site.send(frames)
            if all(site.opened for site in sites):
                break
        for site in sites:
            opened = site.opened
            assert opened is not None, (site.name, site.daemon.decisions[-1])
            short = site.short(opened)
            assert short["level"] == "critical" and short["evidence"] and short["raised_by"] == ["guard"]
            listener.wait("demo/alert", lambda message, wanted=short["id"]: wanted in message.payload.decode())
            until(lambda site=site: any(site.short(decision) for decision in site.reader.decisions))
            assert 'hazard="internal_short"' in site.scraped()
            for _ in range(3):  # the inverter's cycle is a second
                time.sleep(1.0)
                for each in sites:
                    each.send(frames)
            browser.open(f"http://127.0.0.1:{site.page}/")
            browser.until("document.body.innerText.includes('Internal short at cell 11')")
            if (shots := os.environ.get("EDGEBMS_SHOTS")) is not None:
                browser.screenshot(Path(shots) / f"page-{site.name}.png")
            limits = [frame.data for frame in site.frames if frame.arbitration_id == 0x351]
            assert limits[-1][2:6] == bytes(4), "no current either way"
            assert int.from_bytes(limits[-1][:2], "little") >= 600, "and a charge voltage that is not 0"
            assert {0x355, 0x356, 0x35A} <= {frame.arbitration_id for frame in site.frames}
        assert not [message for message in listener.heard if message.topic.endswith("/state") and message.retained]
        assert [message for message in listener.heard if message.topic.startswith("homeassistant/device/")]
        for site in sites:
            assert site.daemon.stop() == 0
            assert "Traceback" not in site.daemon.stderr()
