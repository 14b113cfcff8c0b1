"""Mutants of the safety rules in C (ebms_advice.c, ebms_contactor.c; the firmware's protection.c, store.c): each change must turn a test red. A survivor is listed, or
explained in EQUIVALENT: a change that no behaviour can show. Names (``ebms_advice``, ``store``) choose files."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import c_mcu  # noqa: E402, F401  imported here, once for all children
from c_library import declarations  # noqa: E402

SOURCES = HERE.parent.parent / "firmware_bridge" / "c"
FILES = ("ebms_advice.c", "ebms_contactor.c", "firmware/protection.c", "firmware/store.c")
SAMPLE, SHARE_MIN, TIMEOUT_S, BROKEN_CONTRACT = 40, 0.95, 60, 77
TESTS = dict.fromkeys(FILES[:2], ("advice", "contactor")) | {FILES[2]: ("protection",), FILES[3]: ("store",)}
OPERATORS = {
    " < ": [" <= ", " >= "], " <= ": [" < ", " > "], " > ": [" >= ", " <= "], " >= ": [" > ", " < "], " == ": [" != "], " != ": [" == "],
    " && ": [" || "], " || ": [" && "], " + ": [" - "], " - ": [" + "], "(!": ["("], " ? ": [" && 0 ? ", " || 1 ? "],
    "true": ["false"], "false": ["true"], "0u": ["1u"], "1u": ["0u"], "0xFFu": ["0u"],
}  # fmt: skip
OBJECTS = Path()
"""Where the unchanged objects lie."""
_HIGHER = "if ((advice->limits.discharge_dv != EBMS_LIMIT_UNSTATED) && (advice->limits.discharge_dv {} own.discharge_dv)) {{"
_BITS = "for (uint32_t bit = 0u; bit {} 7u; bit++) {{"
_NEWER = "if ((!first) || ((int32_t)(other.number - one->number) {} 0)) {{"
_MAGNITUDE = "const int32_t magnitude_ma = (current_ma {} 0) ? -current_ma : current_ma;"
# (the line, the line as changed): why it shows in no behaviour
EQUIVALENT: dict[tuple[str, str], str] = {
    ("return (a < b) ? a : b;", "return (a <= b) ? a : b;"): "equal: either is the other",
    (_HIGHER.format(">"), _HIGHER.format(">=")): "equal: either is the other",
    (_BITS.format("<"), _BITS.format("<=")): "bit 7 is the store's: it is never beyond a limit",
    (_NEWER.format(">"), _NEWER.format(">=")): "each write has a number of its own: no two copies that hold have the same",
    ("(void)memset(&one, 0, sizeof one);", ";"): "padding alone: every field is set after it",
    (_MAGNITUDE.format("<"), _MAGNITUDE.format("<=")): "-0 is 0",
    (
        "contactor->lowering_since_ms = now_ms;",
        ";",
    ): "at the start only: it is set again before it is read (setting it then is a mutant of its own)",
}


def changes(text: str) -> list[tuple[int, str, str]]:
    """(line, text before, text after) for each mutant; declarations, comments and contracts are left alone."""
    found = []
    for number, line in enumerate(text.split("\n")):
        bare = line.strip()
        if not line.startswith("    ") or bare.startswith(("/*", "*", "EBMS_REQUIRE", "//")) or "EBMS_REQUIRE" in line:
            continue
        for old, news in OPERATORS.items():
            pattern = re.escape(old) if not old[0].isalnum() else rf"\b{re.escape(old)}\b"
            for match in re.finditer(pattern, line):
                found += [(number, line, line[: match.start()] + new + line[match.end() :]) for new in news]
        if bare.endswith(";") and "=" in bare and not re.match(r"(const |u?int|bool |ebms_|uint8_t )", bare) and "for (" not in bare:
            found.append((number, line, "    ;"))
        if bare.startswith(("(void)mem", "ebms_authority_tick(", "return EBMS_VERDICT")):
            found.append((number, line, "    ;"))
        for constant in re.findall(r"EBMS_VERDICT_\w+", line):
            if constant != "EBMS_VERDICT_ACCEPTED":
                found.append((number, line, line.replace(constant, "EBMS_VERDICT_ACCEPTED")))
    return found


def compiled(folder: Path, source: Path) -> Path | None:
    """Its object in ``folder``; None where it does not compile."""
    target = folder / f"{source.stem}.o"
    command = [
        "gcc",
        "-std=c99",
        "-O1",
        "-w",
        "-fPIC",
        "-fsanitize=bounds",
        "-fno-sanitize-recover=all",
        f"-I{SOURCES}",
        f"-I{SOURCES / 'firmware'}",
        f"-I{HERE}",
        "-c",
        "-o",
        target,
        source,
    ]
    return target if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


def tested(library: Path, source: str) -> bool:
    """Whether the tests of ``source`` pass with ``library``, in a process of their own."""
    child = os.fork()
    if child == 0:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        os.environ["EBMS_C_OPEN"] = str(library)
        tests = [str(HERE / f"test_c_{name}.py") for name in TESTS[source]]
        os._exit(int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])))
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code > 1 and code != BROKEN_CONTRACT:
                raise RuntimeError(f"pytest ended with {code}: no verdict on the mutant")
            return code == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def survives(subject: tuple[str, int, str, str]) -> bool | None:
    """Whether the tests pass with this change; None where it does not compile."""
    name, number, _, after = subject
    with tempfile.TemporaryDirectory() as place:
        lines = (SOURCES / name).read_text().split("\n")
        lines[number] = after
        source = Path(place) / Path(name).name
        source.write_text("\n".join(lines))
        changed = compiled(Path(place), source)
        if changed is None:
            return None
        others = [path for path in OBJECTS.glob("*.o") if path.name != changed.name]
        subprocess.run(["gcc", "-shared", "-fsanitize=undefined", "-o", Path(place) / "ebms.so", changed, *others], check=True)
        return tested(Path(place) / "ebms.so", name)


def main() -> int:
    os.environ["EBMS_C_DECLARATIONS"] = declarations()
    for source in (*SOURCES.glob("ebms_*.c"), *(SOURCES / name for name in FILES[2:]), HERE / "shim.c"):
        compiled(OBJECTS, source)
    named = [name for name in FILES if not sys.argv[1:] or "--short" in sys.argv or Path(name).stem in sys.argv]
    subjects = [(name, *change) for name in named for change in changes((SOURCES / name).read_text())]
    if not all(survives((name, 0, "", (SOURCES / name).read_text().split("\n")[0])) for name in FILES):
        print("the tests fail without any change")
        return 1
    if "--short" in sys.argv:
        subjects = random.Random(8).sample(subjects, SAMPLE)
    killed, survivors, broken, explained = 0, [], 0, 0
    context = multiprocessing.get_context("fork")
    with context.Pool(os.cpu_count()) as pool:
        for (name, number, before, after), outcome in zip(subjects, pool.imap(survives, subjects), strict=True):
            if outcome is None:
                broken += 1
            elif not outcome:
                killed += 1
            elif (before.strip(), after.strip()) in EQUIVALENT:
                explained += 1
            else:
                survivors.append(name)
                print(f"  survives: {name}:{number + 1}: {before.strip()}  ->  {after.strip()}", flush=True)
    judged = killed + len(survivors)
    print(f"mutants: {judged} judged, {killed} killed ({killed / max(1, judged):.1%}); {explained} explained, {broken} do not compile")
    return int(killed < SHARE_MIN * judged)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as objects:
        OBJECTS = Path(objects)
        sys.exit(main())
