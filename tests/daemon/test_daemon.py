"""``edgebms run`` as a process: fed over SLCAN on a pseudo-terminal, watched by a service manager."""

import json
import signal
import threading
import time

import pytest
from adapter import PACK, Adapter, Manager, Pack, Process, faults, seen, slcan_config, slcan_line
from lines import CELLS, PROBES

from edgebms.daemon import Daemon
from edgebms.notify import Notify
from edgebms.outlets import Opened
from edgebms.telemetry.encode import Encoder


@pytest.fixture
def adapter(tmp_path):
    return Adapter(tmp_path / "ttyUSB0")


def feed(adapter):
    return lambda frames: adapter.write(b"".join(map(slcan_line, frames)))


def test_frames_on_a_serial_adapter_become_decisions_and_sigterm_ends_it_cleanly(tmp_path, adapter):
    with Process(tmp_path, slcan_config(adapter.path)) as daemon:
        said = adapter.wait_open()
        assert said.endswith(b"C\rS6\rZ0\rL\r"), "listen-only, at the bus's speed"
        with Pack(feed(adapter)) as pack:
            decision, _ = daemon.wait(seen)
            assert decision["measured"]["current_a"] == pytest.approx(-5.0)
            assert decision["alerts"] == []
            time.sleep(1.0)
        time.sleep(0.2)
        assert daemon.stop() == 0
        whole = [entry for entry in daemon.decisions if seen(entry)]
        assert len(whole) >= pack.sweeps - 1, "a decision for every sweep"
        assert "STOPPING=1" in daemon.manager.drain()


def test_without_frames_there_is_an_alert_and_hardly_any_work(tmp_path, adapter):
    config = slcan_config(adapter.path).replace("probes = 4", "probes = 4\nstartup_s = 1")
    with Process(tmp_path, config, watchdog_s=2.0) as daemon:
        decision, _ = daemon.wait(lambda entry: entry["alerts"])
        assert decision["alerts"][0]["hazard"] == "loss_of_data"
        assert decision["measured"]["voltage_v"] is None
        before_s = daemon.cpu_s()
        time.sleep(2.0)
        assert daemon.cpu_s() - before_s < 0.2, "it sleeps until a frame or the next tick"
        assert sum("WATCHDOG=1" in message for message in daemon.manager.drain()) >= 2, "fed by the decisions of a silent pack too"
        assert daemon.stop() == 0


def test_an_adapter_that_vanishes_is_an_alert_of_the_gateway_and_is_taken_up_again(tmp_path, adapter):
    with Process(tmp_path, slcan_config(adapter.path)) as daemon, Pack(feed(adapter)):
        daemon.wait(seen)
        adapter.vanish()
        decision, _ = daemon.wait(lambda entry: "link_down.can0" in faults(entry), since=len(daemon.decisions))
        assert decision["command"]["limits"]["charge_a"] == 0 and decision["measured"]["cell_voltage_v"]["max"] is None
        (alert,) = [entry for entry in decision["alerts"] if entry["hazard"] == "gateway_fault"]
        assert alert["raised_by"] == ["gateway"] and alert["level"] == "warning"
        assert {"signal": "gateway.can0", "reason": "link_down"} in [
            {key: entry[key] for key in ("signal", "reason")} for entry in decision["quality"]["warnings"]
        ]
        adapter.plug_in()
        daemon.wait(seen, since=len(daemon.decisions))
        assert daemon.stop() == 0


def test_a_bad_configuration_at_start_is_one_sentence(tmp_path):
    for text, code, word in [("[[pack]]\n", 3, "missing"), (slcan_config("/dev/null").replace('"lg_hg2"', '"nosuch"'), 5, "nosuch")]:
        (tmp_path / "notify").unlink(missing_ok=True)
        daemon = Process(tmp_path, text)
        try:
            assert daemon.process.wait(20) == code
            assert word in daemon.stderr() and "Traceback" not in daemon.stderr()
            assert len(daemon.stderr().splitlines()) == 1
        finally:
            daemon.__exit__()


def test_a_configuration_without_a_bus_cannot_run(tmp_path):
    daemon = Process(tmp_path, slcan_config("x").partition("[[bus]]")[0])
    try:
        assert daemon.process.wait(20) == 3
        assert "names no bus" in daemon.stderr()
    finally:
        daemon.__exit__()


def reload(daemon, text=None):
    """SIGHUP, and what systemd was told."""
    if text is not None:
        daemon.config.write_text(text)
    daemon.manager.drain()
    daemon.signal(signal.SIGHUP)
    message = daemon.manager.wait("RELOADING=1")
    assert "MONOTONIC_USEC=" in message, "in the same message"
    daemon.manager.wait("READY=1")
    time.sleep(0.2)  # what was decided before is through the pipe by now
    return len(daemon.decisions)


def test_a_bad_new_configuration_keeps_the_old_one_and_alerts_until_it_is_mended(tmp_path, adapter):
    good = slcan_config(adapter.path)
    with Process(tmp_path, good) as daemon, Pack(feed(adapter)):
        daemon.wait(seen)
        since = reload(daemon, good + "\nnonsense = 1\n")
        decision, _ = daemon.wait(lambda entry: "config_refused" in faults(entry), since=since)
        assert seen(decision), "and it goes on"
        since = reload(daemon, good + '[output]\nndjson = "/nonexistent/decisions"\n')
        assert "config_refused" in faults(daemon.wait(seen, since=since)[0]), "an outlet that cannot be opened is refused as well"
        since = reload(daemon, good)
        daemon.wait(lambda entry: not entry["alerts"], since=since)
        sequence = [entry["seq"] for entry in daemon.decisions]
        assert sequence == list(range(len(sequence))), "no decision was left out or started over"
        assert daemon.stop() == 0


def test_a_reload_keeps_latches_and_filter_and_takes_the_new_settings(tmp_path, adapter):
    good = slcan_config(adapter.path)
    with Process(tmp_path, good) as daemon, Pack(feed(adapter)) as pack:
        daemon.wait(seen)
        pack.current_a = -2000.0  # external_short latches
        before, _ = daemon.wait(lambda entry: any(alert["latched"] for alert in entry["alerts"]))
        pack.current_a = -5.0
        (latched,) = [alert for alert in before["alerts"] if alert["latched"]]
        since = reload(daemon, good.replace("[students]", '[site]\nkind = "grid_tied"\n[students]'))
        after, _ = daemon.wait(lambda entry: entry["command"]["mode"] == "command" and entry["alerts"], since=since)
        assert latched["id"] in [alert["id"] for alert in after["alerts"]]
        assert after["seq"] > before["seq"]
        # another threshold: the line is another one, what stands in the guard is not
        since = reload(daemon, good.replace("parallel = 10", "parallel = 10\nthresholds = { hot_spot = 12 }"))
        after, _ = daemon.wait(seen, since=since)
        assert latched["hazard"] in [alert["hazard"] for alert in after["alerts"] if alert["latched"]]
        assert daemon.stop() == 0


def test_a_reload_opens_a_bus_that_is_new_and_leaves_the_others_alone(tmp_path, adapter):
    second = Adapter(tmp_path / "ttyUSB1")
    one = slcan_config(adapter.path, pack=PACK + 'channel = "can0"\n')
    two = (
        one
        + PACK.replace("rack-1", "rack-2")
        + 'channel = "can1"\n'
        + slcan_config(second.path, pack="").partition("[students]")[0].replace("can0", "can1")
    )
    with Process(tmp_path, one) as daemon, Pack(feed(adapter)), Pack(feed(second)):
        daemon.wait(seen)
        since = reload(daemon, two)
        daemon.wait(lambda entry: entry["pack"] == "rack-2" and seen(entry), since=since)
        sequence = [entry["seq"] for entry in daemon.decisions if entry["pack"] == "rack-1"]
        assert sequence == list(range(len(sequence))), "the first pack's bus was not closed for it"
        assert daemon.stderr().count("bus can0: open") == 1
        since = reload(daemon, one)
        time.sleep(0.5)
        assert {entry["pack"] for entry in daemon.decisions[since:]} == {"rack-1"}
        assert daemon.stop() == 0


class Collector:
    name = "collector"
    dropped = lost_changes = failed = 0

    def __init__(self):
        self.decisions = []

    def offer(self, decision, line):
        self.decisions.append(json.loads(line))

    def faults(self, now_ns):
        return ()

    def close(self):
        pass


@pytest.fixture
def inside(tmp_path, adapter):
    """The daemon in this process, its loop in a thread, so that a part of it can be broken."""
    (tmp_path / "gateway.toml").write_text(slcan_config(adapter.path))
    manager = Manager(tmp_path)
    daemon = Daemon(tmp_path / "gateway.toml", Notify({"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}))
    collector = Collector()
    daemon._outlets = {"collector": Opened(None, collector)}
    daemon._buses.use(daemon._config)
    ended = []

    def serve():
        try:
            daemon._serve()
        except RuntimeError as error:
            ended.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    yield daemon, collector, manager, ended
    daemon._on_stop(0, None)
    thread.join()
    daemon._close()
    manager.socket.close()


def until(predicate, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_line_that_fails_is_built_anew_told_and_does_not_feed_the_watchdog(inside, adapter):
    daemon, collector, manager, ended = inside
    with Pack(feed(adapter)):
        until(lambda: any(map(seen, collector.decisions)))
        manager.wait("WATCHDOG=1")
        (line,) = daemon._lines.values()
        release = threading.Event()

        def hang(*args):
            release.wait(10)
            raise ZeroDivisionError("a fault of ours")

        line.pipeline.step = hang
        time.sleep(0.2)
        manager.drain()
        time.sleep(0.5)
        count = len(manager.heard)
        assert len(manager.drain()) == count, "no decision, no watchdog: systemd would start it anew"
        release.set()
        until(lambda: any("line_failed" in faults(entry) and seen(entry) for entry in collector.decisions))
        manager.wait("WATCHDOG=1")
        assert not ended


def test_one_packs_failing_line_costs_the_other_pack_nothing(tmp_path, adapter):
    second = Adapter(tmp_path / "ttyUSB1")
    one = slcan_config(adapter.path, pack=PACK + 'channel = "can0"\n')
    other = PACK.replace("rack-1", "rack-2") + 'channel = "can1"\n'
    (tmp_path / "gateway.toml").write_text(
        one + other + slcan_config(second.path, pack="").partition("[students]")[0].replace("can0", "can1")
    )
    daemon = Daemon(tmp_path / "gateway.toml", Notify({}))
    kept, broken = daemon._lines["rack-1"], daemon._lines["rack-2"]
    frames = Encoder("edgebms", CELLS, PROBES, channel="can1").encode(0, [3.7] * CELLS, [25.0] * PROBES, -5.0, 3.7 * CELLS)
    broken.assembler.push = lambda frame: 1 / 0
    try:
        daemon._loop.frame(frames[0])
    except ZeroDivisionError:
        daemon._failed()
    assert daemon._lines["rack-1"].pipeline is kept.pipeline
    assert daemon._lines["rack-2"].pipeline is not broken.pipeline
    daemon._loop.frame(frames[0])  # and it is well again


def test_a_line_that_fails_again_and_again_ends_the_process(inside, adapter):
    daemon, _, _, ended = inside

    def fail(*args):
        raise ZeroDivisionError("a fault of ours")

    build = daemon._build

    def build_broken(config):
        lines = build(config)
        for line in lines.values():
            line.pipeline.step = fail
        return lines

    daemon._build = build_broken
    next(iter(daemon._lines.values())).pipeline.step = fail
    with Pack(feed(adapter)):
        until(lambda: ended)
