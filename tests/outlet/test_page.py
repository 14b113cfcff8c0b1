"""The status page in a real browser, and its server against clients that mean no good."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import msgspec
import pytest
from adapter import Adapter, Pack, Process, faults, seen, slcan_config, slcan_line
from browser import Browser
from lines import CELLS, Run, config, frames, pack

from edgebms.config import PageOutlet
from edgebms.decision.explain import alert_lines, unknown_line
from edgebms.decision.types import CellValues, ObservedValue, Query, Reasoning, encode
from edgebms.outlet.page import VIEWERS, Page
from edgebms.outlet.served import Served
from edgebms.vocabulary import Cause


def tcp_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def alarmed():
    """Decisions of a pack with alerts and with each cell's values."""
    decisions = Run(frames(seconds=3.0, voltage_v=4.35), config(pack())).decisions
    assert decisions[-1].alerts
    return decisions


class Shown:
    """A page with decisions of our own making."""

    def __init__(self, *names, **settings):
        self.port = tcp_port()
        self.asked = []
        self.packs = tuple(pack(name, **settings) for name in names or ("rack-1",))
        self.page = Page(PageOutlet(listen=f"127.0.0.1:{self.port}"), self.packs, self.asked.append)
        self.served = Served("page", self.page)
        self.url = f"http://127.0.0.1:{self.port}/"
        end_s = time.monotonic() + 15
        while self.served._down_since_ns is not None:
            assert time.monotonic() < end_s
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.served.close()

    def offer(self, *decisions):
        for decision in decisions:
            self.served.offer(decision, encode(decision))

    def get(self, path="/", method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read() if response.headers.get("Content-Length") else b""

    def events(self):
        """A viewer: (kind, data) as they come."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection

    def until(self, holds, timeout_s=15.0):
        end_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end_s
            time.sleep(0.01)


def lasting(decision, **changes):
    return msgspec.structs.replace(decision, expires_ms=600_000, **changes)


def value(browser, name):
    return json.loads(browser.value(f"document.getElementById({name!r}).dataset.value"))


def text(browser, name):
    return browser.value(f"document.getElementById({name!r}).textContent")


def shows(browser, decision):
    browser.until(f"document.body?.dataset.seq === '{decision.seq}' && document.body.dataset.pack === '{decision.pack}'")


def test_each_value_on_the_page_is_the_decisions(browser, alarmed):
    cells = CellValues((*(3.6 + i / 1000 for i in range(CELLS - 1)), None), (0.5,) * CELLS, (None,) * CELLS, (24.5, None, 31.0, 24.7))
    decision = lasting(alarmed[-1], cells=cells)
    with Shown() as shown:
        shown.offer(decision)
        browser.open(shown.url)
        shows(browser, decision)
        measured, soc, soh, limits = decision.measured, decision.soc, decision.soh, decision.command.limits
        wanted = {
            "soc": soc.pack,
            "voltage": measured.voltage_v,
            "current": measured.current_a,
            "cell-min": measured.cell_voltage_v.min,
            "cell-max": measured.cell_voltage_v.max,
            "temp-min": measured.temperature_c.min,
            "temp-max": measured.temperature_c.max,
            "soh-capacity": soh.capacity,
            "soh-resistance": soh.resistance,
            "charge-a": limits.charge_a,
            "charge-v": limits.charge_v,
            "discharge-a": limits.discharge_a,
            "discharge-v": limits.discharge_v,
        }
        for name, number in wanted.items():
            assert value(browser, name) == number, name
            if number is None:
                assert text(browser, name) == "unknown"
            else:
                told = float(text(browser, name).split()[0].replace("−", "-")) / (100 if name.startswith("so") else 1)
                assert told == pytest.approx(number, rel=5e-4, abs=1e-6), name
        assert soh.capacity is None, "or nothing unknown was shown"
        browser.until("document.querySelectorAll('.cell').length === 16 && document.querySelector('.cell').dataset.value !== 'null'")
        assert browser.value("[...document.querySelectorAll('.cell')].map(c => JSON.parse(c.dataset.value))") == list(cells.voltage_v)
        assert browser.value("document.querySelector('.cell:last-child').textContent").endswith("?")
        browser.value("document.querySelector('#cells-what button:last-child').click()")
        assert browser.value("[...document.querySelectorAll('.cell')].map(c => JSON.parse(c.dataset.value))") == [24.5, None, 31.0, 24.7]
        assert browser.value("document.querySelectorAll('.cell')[2].ariaLabel").startswith("Probe 3: 31 °C")
        assert browser.value("[...document.querySelectorAll('#unknown li')].map(l => l.textContent)")[
            : len(decision.quality.warnings)
        ] == list(map(unknown_line, decision.quality.warnings))
        assert not browser.complaints()
        assert not browser.foreign(f"127.0.0.1:{shown.port}")


def test_alerts_stand_with_their_reasons_in_the_words_of_explain(browser, alarmed):
    decision = lasting(alarmed[-1])
    with Shown() as shown:
        shown.offer(decision)
        browser.open(shown.url)
        shows(browser, decision)
        found = browser.value(
            "[...document.querySelectorAll('.alert')].map(a => [a.dataset.id, a.dataset.level, a.querySelector('.badge').textContent, "
            "[...a.querySelectorAll('li')].map(l => l.textContent)])"
        )
        order = sorted(decision.alerts, key=lambda alert: -("watch", "warning", "critical").index(alert.level))
        assert found == [[a.id, a.level, a.level, [line.strip() for line in list(alert_lines(a))[1:]]] for a in order]
        assert browser.value("document.getElementById('head').dataset.state") == order[0].level
        assert order[0].level in browser.value("document.title")
        assert "No alert" not in text(browser, "headline")
        clear = lasting(decision, alerts=(), seq=decision.seq + 1)
        shown.offer(clear)
        shows(browser, clear)
        assert text(browser, "alerts") == "No alert stands."
        # one that begins while somebody looks is said aloud
        again = lasting(decision, seq=decision.seq + 2)
        shown.offer(again)
        shows(browser, again)
        assert order[0].level in text(browser, "announce")


def test_a_pack_that_is_seen_in_part_is_never_called_clear(browser, alarmed):
    (healthy,) = Run(frames(seconds=0.1)).decisions
    blind = msgspec.structs.replace(healthy.measured, current_a=None)
    with Shown() as shown:
        decision = lasting(healthy, measured=blind)
        shown.offer(decision)
        browser.open(shown.url)
        shows(browser, decision)
        assert browser.value("document.getElementById('head').dataset.state") == "unknown"
        assert "pack current" in text(browser, "below")
        assert text(browser, "current") == "unknown" and text(browser, "power") == "unknown"


def test_the_trace_of_the_reasoning(browser, alarmed):
    query = Query("thermal_rate", 4, 60.0, (ObservedValue("rate", 1.31, "K/min", 6.2),))
    decision = lasting(alarmed[-1], reasoning=Reasoning(Cause.INTERNAL_SHORT, 4, "warning", None, 0.98, (query,)))
    with Shown() as shown:
        shown.offer(decision)
        browser.open(shown.url)
        shows(browser, decision)
        lines = browser.value("[...document.querySelectorAll('#reasoning li')].map(l => l.textContent)")
        assert "internal short at cell 4" in lines[0] and lines[1] == "thermal rate at cell 4 over 60 s: rate 1.31 K/min"


def test_a_viewer_that_comes_late_sees_the_curves_and_the_cells(browser, alarmed):
    with Shown() as shown:
        run = Run(frames(seconds=60.0, period_s=1.0), config(pack(period_s=1.0)))
        shown.offer(*map(lasting, run.decisions))
        browser.open(shown.url)
        shows(browser, run.decisions[-1])
        browser.until("document.querySelectorAll('#curves .one').length >= 5")
        assert "V" in text(browser, "curves")
        browser.until("document.querySelector('.cell')?.dataset.value !== 'null'")
        shown.until(lambda: "rack-1" in shown.asked)


@pytest.mark.parametrize(("width", "scheme", "packs", "cells"), [(360, "light", 3, 96), (360, "dark", 1, 400), (1280, "dark", 3, 16)])
def test_no_width_scrolls_sideways_and_both_schemes_are_readable(browser, alarmed, width, scheme, packs, cells):
    names = [f"a-rather-long-name-of-rack-{number}" for number in range(packs)]
    values = CellValues(*[tuple(3.6 + i / 1e5 for i in range(cells))] * 4)
    with Shown(*names, cells=cells) as shown:
        browser.size(width, 800, mobile=width < 500)
        browser.scheme(scheme)
        shown.offer(*(lasting(alarmed[-1], pack=name, cells=values) for name in names))
        browser.open(shown.url)
        shows(browser, msgspec.structs.replace(alarmed[-1], pack=names[0]))
        browser.until(f"document.querySelectorAll('.cell').length === {cells}")
        assert browser.value("document.documentElement.scrollWidth") <= width
        assert browser.value(CONTRAST) >= 4.5
        dark = browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + Number(b), 0)") < 300
        assert dark == (scheme == "dark")
        if packs > 1:
            browser.value("document.querySelector('#packs [aria-selected=\"true\"]').focus()")
            browser.press("ArrowRight")
            shows(browser, msgspec.structs.replace(alarmed[-1], pack=names[1]))
        browser.size(1280)
        browser.scheme("light")


CONTRAST = """(() => {
  const light = (c) => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor); if (c.length === 3) return c; } return [255, 255, 255]; };
  return Math.min(...[...document.querySelectorAll('h1, h2, .small, .big, .alert li, .alert .badge, .raised, dd, footer, #below, #state-word')]
    .filter(e => e.textContent && e.offsetParent).map(e => { const a = light(numbers(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e)); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); }));
})()"""


def test_a_daemon_that_dies_is_stale_within_its_expiry(browser, tmp_path):
    adapter, port = Adapter(tmp_path / "ttyUSB0"), tcp_port()
    settings = slcan_config(adapter.path, more=f'[outlet.page]\nlisten = "127.0.0.1:{port}"')
    with Process(tmp_path, settings) as daemon, Pack(lambda frames: adapter.write(b"".join(map(slcan_line, frames)))):
        expires_s = daemon.wait(seen)[0]["expires_ms"] / 1000
        browser.open(f"http://127.0.0.1:{port}/")
        browser.until("document.body.classList.contains('live')")
        number = browser.until("document.body.dataset.seq")
        decision, _ = daemon.wait(lambda entry: entry["seq"] == int(number))
        assert value(browser, "current") == pytest.approx(decision["measured"]["current_a"])
        browser.until("document.querySelector('.cell')?.dataset.value !== 'null'")
        time.sleep(2.0)
        assert not browser.value("document.body.classList.contains('stale')"), "ten decisions a second"
        os.kill(daemon.process.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        browser.until("document.body.classList.contains('stale')")
        assert time.monotonic() - killed_s < expires_s + 1.0
        assert text(browser, "stale").startswith("STALE") and not browser.value("document.getElementById('stale').hidden")
        assert browser.value("document.getElementById('head').dataset.state") == "stale"
        assert "STALE" in browser.value("document.title")


def test_the_page_of_the_command_line_outlives_a_reload(tmp_path):
    adapter, port = Adapter(tmp_path / "ttyUSB0"), tcp_port()
    other = tcp_port()
    settings = slcan_config(adapter.path, more=f'[outlet.page]\nlisten = "127.0.0.1:{other}"')
    with (
        Process(tmp_path, settings, more=("--page", f"127.0.0.1:{port}")) as daemon,
        Pack(lambda frames: adapter.write(b"".join(map(slcan_line, frames)))),
    ):
        daemon.wait(seen)
        viewer = socket.create_connection(("127.0.0.1", port), timeout=15)
        viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        heard = b""
        while b"event: hello" not in heard:
            heard += viewer.recv(4096)
        daemon.config.write_text(settings.replace(str(other), str(tcp_port())) + "\n[output]\ncells_every_s = 5\n")
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait("RELOADING=1")
        daemon.manager.wait("READY=1")
        heard = b""
        while heard.count(b"event: decision") < 20:  # the same viewer goes on
            more = viewer.recv(65536)
            assert more
            heard += more
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", other), timeout=5)
        assert not faults(daemon.decisions[-1])
        assert daemon.stop() == 0


def test_the_demo_begins_when_somebody_looks(tmp_path):
    port = tcp_port()
    command = [sys.executable, "-m", "edgebms.cli.main", "demo", "--speed", "max", "--page", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        end_s = time.monotonic() + 30
        viewer = None
        while viewer is None:
            assert time.monotonic() < end_s
            try:
                viewer = socket.create_connection(("127.0.0.1", port), timeout=30)
            except OSError:
                time.sleep(0.05)
        viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        heard = b""
        while b"The recording has ended" not in heard:
            more = viewer.recv(1 << 20)
            assert more
            heard += more
        assert b'"seq":0,' in heard, "nothing was missed"
        assert b"thermal_runaway" in heard
        viewer.close()
        told, said = demo.communicate(timeout=30)
        assert demo.returncode == 0 and "thermal runaway" in told and "Traceback" not in said


def test_nothing_is_written_through_it_and_foreign_names_read_nothing(alarmed):
    with Shown() as shown:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            response, _ = shown.get("/", method)
            assert response.status == 405 and response.headers["Allow"] == "GET, HEAD"
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""):
            assert shown.get("/", Host=host)[0].status == 421
            assert shown.get("/events", Host=host)[0].status == 421
        for host in ("localhost", "127.0.0.1:9", "[::1]:8080"):
            assert shown.get("/", Host=host)[0].status == 200
        assert shown.get("/events", Sec_Fetch_Site="cross-site")[0].status == 403
        for path in ("/../page.py", "/static/page.py", "/page.html", "//etc/passwd", "/%2e%2e/page.py"):
            assert shown.get(path)[0].status == 404
        response, body = shown.get("/")
        assert b"<script>" not in body and b"style=" not in body and b"http://" not in body and b"https://" not in body
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "Access-Control-Allow-Origin" not in response.headers
        assert shown.get("/", "HEAD")[1] == b""


def test_a_viewer_that_hangs_is_cut_and_two_hundred_connections_keep_nobody_out(alarmed):
    cells = CellValues(*[tuple(3.6 + i / 1e6 for i in range(400))] * 4)
    with Shown() as shown:
        good, hung = shown.events(), shown.events()
        shown.until(lambda: shown.page.viewers == 2)
        heard, number = b"", 0
        while not shown.served.failed:
            assert number < 3000
            # each one says something new, so that each one goes out
            alerts = (msgspec.structs.replace(alarmed[-1].alerts[0], id=str(number)),)
            shown.offer(lasting(alarmed[-1], seq=number, cells=cells, alerts=alerts))
            number += 1
            while heard.count(b"event: decision") < number:
                heard += good.recv(1 << 20)
        shown.until(lambda: shown.page.viewers == 1)
        idle = [socket.create_connection(("127.0.0.1", shown.port)) for _ in range(200)]
        assert shown.get("/")[0].status == 200
        shown.offer(alarmed[-1])
        assert good.recv(1 << 20), "whoever looks goes on looking"
        for connection in (*idle, hung, good):
            connection.close()


def test_more_viewers_than_there_is_room_for_are_told(alarmed):
    with Shown() as shown:
        viewers = [shown.events() for _ in range(VIEWERS)]
        shown.until(lambda: shown.page.viewers == VIEWERS)
        assert shown.get("/events")[0].status == 503
        for viewer in viewers:
            viewer.close()
        shown.until(lambda: shown.page.viewers == 0)
