"""What all tests share: where the real data is, and settings that keep Hypothesis deterministic."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("implantflow", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("implantflow")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; skips on a machine that has none, never in CI."""
    folder = Path(os.environ.get("IMPLANTFLOW_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the shared data at {folder}")
        pytest.skip(f"real data not found at {folder}; set IMPLANTFLOW_SHARED to its folder")
    return folder
