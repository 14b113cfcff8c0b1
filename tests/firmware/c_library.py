"""The C library as a shared object, opened with cffi. EBMS_C_KIND says how it is built: plain (with UBSan), sanitized (ASan too: the
process needs libasan preloaded), coverage. EBMS_C_BUILD: the folder that it is built in."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

from shared_data import ROOT, missing, needed

HERE = Path(__file__).resolve().parent
SOURCES = ROOT / "firmware_bridge" / "c"
FIRMWARE = ("protection.c", "store.c")
"""Of the reference firmware, what runs anywhere."""
WARNINGS = [
    "-std=c99",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wundef",
    "-Wcast-qual",
]
KINDS = {
    "plain": ["-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-recover=all"],
    "sanitized": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
    "coverage": ["-O0", "-g", "--coverage", "-DEBMS_COVERAGE"],
}


def tool(name: str, package: str) -> str:
    """The path of ``name``, from Debian's ``package`` where it may be installed; else skips, in CI fails."""
    if subprocess.run([ROOT / "packaging" / "need.sh", name, package], check=False).returncode:
        missing(f"{name} is missing (apt install {package})")
    return shutil.which(name) or name


def declarations(sources: Path = SOURCES) -> str:
    """The headers as cffi reads them: cffi knows the fixed-width types itself."""
    with tempfile.TemporaryDirectory() as folder:
        for header in ("stdint.h", "stdbool.h", "stddef.h"):
            (Path(folder) / header).write_text("")
        done = subprocess.run(
            [tool("gcc", "gcc"), "-E", "-P", "-nostdinc", f"-I{folder}", f"-I{sources}", f"-I{sources / 'firmware'}", HERE / "shim.h"],
            check=True,
            capture_output=True,
            text=True,
        )
    return done.stdout.replace("(2u + 42u)", "44").replace("((44 + 6u) / 7u)", "7")


def build(folder: Path, kind: str, sources: Path = SOURCES) -> Path:
    """Compiles every file of the library with the shim into one shared object in ``folder``."""
    target = folder / "ebms.so"
    files = [*sorted(sources.glob("ebms_*.c")), *(sources / "firmware" / name for name in FIRMWARE), HERE / "shim.c"]
    command = [
        tool("gcc", "gcc"),
        *WARNINGS,
        *KINDS[kind],
        "-fPIC",
        "-shared",
        f"-I{sources}",
        f"-I{sources / 'firmware'}",
        f"-I{HERE}",
        "-o",
        target,
        *files,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return target


def opened(target: Path, text: str) -> SimpleNamespace:
    """ffi and lib; the codes as attributes of lib are not needed: firmware_bridge.codes has the same."""
    ffi = needed("cffi").FFI()
    ffi.cdef(text, override=True)
    return SimpleNamespace(ffi=ffi, lib=ffi.dlopen(str(target)), path=target)


def library(folder: Path) -> SimpleNamespace:
    """The library as the environment says (EBMS_C_OPEN: one that is built already)."""
    if built := os.environ.get("EBMS_C_OPEN"):
        return opened(Path(built), os.environ["EBMS_C_DECLARATIONS"])
    kind = os.environ.get("EBMS_C_KIND", "plain")
    return opened(build(Path(os.environ.get("EBMS_C_BUILD", folder)), kind), declarations())
