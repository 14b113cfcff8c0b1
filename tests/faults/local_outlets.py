"""Faults of the socket, the metrics and the page: readers that hang, addresses that are taken, connections without end."""

from __future__ import annotations

import json
import shutil
import socket
import stat
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from adapter import faults
from scene import Scene

NEVER = 30.0


def tcp_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def folder():
    return Path(tempfile.mkdtemp(prefix="edgebms-local-"))


def until(holds, seconds=NEVER):
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, "never"
        time.sleep(0.02)


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=15) as answer:
        return answer.read()


def watch(port):
    """A viewer of the page; what it hears grows in the list."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=15)
    connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection


def slowest_ms(scene):
    """Longest latency of a decision since the fault began."""
    return max(entry["provenance"]["latency_us"] for entry in scene.daemon.decisions[scene.marks["begin"] :]) / 1000


def socket_reader_hangs():
    place = folder()
    path = place / "decisions.sock"
    try:
        with Scene(more=f'[outlet.socket]\npath = "{path}"') as scene:
            scene.settle()
            good, hung = (socket.socket(socket.AF_UNIX) for _ in range(2))
            for reader in (good, hung):
                reader.connect(str(path))
            numbers = []

            def read():
                numbers.extend(json.loads(line)["seq"] for line in good.makefile("rb"))

            threading.Thread(target=read, daemon=True).start()
            scene.begin()
            scene.wait(lambda entry: any(w["reason"] == "reader_cut" for w in entry["quality"]["warnings"]), 120)
            cut_s = time.monotonic() - scene.began_s
            scene.end()
            ended = len(scene.daemon.decisions)
            row = scene.row(
                "a reader of the socket hangs", "one of two readers stops reading, for good", more=f"cut off after {cut_s:.0f} s"
            )
            until(lambda: len(numbers) >= ended - scene.marks["begin"] or numbers[-1] >= scene.daemon.decisions[ended - 1]["seq"])
            missing = len(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
            row.did += f"; the other reader missed {missing} of {len(numbers)}"
            row.wrong += " the other reader missed decisions" if missing else ""
            return row
    finally:
        shutil.rmtree(place, ignore_errors=True)


def socket_path_taken():
    place = folder()
    path = place / "decisions.sock"
    try:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            with Scene(more=f'[outlet.socket]\npath = "{path}"') as scene:
                scene.settle().begin()
                scene.wait(lambda entry: "outlet_down.socket" in faults(entry))
                ours = path.stat().st_ino
                other.close()
                scene.wait(lambda entry: "outlet_down.socket" not in faults(entry), NEVER)
                scene.end()
                more = f"not stolen, replaced once stale, mode {stat.S_IMODE(path.stat().st_mode):o}"
                row = scene.row("the socket's path is taken", "another process listens there, then ends", more=more)
                row.wrong += "" if path.exists() is False and ours else " the socket was left behind"
                return row
    finally:
        shutil.rmtree(place, ignore_errors=True)


def socket_folder_missing():
    place = folder()
    path = place / "run" / "decisions.sock"
    try:
        with Scene(more=f'[outlet.socket]\npath = "{path}"') as scene:
            scene.settle().begin()
            scene.wait(lambda entry: "outlet_down.socket" in faults(entry))
            path.parent.mkdir()
            scene.wait(lambda entry: "outlet_down.socket" not in faults(entry), NEVER)
            scene.end()
            path.unlink()
            until(path.exists)
            return scene.row(
                "the socket's folder is missing", "made while it runs; then the socket is deleted", more="made again within 2 s"
            )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def metrics_port_in_use():
    port = tcp_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with Scene(more=f'[outlet.metrics]\nlisten = "127.0.0.1:{port}"') as scene:
            scene.settle().begin()
            scene.wait(lambda entry: "outlet_down.metrics" in faults(entry))
            other.close()
            scene.wait(lambda entry: "outlet_down.metrics" not in faults(entry), NEVER)
            scene.end()
            text = fetch(port, "/metrics").decode()
            row = scene.row("the metrics' port is in use", "another process listens there, then ends")
            row.wrong += "" if 'edgebms_alerts{level="critical",pack="rack-1"}' in text.replace(", ", ",") else f" no alert in {text[:300]}"
            return row


def page_viewer_hangs():
    port = tcp_port()
    with Scene(more=f'[outlet.page]\nlisten = "127.0.0.1:{port}"\n[output]\ncells_every_s = 0') as scene:
        scene.settle()
        good, hung = watch(port), watch(port)
        scene.begin()
        heard = []

        def look():
            while more := good.recv(1 << 20):
                heard.append(more.count(b"event: decision"))

        threading.Thread(target=look, daemon=True).start()
        scene.wait(lambda entry: any(w["reason"] == "viewer_cut" for w in entry["quality"]["warnings"]), 120)
        cut_s = time.monotonic() - scene.began_s
        scene.end()
        seen_by_other = sum(heard)
        row = scene.row("a viewer of the page hangs", "one of two viewers stops reading, for good", more=f"cut off after {cut_s:.0f} s")
        row.did += f"; the other saw {seen_by_other} decisions"
        row.wrong += "" if seen_by_other > 2 * cut_s else " the other viewer was starved"
        hung.close()
        return row


def page_flooded():
    port = tcp_port()
    with Scene(more=f'[outlet.page]\nlisten = "127.0.0.1:{port}"') as scene:
        scene.settle()
        viewer = watch(port)
        heard = [b""]  # read all the while: a viewer that does not read is cut, as it should be
        threading.Thread(target=lambda: [heard.append(more) for more in iter(lambda: viewer.recv(1 << 20), b"")], daemon=True).start()
        end_s = time.monotonic() + 20
        while b"event: decision" not in b"".join(heard):
            assert time.monotonic() < end_s, "the viewer was never served"
            time.sleep(0.05)
        scene.begin()
        idle = []
        for number in range(200):
            idle.append(socket.create_connection(("127.0.0.1", port), timeout=15))
            if number % 2:
                idle[-1].sendall(b"GET / HTTP/1.1\r\nHost: loc")
        page = fetch(port, "/")
        scene.end()
        before, end_s = b"".join(heard).count(b"event: decision"), time.monotonic() + 20
        while b"".join(heard).count(b"event: decision") < before + 10:
            assert time.monotonic() < end_s, "the viewer was thrown out"
            time.sleep(0.05)
        row = scene.row("the page is flooded", "200 connections that never end their request")
        row.did += f"; the page is given and its viewer goes on; slowest decision {slowest_ms(scene):.1f} ms"
        row.wrong += "" if b"<title>edgebms" in page else " no page"
        for connection in idle:
            connection.close()
        return row


FAULTS = [
    socket_reader_hangs,
    socket_path_taken,
    socket_folder_missing,
    metrics_port_in_use,
    page_viewer_hangs,
    page_flooded,
]
SHORT = [socket_path_taken, page_flooded]
