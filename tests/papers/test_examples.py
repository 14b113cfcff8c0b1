"""The example scripts, run as a user runs them, on the shipped demo log."""

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run(arguments, **settings):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=110, check=False, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_watch_says_each_change_once():
    golden = (ROOT / "tests" / "golden" / "decisions" / "opening.ndjson").read_text()
    told = run([EXAMPLES / "watch.py"], input=golden * 2).splitlines()
    assert [line.partition(": ")[2].partition(",")[0] for line in told[:2]] == [
        "critical thermal_runaway at cell 4; command: stop_discharge",
        "critical thermal_runaway at cell 4; command: open_contactors",
    ]
    assert len(told) == 4, "four decisions twice, two changes each time"


def test_the_line_in_python_replays_and_explains():
    with resources.as_file(resources.files("edgebms") / "catalogue" / "demo") as folder:
        told = run([EXAMPLES / "in_python.py", folder / "demo.log.gz", folder / "gateway.toml"])
    frames, decisions = map(int, re.search(r"(\d+) frames, (\d+) decisions", told).groups())
    assert frames > 10 * decisions > 5000, "one decision a second of ten minutes, from a dozen frames each"
    assert "internal short at cell 11" in told
