"""``make test-firmware``: the C library's coverage, sanitizers, mutants, fuzzing, sizes and checks, and the image under QEMU.

``--short``: a sample of the mutants, 15 s of fuzzing, the shorter tests of the image. Parts may be named: ``run.py coverage sizes``.
``--write FILE``: the figures as a section of FILE. Exit status 1 when a part fails. A missing tool skips its part; in CI it fails.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
ROOT = HERE.parent.parent
SOURCES = ROOT / "firmware_bridge" / "c"
FINDINGS = SOURCES / "cppcheck.txt"
FLASH_BYTES_MAX, RAM_BYTES_MAX = 8192, 1024
FUZZ_S, FUZZ_SHORT_S = 120, 15
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
}


FIGURES: dict[str, str] = {}
"""Of each part, what goes into the table."""


class Skipped(Exception):
    """A tool is missing."""


def need(tool: str, package: str) -> str:
    if subprocess.run([ROOT / "packaging" / "need.sh", tool, package], check=False).returncode:
        raise Skipped(f"{tool} is missing (apt install {package})")
    return shutil.which(tool) or tool


def pytest_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


def passed(part: str, command: list[str], environment: Mapping[str, str]) -> bool:
    """Whether pytest's tests pass; how many goes into the figures."""
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    FIGURES[part] = re.sub(r" in [\d.]+s.*", "", done.stdout.strip().splitlines()[-1]) + " of the tests" if done.stdout.strip() else "?"
    return done.returncode == 0


def c_tests() -> list[str]:
    return [str(path) for path in sorted(HERE.glob("test_c_*.py"))]


def coverage(short: bool) -> bool:
    """Every line and branch of the library, and of the firmware's protection and store, is taken by a test."""
    need("gcc", "gcc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done = subprocess.run(pytest_command(*c_tests()), env=os.environ | {"EBMS_C_KIND": "coverage", "EBMS_C_BUILD": name}, check=False)
        notes = [path for path in sorted(folder.glob("*.gcno")) if "shim" not in path.name]
        subprocess.run(["gcov", "-b", "-j", *notes], cwd=folder, check=True, capture_output=True)
        missed, lines, branches = [], 0, 0
        for packed in sorted(folder.glob("*.gcov.json.gz")):
            for file in json.loads(gzip.decompress(packed.read_bytes()))["files"]:
                path = Path(file["file"])
                if not path.name.startswith("ebms_") and path.name not in ("protection.c", "store.c"):
                    continue
                for line in file["lines"]:
                    lines += 1
                    branches += len(line["branches"])
                    untaken = sum(branch["count"] == 0 for branch in line["branches"])
                    if not line["count"] or untaken:
                        missed.append(f"  {path.name}:{line['line_number']}: {untaken or 'not run'}")
    FIGURES["coverage"] = f"{lines} lines, {branches} branches, {len(missed)} lines with something untaken"
    print(f"coverage: {FIGURES['coverage']}", *missed, sep="\n")
    return done.returncode == 0 and not missed and lines > 500


def sanitizers(short: bool) -> bool:
    """The tests of the library under AddressSanitizer and UndefinedBehaviorSanitizer."""
    gcc = need("gcc", "gcc")
    preload = subprocess.run([gcc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    environment = os.environ | SANITIZERS | {"EBMS_C_KIND": "sanitized", "LD_PRELOAD": preload}
    with tempfile.TemporaryDirectory() as folder:
        return passed("sanitizers", pytest_command(*c_tests()), environment | {"EBMS_C_BUILD": folder})


def mutants(short: bool) -> bool:
    """Changes to the safety rules are noticed by a test."""
    command = [sys.executable, HERE / "mutants.py", *(["--short"] if short else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    FIGURES["mutants"] = "; ".join(line.strip() for line in done.stdout.splitlines()).removeprefix("mutants: ")
    return done.returncode == 0


def fuzz(short: bool) -> bool:
    """libFuzzer over bytes of the line and of CAN, with invariants."""
    clang = need("clang", "clang")
    with tempfile.TemporaryDirectory() as name:
        target = Path(name) / "fuzz"
        flags = ["-std=c99", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", f"-I{SOURCES}"]
        build = [clang, *flags, "-o", target, HERE / "fuzz.c", *sorted(SOURCES.glob("ebms_*.c"))]
        if subprocess.run(build, check=False, capture_output=True).returncode:
            # Debian's clang may come without the sanitizers' runtime, which is no command that could be looked for
            subprocess.run([ROOT / "packaging" / "need.sh", "libclang_rt", "libclang-rt-dev"], check=False)
            subprocess.run(build, check=True)
        seconds = FUZZ_SHORT_S if short else FUZZ_S
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        command = [
            target,
            f"-max_total_time={seconds}",
            "-max_len=2048",
            "-seed=1",
            "-print_final_stats=1",
            f"-artifact_prefix={HERE}/",
            corpus,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    FIGURES["fuzz"] = f"{seconds} s, {runs[1] if runs else '?'} runs, {edges[-1] if edges else '?'} edges, exit status {done.returncode}"
    print(f"fuzz: {FIGURES['fuzz']}")
    if done.returncode:
        print(done.stderr[-3000:])
    return done.returncode == 0 and runs is not None and int(runs[1]) > 1000


def sizes(short: bool) -> bool:
    """Flash and RAM of the library on Cortex-M3 and M4."""
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    ok = True
    for cpu in ("cortex-m3", "cortex-m4"):
        with tempfile.TemporaryDirectory() as folder:
            make = [need("make", "make"), "-s", "-C", SOURCES / "firmware", f"BUILD={folder}", f"CPU={cpu}"]
            done = subprocess.run([*make, "sizes"], capture_output=True, text=True, check=True)
            (Path(folder) / "state.c").write_text('#include "ebms_can.h"\n#include "ebms_contactor.h"\n#include "ebms_link.h"\n'
                                                  "ebms_link link_;\nebms_can can_;\nebms_contactor contactor_;\n")  # fmt: skip
            compile_ = ["arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb", "-ffreestanding", "-fno-common", f"-I{SOURCES}", "-c", "state.c"]
            subprocess.run(compile_, cwd=folder, check=True)
            state = subprocess.run(["arm-none-eabi-size", "state.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
        flash, ram = int(done.stdout.split("\n")[-2].split()[0]), int(state.split("\n")[1].split()[2])
        print(f"{cpu}, -Os\n" + re.sub(r"(?m)\S*/", "", done.stdout) + f"state of one link, one CAN and the contactors: {ram} bytes of RAM")
        FIGURES[f"sizes, {cpu}"] = f"{flash} bytes of flash (at most {FLASH_BYTES_MAX}), {ram} of RAM (at most {RAM_BYTES_MAX})"
        ok = ok and flash <= FLASH_BYTES_MAX and ram <= RAM_BYTES_MAX
    return ok


def findings(short: bool) -> bool:
    """What cppcheck says, with its MISRA rules, is what firmware_bridge/c/cppcheck.txt says. WRITE=1 writes it."""
    cppcheck = need("cppcheck", "cppcheck")
    command = [cppcheck, "--std=c99", "--enable=warning,style,performance,portability", "--addon=misra", "--quiet", "--inline-suppr",
               "--suppress=missingIncludeSystem", "--template={id}: {file}", "-I.", *sorted(path.name for path in SOURCES.glob("ebms_*.c"))]  # fmt: skip
    said = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=True).stderr
    counts: dict[str, int] = {}
    for line in filter(None, said.splitlines()):
        if re.match(r"[\w.-]+: ebms_", line):
            counts[line] = counts.get(line, 0) + 1
    table = "".join(f"{count:4} {line}\n" for line, count in sorted(counts.items()))
    head, kept = FINDINGS.read_text().split("\n\n", 1)
    if os.environ.get("WRITE"):
        FINDINGS.write_text(f"{head}\n\n{table}")
        kept = table
    FIGURES["findings"] = f"{sum(counts.values())} of {len(rules(table))} rules, as in firmware_bridge/c/cppcheck.txt"
    print(f"cppcheck: {FIGURES['findings']}")
    for line in sorted(set(table.splitlines()) ^ set(kept.splitlines())):
        print(("  new: " if line in table.splitlines() else "  gone: ") + line)
    version = subprocess.run([cppcheck, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    # another version counts otherwise: then only a rule that is not in the table fails
    return table == kept if f"cppcheck {version} " in head else rules(table) <= rules(kept)


def rules(table: str) -> set[str]:
    return {line.split()[1] for line in table.splitlines()}


def emulated(short: bool) -> bool:
    """The reference image under QEMU."""
    need("qemu-system-arm", "qemu-system-arm")
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    marks = ["-m", "not slow"] if short else []
    return passed("emulated", pytest_command(*map(str, sorted(HERE.glob("test_emulated_*.py"))), *marks), os.environ)


def rig(short: bool) -> bool:
    """The rig's scenarios with the image in the loop; the short form leaves them to ``make test-rig``."""
    if short:
        return True
    need("qemu-system-arm", "qemu-system-arm")
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    command = [sys.executable, "-m", "hil", "run", "--tag", "mcu", "--quiet", "--jobs", "2"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    lines = done.stdout.splitlines()
    failed = [line.split()[1] for line in lines if line.startswith("FAIL")]
    FIGURES["rig"] = ", ".join([lines[-1] if lines else "?", *failed])
    return done.returncode == 0


PARTS: dict[str, Callable[[bool], bool]] = {
    "sizes": sizes, "findings": findings, "coverage": coverage, "sanitizers": sanitizers, "fuzz": fuzz, "emulated": emulated,
    "rig": rig, "mutants": mutants,
}  # fmt: skip


HEADING = "The C library and the image"
SAYS = {
    "sizes": "flash and RAM of the library on two cores, `-Os`",
    "findings": "cppcheck with its MISRA rules",
    "coverage": "lines and branches of the library, and of the firmware's protection and store",
    "sanitizers": "the same tests under ASan and UBSan",
    "mutants": "changes to the safety rules: advice, contactors, protection, store (at least 95 % must be noticed)",
    "fuzz": "libFuzzer over bytes of the line and of CAN",
    "emulated": "the image under QEMU, alone and with the daemon",
    "rig": "scenarios with the image between plant and daemon (`python -m hil run --tag mcu`)",
}


def write(page: Path, part: str, word: str) -> None:
    """Puts the part's row into the page; rows of parts that were not run stay."""
    from results_section import get, put

    said = [
        name.removeprefix("sizes, ") + ": " + text if name != part else text for name, text in FIGURES.items() if name.split(",")[0] == part
    ]
    rows = {line.split(" | ")[0].strip("| "): line for line in get(page, HEADING).splitlines() if line.startswith("| ")}
    rows[part] = f"| {part} | {SAYS[part]} | {word} | {'; '.join(said)} |"
    head = "Written by `make test-firmware`. The scenarios with the image in the loop, one by one: [results-rig.md](results-rig.md), those named `mcu_`.\n"
    lines = ["| part | what | outcome | figures |", "|---|---|---|---|", *(rows[name] for name in PARTS if name in rows)]
    put(page, HEADING, head + "\n" + "\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--write", type=Path, metavar="FILE")
    given = parser.parse_args()
    outcome = {}
    for name in given.parts or PARTS:
        print(f"== {name}: {PARTS[name].__doc__}", flush=True)
        began = time.monotonic()
        try:
            word = "passed" if PARTS[name](given.short) else "FAILED"
        except Skipped as missing:
            word = "FAILED" if os.environ.get("CI") == "true" else "skipped"
            print(missing)
        outcome[name] = word
        print(f"== {name}: {word}, {time.monotonic() - began:.0f} s", flush=True)
        if given.write:
            write(given.write, name, word)
    print(", ".join(f"{name} {word}" for name, word in outcome.items()))
    return int("FAILED" in outcome.values())


if __name__ == "__main__":
    sys.exit(main())
