"""Injects each fault into a running daemon and writes the table: ``make test-faults``.

A fault is a function in a file of this folder that has ``FAULTS`` and ``SHORT`` (lists of such functions);
it returns a ``scene.Row``. Exit code 1 where an alert was lost, the daemon did not recover, or ended otherwise
than asked.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from scene import Row  # noqa: E402

HEAD = """# Faults of links and outlets

Written by `make test-faults`: each fault is injected into a daemon process that watches a pack with one cell over its
voltage limit. *Recover*: from the fault's end to the first decision with every cell. *Frames lost*: whole on the bus and
not taken; "-" where there was no bus to take them from, or nobody to send. *Alerts lost*: decisions without the
standing alert, or alerts that never came out. Of a broker: until a decision made after the fault's end arrives there, and
changes of alerts that never did.

| Fault | Injected | What the daemon did | Recover | Frames lost | Alerts lost |
|---|---|---|---|---|---|
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", help="faults whose function name contains this")
    parser.add_argument("--write", type=Path, help="write the table there")
    args = parser.parse_args()
    modules = [importlib.import_module(path.stem) for path in sorted(HERE.glob("*.py")) if path.stem not in ("run", "scene")]
    faults = [fault for module in modules for fault in (module.SHORT if args.short else module.FAULTS)]
    if args.only:
        faults = [fault for fault in faults if args.only in getattr(fault, "fault", fault.__name__)]
    started_s = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(attempt, faults))
    table = HEAD + "".join(map(line, rows))
    print(table)
    bad = [row for row in rows if row.wrong or row.alerts_lost]
    for row in bad:
        print(f"WRONG {row.fault}: {row.wrong or 'an alert was lost'}")
    print(f"{len(rows)} faults, {len(bad)} wrong, {time.monotonic() - started_s:.0f} s")
    if args.write and not bad:
        args.write.write_text(table)
    return 1 if bad else 0


def attempt(fault) -> Row:
    try:
        return fault()
    except Exception:
        return Row(getattr(fault, "fault", fault.__name__), "", "", None, None, 0, traceback.format_exc(limit=-4))


def line(row: Row) -> str:
    recover = "-" if row.recover_s is None else f"{row.recover_s:.1f} s"
    lost = "-" if row.frames_lost is None else str(row.frames_lost)
    return f"| {row.fault} | {row.injected} | {row.did} | {recover} | {lost} | {row.alerts_lost} |\n"


if __name__ == "__main__":
    sys.exit(main())
