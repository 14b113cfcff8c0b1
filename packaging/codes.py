"""Write firmware_bridge/codes.py and firmware_bridge/c/ebms_codes.h from the vocabulary and protocol.toml.

``python packaging/codes.py`` writes both, ``--check`` says whether they are fresh (exit status 1 where not).
"""

from __future__ import annotations

import enum
import sys
import tomllib
from pathlib import Path

from edgebms.vocabulary import Action, Contactor, Mode

ROOT = Path(__file__).resolve().parent.parent
BRIDGE = ROOT / "firmware_bridge"
NOTE = "Written by `make codes` from edgebms/vocabulary.py and firmware_bridge/protocol.toml: do not edit."
# table of protocol.toml -> class in codes.py; a word of the vocabulary has its place there as code
TABLES = {"type": "Type", "role": "Role", "verdict": "Verdict", "mcu_state": "McuState", "fault_bit": "FaultBit"}
WORDS: dict[str, type[enum.StrEnum]] = {"action": Action, "mode": Mode, "contactor": Contactor}


def tables() -> dict[str, dict[str, int]]:
    """Every table of codes: name -> member -> code."""
    toml = tomllib.loads((BRIDGE / "protocol.toml").read_text())
    words = {name: {member.name: code for code, member in enumerate(members)} for name, members in WORDS.items()}
    return {name: toml[name] for name in ("constants", "length", *TABLES)} | words


def python_text(codes: dict[str, dict[str, int]]) -> str:
    lines = ['"""The codes and sizes of the serial protocol (protocol.md).', "", NOTE, '"""', "", "from __future__ import annotations", ""]
    lines += ["import enum", "from typing import Final", ""]
    lines += [f"{name}: Final = {shown(value)}" for name, value in codes["constants"].items()]
    lines += [f"{name}_BYTES: Final = {value}" for name, value in codes["length"].items()]
    for table, members in codes.items():
        if table in ("constants", "length"):
            continue
        lines += ["", "", f"class {TABLES.get(table, table.capitalize())}(enum.IntEnum):"]
        lines += [f"    {name} = {value}" for name, value in members.items()]
    return "\n".join(lines) + "\n"


def c_text(codes: dict[str, dict[str, int]]) -> str:
    lines = [f"/* {NOTE} */", "#ifndef EBMS_CODES_H", "#define EBMS_CODES_H", ""]
    for table, members in codes.items():
        prefix = "EBMS_" if table == "constants" else f"EBMS_{table.upper()}_"
        suffix = "_BYTES" if table == "length" else ""
        lines += [f"#define {prefix}{name}{suffix} {c_number(value)}" for name, value in members.items()]
        if table not in ("constants", "length"):
            lines.append(f"#define EBMS_{table.upper()}_COUNT {len(members)}u")
        lines.append("")
    return "\n".join([*lines, "#endif", ""])


def shown(value: int) -> str:
    return hex(value).upper().replace("X", "x") if abs(value) >= 0x80 and (value & 0xFF) in (0xFF, 0xFE, 0) else str(value)


def c_number(value: int) -> str:
    """A literal with the right suffix. INT32_MIN has none of its own in C.

    >>> c_number(5), c_number(-0x80000000), c_number(2**48 - 1)
    ('5u', '(-2147483647 - 1)', '0xFFFFFFFFFFFFull')
    """
    if value == -0x80000000:
        return "(-2147483647 - 1)"
    return f"{shown(value)}{'ull' if value > 0xFFFFFFFF else 'u'}"


def main() -> int:
    codes = tables()
    stale = []
    for path, text in ((BRIDGE / "codes.py", python_text(codes)), (BRIDGE / "c" / "ebms_codes.h", c_text(codes))):
        if path.exists() and path.read_text() == text:
            continue
        if "--check" not in sys.argv:
            path.write_text(text)
        stale.append(path.relative_to(ROOT))
    if "--check" in sys.argv and stale:
        print(f"not fresh, run `make codes`: {', '.join(map(str, stale))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
