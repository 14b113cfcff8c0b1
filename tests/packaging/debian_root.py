"""A throw-away Debian system in a folder, with or without systemd as its process 1."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from shared_data import ROOT, missing

HERE = Path(__file__).resolve().parent
SUITES = {"deb12": "bookworm", "deb13": "trixie"}
RELEASE = os.environ.get("RELEASE") or "deb12"
"""Debian's release that all of this is about."""
PORT = 43113
CONFIG = f"""# edited by hand
[[pack]]
name = "rack-1"
profile = "edgebms"
card = "lg_hg2"
cells = 16
probes = 4
parallel = 10

[[bus]]
name = "can0"
interface = "udp_multicast"
channel = "239.74.163.2"
options = {{ port = {PORT} }}

[output]
ndjson = "/dev/null"

[outlet.socket]

[record]
folder = "/var/lib/edgebms"
checkpoint_s = 1
"""


def need(tool, package):
    if subprocess.run([ROOT / "packaging/need.sh", tool, package], check=False).returncode != 0:
        missing(f"{tool} is missing (apt install {package})")


def need_root():
    if os.geteuid() != 0:
        missing("installing into a Debian system of its own needs root")


def source(folder):
    """What the package is made of, as it stands now, without the history."""
    for name in ("edgebms", "firmware_bridge", "models", "packaging", "docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(tree, out, *options, environment=None):
    """The package's path, from the sources in ``tree``; not compressed, which is what takes long."""
    need("dpkg-deb", "dpkg")
    command = [sys.executable, tree / "packaging/deb/build.py", "--out", out, "--compression", "none", "--release", RELEASE, *options]
    variables = os.environ | {"SOURCE_DATE_EPOCH": "1790000000"} | (environment or {})
    subprocess.run(command, check=True, timeout=300, env=variables)
    (package,) = out.glob("edgebms_*.deb")
    return package


def mirror():
    """Where this machine gets Debian's main archive from."""
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True, check=True
    ).stdout.split()
    found = [uri for uri in said if "security" not in uri and uri.rstrip("/").endswith("/debian")]
    return found[0] if found else missing("apt knows no archive of Debian")


def debootstrap(folder, *packages, arch=None):
    """A minimal Debian with what the package depends on, under way: ``bootstrapped`` waits for it. arch: only unpacked."""
    need_root()
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        need(tool, package)
    slim = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc")]
    # our own documentation is part of what is tested
    slim += ["--dpkgopt=path-include=/usr/share/doc/edgebms/*", '--aptopt=Acquire::Languages "none"']
    include = ",".join(("python3", "adduser", "libstdc++6", "mount", *packages))
    how = ["--variant=extract", f"--architectures={arch}"] if arch else ["--variant=apt"]
    command = ["mmdebstrap", "-q", *how, f"--include={include}", *slim, SUITES[RELEASE], folder, mirror()]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def bootstrapped(process):
    assert process.wait(timeout=300) == 0, "mmdebstrap failed"


def repacked(package, folder, version, change=lambda tree: None):
    """``package`` as another version, its files changed by ``change``; their times stay, as in two builds of one commit."""
    tree = folder / f"tree-{version}"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    for path in (tree / "DEBIAN/control", tree / "usr/lib/edgebms/edgebms/__init__.py"):
        before = path.stat()
        old = f"0.1.0+{RELEASE}" if path.name == "control" else "0.1.0"
        path.write_text(path.read_text().replace(old, version))
        os.utime(path, (before.st_atime, before.st_mtime))
    change(tree)
    sums = "find . -path ./DEBIAN -prune -o -type f -printf '%P\\0' | xargs -0 md5sum > DEBIAN/md5sums"
    subprocess.run(["sh", "-c", sums], cwd=tree, check=True)
    target = folder / f"edgebms_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, target], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return target


class Debian:
    """The system in ``folder``, running. init: its process 1; none = a system without a service manager."""

    def __init__(self, folder: Path, *init: str):
        self.folder = folder
        self._started = subprocess.Popen([HERE / "namespace.sh", folder, *init], stdin=subprocess.DEVNULL, start_new_session=True)
        self.init = self._find_init()
        self._senders = []

    def _find_init(self):
        """Process 1, as seen from outside, once it has become what it shall be."""
        children = Path(f"/proc/{self._started.pid}/task/{self._started.pid}/children")

        def found():
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() in ("sleep", "systemd", "init"):
                    return int(pid)
            return None

        return wait(found, "process 1")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for sender in self._senders:
            sender.kill()
            sender.wait()
        self._started.kill()
        self._started.wait()
        subprocess.run([HERE / "namespace.sh", "--forget", str(self._started.pid)], check=False)

    def command(self, *words, user=None):
        enter = ["nsenter", "-t", str(self.init), "-a", "-w/"]
        drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return [*enter, *drop, *map(str, words)]

    def run(self, *words, user=None, check=True, timeout=120):
        """stdout and stderr together in ``.stdout``."""
        done = subprocess.run(
            self.command(*words, user=user),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}"
        return done

    def start(self, *words, user=None, log):
        return subprocess.Popen(self.command(*words, user=user), stdout=log, stderr=log, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def path(self, inside):
        return Path(f"/proc/{self.init}/root{inside}")

    def install(self, package, *options):
        target = self.path(f"/tmp/{package.name}")
        shutil.copyfile(package, target)
        done = self.run("dpkg", *options, "-i", f"/tmp/{package.name}")
        target.unlink()
        return done.stdout

    def purge(self):
        return self.run("dpkg", "--purge", "edgebms").stdout

    def configure(self, text=CONFIG):
        self.path("/etc/edgebms/gateway.toml").write_text(text)

    def send(self):
        """A pack on this system's network, from now on."""
        command = ["nsenter", "-t", str(self.init), "-n", sys.executable, HERE / "sweeps.py", str(PORT)]
        self._senders.append(subprocess.Popen(command))

    def decision(self, wanted=lambda decision: True, what="a decision on the socket", timeout_s=45.0):
        """The next decision on the Unix socket that is as ``wanted``."""

        def found():
            try:
                with socket.socket(socket.AF_UNIX) as reader:
                    reader.settimeout(5.0)
                    reader.connect(str(self.path("/run/edgebms/decisions.sock")))
                    with reader.makefile() as lines:
                        for line, _ in zip(lines, range(30), strict=False):
                            decision = json.loads(line)
                            if wanted(decision):
                                return decision
            except (OSError, ValueError):
                return None
            return None

        return wait(found, what, timeout_s)

    def files(self):
        """Every path that is on the disk, but for the package manager's own books."""
        done = self.run("find", "/", "-xdev", "-not", "-path", "/tmp/*", "-printf", "%p\\n")
        return {path for path in done.stdout.splitlines() if not path.startswith(("/var/lib/dpkg/", "/var/cache/", "/var/log/"))}


def seen(decision):
    return decision["measured"]["voltage_v"] is not None


def wait(found, what, timeout_s=30.0):
    end_s = time.monotonic() + timeout_s
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < end_s, f"no {what} within {timeout_s:g} s"
        time.sleep(0.1)


def end(process):
    """Tell what runs inside (nsenter waits for it) to stop; its exit code."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)
    return process.wait(timeout=30)
