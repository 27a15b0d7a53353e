"""A case ready for release, fresh for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
from release_room import Room, make_room


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Purpose demo, gates passed by policy, no traveller yet."""
    return make_room(tmp_path / "demo")


@pytest.fixture
def clinical(tmp_path: Path) -> Room:
    """A clinical case of a real patient: every gate signed by a surgeon and by quality."""
    made = make_room(tmp_path / "demo", "clinical", signed=True)
    made.settings["simulated"] = {"patient": False, "tumour": False, "print": False}
    return made
