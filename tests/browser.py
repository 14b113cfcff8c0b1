"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import websockets.sync.client
from shared_data import ROOT, missing

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--mute-audio",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
]


class Browser:
    """One window. ``value(script)`` evaluates in it; ``until(script)`` waits until it is true."""

    def __init__(self):
        subprocess.run([ROOT / "packaging/need.sh", "chromium", "chromium"], check=False)
        program = shutil.which("chromium")
        if program is None:
            missing("chromium is missing (apt install chromium)")
        self.folder = Path(tempfile.mkdtemp(prefix="edgebms-browser-"))
        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self.folder}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port = self._port()
        with contextlib.closing(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30)) as answer:
            target = next(entry for entry in json.load(answer) if entry["type"] == "page")
        self.closing = contextlib.ExitStack()
        connection = websockets.sync.client.connect(target["webSocketDebuggerUrl"], max_size=64 * 2**20, proxy=None, ping_interval=None)
        self.socket = self.closing.enter_context(connection)
        self.number = 0
        self.said = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _port(self, timeout_s=60):
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            with contextlib.suppress(OSError, IndexError, ValueError):
                return int((self.folder / "DevToolsActivePort").read_text().split()[0])
            assert self.process.poll() is None, "the browser ended"
            time.sleep(0.05)
        raise AssertionError("the browser does not answer")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(Exception):
            self.call("Browser.close")
            self.closing.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method, **params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.said.append(message)

    def value(self, script):
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script, timeout_s=30.0):
        """The first value of ``script`` that is true."""
        end_s = time.monotonic() + timeout_s
        while not (found := self.value(script)):
            assert time.monotonic() < end_s, f"never: {script}; the page: {self.value('document.body?.innerText')}"
            time.sleep(0.03)
        return found

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def size(self, width, height=900, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def press(self, key):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"ArrowRight": 39, "Tab": 9}[key])

    def screenshot(self, path, whole=True):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """What the browser found wrong: exceptions, violations of the page's own policy, failed loads."""
        self.value("1")
        return [
            message["params"]
            for message in self.said
            if message["method"] == "Runtime.exceptionThrown"
            or (message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] in ("error", "warning"))
        ]

    def foreign(self, host):
        """Addresses asked for that are not ``host``'s."""
        asked = [m["params"]["request"]["url"] for m in self.said if m["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith((f"http://{host}/", "about:", "data:"))]
