"""Shared fixtures. ``tests/`` itself is on the path, so that ``from shared_data import shared`` works."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
