"""Whatever a user hands the command, the answer is one clear sentence and a stated exit code."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from edgebms.cli.main import main

GOOD = '[[pack]]\nname = "rack-1"\nprofile = "edgebms"\ncard = "lg_hg2"\ncells = 16\nprobes = 4\n'


def edgebms(tmp_path, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "edgebms.cli", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """The same command without a process for each case: what it does not catch fails the test as it stands."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        code = main(arguments)
        said = capfd.readouterr()
        assert "Traceback" not in said.err + said.out, said.err
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return run


def config_cases():
    yield "not TOML", "[[pack\n", "not valid TOML"
    yield "empty", "", "pack"
    yield "unknown key", GOOD + 'colour = "red"\n', "colour"
    yield "wrong type", GOOD.replace("16", '"sixteen"'), "pack[0].cells"
    yield "out of range", GOOD.replace("cells = 16", "cells = 0"), "pack[0].cells"
    yield "twins", GOOD + GOOD, "two packs"
    yield "probe map too short", GOOD + "probe_of_cell = [1, 2]\n", "2 entries for 16 cells"
    yield "probe beyond", GOOD + f"probe_of_cell = {[5] * 16}\n", "probe 5"
    yield "NaN period", GOOD + "period_s = nan\n", "period_s"
    yield "bad site", GOOD + '[site]\nkind = "moon"\n', "site.kind"


@pytest.mark.parametrize(("text", "says"), [pytest.param(text, says, id=name) for name, text, says in config_cases()])
def test_a_bad_config_is_named_with_file_and_field(tmp_path, here, text, says):
    (tmp_path / "gateway.toml").write_text(text)
    done = here("check", "-c", "gateway.toml")
    assert done.returncode == 3, done.stderr
    assert "gateway.toml" in done.stderr and says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_config_that_is_not_there_or_not_text(tmp_path):
    assert edgebms(tmp_path, "check", "-c", "none.toml").returncode == 3
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    assert edgebms(tmp_path, "check", "-c", "binary.toml").returncode == 3
    assert edgebms(tmp_path, "check", "-c", ".").returncode == 3


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (('profile = "edgebms"', 'profile = "acme"'), 4, "known:"),
        (('profile = "edgebms"', 'profile = "missing.toml"'), 4, "missing.toml"),
        (('card = "lg_hg2"', 'card = "unobtainium"'), 5, "known:"),
        (('card = "lg_hg2"', 'card = "missing.toml"'), 5, "missing.toml"),
        (("probes = 4\n", 'probes = 4\nlimits = "none"\n'), 3, "none"),
        (("probes = 4\n", "probes = 4\nthresholds = { no_such_row = 1.0 }\n"), 3, "no_such_row"),
        (("probes = 4\n", 'probes = 4\n[students]\nstate = "absent.onnx"\n'), 7, "absent.onnx"),
    ],
)
def test_check_names_each_wrong_part_and_goes_on(tmp_path, here, change, code, says):
    (tmp_path / "gateway.toml").write_text(GOOD.replace(*change))
    done = here("check", "-c", "gateway.toml")
    assert done.returncode == code, done.stdout + done.stderr
    assert "WRONG" in done.stdout and says in done.stdout


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("noise.log", bytes(range(256)) * 20),
        ("noise.asc", b"\xff\xfe nonsense \x00" * 50),
        ("noise.blf", b"LOGG but not a log" * 10),
        ("noise.trc", b";$FILEVERSION=9.9\n1) what\n"),
        ("noise.parquet", b"PAR1 but no table PAR1"),
        ("noise.unknown", b"1 2 3"),
    ],
)
def test_a_log_that_is_noise_is_one_sentence(tmp_path, here, name, content):
    (tmp_path / "gateway.toml").write_text(GOOD)
    (tmp_path / name).write_bytes(content)
    done = here("replay", name, "-c", "gateway.toml")
    assert done.returncode == 6, (done.returncode, done.stderr)
    assert name in done.stderr


def test_a_missing_log_a_folder_and_a_bad_speed(tmp_path):
    (tmp_path / "gateway.toml").write_text(GOOD)
    (tmp_path / "ok.log").write_text("(1.0) can0 123#00\n")
    assert edgebms(tmp_path, "replay", "gone.log", "-c", "gateway.toml").returncode == 6
    assert edgebms(tmp_path, "replay", ".", "-c", "gateway.toml").returncode == 6
    assert edgebms(tmp_path, "replay", "ok.log", "-c", "gateway.toml", "--speed", "warp").returncode == 3


def test_wrong_usage_is_2_and_help_lists_the_exit_codes(tmp_path):
    assert edgebms(tmp_path).returncode == 2
    assert edgebms(tmp_path, "frobnicate").returncode == 2
    assert "exit codes" in edgebms(tmp_path, "--help").stdout


def test_a_reader_that_goes_away_ends_the_replay_quietly(tmp_path):
    (tmp_path / "gateway.toml").write_text(GOOD)
    (tmp_path / "long.log").write_text("".join(f"({1000 + i}.0) can0 7FF#00\n" for i in range(3000)))
    command = f"{sys.executable} -m edgebms.cli replay long.log -c gateway.toml --quiet | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith('{"schema":"edgebms.decision/1"')
