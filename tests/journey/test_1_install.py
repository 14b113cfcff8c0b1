"""The wheel, installed alone into a fresh environment, has the command, the models and the catalogue."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("install")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv/bin/python", "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder / "wheels", ROOT], check=True)
    (wheel,) = (folder / "wheels").glob("edgebms-*.whl")
    subprocess.run([*pip, "install", wheel], check=True)
    return folder


def run(installed, *arguments):
    """The installed command, from a folder that is not the checkout."""
    return subprocess.run(
        [installed / "venv/bin/edgebms", *arguments], cwd=installed, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_wheel_alone_runs_the_demo_and_the_checks(installed):
    assert run(installed, "--version").stdout.startswith("edgebms 0.")
    schema = json.loads(run(installed, "schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    demo = run(installed, "demo", "--speed", "max")
    assert demo.returncode == 0, demo.stderr
    assert "internal_short" in demo.stdout or "internal short" in demo.stdout or "thermal" in demo.stdout
    config = installed / "gateway.toml"
    config.write_text('[[pack]]\nname = "rack-1"\nprofile = "edgebms"\ncard = "lg_hg2"\ncells = 96\nprobes = 24\n')
    check = run(installed, "check", "-c", "gateway.toml")
    assert check.returncode == 0, check.stdout + check.stderr
    assert "student state" in check.stdout


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_runtime_brings_no_heavy_packages(installed):
    listing = subprocess.run(
        [installed / "venv/bin/python", "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    )
    names = {entry["name"].lower() for entry in json.loads(listing.stdout)}
    assert not names & {"torch", "pandas", "scipy", "matplotlib", "pyarrow", "transformers"}
