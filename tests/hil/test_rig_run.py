"""The rig as its user runs it: verbs, report, traces that replay, pytest, a bench in place of the plant's frames."""

from __future__ import annotations

import os
import subprocess
import sys
from xml.etree import ElementTree as Xml

import pytest
from shared_data import ROOT

from hil.rig.runner import run_one
from hil.rig.verbs import SCENARIOS
from hil.scenario import load


def hil(*args, timeout_s=110):
    return subprocess.run([sys.executable, "-m", "hil", *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)


pytestmark = pytest.mark.slow  # `make test-rig` runs them


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One fault, one gap that is known and one link that may be missing, with all that a run can leave."""
    out = tmp_path_factory.mktemp("rig")
    mine = out / "mine.yaml"
    text = (SCENARIOS / "voltage_sense_wire.yaml").read_text()
    mine.write_text(text.replace("name: voltage_sense_wire", "name: mine").replace("voltage_sensor, level: warning", "external_short"))
    done = hil(
        "run", "voltage_sense_wire", "bus_well_socketcan", mine, "--quiet", "--html", out / "r.html", "--junit-xml", out / "r.xml",
        "--traces", out / "traces", "--write", out / "r.md", "--keep", out / "kept",
    )  # fmt: skip
    return done, out


def test_a_run_ends_with_1_where_a_scenario_failed_and_says_why(ran):
    done, out = ran
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pass   voltage_sense_wire" in done.stdout
    assert "FAIL   mine" in done.stdout
    assert "alert hazard external_short cell 6 within 15 s of fault: never held" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert (out / "kept/mine/gateway.toml").exists()
    assert (out / "kept/mine/daemon.log").exists()


def test_junit_has_a_case_a_scenario_with_its_requirements(ran):
    _, out = ran
    suite = Xml.parse(out / "r.xml").getroot()[0]
    cases = {case.get("name"): case for case in suite}
    assert set(cases) == {"voltage_sense_wire", "bus_well_socketcan", "mine"}
    assert cases["mine"].find("failure") is not None
    assert cases["voltage_sense_wire"].find("failure") is None
    names = [p.get("value") for p in cases["voltage_sense_wire"].iter("property") if p.get("name") == "requirement"]
    assert names == ["sensor-told-from-cell"]
    assert suite.get("failures") == "1"


def test_the_page_stands_alone_and_tells_the_failure(ran):
    _, out = ran
    page = (out / "r.html").read_text()
    for told in ("voltage_sense_wire", "mine", "external_short", "Cell voltage", "Current and limits", "What the daemon said"):
        assert told in page
    assert "src=" not in page
    assert 'href="http' not in page
    assert "| `mine` | fail |" in (out / "r.md").read_text()


@pytest.mark.parametrize("suffix", ["blf", "mf4"])
def test_traces_replay_to_the_same_alerts(ran, tmp_path, suffix):
    """What BLF and MF4 tools open, edgebms takes too, and says the same."""
    from edgebms.decision.types import decode

    _, out = ran
    live = [decode(line) for line in (out / "traces/voltage_sense_wire.ndjson").read_bytes().splitlines()]
    # the configuration that the run had: the other scenario's, which differs in what it asks for alone
    config = tmp_path / "gateway.toml"
    config.write_text((out / "kept/mine/gateway.toml").read_text().split("[[bus]]")[0])
    done = subprocess.run(
        [sys.executable, "-m", "edgebms.cli.main", "replay", str(out / f"traces/voltage_sense_wire.{suffix}"), "-c", str(config)],
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    again = [decode(line) for line in done.stdout.splitlines()]

    def told(decisions):
        return {(alert.hazard, alert.cell, alert.level) for decision in decisions for alert in decision.alerts}

    def seen(decisions):
        return {(volts.min, volts.max) for decision in decisions if (volts := decision.measured.cell_voltage_v).min is not None}

    assert told(again) == told(live)
    assert seen(again) <= seen(live)
    assert len(seen(again)) > 50
    assert told(live) >= {("voltage_sensor", 6, "warning"), ("voltage_sensor", 7, "warning")}


def test_pytest_collects_scenarios_with_markers_and_reports_them(tmp_path):
    files = [SCENARIOS / f"{name}.yaml" for name in ("cold_charge_held", "bus_well_socketcan", "usb_unplugged", "voltage_sense_wire")]
    command = [sys.executable, "-m", "pytest", "-p", "hil.pytest_plugin", "-p", "no:cacheprovider", "-rA", *map(str, files)]
    collected = subprocess.run([*command, "--collect-only", "-q", "-m", "realtime"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "usb_unplugged" in collected.stdout
    assert "cold_charge_held" not in collected.stdout
    command += ["-m", "not realtime and not requires_socketcan", f"--junitxml={tmp_path}/p.xml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    text = (tmp_path / "p.xml").read_text()
    assert 'name="requirement" value="limits-hold"' in text


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("run", "no_such"), "no scenario and no file is called 'no_such'"),
        (("check", "pyproject.toml"), "pyproject.toml"),
        (("run", "cold_charge_held", "--quiet", "--hardware", "no.toml"), "no.toml"),
    ],
)
def test_bad_input_is_told_in_a_line(args, told):
    done = hil(*args, timeout_s=60)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


BENCH = '''
"""A bench: a BMS of its own that measures what it is shown, on a bus of its own."""
import can
from edgebms.telemetry.encode import Encoder
from edgebms.vocabulary import Contactor


class Bench:
    def __init__(self, channel, port, cells, probes):
        self.bus = can.Bus(interface="udp_multicast", channel=channel, port=port, ignore_config=True)
        self.encode = Encoder("edgebms", cells, probes).encode
        self.closed = True

    def contactors(self, closed):
        self.closed = closed

    def show(self, cell_voltage_v, temperature_c, current_a):
        state = Contactor.CLOSED if self.closed else Contactor.OPEN
        for f in self.encode(0, cell_voltage_v, temperature_c, current_a, float(cell_voltage_v.sum()), contactors=state):
            self.bus.send(can.Message(arbitration_id=f.arbitration_id, data=f.data, is_extended_id=False))

    def close(self):
        self.bus.shutdown()
'''


def test_a_scenario_runs_on_a_bench(tmp_path, monkeypatch):
    import socket

    import msgspec

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    (tmp_path / "rig_bench.py").write_text(BENCH)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "bench.toml"
    file.write_text(
        'emulator = "rig_bench:Bench"\n[bus]\ninterface = "udp_multicast"\nchannel = "239.74.163.80"\n'
        f'port = {port}\n[options]\nchannel = "239.74.163.80"\nport = {port}\ncells = 16\nprobes = 8\n'
    )
    scenario = msgspec.structs.replace(load(SCENARIOS / "probe_open.yaml"), duration_s=18.0, expect=(), never=())
    scenario = msgspec.structs.replace(scenario, faults=(msgspec.structs.replace(scenario.faults[0], at_s=2.0),))
    result = run_one(scenario, hardware=file)
    assert not result.skipped, result.skipped
    # nothing was asked for, so the one alert that the lost wire raises is a stranger: it came over the bench's own bus
    assert [check.asked for check in result.wrong] == ["no unlisted alert"], result.wrong
    assert "loss_of_data probe 2" in result.wrong[0].says
    assert run_one(load(SCENARIOS / "bus_silence.yaml"), hardware=file).skipped


@pytest.mark.skipif(bool(os.environ.get("SHORT")), reason="a minute: the long form of make test-rig")
def test_a_board_at_a_port_takes_the_emulated_ones_place(tmp_path):
    """The port is a pseudo-terminal here; behind it runs the same firmware, as it would behind a USB port."""
    from hil.rig.mcu_board import FIRMWARE_BUILD, PATIENT, QemuBoard, image

    short = tmp_path / "short.yaml"
    text = (SCENARIOS / "mcu_well.yaml").read_text().replace("mcu_well", "short").replace("duration_s: 15", "duration_s: 2")
    short.write_text(text.split("expect:")[0] + "expect:\n  - plant: current_zero\n    within_s: 0\n")
    board = QemuBoard(image(FIRMWARE_BUILD, PATIENT), tmp_path)
    os.close(board.front_end)
    board.front_end = -1
    try:
        # its front end is silent after a run, so the firmware opens: the next run begins with a person's reset
        hil("run", short, "--quiet", "--port", board.port, "--front-end", board.front_end_port)
        done = hil("run", "mcu_forged", "--quiet", "--port", board.port, "--front-end", board.front_end_port)
        again = hil("run", "mcu_reset", "mcu_counter_wrap", "--quiet", "--port", board.port, "--front-end", board.front_end_port)
    finally:
        board.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass   mcu_forged" in done.stdout
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0 failed, 2 skipped" in again.stdout  # what nobody may do to a real board
    assert "real board's key" in again.stdout


def test_a_port_that_is_not_there_is_a_skip_with_its_reason():
    done = hil("run", "mcu_forged", "--quiet", "--port", "/dev/no-such-port")
    assert done.returncode == 0
    assert "skip" in done.stdout
    assert "no-such-port" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
