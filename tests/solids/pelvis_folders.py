"""Fixtures: what the stages make of the synthetic pelvis, each made once; for the conftest of whoever needs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_pelvis import made


@pytest.fixture(scope="session")
def bones() -> Path:
    """Folder with the synthetic bones and a left tumour."""
    return made("bones")


@pytest.fixture(scope="session")
def plan() -> Path:
    """Folder of the plan p1."""
    return made("plan")


@pytest.fixture(scope="session")
def rp1() -> Path:
    """Folder of the first iteration."""
    return made("rp1")


@pytest.fixture(scope="session")
def rp2() -> Path:
    """Folder of the second iteration."""
    return made("rp2")
