"""``edgebms demo`` as a person meets it: in a pipe, in a terminal, in a narrow one without colour."""

from __future__ import annotations

import os
import pty
import re
import resource
import subprocess
import sys
from importlib import resources
from itertools import groupby

import numpy as np
import pytest

from edgebms import config
from edgebms.inlet.logfile import LogFile
from edgebms.telemetry.assembler import Assembler
from edgebms.telemetry.profile import load_profile
from hil import record_demo

DEMO = (sys.executable, "-m", "edgebms.cli", "demo")


def seconds(clock: str) -> int:
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + int(rest)


@pytest.fixture(scope="module")
def piped() -> tuple[str, str, int, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=100, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, done.stderr, done.returncode, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def in_terminal(columns: int, **environment: str) -> str:
    """What a terminal of ``columns`` received, at the fastest speed."""
    parent, child = pty.openpty()
    surroundings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40", **environment}
    process = subprocess.Popen(
        [*DEMO, "--speed", "max"], stdin=child, stdout=child, stderr=subprocess.DEVNULL, env=surroundings, close_fds=True
    )
    os.close(child)
    received = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:
            break
        if not piece:
            break
        received += piece
    os.close(parent)
    assert process.wait(60) == 0
    return received.decode()


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_story_is_told_from_healthy_to_the_explanation(piped):
    out, err, code, took_s = piped
    assert code == 0, err
    assert took_s < 15
    assert "Traceback" not in out + err
    first_lines = [line for line in out.splitlines() if re.match(r"[01]:\d\d ", line)]
    assert first_lines
    assert all("command none" in line for line in first_lines)  # nothing is said of a healthy pack
    assert "CRITICAL internal short, cell 11" in out
    assert "command open contactors (command)" in out
    assert re.search(r"Alert +CRITICAL: internal short, cell 11", out)
    assert re.search(r"Command +open contactors \(command\) at \d", out)
    explanation = out.partition("Why, at ")[2]
    assert "CRITICAL: internal short at cell 11" in explanation
    assert "Command: open the contactors." in explanation


def test_the_command_comes_minutes_before_the_runaway(piped):
    out = piped[0]
    commanded = seconds(re.search(r"Command .* at (\d+:\d\d)", out)[1])
    runaway = seconds(re.search(r"thermal runaway (\d+:\d\d), that is", out)[1])
    onset = record_demo.SHORT.onset_s
    assert onset < commanded < runaway
    assert runaway - commanded >= 120
    # No alert before the short is there.
    first_alert = min(seconds(line.split()[0]) for line in out.splitlines() if re.match(r"\d+:\d\d +(WATCH|WARNING|CRITICAL)", line))
    assert first_alert > onset


def test_lines_in_a_pipe_are_plain(piped):
    assert "\x1b" not in piped[0]


def test_a_reader_that_goes_away_is_no_failure():
    process = subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    complaint = process.stderr.read().decode()
    assert process.wait(60) == 0
    assert "Traceback" not in complaint
    assert "Error" not in complaint


def test_in_a_terminal_a_table_stands_still():
    received = in_terminal(100)
    assert "\x1b[1A" in received  # it is drawn again over itself
    shown = without_escapes(received)
    for label in ("time", "pack", "cells", "heat", "limits", "command", "alerts"):
        assert re.search(rf"\b{label} ", shown), label
    assert "\u2588" in shown  # the bars
    assert "Why, at " in shown


def test_a_narrow_terminal_without_colour_and_without_unicode():
    received = in_terminal(50, NO_COLOR="1", PYTHONIOENCODING="ascii")
    assert received.isascii()
    assert not re.search(r"\x1b\[[0-9;]*3[0-7][0-9;]*m|\x1b\[[0-9;]*38;", received)
    for line in re.split(r"[\r\n]+", without_escapes(received)):
        assert len(line.rstrip()) <= 50, line
    assert "Why, at " in received


def test_the_log_is_small_and_the_recipes():
    """The recipe in the repo still tells the recorded story: same sweeps, values within what a refitted card moves."""
    folder = resources.files("edgebms") / "catalogue" / "demo"
    with resources.as_file(folder / "demo.log.gz") as path:
        assert path.stat().st_size < 300_000
        shipped = list(LogFile(path))
    settings = config.parse((folder / "gateway.toml").read_text(encoding="utf-8"))
    pack = settings.pack[0]

    def sweeps(frames):
        assembler = Assembler(load_profile(pack.profile, pack), pack)
        return [snapshot for frame in frames if (snapshot := assembler.push(frame)) is not None]

    again = list(record_demo.frames())
    assert again == list(record_demo.frames())
    ours, theirs = sweeps(again), sweeps(shipped)
    assert all(snapshot.complete for snapshot in theirs)
    assert abs(len(ours) - len(theirs)) <= 20
    healthy = int(record_demo.SHORT.onset_s)
    for mine, its in list(zip(ours, theirs, strict=False))[:healthy]:
        assert mine.time_ns == its.time_ns
        moved_v = np.abs(mine.cell_voltage_v - its.cell_voltage_v).max()
        assert moved_v < 0.03, "the card of the cell has changed: record the demo again with python -m hil record-demo"
        assert np.abs(mine.temperature_c - its.temperature_c).max() < 0.5
        assert mine.current_a.value == pytest.approx(its.current_a.value, abs=0.1)


def test_the_recording_is_a_pack_with_one_bad_cell():
    """Cell 11 and nobody else falls away, and its probe and no other is hot before runaway."""
    folder = resources.files("edgebms") / "catalogue" / "demo"
    settings = config.parse((folder / "gateway.toml").read_text(encoding="utf-8"))
    pack = settings.pack[0]
    assembler = Assembler(load_profile(pack.profile, pack), pack)
    with resources.as_file(folder / "demo.log.gz") as path:
        snapshots = [snapshot for frame in LogFile(path) if (snapshot := assembler.push(frame)) is not None]
    late = snapshots[420]
    away = late.cell_voltage_v - np.median(late.cell_voltage_v)
    assert np.flatnonzero(np.abs(away) > 0.03).tolist() == [record_demo.SHORT.cell]
    assert away[record_demo.SHORT.cell] < 0
    hot = late.temperature_c - np.median(late.temperature_c)
    assert np.flatnonzero(hot > 5).tolist() == [record_demo.SHORT.cell // 2]
    assert [key for key, _ in groupby(snapshot.contactors for snapshot in snapshots)] == ["closed"]
