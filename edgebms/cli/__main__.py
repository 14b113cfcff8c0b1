"""``python -m edgebms.cli``."""

import sys

from edgebms.cli.main import main

sys.exit(main())
