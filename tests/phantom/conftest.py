"""A tiny simulated patient, made once for all tests of the phantom."""

from __future__ import annotations

import pytest
from simulated_patient import Simulated, simulate


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """The tiny patient, simulated on two threads."""
    return simulate(tmp_path_factory.mktemp("phantom"), threads=2)
