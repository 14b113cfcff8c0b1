"""Instructions a snapshot costs on its whole way, frames to JSON bytes, counted by callgrind.

``--write`` commits the figures. The gate holds both ways: slower is a regression, faster by as much
wants the figures written again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FIGURES = HERE / "instructions.json"
TOLERANCE = 0.10
SECONDS = 5.0


def per_snapshot(cells: int, student: str) -> int:
    environment = dict(os.environ, COUNTED="1", PYTHONHASHSEED="0", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as folder:
        tool = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        line = [sys.executable, str(HERE / "line.py"), str(cells), str(SECONDS), student]
        done = subprocess.run([*tool, *line], capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"callgrind run failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return round(int(found[1]) / int(done.stdout.split()[-1]))


def main() -> int:
    cases = (
        [(96, "state"), (96, "none")]
        if os.environ.get("SHORT")
        else [(16, "state"), (96, "state"), (96, "none"), (192, "state"), (400, "state")]
    )
    seen = {f"{cells} cells, student {student}": per_snapshot(cells, student) for cells, student in cases}
    if "--write" in sys.argv:
        FIGURES.write_text(json.dumps(seen, indent=2) + "\n")
    expected = json.loads(FIGURES.read_text())
    failed = 0
    for name, instructions in seen.items():
        ratio = instructions / expected[name]
        good = abs(ratio - 1) <= TOLERANCE
        failed += not good
        print(
            f"{'ok   ' if good else 'WRONG'} {name}: {instructions:,} instructions a snapshot, committed {expected[name]:,} (x{ratio:.3f})"
        )
    print(f"{len(seen) - failed} passed, {failed} failed")
    if failed:
        print("a deliberate change: make test-speed WRITE=1, and say why in the commit")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
