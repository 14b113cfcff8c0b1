"""Helpers beside these tests are importable: ``from simulated import simulate``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
