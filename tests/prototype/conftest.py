"""Makes the synthetic pelvis of tests/solids importable and hands out what its stages make of it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "solids"))

from pelvis_folders import bones, plan, rp1, rp2  # noqa: F401 - fixtures
