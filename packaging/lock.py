"""Writes packaging/requirements.txt: what the Debian package carries, pinned, with the hash of each wheel.

One list serves every target (Debian's release and architecture): what is resolved for the oldest Python must exist
as a wheel for all of them. Run by ``make lock`` after a change to the dependencies in pyproject.toml; the
versions of the standing file are kept where they still fit (UPGRADE=1 looks for newer ones).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "packaging" / "requirements.txt"
RELEASES = {"deb12": "3.11", "deb13": "3.13"}
"""Debian's release -> its python3."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
EXTRAS = ("udp", "mcu")
"""Extras of pyproject.toml that a gateway is given besides the runtime."""


def wanted() -> list[str]:
    """The requirements of pyproject.toml that the package answers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]


def pip_target(release: str, arch: str) -> list[str]:
    """pip's options for wheels of another Python and machine; both releases have a glibc later than 2.28."""
    tags = [f"manylinux_2_{minor}_{MACHINES[arch]}" for minor in (28, 27, 17)] + [f"manylinux2014_{MACHINES[arch]}"]
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", RELEASES[release]]
    return options + [word for tag in tags for word in ("--platform", tag)]


def resolve(release: str, arch: str, requirements: list[str], *options: str) -> dict[str, tuple[str, str]]:
    """name -> (version, sha256) of what pip would install. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed", "--target", folder]
        command += ["--report", str(report), *pip_target(release, arch), *options, *requirements]
        subprocess.run(command, check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {
        entry["metadata"]["name"].lower().replace("_", "-"): (
            entry["metadata"]["version"],
            entry["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for entry in found
    }


def main() -> None:
    oldest = min(RELEASES, key=lambda release: tuple(map(int, RELEASES[release].split("."))))
    options = []
    if LOCK.exists() and not os.environ.get("UPGRADE"):
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as standing:
            standing.writelines(line.split()[0] + "\n" for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line)
        options = ["--constraint", standing.name]
    versions = {name: version for name, (version, _) in resolve(oldest, "amd64", wanted(), *options).items()}
    pins = [f"{name}=={version}" for name, version in sorted(versions.items())]
    hashes: dict[str, set[str]] = {name: set() for name in versions}
    for release in RELEASES:
        for arch in MACHINES:
            for name, (_, digest) in resolve(release, arch, pins, "--no-deps").items():
                hashes[name].add(digest)
    lines = ["# What the Debian package carries. Written by `make lock`; do not edit."]
    for pin in pins:
        lines += [f"{pin} \\"] + [f"    --hash=sha256:{digest} \\" for digest in sorted(hashes[pin.partition("==")[0]])]
        lines[-1] = lines[-1].removesuffix(" \\")
    LOCK.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{LOCK.relative_to(ROOT)}: {len(pins)} packages for {', '.join(RELEASES)} on {', '.join(MACHINES)}")


if __name__ == "__main__":
    main()
