"""Run CELLS cells for SECONDS simulated seconds through the whole line: the program that is counted."""

import sys

from edgebms.cli.bench import measure

cells, seconds, student = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
measure(cells, "edgebms", "lg_hg2", "" if student == "none" else student, seconds)
