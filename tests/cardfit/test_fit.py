"""A card fitted to logs of a known cell is that cell; what logs do not tell is said, and bad logs are one sentence."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgebms.cardfit.card import fit_card
from edgebms.cardfit.joint import rising
from edgebms.cardfit.log import kinds, read_log
from edgebms.cellcard import load_card
from edgebms.cli.main import main
from edgebms.errors import LogError
from edgebms.estimator.cell_model import CellModel
from edgebms.vocabulary import Chemistry

sys.path.insert(0, str(Path(__file__).parent.parent / "estimator"))
from simulated import simulate

TRUE = load_card("dmegc_inr18650")
AH = TRUE.capacity_ah
FALLBACK = load_card("generic_nmc")


def pulses(step_s=1.0):
    """HPPC in short: at each tenth of SOC a rest, a 1 C pulse of 30 s, a rest; 0.5 C between."""
    rest, pulse, move = np.zeros(int(600 / step_s)), np.full(int(30 / step_s), -AH), np.full(int(660 / step_s), -AH / 2)
    return np.concatenate([np.concatenate([rest, pulse, np.zeros(int(300 / step_s)), -0.5 * pulse, rest, move]) for _ in range(10)])


def write_log(path, current, dt_s, temperature=True, labels=False, gap=None):
    """A CSV log of the true cell from full."""
    _, voltage = simulate(TRUE, 1.0, current, dt_s, noise_v=0.0005)
    names = ["Test Time / s", "Voltage / V", "Current / A"] if labels else ["test_time_second", "voltage_volt", "current_ampere"]
    time_s = np.arange(current.size) * dt_s
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(names + (["temperature_t1_celsius"] if temperature else []))
        for k in range(current.size):
            if gap is None or not gap[0] <= k < gap[1]:
                out.writerow([f"{time_s[k]:.1f}", f"{voltage[k]:.5f}", f"{current[k]:.5f}"] + (["25.0"] if temperature else []))
    return path


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    slow = np.concatenate([np.zeros(30), np.full(19 * 60, -AH / 20)])
    return {
        "slow": write_log(folder / "slow.csv", slow, 60.0),
        "pulses": write_log(folder / "pulses.csv", pulses(), 1.0, labels=True),
        "constant": write_log(folder / "constant.csv", np.concatenate([np.zeros(60), np.full(3300, -AH)]), 1.0),
    }


def fitted(paths, **more):
    arguments = {"reference_ah": AH, "fallback": FALLBACK} | more
    return fit_card([read_log(path, AH) for path in paths], "x", "a cell", Chemistry.NMC, AH, limits=TRUE.limits, **arguments)


@pytest.fixture(scope="module")
def whole(logs):
    """The fit to all logs, made once."""
    return fitted(logs.values())


def test_the_fit_recovers_the_cell_it_was_recorded_from(whole):
    result = whole
    soc = np.linspace(0.15, 0.9, 16)
    room = np.full(soc.size, 25.0)
    true, got = CellModel(TRUE, soc.size), CellModel(result.card, soc.size)
    # The log cannot tell the branches apart (it only discharges): compare the discharge branch.
    true_ocv = true.ocv_v(soc, room) - np.interp(soc, TRUE.ocv.voltage.soc, TRUE.ocv.hysteresis_v)
    got_ocv = got.ocv_v(soc, room) - np.interp(soc, result.card.ocv.voltage.soc, result.card.ocv.hysteresis_v)
    assert np.sqrt(np.mean((got_ocv - true_ocv) ** 2)) < 0.006
    for seconds, tolerance in ((1.0, 0.1), (30.0, 0.1), (600.0, 0.2)):
        ratio = got.resistance_ohm(soc, room, 1.0, seconds) / true.resistance_ohm(soc, room, 1.0, seconds)
        assert np.abs(np.median(ratio) - 1) < tolerance, seconds
    assert result.card.quality == "fitted"
    assert "slow" in result.card.ocv.voltage.source


def test_it_tells_what_each_log_holds(logs, whole):
    told = {name: kinds(read_log(path, AH), AH) for name, path in logs.items()}
    assert told["slow"].slow_discharge and not told["slow"].pulses
    assert told["pulses"].pulses >= 10 and not told["pulses"].constant_c
    assert told["constant"].constant_c == pytest.approx(1.0, abs=0.05)
    assert any("pulses.csv" in line or line.startswith("pulses:") for line in whole.found)


def test_without_pulses_the_resistances_are_the_fallbacks_and_marked_so(logs, whole):
    result = fitted([logs["slow"]])
    assert "fallback generic_nmc" in result.card.resistance_ohm.source
    assert any("no log with pulses" in line for line in result.missing)
    scale = FALLBACK.capacity_ah / AH
    assert result.card.resistance_ohm.value[0][0] == pytest.approx(FALLBACK.resistance_ohm.value[0][0] * scale)
    assert result.card.accuracy.resistance > whole.card.accuracy.resistance


def test_what_was_not_recorded_cold_is_the_fallbacks_ratio_and_said(whole):
    result = whole
    assert any("generic_nmc's ratio over temperature" in line for line in result.missing)
    assert result.card.resistance_ohm.temperature_c[0] <= -20
    assert result.card.accuracy.voltage_v.value[0][6] >= result.card.accuracy.voltage_v.value[-1][6]


def test_the_reference_capacity_is_the_slow_discharges_or_said_to_be_nominal(logs):
    assert fitted([logs["slow"]], reference_ah=None).card.capacity_ah == pytest.approx(0.95 * AH, rel=0.01)
    result = fitted([logs["pulses"]], reference_ah=None)
    assert result.card.capacity_ah == pytest.approx(AH)
    assert any("nominal capacity" in line for line in result.missing)


def test_a_log_that_does_not_start_full_is_left_out_and_said(logs, tmp_path):
    text = logs["pulses"].read_text().splitlines()
    half = tmp_path / "half.csv"
    half.write_text("\n".join([text[0], *text[len(text) // 2 :]]))
    result = fitted([logs["slow"], half])
    assert any(line.startswith("half: left out") for line in result.missing)
    with pytest.raises(LogError, match="full charge"):
        fitted([half])


def test_without_a_temperature_room_is_assumed_and_said(tmp_path):
    path = write_log(tmp_path / "bare.csv", pulses(5.0), 5.0, temperature=False)
    result = fitted([path])
    assert any("(assumed)" in line for line in result.found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column"),
        ("test_time_second,voltage_volt\n0,3.7\n", "current_ampere"),
        ("test_time_second,voltage_volt,current_ampere\n", "fewer than three rows"),
        ("test_time_second,voltage_volt,current_ampere\n0,4,0\n1,4,0\n1,4,0\n2,4,0\n", "does not rise"),
        ("test_time_second,voltage_volt,current_ampere\n0,4,9e9\n1,4,0\n2,4,0\n", "beyond 100 C"),
        ("test_time_second,voltage_volt,current_ampere\n0,x,y\n1,,\n2,4\n", "fields"),
        ("test_time_second,voltage_volt,current_ampere\n" + "".join(f"{t},4.15,0\n" for t in range(50)), "no log from a full charge"),
    ],
)
def test_a_bad_log_is_one_sentence_with_its_exit_code(text, words, tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    code = main(["fit", str(path), "--name", "x", "--cell", "y", "--chemistry", "NMC", "--capacity", "2.5"])
    said = capsys.readouterr().err
    assert code == 6 and words in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--capacity", "0"], 5),
        (["--capacity", "nan"], 5),
        (["--capacity", "2.5", "--reference", "-1"], 5),
        (["--capacity", "2.5", "--voltage", "4", "3"], 5),
        (["--capacity", "2.5", "--fallback", "nothing"], 5),
        (["--capacity", "2.5", "-o", "/no/such/folder/card.toml"], 5),
        (["--capacity", "2.5", "--plot", "/no/such/folder/fit.png"], 5),
    ],
)
def test_a_bad_option_is_one_sentence(more, code, logs, capsys):
    assert main(["fit", str(logs["slow"]), "--name", "x", "--cell", "y", "--chemistry", "NMC", *more]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_file_is_one_sentence(capsys):
    assert main(["fit", "nope.csv", "--name", "x", "--cell", "y", "--chemistry", "NMC", "--capacity", "2.5"]) == 6
    assert "no such file" in capsys.readouterr().err


def test_the_command_writes_a_card_that_loads_and_a_plot(logs, tmp_path):
    card, picture = tmp_path / "card.toml", tmp_path / "fit.png"
    command = [
        sys.executable,
        "-m",
        "edgebms.cli.main",
        "fit",
        *map(str, logs.values()),
        "--name",
        "mine",
        "--cell",
        "my cell",
        "--chemistry",
        "NMC",
    ]
    done = subprocess.run(
        [*command, "--capacity", "2.75", "-o", str(card), "--plot", str(picture)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert load_card(str(card)).cell == "my cell"
    assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 10_000
    for word in ("found", "missing", "mV"):
        assert word in done.stderr


def test_a_gap_in_which_charge_flowed_is_bridged(tmp_path):
    """Panasonic's pulse logs omit the discharges between pulses: net_capacity_ah tells what flowed."""
    current = np.concatenate([np.zeros(300), np.full(360, -AH), np.zeros(1000), np.full(10, -AH), np.zeros(100)])
    net = np.cumsum(current) / 3600
    path = tmp_path / "gap.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["test_time_second", "voltage_volt", "current_ampere", "net_capacity_ah"])
        for k in range(current.size):
            if not 300 <= k < 1600:
                out.writerow([k, 4.0, current[k], net[k]])
    log = read_log(path, AH)
    counted = np.sum(log.current_a * np.diff(log.time_s, prepend=0.0)) / 3600
    assert counted == pytest.approx(net[-1], rel=0.01)
    assert np.isnan(log.voltage_v).sum() == 2


def test_rising_is_the_nearest_curve_that_does_not_fall():
    assert rising(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])).tolist() == [2.0, 2.0, 2.0]
    assert rising(np.array([1.0, 2.0]), np.ones(2)).tolist() == [1.0, 2.0]
