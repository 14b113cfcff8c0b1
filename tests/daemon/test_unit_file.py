"""The systemd unit says of the daemon what the daemon is."""

import shutil
import subprocess
from pathlib import Path

import edgebms.errors
from edgebms.cli.main import build_parser

UNIT = Path(__file__).resolve().parents[2] / "packaging" / "edgebms.service"


def settings():
    found = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_a_wrong_configuration_is_not_started_again_and_again():
    codes = {entry.exit_code for entry in vars(edgebms.errors).values() if isinstance(entry, type) and issubclass(entry, Exception)}
    listed = {int(code) for code in settings()["RestartPreventExitStatus"][0].split()}
    codes.remove(edgebms.errors.GatewayError.exit_code)  # of the commands that ask a daemon, never a daemon's own
    assert codes - {1} <= listed, "every error that a restart does not mend"
    assert 1 not in listed, "a failure of ours is started again"


def test_it_starts_a_command_that_is_there():
    _, *arguments = settings()["ExecStart"][0].split()
    assert build_parser().parse_args(arguments).verb == "run"


def test_systemd_reads_it(tmp_path):
    """Users and paths of the package are not on this machine; the rest must be free of complaints, but for a type that
    this systemd may be too old for."""
    if shutil.which("systemd-analyze") is None:
        return  # the two tests above hold without it
    text = UNIT.read_text().replace("/usr/bin/edgebms", "/bin/true").replace("User=edgebms", "").replace("Group=edgebms", "")
    (tmp_path / "edgebms.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "edgebms.service"], capture_output=True, text=True, check=False, timeout=60
    )
    complaints = [line for line in done.stderr.splitlines() if "edgebms.service" in line and "notify-reload" not in line]
    assert complaints == []
