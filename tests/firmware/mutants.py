"""Mutants of the C library's safety rules (ebms_advice.c, ebms_contactor.c): each change must turn a test red. A survivor is listed, or
explained in EQUIVALENT: a change that no behaviour can show."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "firmware_bridge" / "c"
FILES = ("ebms_advice.c", "ebms_contactor.c")
SAMPLE, SHARE_MIN, TIMEOUT_S = 60, 0.95, 60
OPERATORS = {
    " < ": [" <= ", " >= "], " <= ": [" < ", " > "], " > ": [" >= ", " <= "], " >= ": [" > ", " < "], " == ": [" != "], " != ": [" == "],
    " && ": [" || "], " || ": [" && "], " + ": [" - "], " - ": [" + "], "(!": ["("], " ? ": [" && 0 ? ", " || 1 ? "],
    "true": ["false"], "false": ["true"], "0u": ["1u"], "1u": ["0u"], "0xFFu": ["0u"],
}  # fmt: skip
# (file, the line's text, what was put in place of what): why it shows in no behaviour
EQUIVALENT: dict[tuple[str, str], str] = {}


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


def survives(folder: Path) -> bool | None:
    """Whether the tests pass with the changed sources in ``folder``; None where they do not compile."""
    from c_library import build

    with contextlib.suppress(FileExistsError):
        (folder / "out").mkdir()
    try:
        build(folder / "out", "mutant", folder)
    except RuntimeError:
        return None
    child = os.fork()
    if child == 0:
        import pytest

        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        os.environ |= {"EBMS_C_OPEN": str(folder / "out" / "ebms.so")}
        with contextlib.redirect_stdout(io.StringIO()):
            code = pytest.main(
                ["-q", "-x", "-p", "no:cacheprovider", *(str(HERE / f"test_c_{name}.py") for name in ("advice", "contactor"))]
            )
        os._exit(int(code))
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def main() -> int:
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    import c_library

    c_library.KINDS["mutant"] = ["-O1", "-w"]
    os.environ["EBMS_C_DECLARATIONS"] = c_library.declarations()
    import cffi  # noqa: F401  imported once, here, for every child
    import cryptography.hazmat.primitives.cmac  # noqa: F401
    import pytest  # noqa: F401

    subjects = [(name, *change) for name in FILES for change in changes((SOURCES / name).read_text())]
    if "--short" in sys.argv:
        subjects = random.Random(8).sample(subjects, SAMPLE)
    killed, survivors, broken = 0, [], 0
    for name, number, before, after in subjects:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "c"
            shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("firmware"))
            lines = (SOURCES / name).read_text().split("\n")
            lines[number] = after
            (folder / name).write_text("\n".join(lines))
            outcome = survives(folder)
        if outcome is None:
            broken += 1
        elif outcome and (before.strip(), after.strip()) not in EQUIVALENT:
            survivors.append(f"  {name}:{number + 1}: {before.strip()}  ->  {after.strip()}")
        else:
            killed += not outcome
    judged = killed + len(survivors)
    print(
        f"mutants: {judged} judged, {killed} killed ({killed / max(1, judged):.1%}), {broken} do not compile, survivors:",
        *survivors,
        sep="\n",
    )
    return int(killed < SHARE_MIN * judged)


if __name__ == "__main__":
    sys.exit(main())
