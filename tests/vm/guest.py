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
            try:
                row = {"asked": check.__doc__.split("\n")[0], "found": check(out), "ok": True}
            except Wrong as error:
                row = {"asked": check.__doc__.split("\n")[0], "found": str(error), "ok": False}
            except Exception:
                row = {"asked": check.__doc__.split("\n")[0], "found": traceback.format_exc(), "ok": False}
            tell(row | {"check": check.__name__, "seconds": round(time.monotonic() - began_s, 1)})
    (out / "daemon.log").write_text(log())
    (out / "done").write_text("")


if __name__ == "__main__":
    main()
