"""The package in a Debian of its own: installed, run, upgraded, rolled back, purged; without and with systemd."""

import contextlib
import json
import shlex
import shutil
import subprocess

import pytest
from debian_root import CONFIG, Debian, bootstrapped, build, debootstrap, end, repacked, seen, source, wait
from shared_data import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(230)]
GATEWAY = "/etc/edgebms/gateway.toml"
EDITED = f"??5?????? c {GATEWAY}\n"
"""How `dpkg --verify` says that a configuration file was edited."""
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, "/usr/lib/edgebms")
import can, cantools, edgebms, firmware_bridge, msgpack, msgspec, numpy.linalg, numpy.random, numpy.fft, onnxruntime, rich.live, serial
count = 0
for package in (edgebms, firmware_bridge):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            count += 1
foreign = [name for name, module in sys.modules.items() if "dist-packages" in (getattr(module, "__file__", None) or "")]
print(count, foreign)
"""


@pytest.fixture(scope="module")
def coming(tmp_path_factory):
    """A Debian on its way, while the package is built."""
    folder = tmp_path_factory.mktemp("debian") / "root"
    return folder, debootstrap(folder)


@pytest.fixture(scope="module")
def bare(coming):
    folder, process = coming
    bootstrapped(process)
    return folder


@pytest.fixture(scope="module")
def packages(coming, tmp_path_factory):
    """(the package, the next version of it)"""
    folder = tmp_path_factory.mktemp("built")
    package = build(source(tmp_path_factory.mktemp("source")), folder)

    def change(unpacked):
        example = unpacked / "etc/edgebms/gateway.toml"
        example.write_text(example.read_text() + "\n# a line that the next version's example has\n")

    return package, repacked(package, folder, "0.1.1", change)


@pytest.fixture(scope="module")
def whole(bare, tmp_path_factory):
    """With systemd as well."""
    for words in (["update"], ["install", "-y", "--no-install-recommends", "systemd", "systemd-sysv"]):
        subprocess.run(["chroot", bare, "apt-get", "-qq", *words], check=True, capture_output=True, timeout=200)
    return bare


def exec_start():
    unit = (ROOT / "packaging/edgebms.service").read_text()
    return shlex.split(next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition("=")[2])


def daemon_by_hand(debian, tmp_path):
    """As docs/install.md says for a machine without systemd."""
    debian.run("install", "-d", "-o", "edgebms", "-g", "edgebms", "/run/edgebms")
    return debian.start(*exec_start(), user="edgebms", log=(tmp_path / "daemon.log").open("a"))


def test_without_systemd_installed_run_upgraded_rolled_back_and_purged(packages, bare, tmp_path):
    package, newer = packages
    with Debian(bare) as debian:
        before = debian.files()
        said = debian.install(package)
        assert GATEWAY in said and "systemctl enable" in said, "it says what is next"
        assert debian.run("getent", "passwd", "edgebms").stdout.strip().endswith("nologin")
        assert debian.run("stat", "-c", "%U %a", "/var/lib/edgebms").stdout.split() == ["edgebms", "750"]
        assert debian.run("dpkg", "--verify", "edgebms").stdout == ""

        count, foreign = debian.run("/usr/bin/python3", "-IS", "-c", IMPORT_ALL, user="edgebms").stdout.splitlines()[-1].split(maxsplit=1)
        assert int(count) > 80 and foreign == "[]", "all of it, and none of the system's packages"
        assert debian.run("edgebms", "--version").stdout == "edgebms 0.1.0\n"
        assert "WRONG" not in debian.run("edgebms", "check", "-c", GATEWAY, user="edgebms").stdout
        assert "internal short at cell 11" in debian.run("edgebms", "demo", "--speed", "max", user="edgebms").stdout
        copyright = debian.path("/usr/share/doc/edgebms/copyright").read_text()
        assert "numpy 2" in copyright and "GNU LESSER GENERAL PUBLIC LICENSE" in copyright, "each wheel's licence"

        debian.configure()
        debian.send()
        daemon = daemon_by_hand(debian, tmp_path)
        decision = debian.decision(seen)
        assert decision["measured"]["current_a"] == pytest.approx(-5.0)
        assert decision["measured"]["cell_voltage_v"]["min"] == pytest.approx(3.7, abs=1e-3)
        checkpoints = "/var/lib/edgebms/rack-1"
        wait(lambda: debian.run("find", checkpoints, "-type", "f").stdout.strip(), "checkpoint")
        assert end(daemon) == 0

        debian.install(newer, "--force-confold", "--force-confdef")
        assert debian.run("edgebms", "--version").stdout == "edgebms 0.1.1\n", "no bytecode of the old version is left"
        assert debian.path(GATEWAY).read_text() == CONFIG, "what was edited stays"
        assert restored(debian, tmp_path) == "0.1.1"

        debian.install(package, "--force-confold", "--force-confdef", "--force-downgrade")
        assert debian.run("edgebms", "--version").stdout == "edgebms 0.1.0\n"
        assert debian.path(GATEWAY).read_text() == CONFIG
        assert restored(debian, tmp_path) == "0.1.0"

        debian.run("dpkg", "--remove", "edgebms")
        assert debian.path(GATEWAY).read_text() == CONFIG, "removed, not purged: configuration and state stay"
        assert debian.run("find", checkpoints, "-type", "f").stdout.strip()
        debian.purge()
        assert leftovers(debian, before) == []


def test_an_installation_cut_off_at_any_moment_is_mended_by_the_next(packages, bare):
    package, newer = packages
    with Debian(bare) as debian:
        debian.install(package)
        debian.configure()
        for after_s, (version, cut) in zip((0.15, 0.6, 1.2, 2.0), 2 * [("0.1.1", newer), ("0.1.0", package)], strict=True):
            shutil.copyfile(cut, debian.path("/tmp/cut.deb"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                debian.run("dpkg", "--force-confold", "-i", "/tmp/cut.deb", timeout=after_s)
            debian.run("sh", "-c", "kill -9 -1; true", check=False)  # dpkg, its children: all but process 1
            debian.run("dpkg", "--configure", "-a", "--force-confold", check=False)
            debian.install(cut, "--force-confold")
            assert debian.run("edgebms", "--version").stdout == f"edgebms {version}\n"
            assert debian.run("dpkg", "--audit").stdout == debian.run("dpkg", "--verify", "edgebms").stdout.replace(EDITED, "") == ""
            assert debian.path(GATEWAY).read_text() == CONFIG
        debian.purge()


def restored(debian, tmp_path):
    """The daemon started again goes on from its checkpoint; the version that its decisions name."""
    log = tmp_path / "daemon.log"
    at = log.stat().st_size
    daemon = daemon_by_hand(debian, tmp_path)
    version = debian.decision(seen)["provenance"]["runtime"]
    assert end(daemon) == 0
    said = log.read_text()[at:]
    assert "checkpoint" in said, said
    return version


def leftovers(debian, before):
    """Files that were not there before, and mentions in the system's books."""
    kept = {"/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock"}
    new = sorted(debian.files() - before - kept)
    books = [path for path in ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow") if "edgebms" in debian.path(path).read_text()]
    status = debian.run("dpkg-query", "-W", "-f", "${Status}", "edgebms", check=False)
    return new + books + ([] if status.returncode else [status.stdout])


def test_read_only_root_as_in_the_container(packages, bare, tmp_path):
    """What packaging/Containerfile does: the same install, the same user, command and health check, root read-only."""
    with Debian(bare) as debian:
        debian.install(packages[0])
        debian.configure()
        ids = [debian.run("id", which, "edgebms").stdout.strip() for which in ("-u", "-g")]
        for folder in ("/var/lib/edgebms", "/run/edgebms"):
            debian.run("mkdir", "-p", folder)
            debian.run("mount", "-t", "tmpfs", "-o", f"uid={ids[0]},gid={ids[1]},mode=755", "tmpfs", folder)
        debian.run("mount", "-o", "remount,ro,bind", "/")
        assert debian.run("touch", "/etc/x", check=False).returncode != 0
        debian.send()
        daemon = debian.start(*entrypoint("CMD"), user="edgebms", log=(tmp_path / "daemon.log").open("a"))
        debian.decision(seen)
        health = entrypoint("HEALTHCHECK")
        assert debian.run(*health, user="edgebms", check=False).returncode == 0
        assert end(daemon) == 0
        assert debian.run(*health, user="edgebms", check=False).returncode != 0, "a dead daemon is not healthy"
        debian.run("mount", "-o", "remount,rw,bind", "/")
        for folder in ("/var/lib/edgebms", "/run/edgebms"):
            debian.run("umount", folder)
        debian.purge()


def entrypoint(instruction):
    """The command of an instruction of the container file, in its exec form."""
    text = (ROOT / "packaging/Containerfile").read_text().replace("\\\n", " ")
    line = [line for line in text.splitlines() if line.startswith(instruction)][-1]
    return json.loads(line[line.index("[") :])


def show(debian, *properties):
    done = debian.run("systemctl", "show", "edgebms", *(f"-p{name}" for name in properties))
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_with_systemd_it_is_started_watched_upgraded_and_purged(packages, whole):
    package, newer = packages
    with Debian(whole, "/lib/systemd/systemd", "--show-status=0") as debian:
        wait(lambda: debian.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"), "systemd")
        before = debian.files()
        debian.install(package)
        state = show(debian, "ActiveState", "UnitFileState")
        assert state == {"ActiveState": "inactive", "UnitFileState": "disabled"}, "nothing runs before its pack is described"
        assert (
            debian.run("systemd-analyze", "verify", "/lib/systemd/system/edgebms.service").stdout.replace("notify-reload", "").count("rror")
            == 0
        )

        debian.configure("[[pack]]\n")
        debian.run("systemctl", "start", "edgebms", check=False)
        wait(lambda: show(debian, "ActiveState")["ActiveState"] == "failed", "end of a wrong configuration")
        assert show(debian, "NRestarts", "ExecMainStatus") == {"NRestarts": "0", "ExecMainStatus": "3"}, "not tried again and again"

        debian.configure()
        debian.send()
        debian.run("systemctl", "enable", "--now", "edgebms")
        first = int(show(debian, "MainPID")["MainPID"])
        assert debian.decision(seen)["measured"]["current_a"] == pytest.approx(-5.0)

        debian.configure(CONFIG.replace("cells = 16", "cells = 0"))
        debian.run("systemctl", "kill", "-s", "HUP", "edgebms")
        refused = debian.decision(lambda entry: any(e["rule"] == "config_refused" for a in entry["alerts"] for e in a["evidence"]))
        assert seen(refused), "a bad reload keeps the old configuration and alerts"

        said = debian.install(newer, "--force-confold", "--force-confdef")
        assert "does not accept" in said and int(show(debian, "MainPID")["MainPID"]) == first, (
            "an upgrade that would not start does not stop what runs"
        )
        debian.configure()
        debian.install(newer, "--force-confold", "--force-confdef")
        upgraded = debian.decision(lambda entry: entry["provenance"]["runtime"] == "0.1.1" and seen(entry))
        assert upgraded["quality"]["valid_cells"] == 16
        second = int(show(debian, "MainPID")["MainPID"])
        assert second != first

        debian.run("systemctl", "kill", "-s", "KILL", "edgebms")
        third = wait(lambda: running(debian, second), "start after a crash")
        # a shorter patience than the unit's, for the test's
        debian.path("/etc/systemd/system/edgebms.service.d").mkdir()
        debian.path("/etc/systemd/system/edgebms.service.d/test.conf").write_text("[Service]\nWatchdogSec=3\nTimeoutStopSec=2\n")
        debian.run("systemctl", "daemon-reload")
        debian.run("systemctl", "restart", "edgebms")
        fourth = wait(lambda: running(debian, third), "restart")
        debian.run("systemctl", "kill", "-s", "STOP", "--kill-whom=main", "edgebms")
        wait(lambda: running(debian, fourth), "start after a hang", timeout_s=40)
        debian.decision(seen)

        debian.purge()
        assert show(debian, "ActiveState", "LoadState") == {"ActiveState": "inactive", "LoadState": "not-found"}
        assert [path for path in leftovers(debian, before) if "edgebms" in path or path.startswith("/etc")] == []


def running(debian, before):
    """The daemon's process where it is another than ``before``."""
    state = show(debian, "MainPID", "ActiveState", "SubState")
    return int(state["MainPID"]) if state["SubState"] == "running" and int(state["MainPID"]) not in (0, before) else None
