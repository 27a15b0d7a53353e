"""Makes the small world of these tests importable and reads it once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "release"))

from small_world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A block of an implant between two blocks of bone, with scans at 0 and 12 months."""
    return World.made(tmp_path_factory.mktemp("followup"))
