"""Builds the Debian package: the runtime with its pinned wheels in a folder of its own, /usr/lib/edgebms.

    python packaging/deb/build.py [--arch amd64|arm64] [--release deb12|deb13] [--out dist]

Any machine builds for any other: nothing is compiled. The same commit gives the same bytes
(SOURCE_DATE_EPOCH, else the commit's time). Needs pip, dpkg-deb and the package index; no root.
"""

from __future__ import annotations

import argparse
import email.utils
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from licence_texts import NAMES, write_copyright  # noqa: E402
from lock import LOCK, MACHINES, RELEASES, pip_target  # noqa: E402

UNUSED = (
    "bin",
    "numpy/f2py",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/random/lib",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/datasets",
    "onnxruntime/backend",
    "firmware_bridge/c",
)
"""Headers, compilers' helpers and training tools. tests/packaging imports all that is left and runs the line."""
UNUSED_NAMES = ("tests", "__pycache__")
UNUSED_SUFFIXES = (".pyi", ".pyx", ".pxd", ".c", ".h", ".a", ".typed")
DIST_INFO = ("METADATA", "entry_points.txt")
"""What python looks up of an installed distribution: its version, its plugins."""
DOCS = (
    "integrator",
    "install",
    "decision",
    "profiles",
    "guard",
    "record",
    "outlets",
    "logs",
    "protocol-can",
    "firmware-bridge",
    "bms-engineer",
    "results-faults",
)


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def epoch() -> int:
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else 1767225600


def pip(*arguments: str | Path) -> None:
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch()), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments], check=True, env=environment, cwd=ROOT)


def fill(site: Path, release: str, arch: str) -> None:
    """The pinned wheels and ours, unpacked into ``site``. Raises CalledProcessError where a hash differs."""
    options = ["--no-compile", "--no-deps", "--target", site]
    pip("install", *options, *pip_target(release, arch), "--require-hashes", "-r", LOCK)
    with tempfile.TemporaryDirectory() as folder:
        pip("wheel", "--no-deps", "--no-build-isolation" if has_hatchling() else "--no-cache-dir", "-w", folder, ROOT)
        (wheel,) = Path(folder).glob("edgebms-*.whl")
        pip("install", *options, wheel)


def has_hatchling() -> bool:
    return subprocess.run([sys.executable, "-c", "import hatchling"], capture_output=True, check=False).returncode == 0


def strip(site: Path) -> None:
    """Take out what a gateway never runs."""
    for name in UNUSED:
        shutil.rmtree(site / name, ignore_errors=True)
    for path in sorted(site.rglob("*"), reverse=True):
        if path.is_dir():
            if path.name in UNUSED_NAMES:
                shutil.rmtree(path)
        elif path.suffix in UNUSED_SUFFIXES or (path.parent.suffix == ".dist-info" and path.name not in DIST_INFO) or is_licence(path):
            path.unlink()
    for path in sorted(site.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def is_licence(path: Path) -> bool:
    """Already in /usr/share/doc/edgebms/copyright."""
    return path.suffix != ".py" and path.name.lower().startswith(NAMES)


def lay_out(tree: Path, release: str, arch: str) -> None:
    site, doc = tree / "usr/lib/edgebms", tree / "usr/share/doc/edgebms"
    fill(site, release, arch)
    doc.mkdir(parents=True)
    write_copyright(site, doc / "copyright", ROOT)
    strip(site)
    for source, target in (
        (HERE / "edgebms", "usr/bin/edgebms"),
        (HERE.parent / "edgebms.service", "lib/systemd/system/edgebms.service"),
        (HERE.parent / "gateway.toml", "etc/edgebms/gateway.toml"),
        (HERE / "lintian-overrides", "usr/share/lintian/overrides/edgebms"),
    ):
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tree / target)
    for name in DOCS:
        if (ROOT / f"docs/{name}.md").exists():
            shutil.copyfile(ROOT / f"docs/{name}.md", doc / f"{name}.md")
    shutil.copytree(ROOT / "examples", doc / "examples", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    (doc / "NEWS.md").write_bytes((ROOT / "CHANGELOG.md").read_bytes())
    date = email.utils.formatdate(epoch())
    entry = f"edgebms ({version()}+{release}) stable; urgency=medium\n\n  * NEWS.md has the changes.\n\n -- edgebms maintainers <maintainers@edgebms.invalid>  {date}\n"
    (doc / "changelog.gz").write_bytes(gzip.compress(entry.encode(), 9, mtime=0))


def write_control(tree: Path, release: str, arch: str) -> None:
    control = tree / "DEBIAN"
    size = sum((path.stat().st_size + 1023) // 1024 for path in tree.rglob("*") if path.is_file())
    control.mkdir()
    python = RELEASES[release]
    major, minor = map(int, python.split("."))
    fields = {"version": f"{version()}+{release}", "arch": arch, "size": size, "python": python, "next": f"{major}.{minor + 1}"}
    text = (HERE / "control.in").read_text(encoding="utf-8")
    for name, value in fields.items():
        text = text.replace(f"@{name}@", str(value))
    (control / "control").write_text(text, encoding="utf-8")
    (control / "conffiles").write_text("/etc/edgebms/gateway.toml\n", encoding="utf-8")
    for name in ("postinst", "prerm", "postrm"):
        shutil.copyfile(HERE / name, control / name)
    sums = subprocess.run(
        "find . -path ./DEBIAN -prune -o -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 md5sum",
        shell=True,
        cwd=tree,
        check=True,
        capture_output=True,
    )
    (control / "md5sums").write_bytes(sums.stdout)


def normalise(tree: Path) -> None:
    """The same modes and times whoever builds."""
    runs = {"usr/bin/edgebms", "DEBIAN/postinst", "DEBIAN/prerm", "DEBIAN/postrm"}
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or str(path.relative_to(tree)) in runs else 0o644)
        os.utime(path, (epoch(), epoch()))


def build(arch: str, release: str, out: Path, compression: str) -> Path:
    """The path of the package that was built."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        lay_out(tree, release, arch)
        write_control(tree, release, arch)
        normalise(tree)
        out.mkdir(parents=True, exist_ok=True)
        package = out / f"edgebms_{version()}+{release}_{arch}.deb"
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch())}
        subprocess.run(
            ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", tree, package],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
    return package


def main() -> None:
    parser = argparse.ArgumentParser(description="build the Debian package")
    parser.add_argument("--arch", choices=list(MACHINES), default="amd64")
    parser.add_argument("--release", choices=list(RELEASES), default="deb12")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--compression", choices=["xz", "gzip", "none"], default="xz", help="gzip and none: quick, for tests")
    args = parser.parse_args()
    package = build(args.arch, args.release, args.out, args.compression)
    print(f"{package} {package.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
