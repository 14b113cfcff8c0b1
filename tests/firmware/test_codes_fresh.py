"""The committed codes are what the vocabulary and protocol.toml say."""

import subprocess
import sys

from shared_data import ROOT


def test_the_codes_of_both_languages_are_fresh():
    done = subprocess.run([sys.executable, ROOT / "packaging" / "codes.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
