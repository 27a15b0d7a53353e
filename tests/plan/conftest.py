"""Makes the synthetic pelvis of tests/solids importable and hands out what its stages make of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "solids"))

from synthetic_pelvis import made


@pytest.fixture(scope="session")
def bones() -> Path:
    """Folder with the synthetic bones and a left tumour."""
    return made("bones")


@pytest.fixture(scope="session")
def plan() -> Path:
    """Folder of the plan p1."""
    return made("plan")
