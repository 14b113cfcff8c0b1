"""Runs inside the machine, as its unit vm-checks: each check in turn, a row for each into the shared folder.

guest.py OUT      OUT/wanted.json: {"short": ..., "scenarios": [...], "unit_scenarios": [...]}
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

import checks
from system import Wrong, log


def main():
    out = Path(sys.argv[1])
    wanted = json.loads((out / "wanted.json").read_text())
    with (out / "rows.ndjson").open("a") as rows:

        def tell(row):
            rows.write(json.dumps(row) + "\n")
            rows.flush()
            os.fsync(rows.fileno())

        for check in checks.wanted(wanted):
            began_s = time.monotonic()
            row = {"check": check.__name__, "asked": check.__doc__.split("\n")[0], "ok": True}
            try:
                found = check(out)
                row["found"] = found if isinstance(found, str) else ""
            except Wrong as error:
                found, row = None, row | {"ok": False, "found": str(error)}
            except Exception:
                found, row = None, row | {"ok": False, "found": traceback.format_exc()}
            if found is None or isinstance(found, str):
                tell(row | {"seconds": round(time.monotonic() - began_s, 1)})
            else:
                for more in found:
                    tell(more)
    (out / "daemon.log").write_text(log())
    (out / "done").write_text("")


if __name__ == "__main__":
    main()
