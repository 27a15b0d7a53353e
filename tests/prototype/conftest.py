"""Makes the synthetic pelvis of tests/solids importable and runs its stages once per session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "solids"))

from synthetic_pelvis import RP1, RP2, plan_job, prototype_job, write_bones

from implantflow.plan.stage import plan_resection
from implantflow.prototype.stage import make_prototype


@pytest.fixture(scope="session")
def bones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the synthetic bones and a left tumour."""
    folder = tmp_path_factory.mktemp("bones")
    write_bones(folder)
    return folder


@pytest.fixture(scope="session")
def plan(bones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the plan p1."""
    folder = tmp_path_factory.mktemp("p1")
    plan_resection(plan_job(bones, folder))
    return folder


@pytest.fixture(scope="session")
def rp1(bones: Path, plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the first iteration."""
    folder = tmp_path_factory.mktemp("rp1")
    make_prototype(prototype_job(bones, plan, folder, RP1))
    return folder


@pytest.fixture(scope="session")
def rp2(bones: Path, plan: Path, rp1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the second iteration."""
    folder = tmp_path_factory.mktemp("rp2")
    make_prototype(prototype_job(bones, plan, folder, RP2, rp1))
    return folder
