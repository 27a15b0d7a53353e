"""A prototype iteration waiting for its review, three persons with keys, and the gate's job."""

from __future__ import annotations

from pathlib import Path

import pytest
from review_room import Room, make_room


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Cases demo and other, each with iterations rp1 and rp2 on disk and in its ledger."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return make_room(tmp_path / "home")
