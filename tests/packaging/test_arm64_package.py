"""The arm64 package, under an emulated ARM64: every module loads, and the demo's decisions are this machine's."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from debian_root import bootstrapped, build, debootstrap, need, source
from shared_data import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(230)]
CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
UNCOMPRESSED = ("--suppress-tags", "uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball")
"""Only the package built for tests is."""
DEMO = ROOT / "edgebms/catalogue/demo"


@pytest.fixture(scope="module")
def coming(tmp_path_factory):
    """An ARM64 Debian on its way, while the package is built."""
    folder = tmp_path_factory.mktemp("arm64") / "root"
    return folder, debootstrap(folder, arch="arm64")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def package(coming, tree, tmp_path_factory):
    return build(tree, tmp_path_factory.mktemp("built"), "--arch", "arm64")


@pytest.fixture(scope="module")
def emulated(coming, package):
    """Runs the package's command, unpacked beside an ARM64 Debian's Python, on an emulated Cortex-A72."""
    need("qemu-aarch64", "qemu-user")
    root, process = coming
    bootstrapped(process)
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(CPUINFO)

    def run(*arguments):
        start = ["qemu-aarch64", "-cpu", "cortex-a72", "-L", root, root / "usr/bin/python3.11", "-IS"]
        launch = LAUNCH.format(site=root / "usr/lib/edgebms")
        done = subprocess.run([*start, "-c", launch, *arguments], capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


LAUNCH = "import sys; sys.path.insert(0, '{site}'); from edgebms.cli.main import main; sys.exit(main(sys.argv[1:]))"


def decisions(text):
    """Without the one field that differs from run to run."""
    found = [json.loads(line) for line in text.splitlines()]
    for decision in found:
        del decision["provenance"]["latency_us"]
    return found


def differences(ours, theirs, where=""):
    """(path, our value, theirs) of each leaf that differs."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        for name in ours:
            yield from differences(ours[name], theirs[name], f"{where}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif ours != theirs:
        yield where, ours, theirs


def test_the_package_is_for_arm64_and_decides_as_this_machine_does(emulated):
    assert emulated("--version") == "edgebms 0.1.0\n"
    replay = ("replay", DEMO / "demo.log.gz", "-c", DEMO / "gateway.toml", "--quiet")
    theirs = decisions(emulated(*replay))
    here = subprocess.run([sys.executable, "-m", "edgebms.cli", *replay], capture_output=True, text=True, check=True, timeout=100)
    ours = decisions(here.stdout)
    assert len(ours) == len(theirs) > 300
    apart = [entry for one, other in zip(ours, theirs, strict=True) for entry in differences(one, other)]
    other_kinds = [entry for entry in apart if not all(isinstance(value, float) for value in entry[1:])]
    assert other_kinds == [], "the same alerts, actions, modes and reasons, at the same time"
    worst = max((abs(a - b) / max(abs(a), 1e-3) for _, a, b in apart), default=0.0)
    print(f"{len(ours)} decisions, {len(apart)} numbers differ, at most by {worst:.2g} of their value")
    assert worst < 1e-3, sorted(apart, key=lambda entry: -abs(entry[1] - entry[2]))[:5]


def test_lintian_has_nothing_to_say_that_is_not_explained(package):
    """packaging/deb/lintian-overrides has the explanations."""
    need("lintian", "lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", *UNCOMPRESSED, package],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout


def test_the_same_sources_give_the_same_bytes(tree, package, tmp_path):
    before = os.umask(0o077)
    try:
        again = build(tree, tmp_path, "--arch", "arm64", environment={"TZ": "Asia/Tokyo", "LC_ALL": "C"})
    finally:
        os.umask(before)
    digest = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (package, again)]
    assert digest[0] == digest[1]
